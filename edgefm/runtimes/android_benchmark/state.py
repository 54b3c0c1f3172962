"""What may disturb a measurement on an Android device: heat, limits of its frequencies, battery saver.

Sources, in the Android Open Source Project's frameworks/base: services/core/java/com/android/server/BatteryService.java
and …/server/power/ThermalManagerService.java (what `dumpsys battery` and `dumpsys thermalservice` print),
core/java/android/os/Temperature.java (kinds of sensors) and PowerManager.java (THERMAL_STATUS_*). The frequencies are
the Linux kernel's (Documentation/admin-guide/pm/cpufreq.rst).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.runtimes.android_benchmark.adb import AndroidDevice

THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
# A frequency that is this much lower is another machine; smaller steps are the governor's.
FREQUENCY_SHARE = 0.10
_CPU, _SKIN = 0, 3  # Temperature.TYPE_CPU, TYPE_SKIN
_TEMPERATURE = re.compile(r"Temperature\{mValue=([-\d.]+), mType=(-?\d+), mName=([^,}]*), mStatus=(\d+)\}")

# One line of fields for each cluster of cores: governor, frequency now, greatest allowed now, greatest at all (kHz).
FREQUENCIES = (
    "for p in /sys/devices/system/cpu/cpufreq/policy*; do set --; "
    "for f in scaling_governor scaling_cur_freq scaling_max_freq cpuinfo_max_freq; do "
    'v=$(cat "$p/$f" 2>/dev/null); set -- "$@" "${v:--}"; done; echo "@policy ${p##*/} $*"; done'
)
SCRIPT = (
    "echo @battery; dumpsys battery; echo @thermal; dumpsys thermalservice; "
    "echo @saver; settings get global low_power; echo @load; cat /proc/loadavg; echo @frequencies; " + FREQUENCIES
)


@dataclass(frozen=True, kw_only=True)
class CoreCluster:
    """A cluster of cores that share a frequency; what is None is not told.

    Attributes:
      name: of the kernel's policy.
      governor: that sets the frequency.
      frequency_khz: at that moment.
      limit_khz: greatest that is allowed at that moment; a device that is too hot lowers it.
      greatest_khz: greatest that the cores can.
    """

    name: str
    governor: str | None
    frequency_khz: int | None
    limit_khz: int | None
    greatest_khz: int | None


@dataclass(frozen=True, kw_only=True)
class State:
    """A device at a moment; what is None is not told.

    Attributes:
      thermal_status: 0 (none) to 6 (shutdown), see THERMAL_STATUS.
      temperature_c: of the hottest core; of the skin, then of the battery, where no core is told.
      battery_percent: charge.
      battery_saver: whether the user's battery saver is on.
      load_average: of the last minute.
      clusters: of cores.
    """

    thermal_status: int | None
    temperature_c: float | None
    battery_percent: int | None
    battery_saver: bool | None
    load_average: float | None
    clusters: tuple[CoreCluster, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `edgefm.targets.base.Place.state` asks for, and the thermal status; absent is not known."""
        fastest = max(self.clusters, key=lambda cluster: cluster.greatest_khz or 0, default=None)
        values = {
            "load_average": self.load_average,
            "temperature_c": self.temperature_c,
            "frequency_khz": fastest.frequency_khz if fastest else None,
            "frequency_limit_khz": fastest.limit_khz if fastest else None,
            "governor": fastest.governor if fastest else None,
            "battery_percent": self.battery_percent,
            "thermal_status": self.thermal_status,
        }
        return {name: value for name, value in values.items() if value is not None}


def current(device: AndroidDevice) -> State:
    """Return the state of a device now."""
    return read(device.shell(SCRIPT, doing="asking for its state").output)


