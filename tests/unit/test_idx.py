from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgefm.core.errors import DataError
from edgefm.data.reference import idx

VALUES = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
PLAIN = b"\0\0\x08\x03" + struct.pack(">III", 5, 4, 3) + VALUES.tobytes()


@pytest.mark.parametrize("content", [PLAIN, gzip.compress(PLAIN)], ids=["plain", "gzip"])
def test_read_returns_the_array(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "values"
    path.write_bytes(content)
    found = idx.read(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, VALUES)


BAD = {
    "empty": (b"", "is empty"),
    "plain cut": (PLAIN[:-1], "truncated: 75 bytes decompressed, 76 expected"),
    "plain trailing": (PLAIN + b"\0", "trailing bytes"),
    "header cut": (PLAIN[:9], "header of 3 dimensions is incomplete"),
    "another format": (b"\x89PNG\r\n\x1a\n", "not an IDX file: it starts with 89 50 4e 47"),
    "floats": (b"\0\0\x0d" + PLAIN[3:], "type 0x0d"),
    "gzip cut": (gzip.compress(PLAIN)[:-12], "truncated"),
    "gzip without its sum": (gzip.compress(PLAIN)[:-1], "truncated"),
    "gzip damaged": (gzip.compress(PLAIN)[:40] + b"\xff" * 9 + gzip.compress(PLAIN)[49:], "damaged"),
    "gzip trailing": (gzip.compress(PLAIN) + b"more", "4 bytes follow"),
    "gzip of cut": (gzip.compress(PLAIN[:-1]), "truncated"),
    "endless sides of nothing": (b"\0\0\x08\x03" + b"\xff" * 4 + bytes(4) + b"\xff" * 4, "holds no values"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_read_names_the_file_and_the_defect(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        idx.read(path)
    assert str(path) in caught.value.message


def test_read_rejects_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        idx.read(tmp_path / "nothing.gz")


def test_trailing_bytes_are_counted_beyond_the_first_chunk(tmp_path: Path) -> None:
    path = tmp_path / "values.gz"
    path.write_bytes(gzip.compress(PLAIN) + bytes(3 << 20))
    assert idx.read_content(path).defect == f"{3 << 20} bytes follow the end of the gzip stream"


def test_read_content_keeps_what_could_be_decompressed(tmp_path: Path) -> None:
    path = tmp_path / "values.gz"
    whole = np.random.default_rng(1).bytes(3 << 20)
    path.write_bytes(gzip.compress(whole)[: 2 << 20])
    content = idx.read_content(path, length=len(whole))
    assert content.defect is not None
    assert len(content.data) > 1 << 20
    assert whole.startswith(content.data)
    assert zlib.crc32(content.data) != zlib.crc32(whole)
