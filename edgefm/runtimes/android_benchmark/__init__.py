"""A phone's own times: Google's benchmark_model, run on an Android device through adb by a worker of this machine.

Environment variables: ANDROID_SERIAL (adb's own) names the device, EDGEFM_ANDROID_BENCHMARK the program,
EDGEFM_ANDROID_FOLDER the folder on the device (the target 'adb' sets it, and removes the folder).
"""

from __future__ import annotations

import functools
from pathlib import Path

from edgefm.core.errors import ModelError, unknown_name
from edgefm.runtimes import model_ends, tflite_ends
from edgefm.runtimes.android_benchmark import program
from edgefm.runtimes.android_benchmark.adb import INSTALL as _INSTALL_ADB
from edgefm.runtimes.android_benchmark.adb import AdbError, AndroidDevice
from edgefm.runtimes.android_benchmark.program import Program
from edgefm.runtimes.android_benchmark.session import AndroidSession
from edgefm.runtimes.base import Availability, Available, Unavailable
from edgefm.runtimes.session import check_threads

name = "android-benchmark"
KERNELS = ("xnnpack", "builtin")
INSTALL = f"{_INSTALL_ADB}; {program.INSTALL}"
# The model's memory is the device's.
LIMITS_MEMORY = False


def version() -> str:
    """Return which program it is, by its content: benchmark_model tells no version."""
    return f"benchmark_model {_program().sha256[:12]}"


def availability() -> Availability:
    """Return whether adb, a device and benchmark_model are there."""
    try:
        _program()
    except AdbError as error:
        return Unavailable(error.message, remedy=error.hint)
    return Available()


def load(path: Path, *, threads: int = 1, kernels: str = KERNELS[0]) -> AndroidSession:
    """Return a session of a .tflite file on the device; see `edgefm.runtimes.base.Runtime.load`."""
    check_threads(threads)
    if kernels not in KERNELS:
        raise unknown_name("kernel set", kernels, KERNELS)
    ends = tflite_ends.read(path)
    model_ends.check(path, ends)
    model_ends.check_single(path, ends, runtime="benchmark_model")
    if not ends.inputs[0].details.shape:
        raise ModelError(f"the input of {path} has no dimensions, which benchmark_model does not support")
    return AndroidSession(path, ends, device=_device(), program=_program(), threads=threads, kernels=kernels)


@functools.cache
def _device() -> AndroidDevice:
    """Return the device that ANDROID_SERIAL names, or the only one; looked for once in a process."""
    return AndroidDevice()


@functools.cache
def _program() -> Program:
    """Return benchmark_model on that device; looked for once in a process."""
    return program.find(_device())
