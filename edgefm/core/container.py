"""What this process may take of the machine: cores and memory, also where a container is given a part of them."""

from __future__ import annotations

import math
from pathlib import Path

from edgefm.core.environment import usable_cores

_CGROUP, _MEMINFO = Path("/sys/fs/cgroup"), Path("/proc/meminfo")
# A limit that no machine reaches is none: the first version of control groups writes the largest multiple of a page.
_NO_LIMIT = 1 << 60


def core_share(*, cgroup: Path = _CGROUP) -> int:
    """Return how many cores this process can keep busy: those that it may run on, and no more than it is given time of.

    Args:
      cgroup: where the control groups of Linux lie.
    """
    given = _numbers(cgroup / "cpu.max")
    if not given:
        given = _numbers(cgroup / "cpu" / "cpu.cfs_quota_us") + _numbers(cgroup / "cpu" / "cpu.cfs_period_us")
    if len(given) != 2 or given[0] <= 0:  # -1 is no limit
        return usable_cores()
    return min(usable_cores(), max(1, math.ceil(given[0] / given[1])))


def free_memory_bytes(*, cgroup: Path = _CGROUP, meminfo: Path = _MEMINFO) -> int:
    """Return the bytes of memory that this process and others beside it may still take without any being swapped out.

    Args:
      cgroup: where the control groups of Linux lie.
      meminfo: what its kernel says of the whole machine; elsewhere psutil is asked.
    """
    lines = _text(meminfo).splitlines()
    known = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    if not known:
        import psutil

        known = [int(psutil.virtual_memory().available)]
    for folder, limit, used, cached in (
        (cgroup, "memory.max", "memory.current", "inactive_file"),
        (cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, taken = _numbers(folder / limit), _numbers(folder / used)
        if most and taken and most[0] < _NO_LIMIT:
            parts = [line.split() for line in _text(folder / "memory.stat").splitlines()]
            given_back = next((int(part[1]) for part in parts if part[0] == cached), 0)
            known.append(max(0, most[0] - taken[0] + given_back))
    return min(known)


def _numbers(path: Path) -> tuple[int, ...]:
    """Return the numbers in a file; () where it is not there, or says that there is no limit ('max')."""
    words = _text(path).split()
    return () if "max" in words else tuple(int(word) for word in words)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
