"""An Android device as a record's environment: what `edgefm.core.environment` tells of a machine."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from typing import Any

from edgefm.core import environment
from edgefm.runtimes.android_benchmark import state as device_state
from edgefm.runtimes.android_benchmark.adb import AndroidDevice
from edgefm.runtimes.android_benchmark.program import find as find_program

_SCRIPT = (
    "uname -sr; uname -m; echo @cores; ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l; "
    "echo @memory; cat /proc/meminfo; echo @cpu; cat /proc/cpuinfo"
)


def environment_of(device: AndroidDevice) -> dict[str, Any]:
    """Return the environment of a device, with the keys of `edgefm.core.environment.environment`.

    `cpu` names SoC and device, `python` and the packages are those of this machine, where the worker runs.
    """
    text = device.shell(_SCRIPT, doing="asking what it is").output
    kernel, cores, memory, cpu = re.split(r"^@(?:cores|memory|cpu)$", text, flags=re.MULTILINE)
    facts = describe(device.properties())
    state = device_state.current(device)
    names = [facts[key] for key in ("soc", "device") if key in facts]
    total = re.search(r"^MemTotal:\s+(\d+) kB", memory, flags=re.MULTILINE)
    governors = sorted({cluster.governor for cluster in state.clusters if cluster.governor})
    program = find_program(device)
    return {
        "cpu": f"{names[0]} ({names[1]})" if len(names) == 2 else (names or ["unknown"])[0],
        "cores": int(cores.strip()) if cores.strip().isdigit() else 1,
        "memory_bytes": int(total[1]) * 1024 if total else 0,
        "os": f"Android {facts.get('android', '?')} ({', '.join(kernel.split(chr(10))).strip(', ')})",
        "python": platform.python_version(),
        "versions": {**environment.versions(), "benchmark_model": program.sha256[:12]},
        "load_average": None if state.load_average is None else [state.load_average],
        "governor": ", ".join(governors) or {"value": None, "reason": "the device does not report it"},
        "cpu_features": environment.cpu_features(cpu),
    }


def describe(properties: Mapping[str, str]) -> dict[str, str]:
    """Return what a device is, from its properties; what it does not tell is absent."""
    get = properties.get
    maker, model = get("ro.product.manufacturer", ""), get("ro.product.model", "")
    # The SoC's properties came with Android 12.
    soc = " ".join(filter(None, (get("ro.soc.manufacturer"), get("ro.soc.model")))) or get("ro.board.platform", "")
    facts = {
        "device": f"{maker} {model}".strip(),
        "soc": soc or get("ro.hardware", ""),
        "android": get("ro.build.version.release", ""),
        "abi": get("ro.product.cpu.abi", ""),
    }
    return {name: value for name, value in facts.items() if value}


def environment_here() -> dict[str, Any]:
    """Return the environment of the device that this process uses."""
    return environment_of(AndroidDevice())
