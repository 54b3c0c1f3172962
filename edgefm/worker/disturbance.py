"""What kept a turn from running undisturbed: told by its causes, never by the times that came out.

To flag a turn because it was slow would make every model look steady. So the worker watches what else happened
while it was timed: was it taken off the processor, did the hypervisor take time away, what did other programs use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# A timed loop never waits; time in which its process did not run went to somebody else.
OFF_PROCESSOR_SHARE = 0.02
# /proc/stat counts in ticks of 10 ms: one tick of a short turn proves nothing.
STOLEN_SHARE, STOLEN_TICKS = 0.02, 2
# Share of the cores that the model leaves free which other programs may use; its own ticks are rounded.
OTHERS_SHARE, OTHERS_TICKS = 0.5, 3
_STAT = Path("/proc/stat")
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)


class Watch:
    """Watches this process and its machine from `start` to `stop`."""

    def start(self) -> None:
        """Begin to watch."""
        self._ticks = _ticks()
        self._switches = _involuntary_switches()
        self._cpu_ns = time.process_time_ns()
        self._wall_ns = time.perf_counter_ns()

    def stop(self) -> dict[str, Any]:
        """Return what happened since `start`; what the system does not tell is absent.

        Keys: 'wall_ns'; 'cpu_ns' of all threads of this process; 'involuntary_switches'; 'stolen_share' of the
        machine's time by the hypervisor, with 'stolen_ticks'; 'other_cores': processor time that other programs
        used on the cores that this process may run on, in cores, with 'other_ticks'.
        """
        wall_ns = time.perf_counter_ns() - self._wall_ns
        cpu_ns = time.process_time_ns() - self._cpu_ns
        conditions: dict[str, Any] = {"wall_ns": wall_ns, "cpu_ns": cpu_ns}
        switches = _involuntary_switches()
        if switches is not None and self._switches is not None:
            conditions["involuntary_switches"] = switches - self._switches
        ticks = _ticks()
        if ticks is not None and self._ticks is not None:
            spent = [after - before for before, after in zip(self._ticks, ticks, strict=True)]
            total = max(1, sum(spent))
            busy = total - spent[_IDLE] - spent[_IOWAIT] - spent[_STEAL]
            per_second = os.sysconf("SC_CLK_TCK")
            conditions["stolen_ticks"] = spent[_STEAL]
            conditions["stolen_share"] = round(spent[_STEAL] / total, 4)
            # Both are rounded to ticks; a small negative difference is none.
            other = max(0.0, busy - cpu_ns / 1e9 * per_second)
            conditions["other_ticks"] = round(other, 1)
            conditions["other_cores"] = round(other / per_second / (wall_ns / 1e9), 3)
        return conditions


def reasons(conditions: Mapping[str, Any], *, threads: int, cores: int) -> list[str]:
    """Return why a turn counts as disturbed; empty where it does not.

    Args:
      conditions: from `Watch.stop`.
      threads: of the runtime; with several, waiting for each other is part of the time.
      cores: that the process may use.
    """
    causes = []
    off = 1 - conditions["cpu_ns"] / max(1, conditions["wall_ns"])
    if threads == 1 and off > OFF_PROCESSOR_SHARE:
        causes.append(f"off the processor for {100 * off:.1f} % of its turn")
    stolen = conditions.get("stolen_share", 0.0)
    if stolen > STOLEN_SHARE and conditions["stolen_ticks"] >= STOLEN_TICKS:
        causes.append(f"the hypervisor took {100 * stolen:.1f} % of the processor time")
    others = conditions.get("other_cores", 0.0)
    if others > OTHERS_SHARE * max(1, cores - threads) and conditions["other_ticks"] >= OTHERS_TICKS:
        causes.append(f"other programs used {others:.1f} of {cores} cores")
    return causes


def _ticks() -> list[int] | None:
    """Return the time by kind of the cores that this process may use, since the machine's start, in ticks.

    None where the system does not tell.
    """
    try:
        rows = [line.split() for line in _STAT.read_text(encoding="ascii").splitlines() if line.startswith("cpu")]
    except OSError:
        return None
    usable = {f"cpu{core}" for core in os.sched_getaffinity(0)} if hasattr(os, "sched_getaffinity") else {"cpu"}
    ticks = [[int(text) for text in row[1 : _STEAL + 2]] for row in rows if row[0] in usable]
    if not ticks or any(len(row) != _STEAL + 1 for row in ticks):
        return None
    return [sum(kind) for kind in zip(*ticks, strict=True)]


def _involuntary_switches() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
