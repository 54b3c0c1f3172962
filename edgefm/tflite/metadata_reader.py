"""The normalisation that TFLite metadata states for the input of a model."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from edgefm.tflite import schema_fields
from edgefm.tflite.tables import DAMAGES, Table

NAME = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
# Field numbers of metadata_schema.fbs (TensorFlow Lite Support).
_MODEL_SUBGRAPHS, _SUBGRAPH_INPUTS, _TENSOR_PROCESS_UNITS = 3, 2, 4
_UNIT_TYPE, _UNIT_OPTIONS = 0, 1
_NORMALIZATION_TYPE, _NORMALIZATION_MEAN, _NORMALIZATION_STD = 1, 0, 1
_MOST_ENTRIES = 1000


def normalization(path: Path) -> tuple[float, float] | None:
    """Return (mean, std) of the first input in a .tflite file's metadata: real = (pixel - mean) / std.

    None where the file has no metadata, where they state no normalisation, or another one for each channel.
    """
    content = path.read_bytes()
    try:
        block = _metadata(content)
        return None if block is None else _read(block)
    except DAMAGES:
        return None  # damaged metadata say nothing


def _metadata(content: bytes) -> bytes | None:
    model = Table.root(content)
    for entry in islice(model.tables(schema_fields.MODEL_METADATA), _MOST_ENTRIES):
        if entry.text(schema_fields.METADATA_NAME, errors="replace") == NAME:
            index = entry.number(schema_fields.METADATA_BUFFER, "<I") or 0
            buffer = model.tables(schema_fields.MODEL_BUFFERS)[index]
            start, length = buffer.extent(schema_fields.BUFFER_DATA) or (0, 0)
            size = buffer.number(schema_fields.BUFFER_SIZE, "<Q") or 0
            if size > 1:  # it lies behind the FlatBuffer
                start, length = buffer.number(schema_fields.BUFFER_OFFSET, "<Q") or 0, size
            return content[start : start + length] if length else None
    return None


def _read(block: bytes) -> tuple[float, float] | None:
    if block[4:8] != _IDENTIFIER:
        return None
    table = Table.root(block)
    for number in (_MODEL_SUBGRAPHS, _SUBGRAPH_INPUTS):
        entries = table.tables(number)
        if not entries:
            return None
        table = entries[0]
    for unit in islice(table.tables(_TENSOR_PROCESS_UNITS), _MOST_ENTRIES):
        options = unit.table(_UNIT_OPTIONS)
        if options is None or unit.number(_UNIT_TYPE, "<B") != _NORMALIZATION_TYPE:
            continue
        mean, std = set(options.floats(_NORMALIZATION_MEAN)), set(options.floats(_NORMALIZATION_STD))
        if len(mean) == 1 and len(std) == 1:
            return mean.pop(), std.pop()
    return None
