"""Temporary folders: the user's own, removed at the end, swept after a kill; nothing of others is opened or changed."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from edgefm.benchmarking import presence
from edgefm.core import scratch


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a folder for temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_folder_is_the_users_alone_and_gone_at_the_end(temporary: Path) -> None:
    with scratch.folder("job") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(scratch.root_folder().stat().st_mode) == 0o700
        assert folder.parent.parent == temporary
    assert list(scratch.root_folder().iterdir()) == []


def test_a_kept_folder_goes_with_the_last_reference() -> None:
    kept = scratch.Kept("results")
    path = kept.path
    assert path.is_dir()
    del kept
    gc.collect()
    assert not path.exists()


def test_what_a_killed_process_left_is_swept_and_what_runs_stays(temporary: Path) -> None:
    program = (
        "import sys, time\nfrom edgefm.core import scratch\n"
        "folder = scratch.make('killed')\n(folder / 'big').write_bytes(bytes(1000))\n"
        "print(folder, flush=True)\ntime.sleep(60)\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        first, second = (Path(child.stdout.readline().strip()) for child in children if child.stdout is not None)
        assert (first / "big").exists() and (second / "big").exists()
        children[0].send_signal(signal.SIGKILL)
        children[0].wait()
        with scratch.folder("next"):
            assert not first.exists()
            assert (second / "big").exists(), "a process that runs keeps its folder"
    finally:
        for child in children:
            child.kill()
            child.wait()
    with scratch.folder("last") as folder:
        assert sorted(scratch.root_folder().iterdir()) == sorted([folder, folder.with_name(folder.name + ".lock")])


@pytest.mark.parametrize("trap", ["link", "file", "foreign"])
def test_what_is_not_the_users_folder_is_neither_used_nor_changed(
    trap: str, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    (victim / "precious.lock").write_text("mine")
    (victim / "precious").mkdir()
    wanted = temporary / f"edgefm-{os.getuid()}"
    if trap == "link":
        wanted.symlink_to(victim)
    elif trap == "file":
        wanted.write_text("")
    else:
        wanted.mkdir()
        owner = os.getuid() + 1
        monkeypatch.setattr(scratch, "_user", lambda: str(os.getuid()))
        monkeypatch.setattr(os, "getuid", lambda: owner)
    before = wanted.lstat()
    with scratch.folder("job") as folder:
        assert folder.parent != wanted and not folder.is_relative_to(victim)
        with presence.announced():
            assert presence.others() == []
    assert (victim / "precious").is_dir() and (victim / "precious.lock").read_text() == "mine"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o755
    assert (wanted.lstat().st_mode, wanted.lstat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_a_fifo_among_the_locks_stops_nothing() -> None:
    os.mkfifo(scratch.root_folder() / "trap.lock")
    os.mkfifo(scratch.root_folder() / "benchmark-of-1-fifo")
    started = time.monotonic()
    with scratch.folder("job"), presence.announced():
        presence.others()
    assert time.monotonic() - started < 5


def test_a_link_among_the_locks_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("x")
    (scratch.root_folder() / "trap.lock").symlink_to(mine)
    scratch.sweep(scratch.root_folder())
    assert mine.read_text() == "x"
