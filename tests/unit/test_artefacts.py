import errno
import os
from pathlib import Path

import pytest

from edgefm.core import artefacts


def test_write_bytes_leaves_old_content_and_no_rest_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.json"
    artefacts.write_text(path, "old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        artefacts.write_text(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]
    assert path.read_text() == "old"


def test_write_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        artefacts.write_json(tmp_path / "file.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_sha256_of_file_and_bytes_agree_with_known_sum(tmp_path: Path) -> None:
    path = artefacts.write_bytes(tmp_path / "file", b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert artefacts.sha256_file(path) == artefacts.sha256_bytes(b"abc") == known
