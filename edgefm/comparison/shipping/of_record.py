"""The verdict on a record that lies in a file or in memory: its files' facts are found, then the rule decides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefm.benchmarking import record_versions
from edgefm.benchmarking.file_facts import file_facts
from edgefm.comparison.shipping.rule import decide
from edgefm.comparison.shipping.verdict import PHONES, Verdict
from edgefm.core import artefacts


def verdict_of(
    record: Mapping[str, Any], *, path: Path | None = None, target: str = PHONES, margin: float | None = None
) -> Verdict:
    """Return which files of a record to ship.

    A row holds what must be known of its file; where it does not (an older record), the file is read where it still
    lies: at the path of the row, or below the run that holds the record.

    Args:
      record: of any version.
      path: of its file; None where it was never written.
      target: see `edgefm.comparison.shipping.rule.decide`.
      margin: see there.
    """
    if record["schema_version"] < record_versions.NEWEST:
        record = record_versions.upgraded(dict(record))
    facts = {row["name"]: row.get("file_facts") or _read(row, path) for row in record["models"]}
    return decide(record, facts, target=target, margin=margin)


def _read(row: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """Return the facts of a row's file; {} where it is gone, or is another one by now."""
    roots = [] if path is None else [path.parent.parent, path.parent]
    for file in [*(root / row["file"] for root in roots), Path(row["file"])]:
        if _is_it(file, row):
            return file_facts(file, name=row["name"], sha256=row["sha256"])
    return {}


def _is_it(file: Path, row: Mapping[str, Any]) -> bool:
    """Return whether a path that a record names leads to the file of its row; what is no model file is not read."""
    try:
        return file.suffix == ".tflite" and file.is_file() and artefacts.sha256_file(file) == row["sha256"]
    except OSError:  # a name that is too long, or a file that may not be read
        return False
