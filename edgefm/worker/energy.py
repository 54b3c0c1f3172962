"""Energy that the processor used, from the counters of Intel's and AMD's RAPL, where the kernel shows them.

The counters are those of whole packages: other programs' work and what the processor takes when idle are in them. A
battery's gauge is too coarse for one inference; what it says stands among the states of a benchmark
(`edgefm.core.environment.conditions`).

Source: Documentation/power/powercap/powercap.rst of the Linux kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_POWERCAP = Path("/sys/class/powercap")
# The counters move about every millisecond (Intel SDM, volume 3B, 15.10.2): over 20 ms that is 5 % at most.
LEAST_NS = 20_000_000


def domains() -> tuple[tuple[Path, int], ...] | str:
    """Return (counter, its greatest value) of each package in microjoules, or why there is none."""
    zones = sorted(path for path in _POWERCAP.glob("intel-rapl:*") if path.name.count(":") == 1)
    packages = [zone for zone in zones if _name(zone).startswith("package")]  # not 'psys', which holds the packages
    if not packages:
        return "the machine has no energy counter (no /sys/class/powercap/intel-rapl)"
    counters = []
    for package in packages:
        try:
            int((package / "energy_uj").read_text())
            counters.append((package / "energy_uj", int((package / "max_energy_range_uj").read_text())))
        except PermissionError:
            return "only root may read the energy counter here"
        except (OSError, ValueError) as error:
            return f"the energy counter cannot be read: {error}"
    return tuple(counters)


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def of_invoke(microjoules: int, invoke_ns: Sequence[int]) -> dict[str, Any]:
    """Return the joules of one of some invokes, or why they are not resolved.

    >>> of_invoke(900_000, [15_000_000] * 3)
    {'value': 0.3}
    >>> of_invoke(0, [2_000])["reason"]
    'the invokes took 0.002 ms together; the energy counter needs at least 20 ms'

    Args:
      microjoules: of all of them.
      invoke_ns: how long each took.
    """
    took_ns = sum(invoke_ns)
    if took_ns < LEAST_NS:
        reason = (
            f"the invokes took {took_ns / 1e6:g} ms together; the energy counter needs at least {LEAST_NS / 1e6:g} ms"
        )
        return {"value": None, "reason": reason}
    return {"value": microjoules / 1e6 / len(invoke_ns)}


class Meter:
    """Reads the counters twice; the difference is the energy between."""

    def __init__(self) -> None:
        counters = domains()
        self.reason = counters if isinstance(counters, str) else None
        self._domains = () if isinstance(counters, str) else counters

    def start(self) -> None:
        """Read the counters."""
        try:
            self._before = [int(path.read_text()) for path, _ in self._domains]
        except (OSError, ValueError) as error:
            self.reason, self._domains = f"the energy counter cannot be read: {error}", ()

    def microjoules(self) -> int | None:
        """Return the energy since `start`, or None where there is no counter; one that wrapped round is put right."""
        if not self._domains:
            return None
        try:
            after = [int(path.read_text()) for path, _ in self._domains]
        except (OSError, ValueError) as error:
            self.reason = f"the energy counter cannot be read: {error}"
            return None
        return sum(
            (now - before) % (greatest + 1)
            for now, before, (_, greatest) in zip(after, self._before, self._domains, strict=True)
        )
