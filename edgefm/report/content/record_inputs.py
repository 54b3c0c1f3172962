"""What a report on a record alone is made from: one that a phone wrote, say, or that was passed on."""

from __future__ import annotations

from pathlib import Path

from edgefm.benchmarking import record as records
from edgefm.report.content.inputs import Missing, ReportInputs

_NO_RUN = "the report is on a record, which is part of no run"


def of_record(path: Path) -> ReportInputs:
    """Return what a record holds for a report.

    Raises:
      RunError: it is missing, damaged, something else, or was written by a newer edgefm.
    """
    return ReportInputs(
        run_id=path.name,
        record=records.read(path),
        record_path=path,
        missing=(Missing(what="training, quantisation and single images", why=_NO_RUN),),
    )
