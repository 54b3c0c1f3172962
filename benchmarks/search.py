"""An hour of search on the Enhanced CNN against an hour of random search, some seeds each: fronts, volumes, budgets.

Run: python -m benchmarks.search --run RUN [--minutes 60] [--reserve 15] [--seeds 3]. RUN holds a trained Enhanced CNN.
Of the minutes `reserve` are for the finalists, which random search has none of: both get the same time for trials.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import edgefm
from benchmarks.recorded import write_result

NAME = "search"
BUDGETS: dict[str, Any] = {
    "phone": {"max_p50_ratio": 0.15, "max_accuracy_loss": 1.0},
    "watch": {"max_download_bytes": "40 KB", "max_accuracy_loss": 1.0},
}


def main() -> None:
    """Write results/search.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--reserve", type=float, default=15.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=None, help="folder of the searches; one that is there goes on")
    parser.add_argument("--no-record", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgefm-search-") as name:
        folder = arguments.keep or Path(name)
        searches = [
            _searched(folder / f"{sampler}-{seed}", arguments, sampler=sampler, seed=seed)
            for seed in range(arguments.seeds)
            for sampler in ("tpe", "random")
        ]
    volumes = {
        sampler: [one["volume"] for one in searches if one["sampler"] == sampler] for sampler in ("tpe", "random")
    }
    figures = {
        "minutes": arguments.minutes,
        "reserve": arguments.reserve,
        "workers": arguments.workers,
        "epochs": arguments.epochs,
        "budgets": BUDGETS,
        "searches": searches,
        "volumes": volumes,
        "ratio": statistics.mean(volumes["tpe"]) / max(1e-9, statistics.mean(volumes["random"])),
    }
    print({"volumes": volumes, "ratio": figures["ratio"]})
    if not arguments.no_record:
        write_result(
            NAME,
            what="search on the Enhanced CNN against random search of the same time",
            command=f"python -m benchmarks.{NAME} --run RUN --minutes {arguments.minutes:g} --seeds {arguments.seeds}",
            figures=figures,
        )


def _searched(folder: Path, arguments: argparse.Namespace, *, sampler: str, seed: int) -> dict[str, Any]:
    started = time.monotonic()
    result = edgefm.search(
        edgefm.Run(arguments.run),
        BUDGETS,
        trials=10_000,
        time_limit=60 * (arguments.minutes - arguments.reserve),
        out=folder,
        resume=(folder / "search.json").exists(),
        seed=seed,
        seeds=3 if sampler == "tpe" else 0,
        epochs=arguments.epochs,
        sampler=sampler,
        workers=arguments.workers,
        progress=True,
    )
    document = result.document
    print(f"{sampler}, seed {seed}: volume {document['volume']:.4f}", *result.lines, sep="\n  ")
    return {
        "sampler": sampler,
        "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "volume": document["volume"],
        "trials": document["trials"],
        "budgets": document["budgets"],
        "front": [entry["figures"] for entry in document["front"]],
    }


if __name__ == "__main__":
    main()
