"""An hour of search on the Enhanced CNN against an hour of random search, some seeds each: fronts, volumes, budgets.

Run: python -m benchmarks.search --run RUN [--minutes 60] [--seeds 0 1 2]. RUN holds a trained Enhanced CNN. The minutes
are those of trials and finalists, of which random search has none: it gets the time that the trials of the search with
the same seed took. Some of the searches may be done at a time (`--seeds 0 --samplers tpe`): they join those that were
recorded before with the same settings.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import edgefm
from benchmarks.recorded import names, result, write_result
from edgefm.core import runs
from edgefm.core.environment import environment

NAME = "search"
SAMPLERS = ("tpe", "random")
BUDGETS: dict[str, Any] = {
    "phone": {"max_p50_ratio": 0.15, "max_accuracy_loss": 1.0},
    "watch": {"max_download_bytes": "40 KB", "max_accuracy_loss": 1.0},
}


def main() -> None:
    """Write results/search.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=None, help="folder of the searches; one that is there goes on")
    parser.add_argument("--no-record", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgefm-search-") as name:
        folder = arguments.keep or Path(name)
        settings = {name: getattr(arguments, name) for name in ("minutes", "workers", "epochs")}
        settings |= {"minutes_of": "trials and finalists", "budgets": BUDGETS}
        figures = joined({**settings, "searches": []}, result(NAME) if NAME in names() else None)
        for seed in arguments.seeds:
            for sampler in arguments.samplers:
                seconds = 60 * arguments.minutes if sampler == "tpe" else seconds_of_trials(figures, seed)
                place = folder / f"{sampler}-{seed}"
                searched = _searched(place, arguments, sampler=sampler, seed=seed, seconds=seconds)
                figures = joined({**settings, "searches": [searched]}, figures)
    print({name: figures[name] for name in ("volumes", "ratio") if name in figures})
    if not arguments.no_record:
        write_result(
            NAME,
            what="search on the Enhanced CNN against random search of the same time",
            command=f"python -m benchmarks.{NAME} --run RUN --minutes {arguments.minutes:g}",
            figures=figures,
        )


def seconds_of_trials(figures: Mapping[str, Any], seed: int) -> float:
    """Return how long the trials of the search with a seed took, which random search gets, too.

    Raises:
      SystemExit: that search is not there.
    """
    found = [one for one in figures["searches"] if (one["sampler"], one["seed"]) == ("tpe", seed)]
    if not found:
        raise SystemExit(f"random search gets the time of a search with seed {seed}: do --samplers tpe first")
    return float(found[0]["trials"]["seconds"])


def joined(latest: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a record of the latest searches, of earlier ones with the same settings, and of their volumes.

    The ratio is that of the mean volumes of the seeds that both samplers have, each pair on one kind of processor;
    without any there is none.
    """
    searches = {(one["sampler"], one["seed"]): one for one in latest["searches"]}
    if earlier is not None and all(earlier.get(name) == value for name, value in latest.items() if name != "searches"):
        searches = {(one["sampler"], one["seed"]): one for one in earlier["searches"]} | searches
    pairs = [
        [searches[sampler, seed]["volume"] for sampler in SAMPLERS]
        for seed in sorted({seed for _, seed in searches})
        if all((sampler, seed) in searches for sampler in SAMPLERS)
        and len({searches[sampler, seed]["cpu"] for sampler in SAMPLERS}) == 1
    ]
    figures = {**latest, "searches": [searches[key] for key in sorted(searches)]}
    if pairs:
        volumes = dict(zip(SAMPLERS, zip(*pairs, strict=True), strict=True))
        searched, random = (statistics.mean(volumes[sampler]) for sampler in SAMPLERS)
        figures |= {"volumes": volumes, "ratio": searched / max(1e-9, random)}
    return figures


def _searched(
    folder: Path, arguments: argparse.Namespace, *, sampler: str, seed: int, seconds: float
) -> dict[str, Any]:
    started, resumed = time.monotonic(), (folder / "search.json").exists()
    found = edgefm.search(
        edgefm.Run(arguments.run),
        BUDGETS,
        trials=10_000,
        time_limit=seconds,
        out=folder,
        resume=resumed,
        seed=seed,
        seeds=3 if sampler == "tpe" else 0,
        epochs=arguments.epochs,
        sampler=sampler,
        workers=arguments.workers,
        progress=True,
    )
    document = found.document
    print(f"{sampler}, seed {seed}: volume {document['volume']:.4f}", *found.lines, sep="\n  ")
    return {
        "sampler": sampler,
        "seed": seed,
        "created": runs.now(),
        "cpu": environment()["cpu"],
        # One that was stopped and went on counts its trials as the search does, and all of what came after.
        "seconds": round(time.monotonic() - started + (document["trials"]["seconds"] if resumed else 0), 1),
        "volume": document["volume"],
        "trials": document["trials"],
        "budgets": document["budgets"],
        "front": [entry["figures"] for entry in document["front"]],
    }


if __name__ == "__main__":
    main()
