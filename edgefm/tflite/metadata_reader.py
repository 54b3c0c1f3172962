"""The normalisation that TFLite metadata states for the input of a model."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

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
    except (struct.error, IndexError, ValueError, TypeError, AttributeError):
        return None  # damaged metadata say nothing


def _metadata(content: bytes) -> bytes | None:
    from ai_edge_litert.schema_py_generated import Model

    model = Model.GetRootAs(content, 0)
    for index in range(min(model.MetadataLength(), _MOST_ENTRIES)):
        entry = model.Metadata(index)
        if entry.Name() == NAME.encode():
            buffer = model.Buffers(entry.Buffer())
            if buffer.Size() > 1:
                return content[buffer.Offset() : buffer.Offset() + buffer.Size()]
            data = buffer.DataAsNumpy()
            return bytes(data) if buffer.DataLength() else None
    return None


def _read(block: bytes) -> tuple[float, float] | None:
    import flatbuffers.number_types as types
    from flatbuffers import encode
    from flatbuffers.table import Table

    if block[4:8] != _IDENTIFIER:
        return None
    table = Table(block, encode.Get(types.UOffsetTFlags.packer_type, block, 0))
    for number in (_MODEL_SUBGRAPHS, _SUBGRAPH_INPUTS):
        items = _tables(table, number)
        if not items:
            return None
        table = items[0]
    for unit in _tables(table, _TENSOR_PROCESS_UNITS):
        kind = unit.Offset(4 + 2 * _UNIT_TYPE)
        place = unit.Offset(4 + 2 * _UNIT_OPTIONS)
        if not kind or not place or unit.Get(types.Uint8Flags, kind + unit.Pos) != _NORMALIZATION_TYPE:
            continue
        options = Table(block, unit.Indirect(place + unit.Pos))
        mean, std = _floats(options, _NORMALIZATION_MEAN), _floats(options, _NORMALIZATION_STD)
        if len(mean) == 1 and len(std) == 1:
            return mean.pop(), std.pop()
    return None


def _tables(table: Any, number: int) -> list[Any]:
    """Return the tables in a vector field."""
    from flatbuffers.table import Table

    place = table.Offset(4 + 2 * number)
    if not place:
        return []
    start = table.Vector(place)
    count = min(table.VectorLen(place), _MOST_ENTRIES)
    return [Table(table.Bytes, table.Indirect(start + 4 * index)) for index in range(count)]


def _floats(table: Any, number: int) -> set[float]:
    """Return the different values in a vector of floats."""
    from flatbuffers.number_types import Float32Flags

    place = table.Offset(4 + 2 * number)
    if not place:
        return set()
    start = table.Vector(place)
    count = min(table.VectorLen(place), _MOST_ENTRIES)
    return {float(table.Get(Float32Flags, start + 4 * index)) for index in range(count)}
