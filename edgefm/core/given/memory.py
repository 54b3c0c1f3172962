"""A limit on what this process itself may allocate while a library builds what a file of others describes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Libraries start threads for each core, of which each has a stack.
_THREADS_BYTES = 16 << 20
_STATUS = Path("/proc/self/status")


@contextmanager
def limited(more_bytes: int) -> Iterator[None]:
    """Let this process take at most so many bytes more than now; an allocation beyond them fails like a full memory.

    Python raises MemoryError then, libraries their own errors. Only memory that can be written counts, not addresses
    that are merely reserved, as drivers of graphics cards do. Where the system knows no such limit (others than Linux)
    there is none.
    """
    present = _present_bytes()
    if present is None:
        yield
        return
    import os
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = present + more_bytes + (os.cpu_count() or 1) * _THREADS_BYTES
    if before[0] != resource.RLIM_INFINITY:
        limit = min(limit, before[0])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _present_bytes() -> int | None:
    """Return the bytes that count against the limit now; None where the system does not tell."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), None)
