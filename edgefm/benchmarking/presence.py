"""Other benchmarks on the same machine: each says that it runs, and sees the others.

A file for each process in the folder for temporary files; the file of a process that is gone is ignored and removed.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FOLDER = "edgefm-benchmarks"
_PROCESSES = Path("/proc")


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say to others, within the `with` block, that a benchmark runs here."""
    mine = _folder() / str(os.getpid())
    try:
        mine.parent.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            mine.parent.chmod(0o1777)  # like the folder it lies in: for everybody
        mine.write_text("", encoding="utf-8")
    except OSError:  # a full or foreign folder: measuring goes on without
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            mine.unlink()


def others() -> list[int]:
    """Return the process ids of other benchmarks that run on this machine now."""
    found = []
    try:
        names = [path.name for path in _folder().iterdir() if path.name.isdigit()]
    except OSError:
        return []
    for name in names:
        if int(name) == os.getpid():
            continue
        if _alive(int(name)):
            found.append(int(name))
        else:
            with contextlib.suppress(OSError):
                (_folder() / name).unlink()
    return sorted(found)


def _alive(pid: int) -> bool:
    if _PROCESSES.joinpath("self").exists():
        return _PROCESSES.joinpath(str(pid)).exists()
    import psutil

    return bool(psutil.pid_exists(pid))


def _folder() -> Path:
    return Path(tempfile.gettempdir()) / _FOLDER
