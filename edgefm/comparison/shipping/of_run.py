"""The verdict on a run's newest benchmark, and the file that commands take from it where none is named."""

from __future__ import annotations

from edgefm.benchmarking import record as records
from edgefm.comparison.shipping.of_record import verdict_of
from edgefm.comparison.shipping.verdict import Verdict
from edgefm.core import artefacts
from edgefm.core.documents import inside
from edgefm.core.errors import RunError
from edgefm.core.runs import RunDirectory

# Taken as long as a run has no benchmark that could decide.
DEFAULT_VARIANT = "int8_w8a8"
_MODEL_FILE = "model.tflite"


def run_verdict(run: RunDirectory) -> Verdict | None:
    """Return the verdict on a run's newest benchmark; None without one, or where it measured other files.

    Other files: the default file of the verdict is not among those that the run's newest quantize step wrote.
    """
    step, quantized = run.last("benchmark"), run.last("quantize")
    if step is None or quantized is None:
        return None
    path = run.folder(step) / records.FILE_NAME
    record = records.read(path)
    decided = verdict_of(record, path=path)
    row = next((row for row in record["models"] if row["name"] == decided.default_file), None)
    if row is None:
        return None
    file = inside(run.folder(quantized), f"{decided.default_file}/{_MODEL_FILE}", where=path, error=RunError)
    if not file.is_file() or artefacts.sha256_file(file) != row["sha256"]:
        return None
    return decided


def default_variant(verdict: Verdict | None) -> str:
    """Return the variant that is taken where none is named: the verdict's, int8_w8a8 without one."""
    return DEFAULT_VARIANT if verdict is None or verdict.default_file is None else verdict.default_file
