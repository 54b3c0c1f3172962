"""Checks of an .onnx file's bytes in pure Python, made before native code sees them.

An ONNX file is a protocol buffer, ModelProto, with no identifier at its start. Its outermost fields are walked here:
their numbers and kinds must be those of ModelProto, their lengths must end with the file, and there must be a graph.

Source: https://protobuf.dev/programming-guides/encoding, and the field numbers of onnx/onnx.proto.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from edgefm.core.errors import ModelError

SUFFIX = ".onnx"
_VARINT, _LENGTH = 0, 2
# Field of ModelProto -> its kind: ir_version, producer_name, producer_version, domain, model_version, doc_string,
# graph, opset_import, metadata_props, training_info, functions, configuration.
_FIELDS = {
    1: _VARINT,
    2: _LENGTH,
    3: _LENGTH,
    4: _LENGTH,
    5: _VARINT,
    6: _LENGTH,
    7: _LENGTH,
    8: _LENGTH,
    14: _LENGTH,
    20: _LENGTH,
    25: _LENGTH,
    26: _LENGTH,
}
_GRAPH = 7
_LONGEST_VARINT = 10


class _EndsEarlyError(Exception):
    """The file ends within a field."""


def check(path: Path) -> None:
    """Raise a ModelError where a file cannot be a whole ONNX model.

    Raises:
      ModelError: missing, empty, of another kind, or cut off.
    """
    if not path.is_file():
        raise ModelError(f"no model file at {path}")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            fields = _fields(content)
        except _EndsEarlyError:
            raise ModelError(
                f"{path} is cut off or damaged: it has {len(content):,} bytes, fewer than its contents need",
                hint="Copy or write the file again.",
            ) from None
    if fields is None or _GRAPH not in fields:
        raise ModelError(
            f"{path} is not an ONNX file: it is not a ModelProto with a graph",
            hint="Give an .onnx file written by an ONNX exporter.",
        )


def _fields(content: mmap.mmap) -> set[int] | None:
    """Return the numbers of the outermost fields; None where they are not those of ModelProto."""
    fields: set[int] = set()
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, kind = tag >> 3, tag & 7
        if _FIELDS.get(number) != kind:
            return None
        value, place = _varint(content, place)
        if value < 0:
            return None
        if kind == _LENGTH:
            place += value
            if place > len(content):
                raise _EndsEarlyError
        fields.add(number)
    return fields


def _varint(content: mmap.mmap, place: int) -> tuple[int, int]:
    """Return a number of variable length, -1 where it has no end, and the place behind it."""
    value = 0
    for index in range(_LONGEST_VARINT):
        if place + index >= len(content):
            raise _EndsEarlyError
        byte = content[place + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    return -1, place + _LONGEST_VARINT
