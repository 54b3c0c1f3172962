"""A limit on what this process may allocate while a library builds or runs what a file of others describes.

Only memory that can be written counts, not addresses that are merely reserved, as drivers of graphics cards do, nor a
file that is mapped. An allocation beyond the limit fails like a full memory: Python raises MemoryError then, libraries
their own errors. Where the system knows no such limit (others than Linux) there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Libraries start threads for each core, of which each has a stack.
_THREADS_BYTES = 16 << 20
_STATUS = Path("/proc/self/status")


@contextmanager
def limited(more_bytes: int) -> Iterator[None]:
    """Let this process take at most so many bytes more than now, within the block."""
    before = limit(more_bytes)
    try:
        yield
    finally:
        if before is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, before)


def limit(more_bytes: int) -> tuple[int, int] | None:
    """Let this process, and those it starts, take at most so many bytes more than now from here on.

    Returns:
      the limits of before, soft and hard; None where the system has none.
    """
    present = _present_bytes()
    if present is None:
        return None
    import os
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    most = present + more_bytes + (os.cpu_count() or 1) * _THREADS_BYTES
    if before[0] != resource.RLIM_INFINITY:
        most = min(most, before[0])
    resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    return before


def lift() -> None:
    """Undo, in a process that a limited one started for another program, what that one limited."""
    if _present_bytes() is not None:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _present_bytes() -> int | None:
    """Return the bytes that count against the limit now; None where the system does not tell."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), None)
