"""An Android device: `adb`, or `adb:SERIAL` as 'adb devices' shows it.

Nothing is installed there. A worker of this machine sends the model to a session folder below /data/local/tmp/edgefm
and runs Google's benchmark_model through adb (`edgefm.runtimes.android_benchmark`); the session folder is removed at
the end. A benchmark_model that was sent stays beside it, by the hash of its content, so that it is sent once.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edgefm import runtimes
from edgefm.core.errors import RecipeError
from edgefm.runtimes.android_benchmark import device_runs, program, state
from edgefm.runtimes.android_benchmark.adb import SERIAL, AdbError, AndroidDevice
from edgefm.runtimes.base import Availability, Available, Unavailable
from edgefm.targets.base import Figure, Mode, TargetError
from edgefm.targets.host import HostPlace
from edgefm.targets.worker_start import start_here

_RUNTIME = "android-benchmark"
_WORKER = "edgefm.targets.adb.worker"


def target(rest: str) -> Adb:
    """Return the device of a serial number, or the only one.

    Args:
      rest: serial number; a device in the network has its address as one, e.g. '192.168.1.7:5555'.
    """
    if rest.startswith("-") or any(sign.isspace() for sign in rest):
        raise RecipeError(f"the target 'adb:{rest}' is not understood", hint="Write adb or adb:SERIAL.")
    return Adb(rest or None)


class Adb:
    """An Android device; its times are those that benchmark_model takes there."""

    mode: Mode = "measured"
    latency = True
    runtimes: tuple[str, ...] = (_RUNTIME,)

    def __init__(self, serial: str | None) -> None:
        self.name = "adb" if serial is None else f"adb:{serial}"
        self._serial = serial

    def availability(self) -> Availability:
        """Return whether adb, the device and benchmark_model are there."""
        try:
            program.find(AndroidDevice(self._serial))
        except AdbError as error:
            return Unavailable(error.message, remedy=error.hint)
        return Available()

    def open(self, runtime: str) -> AdbPlace:
        """Return a place: workers run here, models there.

        Raises:
          TargetError: the runtime is another one, or the device cannot be used.
        """
        if runtimes.split(runtime)[0] != _RUNTIME:
            raise TargetError(f"the runtime '{runtime}' is not available through adb", hint=f"Use '{_RUNTIME}'.")
        with _as_target_error():
            return AdbPlace(AndroidDevice(self._serial))

    def figures(self, model: Path) -> tuple[Figure, ...]:
        """Nothing beside what workers measure."""
        return ()


class AdbPlace(HostPlace):
    """Processes of this machine, and a folder on the device for what they send there."""

    def __init__(self, device: AndroidDevice) -> None:
        """Make the folder on the device.

        Raises:
          AdbError: it cannot be made.
        """
        program.find(device)  # first: where there is none, nothing is left there either
        self._device = device
        self.there = f"{program.FOLDER}/session-{secrets.token_hex(4)}"
        stale = f"find {program.FOLDER} -maxdepth 1 -name 'session-*' -mtime +1 -exec rm -rf {{}} \\;"
        result = device.shell(f"mkdir -p {self.there} && {{ {stale}; true; }}", doing="making a folder")
        if result.status:
            raise AdbError(f"adb:{device.serial}: making a folder there failed: {result.output.strip()}")
        super().__init__()

    def start(self, *, log: IO[bytes]) -> subprocess.Popen[str]:
        """Return a new worker process of this machine that uses the device."""
        with _as_target_error():
            device_runs.kill_leftovers(self._device, self.there)
        return start_here(_WORKER, log=log, variables={SERIAL: self._device.serial, device_runs.FOLDER: self.there})

    def state(self) -> Mapping[str, Any]:
        """Return heat, frequency, load and charge of the device."""
        with _as_target_error():
            return state.current(self._device).to_json()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        with contextlib.suppress(AdbError):  # unplugged: a session removes what is left after two days
            device_runs.kill_leftovers(self._device, self.there)
            self._device.shell(f"rm -rf {self.there}", doing="removing files")


@contextlib.contextmanager
def _as_target_error() -> Any:
    """Turn what adb says into the target's error."""
    try:
        yield
    except AdbError as error:
        raise TargetError(error.message, hint=error.hint) from error
