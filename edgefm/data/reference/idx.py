"""Reading IDX files, the format of MNIST and its relatives, plain or gzipped.

Format: two zero bytes, a type code (8: unsigned byte), the number of dimensions, each dimension as a
big-endian uint32, then the values in C order. Source: yann.lecun.com/exdb/mnist, 'The IDX file format'.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError
from edgefm.core.given import limits, regular

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 8
_CHUNK_BYTES = 1 << 20
_MOST_DIMENSIONS = 32  # as many as an array of numpy's has at least


@dataclass(frozen=True, kw_only=True)
class Decompressed:
    """What a file holds once decompressed.

    Attributes:
      data: all bytes that could be decompressed and were wanted.
      defect: why that is not the whole file, or None.
    """

    data: bytes
    defect: str | None


def read_content(path: Path, *, length: int | None = None) -> Decompressed:
    """Return the decompressed content of a gzip file, or a plain file as it is.

    Args:
      path: of the file.
      length: of the content, in bytes; None takes what its IDX header says. Decompression stops one byte behind it.
    Raises:
      DataError: no such file, no regular one, or a header that says more than the file may hold.
    """
    with regular.open_file(path, DataError, missing=f"{path} does not exist") as file:
        size_bytes = path.stat().st_size
        pieces = _Pieces(file)
        if length is None:
            length = _length(pieces.upto(4 + 4 * _MOST_DIMENSIONS), path, size_bytes=size_bytes)
        data = pieces.upto(length + 1)
    return Decompressed(data=data, defect=pieces.defect if size_bytes else "it is empty")


class _Pieces:
    """The content of an open file, decompressed piece by piece as far as it is asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self.defect: str | None = None
        self._data = bytearray()
        packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        self._source = self._unpacked(file) if packed else self._plain(file)

    def upto(self, length: int) -> bytes:
        """Return the first `length` bytes, fewer where the content ends before."""
        while len(self._data) < length:
            self._wanted = length - len(self._data)
            piece = next(self._source, None)
            if piece is None:
                break
            self._data += piece
        return bytes(memoryview(self._data)[:length])

    def _plain(self, file: BinaryIO) -> Iterator[bytes]:
        while piece := file.read(_CHUNK_BYTES):
            yield piece

    def _unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            while not stream.eof:
                packed = stream.unconsumed_tail or file.read(_CHUNK_BYTES)
                if not packed:
                    self.defect = "it is truncated: the gzip stream ends too early"
                    return
                yield stream.decompress(packed, min(_CHUNK_BYTES, max(1, self._wanted)))
        except zlib.error as error:
            self.defect = f"its gzip stream is damaged ({error})"
            return
        extra = len(stream.unused_data) + sum(len(piece) for piece in iter(lambda: file.read(_CHUNK_BYTES), b""))
        self.defect = f"{extra} bytes follow the end of the gzip stream" if extra else None


def _length(start: bytes, path: Path, *, size_bytes: int) -> int:
    """Return how long an IDX file is by its header; as much as is there where that is no whole header."""
    if len(start) < 4 or start[:2] != b"\0\0" or not 0 < start[3] <= _MOST_DIMENSIONS or len(start) < 4 + 4 * start[3]:
        return len(start)
    shape: tuple[int, ...] = struct.unpack_from(f">{start[3]}I", start, 4)
    length = 4 + 4 * start[3] + math.prod(shape)
    limits.check(length, DataError, size_bytes=size_bytes, what=f"{path} (shape {shape})")
    return length


def parse(data: bytes, *, source: Path) -> NDArray[np.uint8]:
    """Return the array in the bytes of an IDX file of unsigned bytes.

    Args:
      data: decompressed content.
      source: the file it came from, for messages.
    Raises:
      DataError: not IDX, another type of values, more dimensions than numpy has, or more or fewer bytes than the
        header says.

    >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]), source=Path("labels")).tolist()
    [7, 8, 9]
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(f"{source} is not an IDX file: it starts with {data[:4].hex(' ') or 'nothing'}")
    kind, dimensions = data[2], data[3]
    if kind != _UNSIGNED_BYTE:
        raise DataError(f"{source} holds IDX values of type {kind:#04x}; unsigned bytes (0x08) are expected")
    if dimensions > _MOST_DIMENSIONS:
        raise DataError(f"{source} has {dimensions} dimensions; 1 to {_MOST_DIMENSIONS} are allowed")
    start = 4 + 4 * dimensions
    if dimensions == 0 or len(data) < start:
        raise DataError(f"{source} is truncated: its IDX header of {dimensions} dimensions is incomplete")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    expected = start + math.prod(shape)
    if len(data) != expected:
        what = "is truncated" if len(data) < expected else "has trailing bytes"
        raise DataError(f"{source} {what}: {len(data)} bytes decompressed, {expected} expected for shape {shape}")
    try:
        return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)
    except ValueError:  # sides that numpy cannot hold, though one of 0 makes their product 0
        raise DataError(f"{source} holds no values: its shape is {shape}") from None


def read(path: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file, plain or gzipped.

    Raises:
      DataError: the file is missing, truncated, damaged or has trailing bytes, or says that it holds more than it may
        (see `edgefm.core.given.limits`).
    """
    content = read_content(path)
    if content.defect:
        raise DataError(f"{path} cannot be read: {content.defect}")
    return parse(content.data, source=path)
