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
# Of the reference; so that ratios of folders that hold other systems can stand beside each other.
_REFERENCE = "enhanced_cnn"
REFERENCE = f"{_REFERENCE} float32"
_REFERENCE_FOLDER = "latency-reference"


def measured(out: Path, files: Mapping[str, Path], *, rounds: int | None, progress: Progress) -> BenchmarkRecord | None:
    """Return the benchmark of all files, measured now unless these same files were; None without any.

    Args:
      out: folder of the reproduction.
      files: by the name of system and variant. The float32 file of enhanced_cnn is the reference; where it is not
        among them, an untrained one of the same network is measured beside them.
      rounds: least and greatest number of rounds; None takes those of `edgefm.benchmark`.
      progress: receives progress.
    """
    if not files:
        return None
    reference = files.get(REFERENCE) or _untrained(out / _REFERENCE_FOLDER)
    ordered = {REFERENCE: reference, **files}
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


def _untrained(folder: Path) -> Path:
    """Return the float32 file of the reference, untrained, which a folder keeps."""
    file = folder / "model.tflite"
    if not file.exists():
        document_network(folder / "keras", file)
        shutil.rmtree(folder / "keras")
    return file


def document_network(scratch: Path, file: Path) -> None:
    """Write the float32 file of the source document's network, untrained, as `edgefm.quantize` writes it.

    Args:
      scratch: folder for its Keras file and what is made of it.
      file: to write.
    """
    from edgefm import zoo
    from edgefm.jobs.quantize import quantize
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    scratch.mkdir(parents=True, exist_ok=True)
    zoo.build(_REFERENCE).save(scratch / "document.keras")
    files = quantize(scratch / "document.keras", ["float32"], progress=False)
    artefacts.write_bytes(file, (files.save(scratch / "files") / "float32" / "model.tflite").read_bytes())


def _kept(folder: Path) -> BenchmarkRecord | None:
    if not folder.is_dir():
        return None
    try:
        return BenchmarkRecord.open(folder)
    except RunError:  # stopped while it was written
        return None


def _sums(record: BenchmarkRecord) -> dict[str, str]:
    return {row["name"]: row["sha256"] for row in record.record["models"]}
