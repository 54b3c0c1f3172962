"""Measures files side by side with the source document's network in float32, in one benchmark.

Run: python -m benchmarks.best_latency NAME=FILE ... --out latency.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import edgefm
from edgefm.core import artefacts, runs
from edgefm.core.environment import environment
from edgefm.jobs.reproduce.latency import document_network
from edgefm.statistics.round_comparison import time_ratio

BASE = "document_float32"


def main() -> None:
    """Write {"created", "environment", "models": {name: {"p50_ns", "ratio", "disturbed"}}, "session"}."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=120, help="no round begins after these")
    options = parser.parse_args()
    files = dict(given.partition("=")[::2] for given in options.files)
    with tempfile.TemporaryDirectory(prefix="edgefm-best-") as folder:
        base = Path(folder) / "document.tflite"
        document_network(Path(folder), base)
        record = edgefm.benchmark({BASE: base, **files}, budget_seconds=options.seconds, progress=True).to_json()
    rows = {row["name"]: row for row in record["models"]}
    models: dict[str, Any] = {}
    for name, row in rows.items():
        ratio = time_ratio(row, rows[BASE])
        models[name] = {
            "p50_ns": row["latency_ns"]["p50"],
            "ratio": None if ratio is None else ratio.to_json(),
            "disturbed": row["disturbed"]["used"],
        }
    artefacts.write_json(
        options.out,
        {
            "created": runs.now(),
            "environment": environment(),
            "base": BASE,
            "models": models,
            "session": record["session"],
        },
    )


if __name__ == "__main__":
    main()
