"""The machine and the software that a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefm.core import subprocesses

# What decides a result or a speed. Only those that are installed are reported.
PACKAGES = (
    "edgefm",
    "numpy",
    "ai-edge-litert",
    "tflite-runtime",
    "tflite-micro",
    "openvino",
    "onnxruntime",
    "flatbuffers",
    "tensorflow",
    "keras",
    "tf-keras",
    "tensorflow-model-optimization",
    "litert-quantizer",
    "jax",
    "jaxlib",
    "torch",
    "ml-dtypes",
    "protobuf",
    "matplotlib",
    "jinja2",
    "pillow",
)

# Vector instructions that the kernels of the runtimes choose by, in the Linux kernel's spelling.
CPU_FEATURES = {
    "fma": "fused multiply-add",
    "avx2": "256-bit integers",
    "avx512f": "512-bit registers",
    "avx512_vnni": "int8 dot products, 512 bits",
    "avx_vnni": "int8 dot products, 256 bits",
    "avx512_bf16": "bfloat16 dot products",
    "avx512_fp16": "float16 arithmetic",
    "amx_tile": "matrix tiles",
    "amx_int8": "int8 matrix tiles",
    "amx_bf16": "bfloat16 matrix tiles",
    "asimd": "NEON",
    "asimdhp": "NEON float16 arithmetic",
    "asimddp": "NEON int8 dot products",
    "i8mm": "NEON int8 matrix products",
    "bf16": "NEON bfloat16",
    "sve": "scalable vectors",
    "sve2": "scalable vectors 2",
}

# Names of instructions that multiply bytes several at a time, as processors report them.
_BYTE_PRODUCTS = ("vnni", "dotprod", "asimddp", "i8mm", "amx_int8")
_CPUINFO = Path("/proc/cpuinfo")
_DEVICE_TREE_MODEL = Path("/sys/firmware/devicetree/base/model")
_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_GOVERNOR = _CPUFREQ / "scaling_governor"
_FREQUENCY = _CPUFREQ / "scaling_cur_freq"
_THERMAL = Path("/sys/class/thermal")
_POWER_SUPPLY = Path("/sys/class/power_supply")


def environment() -> dict[str, Any]:
    """Return what a benchmark record states of the machine, as JSON (see the record's schema).

    `cores` are those this process may use, `affinity` their numbers; `load_average` is that of this moment (1, 5
    and 15 minutes; None where the system has none). Takes less than 0.1 s and imports no heavy library.
    """
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": _memory_bytes(),
        "os": operating_system(),
        "python": platform.python_version(),
        "versions": versions(),
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "governor": governor(),
        "cpu_features": cpu_features(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the installed packages of `PACKAGES`, read from their metadata."""
    known = {name: version(name) for name in PACKAGES}
    return {name: number for name, number in known.items() if number is not None}


def version(package: str) -> str | None:
    """Return the version of an installed package, or None; imports nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model(cpuinfo: str | None = None) -> str:
    """Return the processor's name as the system tells it.

    Args:
      cpuinfo: text of /proc/cpuinfo; read from the system where None.
    """
    fields = _fields(_text(_CPUINFO) if cpuinfo is None else cpuinfo)
    for name in ("model name", "Model", "Hardware"):
        if fields.get(name):
            return fields[name]
    if sys.platform == "darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    board = _text(_DEVICE_TREE_MODEL).rstrip("\0\n")
    if board:
        return board
    if "CPU part" in fields:
        part, implementer = fields["CPU part"], fields.get("CPU implementer", "?")
        return f"{platform.machine()} implementer {implementer} part {part}"
    return platform.processor() or platform.machine() or "unknown"


def cpu_features(cpuinfo: str | None = None) -> list[str]:
    """Return the names from `CPU_FEATURES` that the processor has; empty where the system does not tell.

    Args:
      cpuinfo: text of /proc/cpuinfo; read from the system where None.
    """
    fields = _fields(_text(_CPUINFO) if cpuinfo is None else cpuinfo)
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return [name for name in CPU_FEATURES if name in flags]


def multiplies_bytes(environment: Mapping[str, Any]) -> bool:
    """Return whether a recorded environment has instructions for int8 products; True where nothing is known of it."""
    features = environment.get("cpu_features")
    if not isinstance(features, list) or not features:
        return True
    return any(name in str(feature) for feature in features for name in _BYTE_PRODUCTS)


def usable_cores() -> int:
    """Return the number of logical cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def operating_system() -> str:
    """Return the distribution with its kernel and machine type, e.g. 'Debian 12 (Linux 6.1, x86_64)'."""
    kernel = f"{platform.system()} {platform.release()}, {platform.machine()}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']} ({kernel})"
    except (OSError, KeyError):
        return kernel


def governor() -> str | dict[str, str | None]:
    """Return the first core's frequency governor, or null with the reason why it is not known."""
    name = _text(_GOVERNOR).strip()
    if name:
        return name
    if sys.platform != "linux":
        return {"value": None, "reason": f"{platform.system()} has no frequency governor"}
    return {
        "value": None,
        "reason": "the kernel shows no cpufreq here: a virtual machine, or fixed by firmware",
    }


def conditions() -> dict[str, Any]:
    """Return what may disturb a measurement at this moment; what the system does not tell is absent.

    Keys: 'load_average' (of the last minute), 'temperature_c' (the hottest zone), 'frequency_khz' (of the first core),
    'governor'; of a battery 'battery_status' ('Discharging') and 'battery_energy_j', what its gauge says is left.
    """
    state: dict[str, Any] = {}
    if hasattr(os, "getloadavg"):
        state["load_average"] = round(os.getloadavg()[0], 2)
    zones = [_text(zone / "temp").strip() for zone in _THERMAL.glob("thermal_zone*")]
    degrees = [int(zone) / 1000 for zone in zones if zone.lstrip("-").isdigit()]
    if degrees:
        state["temperature_c"] = max(degrees)
    frequency = _text(_FREQUENCY).strip()
    if frequency.isdigit():
        state["frequency_khz"] = int(frequency)
    policy = _text(_GOVERNOR).strip()
    if policy:
        state["governor"] = policy
    return state | _battery()


def _battery() -> dict[str, Any]:
    """Return what the first battery's gauge tells; nothing where there is none."""
    for supply in sorted(_POWER_SUPPLY.glob("*")):
        if _text(supply / "type").strip() != "Battery":
            continue
        energy = _text(supply / "energy_now").strip()  # microwatt-hours
        state: dict[str, Any] = {"battery_energy_j": int(energy) * 3.6e-3} if energy.isdigit() else {}
        status = _text(supply / "status").strip()
        return state | ({"battery_status": status} if status else {})
    return {}


def _memory_bytes() -> int:
    """Return the size of the machine's memory."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import psutil

    return int(psutil.virtual_memory().total)


def _fields(cpuinfo: str) -> dict[str, str]:
    """Return the first value of each field of /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return fields


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(command: list[str]) -> str:
    try:
        result = subprocesses.run(command, seconds=2)
    except subprocesses.CommandError:
        return ""
    return "" if result.code else result.output.strip()
