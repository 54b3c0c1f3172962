"""How fast the files of all reproduced systems are beside each other, in one benchmark."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.errors import RunError
from edgefm.core.progress import Progress
from edgefm.jobs.benchmark import BenchmarkRecord, benchmark

_FOLDER = "latency"
_REFERENCE = "enhanced_cnn"


def measured(out: Path, files: Mapping[str, Path], *, rounds: int | None, progress: Progress) -> BenchmarkRecord | None:
    """Return the benchmark of all files, measured now unless these same files were; None without any.

    Args:
      out: folder of the reproduction.
      files: by the name of system and variant; the first of enhanced_cnn, else the first of all, is the reference.
      rounds: least and greatest number of rounds; None takes those of `edgefm.benchmark`.
      progress: receives progress.
    """
    if not files:
        return None
    ordered = dict(sorted(files.items(), key=lambda item: not item[0].startswith(f"{_REFERENCE} ")))
    folder = out / _FOLDER
    kept = _kept(folder)
    if kept is not None and _sums(kept) == {name: artefacts.sha256_file(path) for name, path in ordered.items()}:
        return kept
    record = benchmark(dict(ordered), rounds=rounds, rounds_at_most=rounds, progress=progress)
    shutil.rmtree(folder, ignore_errors=True)
    record.save(folder)
    return BenchmarkRecord.open(folder)


def figures_of(record: BenchmarkRecord | None) -> dict[str, Any] | None:
    """Return what a page shows of a benchmark: p50 of each file, and its time over that of the reference."""
    if record is None:
        return None
    rows = record.record["models"]
    measured_rows = [row for row in rows if row["latency_ns"]]
    return {
        "reference": rows[0]["name"],
        "created": record.record["created"],
        "environment": dict(record.environment),
        "rounds": max((len(row["rounds"]) for row in rows), default=0),
        "disturbed": [row["name"] for row in measured_rows if row["disturbed"]["used"]],
        "models": {
            row["name"]: {
                "p50_ns": row["latency_ns"]["p50"],
                "ratio": (row["against_reference"] or {}).get("latency_ratio"),
            }
            for row in measured_rows
        },
        "failed": dict(record.failed),
    }


def _kept(folder: Path) -> BenchmarkRecord | None:
    if not folder.is_dir():
        return None
    try:
        return BenchmarkRecord.open(folder)
    except RunError:  # stopped while it was written
        return None


def _sums(record: BenchmarkRecord) -> dict[str, str]:
    return {row["name"]: row["sha256"] for row in record.record["models"]}
