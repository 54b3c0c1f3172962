"""Checks of a .tflite file's bytes in pure Python, made before native code sees them.

A TFLite file is a FlatBuffer with the file identifier 'TFL3' whose root table is the Model of TensorFlow's
schema.fbs. Only its spine is walked here: the root table and the extent of every buffer of weights. That tells
a file of another kind and a file that was cut off from a good one. A file damaged elsewhere can still crash or
hang a runtime; that is why models are run in processes of their own.

Source: https://flatbuffers.dev/internals, and the field numbers of tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from edgefm.core.errors import ModelError

IDENTIFIER = b"TFL3"
_MODEL_SUBGRAPHS, _MODEL_BUFFERS = 2, 4
_BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_SIGNATURES = {
    b"PK\x03\x04": "a zip archive, such as a .keras file; convert it with: edgefm quantize",
    b"\x89HDF": "an HDF5 file, such as a .h5 Keras model; save it as .keras, then: edgefm quantize",
    b"<!DO": "a web page: the download went wrong",
    b"<htm": "a web page: the download went wrong",
    b"vers": "a Git LFS pointer: fetch the file itself with: git lfs pull",
}


def check(path: Path) -> None:
    """Raise a ModelError where a file cannot be a whole TFLite model.

    Raises:
      ModelError: missing, empty, of another kind, damaged in its structure, or cut off.
    """
    if not path.is_file():
        raise ModelError(f"no model file at {path}")
    size = path.stat().st_size
    if size == 0:
        raise ModelError(f"{path} is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if size < 8 or content[4:8] != IDENTIFIER:
            kind = _SIGNATURES.get(content[:4])
            raise ModelError(
                f"{path} is not a TFLite file: its bytes 4 to 7 are {content[4:8]!r}, 'TFL3' is expected",
                hint=f"It looks like {kind}." if kind else "Give a file that edgefm quantize or a converter wrote.",
            )
        try:
            needed = _needed_bytes(content)
        except struct.error:
            needed = size + 1
        except ValueError as error:
            raise ModelError(f"{path} is damaged: {error}") from error
    if needed > size:
        raise ModelError(
            f"{path} is cut off or damaged: it holds {size:,} bytes, its parts reach beyond them",
            hint="Copy or write the file again.",
        )


def _needed_bytes(content: mmap.mmap) -> int:
    """Return the end of the last buffer; struct.error where a table lies outside the file."""
    model = u32(content, 0)
    subgraphs = reference(content, model, _MODEL_SUBGRAPHS)
    buffers = reference(content, model, _MODEL_BUFFERS)
    if subgraphs is None or u32(content, subgraphs) == 0:
        raise ValueError("it has no graph")
    if buffers is None:
        raise ValueError("it has no buffers")
    needed = buffers
    for index in range(u32(content, buffers)):
        place = buffers + 4 + 4 * index
        table = place + u32(content, place)
        data = reference(content, table, _BUFFER_DATA)
        if data is not None:
            needed = max(needed, data + 4 + u32(content, data))
        # Buffers may also lie behind the FlatBuffer, at an offset from the start of the file.
        offset = field(content, table, _BUFFER_OFFSET)
        extent = field(content, table, _BUFFER_SIZE)
        if offset is not None and extent is not None:
            needed = max(needed, u64(content, offset) + u64(content, extent))
    return needed


def field(content: mmap.mmap, table: int, number: int) -> int | None:
    """Return the place of a table's field, or None where the field is absent."""
    vtable = table - unpack("<i", content, table)
    size = unpack("<H", content, vtable)
    slot = 4 + 2 * number
    if slot + 2 > size:
        return None
    offset = unpack("<H", content, vtable + slot)
    return table + offset if offset else None


def reference(content: mmap.mmap, table: int, number: int) -> int | None:
    """Return the place that a table's field refers to, or None where the field is absent."""
    place = field(content, table, number)
    return None if place is None else place + u32(content, place)


def u32(content: mmap.mmap, place: int) -> int:
    """Return the unsigned 32-bit number at a place."""
    return unpack("<I", content, place)


def u64(content: mmap.mmap, place: int) -> int:
    """Return the unsigned 64-bit number at a place."""
    return unpack("<Q", content, place)


def unpack(form: str, content: mmap.mmap, place: int) -> int:
    """Return one number at a place; struct.error where it lies outside the file."""
    if place < 0:  # struct would count it from the end
        raise struct.error("before the start of the file")
    value: int = struct.unpack_from(form, content, place)[0]
    return value
