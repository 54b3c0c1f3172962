"""The records of a TFRecord file, walked from length to length before TensorFlow, which allocates what a length says.

Format: for each record its length as a little-endian uint64, four bytes of a checksum of it, the record, and four bytes
of a checksum of that. Source: TensorFlow's tensorflow/core/lib/io/record_reader.h.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edgefm.core.errors import DataError
from edgefm.core.given import limits, regular

HINT = "It is damaged, or 'compression' in the spec is wrong (GZIP, ZLIB or left out)."
_HEAD, _FOOT = 12, 4
_CHUNK_BYTES = 1 << 20


def check(path: Path, compression: str) -> None:
    """Raise a DataError where a record would reach beyond its file, or the file unpacks to more than it may.

    Args:
      path: of the file.
      compression: '', 'GZIP' or 'ZLIB'.
    Raises:
      DataError: see above; no such file, or no regular one.
    """
    with regular.open_file(path, DataError, missing=f"no TFRecords at {path}") as file:
        size_bytes = path.stat().st_size
        if not compression:
            _check_plain(file, path, size_bytes)
            return
        try:
            if compression == "GZIP":
                with gzip.open(file) as unpacked:
                    _check_packed(unpacked.read, path, size_bytes)
            else:
                _check_packed(_zlib_reader(file), path, size_bytes)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} cannot be read as a TFRecord file: {error}", hint=HINT) from error


def _check_plain(file: BinaryIO, path: Path, size_bytes: int) -> None:
    place = 0
    while place < size_bytes:
        file.seek(place)
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size_bytes
        place += _HEAD + length + _FOOT
        if place > size_bytes:
            raise _beyond(path)


def _check_packed(read: Callable[[int], bytes], path: Path, size_bytes: int) -> None:
    total = 0
    while head := read(_HEAD):
        length = struct.unpack_from("<Q", head)[0] if len(head) == _HEAD else 0
        total += _HEAD + length + _FOOT
        limits.check(total, DataError, size_bytes=size_bytes, what=str(path))
        left = length + _FOOT
        while left and len(head) == _HEAD:
            piece = read(min(left, _CHUNK_BYTES))
            if not piece:
                break
            left -= len(piece)
        if left:
            raise _beyond(path)


def _zlib_reader(file: BinaryIO) -> Callable[[int], bytes]:
    """Return a function that unpacks so many bytes, fewer at the end."""
    stream = zlib.decompressobj()
    held = bytearray()

    def read(count: int) -> bytes:
        while len(held) < count and not stream.eof:
            packed = stream.unconsumed_tail or file.read(_CHUNK_BYTES)
            if not packed:
                raise EOFError("the zlib stream ends too early")
            held.extend(stream.decompress(packed, _CHUNK_BYTES))
        piece = bytes(held[:count])
        del held[:count]
        return piece

    return read


def _beyond(path: Path) -> DataError:
    return DataError(
        f"{path} cannot be read as a TFRecord file: a record is said to reach beyond the end of the file", hint=HINT
    )