def read(text: str) -> State:
    """Return the state that the output of SCRIPT tells."""
    parts = _parts(text)
    battery = dict(re.findall(r"^\s+([\w ]+?): (\S+)$", parts.get("battery", ""), flags=re.MULTILINE))
    thermal = parts.get("thermal", "")
    status = re.search(r"^Thermal Status: (\d+)", thermal, flags=re.MULTILINE)
    saver = parts.get("saver", "").strip()
    return State(
        thermal_status=int(status[1]) if status else None,
        temperature_c=_temperature(thermal, battery.get("temperature")),
        battery_percent=_integer(battery.get("level")),
        battery_saver={"1": True, "0": False, "null": False}.get(saver),  # never set is off
        load_average=_real(parts.get("load", "").split(" ")[0]),
        clusters=clusters(text),
    )


def without_clusters(text: str) -> str:
    """Return an output without what FREQUENCIES added to it."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("@policy "))


def clusters(text: str) -> tuple[CoreCluster, ...]:
    """Return the clusters that the output of FREQUENCIES tells."""
    listed = []
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == ["@policy"] and len(fields) == 6:
            _, name, governor, *frequencies = fields
            now, limit, greatest = map(_integer, frequencies)
            known = None if governor == "-" else governor
            listed.append(
                CoreCluster(name=name, governor=known, frequency_khz=now, limit_khz=limit, greatest_khz=greatest)
            )
    return tuple(listed)


def refusals(before: State, after: State) -> tuple[str, ...]:
    """Return why the times of a turn are those of a slower device than this one, in words; empty where they are not.

    Args:
      before: the device before the turn.
      after: and behind it.
    """
    reasons = []
    worst = max((state for state in (before, after)), key=lambda state: state.thermal_status or 0)
    if worst.thermal_status:
        name = THERMAL_STATUS[min(worst.thermal_status, len(THERMAL_STATUS) - 1)]
        at = "" if worst.temperature_c is None else f", {worst.temperature_c:.0f} C"
        reasons.append(f"the device throttled: thermal status {worst.thermal_status} ({name}){at}")
    if before.battery_saver or after.battery_saver:
        reasons.append("battery saver is on")
    later = {cluster.name: cluster for cluster in after.clusters}
    for cluster in before.clusters:
        limit = later[cluster.name].limit_khz if cluster.name in later else None
        if _fell(cluster.limit_khz, limit):
            reasons.append(f"the limit of {cluster.name} fell from {_mhz(cluster.limit_khz)} to {_mhz(limit)}")
    return tuple(reasons)


def disturbances(loaded: Sequence[Sequence[CoreCluster]]) -> tuple[str, ...]:
    """Return what disturbed a turn, in words; empty where nothing is known of.

    Args:
      loaded: the clusters right behind each of the turn's processes, while the frequency is still that of the load.
    """
    # Which cores ran the model is not known: the fastest that was reached stands for them.
    reached = [max((cluster.frequency_khz or 0 for cluster in moment), default=0) for moment in loaded]
    if len(reached) > 1 and _fell(max(reached), reached[-1] or None):
        return (f"the frequency under load fell from {_mhz(max(reached))} to {_mhz(reached[-1])}",)
    return ()


def _fell(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after < before * (1 - FREQUENCY_SHARE)


def _mhz(khz: int | None) -> str:
    return f"{(khz or 0) / 1000:,.0f} MHz"


def _parts(sections: str) -> dict[str, str]:
    """Return the output of each of the script's commands by its name."""
    pieces = re.split(r"^@(battery|thermal|saver|load|frequencies)$", sections, flags=re.MULTILINE)
    return {name: text.strip("\n") for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}


def _temperature(thermal: str, battery: str | None) -> float | None:
    """Return the temperature of the hottest core, or of what comes nearest."""
    # What is measured now stands behind what was remembered.
    _, _, current = thermal.partition("Current temperatures from HAL:")
    sensors = [(int(kind), _real(value)) for value, kind, _, _ in _TEMPERATURE.findall(current or thermal)]
    for wanted in (_CPU, _SKIN):
        known = [value for kind, value in sensors if kind == wanted and value is not None]
        if known:
            return max(known)
    tenths = _integer(battery)
    return None if tenths is None else tenths / 10


def _integer(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch(r"-?\d+", value) else None


def _real(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
