"""What a model card says of a file: what was measured of it in a run, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgefm.benchmarking import record as records
from edgefm.core.runs import RunDirectory
from edgefm.tflite.contract import Contract


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a benchmark found of a file.

    Attributes:
      quality: name, value, low, high, n and unit of the measure; None where none was measured.
      latency: p50, low and high in microseconds; None where it was not measured.
      runtime: that ran it, with its version.
      cpu: of the machine.
      date: of the record.
      disturbed: other programs disturbed the machine while the time was measured.
    """

    quality: Mapping[str, Any] | None
    latency: Mapping[str, float] | None
    runtime: str
    cpu: str
    date: str
    disturbed: bool = False


def measured(run: RunDirectory | None, contract: Contract) -> Measured | None:
    """Return what the newest benchmark of a run found of this very file; None where there is none of it."""
    step = None if run is None else run.last("benchmark")
    if run is None or step is None:
        return None
    record = records.read(run.folder(step) / records.FILE_NAME)
    for row in record["models"]:
        if row["sha256"] != contract.sha256 or row["status"] != "ok":
            continue
        p50 = (row["latency_ns"] or {}).get("p50") or {}
        quality = row["quality"]
        return Measured(
            quality=None if not quality or quality.get("value") is None else quality,
            latency=None if p50.get("value") is None else {name: p50[name] / 1000 for name in ("value", "low", "high")},
            runtime=f"{row['runtime']['name']} {row['runtime']['version']}",
            cpu=record["environment"]["cpu"],
            date=record["created"][:10],
            disturbed=bool((row.get("disturbed") or {}).get("used")),
        )
    return None
