"""A board's state: what may disturb a measurement there."""

from __future__ import annotations

from typing import Any

SCRIPT = (
    "for f in /proc/loadavg /sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq "
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor "
    "/sys/class/thermal/thermal_zone*/temp /sys/class/power_supply/BAT*/capacity; do "
    'if [ -r "$f" ]; then echo "$f $(cat "$f" 2>/dev/null)"; fi; done'
)


def read(text: str) -> dict[str, Any]:
    r"""Return what SCRIPT tells as values: see `edgefm.targets.base.Place.state`.

    >>> read("/proc/loadavg 0.31 0.2 0.1 1/99 7\n/sys/class/thermal/thermal_zone0/temp 48312\n")
    {'load_average': 0.31, 'temperature_c': 48.312}
    """
    state: dict[str, Any] = {}
    for line in text.splitlines():
        path, _, value = line.partition(" ")
        first = value.split(" ")[0]
        try:
            if path == "/proc/loadavg":
                state["load_average"] = float(first)
            elif path.endswith("/temp"):  # the hottest zone, as on this machine
                state["temperature_c"] = max(int(first) / 1000, state.get("temperature_c", -273.15))
            elif path.endswith("/scaling_cur_freq"):
                state["frequency_khz"] = int(first)
            elif path.endswith("/scaling_governor") and first:
                state["governor"] = first
            elif path.endswith("/capacity"):
                state["battery_percent"] = int(first)
        except ValueError:  # an empty file: a sensor that is off
            continue
    return state
