"""Reading IDX files, the format of MNIST and its relatives, plain or gzipped.

Format: two zero bytes, a type code (8: unsigned byte), the number of dimensions, each dimension as a
big-endian uint32, then the values in C order. Source: yann.lecun.com/exdb/mnist, 'The IDX file format'.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 8
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Decompressed:
    """What a file holds once decompressed.

    Attributes:
      data: all bytes that could be decompressed.
      defect: why that is not the whole file, or None.
    """

    data: bytes
    defect: str | None


def read_content(path: Path) -> Decompressed:
    """Return the decompressed content of a gzip file, or a plain file as it is."""
    raw = path.read_bytes()
    if not raw.startswith(_GZIP_MAGIC):
        empty = "it is empty" if not raw else None
        return Decompressed(data=raw, defect=empty)
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    parts: list[bytes] = []
    defect: str | None = None
    try:
        for start in range(0, len(raw), _CHUNK_BYTES):
            parts.append(stream.decompress(raw[start : start + _CHUNK_BYTES]))
            if stream.eof:
                extra = len(raw) - start - _CHUNK_BYTES if start + _CHUNK_BYTES < len(raw) else 0
                extra += len(stream.unused_data)
                defect = f"{extra} bytes follow the end of the gzip stream" if extra else None
                break
        else:
            defect = "it is truncated: the gzip stream ends too early"
    except zlib.error as error:
        defect = f"its gzip stream is damaged ({error})"
    return Decompressed(data=b"".join(parts), defect=defect)


def parse(data: bytes, *, source: Path) -> NDArray[np.uint8]:
    """Return the array in the bytes of an IDX file of unsigned bytes.

    Args:
      data: decompressed content.
      source: the file it came from, for messages.
    Raises:
      DataError: not IDX, another type of values, or more or fewer bytes than the header says.

    >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]), source=Path("labels")).tolist()
    [7, 8, 9]
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(f"{source} is not an IDX file: it starts with {data[:4].hex(' ') or 'nothing'}")
    kind, dimensions = data[2], data[3]
    if kind != _UNSIGNED_BYTE:
        raise DataError(f"{source} holds IDX values of type {kind:#04x}; unsigned bytes (0x08) are expected")
    start = 4 + 4 * dimensions
    if dimensions == 0 or len(data) < start:
        raise DataError(f"{source} is truncated: its IDX header of {dimensions} dimensions is incomplete")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    expected = start + math.prod(shape)
    if len(data) != expected:
        what = "is truncated" if len(data) < expected else "has trailing bytes"
        raise DataError(f"{source} {what}: {len(data)} bytes decompressed, {expected} expected for shape {shape}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def read(path: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file, plain or gzipped.

    Raises:
      DataError: the file is missing, truncated, damaged or has trailing bytes.
    """
    try:
        content = read_content(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    if content.defect:
        raise DataError(f"{path} cannot be read: {content.defect}")
    return parse(content.data, source=path)
