"""Checks of a .tflite file's bytes in pure Python, made before native code sees them.

A TFLite file is a FlatBuffer with the file identifier 'TFL3' whose root table is the Model of TensorFlow's
schema.fbs. Only its spine is walked here: the root table and the extent of every buffer of weights. That tells
a file of another kind and a file that was cut off from a good one. A file damaged elsewhere can still crash or
hang a runtime; that is why models are run in processes of their own.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from edgefm.core.errors import ModelError
from edgefm.core.given import regular
from edgefm.tflite import schema_fields
from edgefm.tflite.tables import Table

IDENTIFIER = b"TFL3"
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
    regular.check(path, ModelError, missing=f"no model file at {path}")
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
        except (struct.error, IndexError):
            needed = size + 1
        except ValueError as error:
            raise ModelError(f"{path} is damaged: {error}") from error
    if needed > size:
        raise ModelError(
            f"{path} is cut off or damaged: it holds {size:,} bytes, its parts reach beyond them",
            hint="Copy or write the file again.",
        )


def content_of(path: Path) -> bytes:
    """Return the content of a .tflite file that `check` found whole."""
    check(path)
    with regular.open_file(path, ModelError, missing=f"no model file at {path}") as file:
        return file.read()


def _needed_bytes(content: mmap.mmap) -> int:
    """Return the end of the last buffer; struct.error where a table lies outside the file."""
    model = Table.root(content)
    buffers = model.tables(schema_fields.MODEL_BUFFERS)
    if not model.tables(schema_fields.MODEL_SUBGRAPHS):
        raise ValueError("it has no graph")
    if buffers.place is None:
        raise ValueError("it has no buffers")
    needed = buffers.place
    for buffer in buffers:
        start, length = buffer.extent(schema_fields.BUFFER_DATA) or (0, 0)
        # Buffers may also lie behind the FlatBuffer, at an offset from the start of the file.
        offset = buffer.number(schema_fields.BUFFER_OFFSET, "<Q")
        size = buffer.number(schema_fields.BUFFER_SIZE, "<Q")
        behind = 0 if offset is None or size is None else offset + size
        needed = max(needed, start + length, behind)
    return needed
