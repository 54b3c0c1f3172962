"""Whether a page got the processor while it was timed, as Linux tells it of its main thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# A timed loop never waits by itself; the same share as edgefm allows its own timed loops.
OFF_PROCESSOR_SHARE = 0.02


class MainThreadWatch:
    """Watches the main threads of some processes from its making on; the busiest is the one that is meant.

    /proc/PID/schedstat holds of the main thread: ns on a processor, ns runnable but waiting for one, and the number
    of times it got one (Linux, Documentation/scheduler/sched-stats.rst). Where that is not told, nothing is found.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._before = {pid: _schedstat(pid) for pid in pids}

    def reasons(self) -> tuple[str, ...]:
        """Return why the time since the making counts as disturbed; empty where it does not."""
        spans = [
            (after[0] - before[0], after[1] - before[1])
            for pid, before in self._before.items()
            if before is not None and (after := _schedstat(pid)) is not None
        ]
        ran_ns, waited_ns = max(spans, default=(0, 0))
        share = waited_ns / max(1, ran_ns + waited_ns)
        if share <= OFF_PROCESSOR_SHARE:
            return ()
        return (f"the page was off the processor for {100 * share:.1f} % of its turn",)


def _schedstat(pid: int) -> tuple[int, int] | None:
    try:
        ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return int(ran), int(waited)
