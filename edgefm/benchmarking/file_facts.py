"""What decides whether a model file can be shipped, beside its measurement: its tensors, and the limits it broke.

A record keeps it with each row, so that a verdict needs no file. Of an older record it is read from the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgefm.core.documents import read_json
from edgefm.core.errors import EdgefmError, ModelError
from edgefm.tflite import micro_kernels
from edgefm.tflite.inspection import Inspection, inspect

_QUANTIZE_FILE = "quantize.json"
_GIVEN_MODEL = "given model"


def file_facts(path: Path, *, name: str, sha256: str) -> dict[str, Any]:
    """Return what a file holds and what was found wrong with it when it was written, as a record keeps it.

    Args:
      path: of the model file; a quantize.json in the folder above that of the file tells its limits.
      name: of its row.
      sha256: of the file; a quantize.json of another one says nothing.
    Returns:
      'contents': 'dtypes' of the inner tensors, 'end_dtypes' of inputs and outputs, 'custom_operators' and 'batch';
      None where the file is no .tflite file that can be read. 'tflite_micro': why TensorFlow Lite Micro refuses it
      ('refused', None where it does not) and what tells so ('by'); None likewise. 'broken': a sentence a limit,
      promise or check that it does not keep. 'given_model': a sentence a finding on the model that it was made of.
    """
    described, entry = _description(path, sha256)
    findings = described.get("findings", ())
    inspection = _inspection(path)
    return {
        "contents": None if inspection is None else contents_of(inspection),
        "tflite_micro": None
        if inspection is None
        else {"refused": micro_kernels.refused(inspection), "by": micro_kernels.SOURCE},
        "broken": [
            *_broken(entry),
            *(finding["message"] for finding in findings if entry and finding["where"] in (name, entry["variant"])),
        ],
        "given_model": [finding["message"] for finding in findings if finding["where"] == _GIVEN_MODEL],
    }


def _inspection(path: Path) -> Inspection | None:
    try:
        return inspect(path)
    except ModelError:
        return None


def contents_of(inspection: Inspection) -> dict[str, Any]:
    """Return 'contents' of a file, see `file_facts`."""
    ends = {*inspection.inputs, *inspection.outputs}
    batches = {inspection.tensors[index].shape[:1] for index in inspection.inputs}
    valued = _valued(inspection) - ends
    return {
        "dtypes": sorted({tensor.dtype for tensor in inspection.tensors if tensor.index in valued}),
        "end_dtypes": sorted({tensor.dtype for tensor in inspection.tensors if tensor.index in ends}),
        "custom_operators": sorted({o.name for o in inspection.operators if o.name.startswith("CUSTOM")}),
        # A batch that is left open is run as 1.
        "batch": max((abs(batch[0]) for batch in batches if batch), default=1),
    }


def _valued(inspection: Inspection) -> set[int]:
    """Return the tensors whose values are computed with: not those of which an operator wants the shape alone."""
    read = {index for o in inspection.operators if o.name != "SHAPE" for index in o.inputs}
    shapes = {index for o in inspection.operators if o.name == "SHAPE" for index in o.inputs} - read
    return {tensor.index for tensor in inspection.tensors} - shapes


def _description(path: Path, sha256: str) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """Return the quantize.json that a file was written with, and the file's entry in it; ({}, None) without."""
    file = path.parent.parent / _QUANTIZE_FILE
    try:
        described = read_json(file, what="description of written files", schema="quantize-2")
    except (OSError, EdgefmError):
        return {}, None
    entry = next((one for one in described["variants"] if one.get("sha256") == sha256), None)
    return (described, entry) if entry is not None else ({}, None)


def _broken(entry: Mapping[str, Any] | None) -> Iterator[str]:
    if entry is None:
        return
    for promise in entry.get("promises", ()):
        if not promise["held"]:
            yield f"{promise['promise']} {promise['wanted']} was promised, the file has {promise['found']}"
    for finished in entry.get("passes", ()):
        facts = finished.get("facts") or {}
        parity = facts.get("parity", facts)
        if isinstance(parity, Mapping) and parity.get("held") is False and "argmax_agreement" in parity:
            yield "its answers differ from those of the graph that was trained by more than is allowed"
    validation = entry.get("validation")
    if validation and validation["held"] is False:
        unit = " points" if validation["unit"] == "%" else ""
        yield (
            f"it loses {validation['loss']:.4g}{unit} of {validation['quality']} on {validation['samples']:,} "
            f"validation samples; its limit is {validation['limit']:g}{unit}"
        )
