"""Other benchmarks on the same machine: each says that it runs, and sees the others.

Each holds a lock on a file of its own in the user's folder for temporary files. A lock ends with its process, however
that ends, and holds across containers that share the folder. Benchmarks of other users are not seen: nothing that
others can write is opened.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence

from edgefm.core.scratch import root_folder

_PREFIX = "benchmark-of-"
_mine: set[str] = set()


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say to others, within the `with` block, that a benchmark runs here."""
    try:
        import fcntl
    except ImportError:  # Windows: nobody is told
        yield
        return
    try:
        path = root_folder() / f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:  # a full folder: measuring goes on without
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
        paths = [path for path in root_folder().glob(f"{_PREFIX}*") if path.name not in _mine]
    except OSError:
        return []
    pids = []
    for path in paths:
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        try:
            opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
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
