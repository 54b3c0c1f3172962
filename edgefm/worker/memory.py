"""The memory of this process: how much it takes, and the most that it took."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")


def memory() -> tuple[int, int]:
    """Return (present, greatest so far) resident set of this process in bytes.

    On Linux from /proc (VmRSS, VmHWM; the kernel batches the counting, so that they are exact to a few hundred
    KB). Elsewhere the present figure is psutil's, the greatest the system's own (getrusage or the peak working set).
    """
    if _STATUS.exists():
        fields = _status()
        return fields["VmRSS"], fields["VmHWM"]
    import psutil

    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):
        return int(info.rss), int(info.peak_wset)
    import resource

    return int(info.rss), int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _status() -> dict[str, int]:
    """Return the sizes in /proc/self/status in bytes."""
    fields = {}
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            fields[name] = int(value.removesuffix(" kB")) * 1024
    return fields


def reset_peak() -> None:
    """Let the kernel count the peak anew (proc(5), clear_refs); where it may not, the import's peak stays in."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
