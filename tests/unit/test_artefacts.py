import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from edgefm.core import artefacts
from edgefm.core.errors import EdgefmError


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


@pytest.mark.parametrize("kind", ["FIFO", "socket", "link to a FIFO"])
def test_what_is_no_regular_file_keeps_its_place(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "table"
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        os.mkfifo(tmp_path / "fifo" if "link" in kind else path)
    if "link" in kind:
        path.symlink_to(tmp_path / "fifo")
    before = path.lstat().st_ino
    with pytest.raises(EdgefmError, match=f"{path} is a (FIFO|socket); a file is expected"):
        artefacts.write_text(path, "new")
    assert path.lstat().st_ino == before and not list(tmp_path.glob(".table*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make or replace a device")
def test_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "full"
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    with pytest.raises(EdgefmError, match="is a device; a file is expected"):
        artefacts.write_text(path, "new")
    assert stat.S_ISCHR(path.stat().st_mode)


def test_write_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        artefacts.write_json(tmp_path / "file.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_sha256_of_file_and_bytes_agree_with_known_sum(tmp_path: Path) -> None:
    path = artefacts.write_bytes(tmp_path / "file", b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert artefacts.sha256_file(path) == artefacts.sha256_bytes(b"abc") == known
