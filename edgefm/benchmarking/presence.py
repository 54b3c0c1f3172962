"""Other benchmarks on the same machine: each says that it runs, and sees the others.

Each holds a lock on a file of its own in the folder for temporary files. A lock ends with its process, however that
ends, and holds across containers that share the folder.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

_FOLDER = "edgefm-benchmarks"
_mine: set[str] = set()


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say to others, within the `with` block, that a benchmark runs here."""
    try:
        import fcntl
    except ImportError:  # Windows: nobody is told
        yield
        return
    path = _folder() / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            path.parent.chmod(0o1777)  # like the folder it lies in: for everybody
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:  # a full or foreign folder: measuring goes on without
        yield
        return
    _mine.add(path.name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)
        _mine.discard(path.name)


def others() -> list[int]:
    """Return the process ids of other benchmarks that run on this machine now, as they call themselves."""
    try:
        import fcntl
    except ImportError:
        return []
    try:
        paths = [path for path in _folder().iterdir() if path.name not in _mine]
    except OSError:
        return []
    pids = []
    for path in paths:
        pid = path.name.partition("-")[0]
        try:
            opened = os.open(path, os.O_RDONLY)
        except OSError:  # it has just ended
            continue
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if pid.isdigit():
                pids.append(int(pid))
        else:  # nobody holds it: what a killed process left
            with contextlib.suppress(OSError):
                path.unlink()
        finally:
            os.close(opened)
    return sorted(pids)


def sentence_on(beside: Sequence[int]) -> str:
    """Return a sentence on other benchmarks, at least one, that run beside this one."""
    several = f"{len(beside)} other edgefm benchmarks run" if len(beside) > 1 else "another edgefm benchmark runs"
    return f"{several} on this machine at the same time: they disturb each other's latencies"


def _folder() -> Path:
    return Path(tempfile.gettempdir()) / _FOLDER
