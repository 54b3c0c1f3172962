"""An Android device through the program `adb`: commands, files, and in words what went wrong.

Only adb's command line is used, so that any version of it will do. `adb shell` passes the exit status of a command
only where both sides are new enough (Android 7); so each command prints its own status as the last line.

Source of the messages: the Android Open Source Project's packages/modules/adb: transport.cpp (what is wrong with a
device), client/commandline.cpp and client/file_sync_client.cpp ('failed to copy').
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgefm.core import subprocesses
from edgefm.core.errors import RuntimeUnavailableError

SERIAL = "ANDROID_SERIAL"  # adb's own variable
INSTALL = "apt-get install adb, or Android's platform-tools; then allow USB debugging on the device"
_SHORT_SECONDS = 30.0
_BYTES_PER_SECOND = 100_000  # slower than this a transfer is given up
_STATUS = re.compile(r"edgefm-exit:(\d+)\s*\Z")
_LISTED = re.compile(
    r"^(?P<serial>\S+)\s+(?P<state>device|offline|unauthorized|authorizing|connecting|recovery|rescue|sideload"
    r"|bootloader|host|detached|no permissions)\b"
)
_STATES = {
    "unauthorized": "Unlock the device and allow USB debugging from this computer.",
    "authorizing": "Unlock the device and allow USB debugging from this computer.",
    "offline": "Reconnect the device, or run: adb reconnect offline",
    "no permissions": "No permission for the USB device: install the udev rules (android-sdk-platform-tools-common).",
}
# What adb says -> what to do.
_HINTS = {
    "no devices/emulators found": "Connect a device and allow USB debugging on it; 'adb devices' must list it.",
    "not found": "Check the serial number and the cable: 'adb devices' lists connected devices.",
    "more than one device": "Select one with adb:SERIAL; 'adb devices' lists the serial numbers.",
    "unauthorized": _STATES["unauthorized"],
    "still authorizing": _STATES["unauthorized"],
    "offline": _STATES["offline"],
    "error: closed": "The device was disconnected, or its adb daemon ended: reconnect it.",
    "No space left on device": "Free space on the device: adb shell df /data",
    "Read-only file system": "/data/local/tmp on the device is not writable.",
    "cannot connect to daemon": "The adb server on this machine does not start; try: adb kill-server; adb start-server",
}


class AdbError(RuntimeUnavailableError):
    """adb is not here, or a device cannot be used or went away."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that ran on the device.

    Attributes:
      output: what it wrote, both streams.
      status: exit status; 128 + n where signal n ended it.
    """

    output: str
    status: int


class AndroidDevice:
    """A device that answers."""

    def __init__(self, serial: str | None = None) -> None:
        """Find a device.

        Args:
          serial: as 'adb devices' shows it; None takes ANDROID_SERIAL's, or the only one.
        Raises:
          AdbError: there is no adb, no such device, it cannot be used, or there are several.
        """
        self._adb = program()
        # The first call starts a server that stays; it must not hold the pipes that later calls are read through.
        self._run(["start-server"], doing="starting adb's server", seconds=_SHORT_SECONDS, quiet=True)
        self.serial = self._choose(serial or os.environ.get(SERIAL) or None)

    def shell(self, script: str, *, doing: str, seconds: float = _SHORT_SECONDS) -> Done:
        """Run a script in the device's shell.

        Args:
          script: for its `sh`; it must not call `exit`.
          doing: what this is, for the error.
          seconds: it may take.
        Raises:
          AdbError: the device went away or gave no answer.
        """
        line = f"{{ {script}\n}} 2>&1; s=$?; echo; echo edgefm-exit:$s"
        result = self._call(["shell", line], doing=doing, seconds=seconds)
        status = _STATUS.search(result.output)
        if status is None:
            # adb itself says nothing where the device is unplugged in the middle of a command.
            raise self._explain(doing, result.errors, "error: closed before the command ended; device disconnected")
        return Done(output=result.output[: status.start()].rstrip("\n"), status=int(status[1]))

    def push(self, here: Path, there: str) -> None:
        """Copy a file to the device, whole.

        Raises:
          AdbError: it could not be written, or the device went away.
        """
        size = here.stat().st_size
        seconds = _SHORT_SECONDS + size / _BYTES_PER_SECOND
        doing = f"copying {here.name} to it"
        result = self._call(["push", str(here.absolute()), there], doing=doing, seconds=seconds)
        if result.code:
            raise self._explain(doing, result.errors or result.output, "adb push failed")
        arrived = self.shell(f"wc -c <{there}", doing=doing)
        if arrived.status or arrived.output.strip() != str(size):
            raise AdbError(f"adb:{self.serial}: {doing} gave a file of {arrived.output.strip()} bytes, not {size}")

    def pull(self, there: str, here: Path, *, size: int) -> None:
        """Copy a file from the device.

        Raises:
          AdbError: it is not there, or the device went away.
        """
        doing = f"copying {there} from it"
        seconds = _SHORT_SECONDS + size / _BYTES_PER_SECOND
        result = self._call(["pull", there, str(here.absolute())], doing=doing, seconds=seconds)
        if result.code:
            raise self._explain(doing, result.errors or result.output, "adb pull failed")

    def properties(self) -> dict[str, str]:
        """Return the system properties of the device (getprop)."""
        listing = self.shell("getprop", doing="asking for its properties")
        return dict(re.findall(r"^\[(.+?)\]: \[(.*?)\]$", listing.output, flags=re.MULTILINE))

    def _choose(self, serial: str | None) -> str:
        """Return the serial number of the device to use."""
        listed = self._call(["devices", "-l"], doing="listing devices", named=False)
        if listed.code:
            raise self._explain("listing devices", listed.errors or listed.output, "adb devices failed")
        _, _, lines = listed.output.partition("List of devices attached")
        devices = {match["serial"]: match["state"] for match in map(_LISTED.match, lines.splitlines()) if match}
        known = ", ".join(f"{name} ({state})" for name, state in devices.items()) or "none"
        if not devices:
            raise AdbError("adb finds no device", hint=_HINTS["no devices/emulators found"])
        if serial is None:
            ready = [name for name, state in devices.items() if state == "device"]
            if len(ready) != 1 and len(devices) > 1:
                raise AdbError(f"adb finds several devices: {known}", hint=_HINTS["more than one device"])
            serial = ready[0] if ready else next(iter(devices))
        if serial not in devices:
            raise AdbError(f"adb finds no device '{serial}'; there are: {known}", hint=_HINTS["not found"])
        if devices[serial] != "device":
            hint = _STATES.get(devices[serial], "Start Android on it, and allow USB debugging.")
            raise AdbError(f"adb:{serial}: the device is {devices[serial]}", hint=hint)
        return serial

    def _call(
        self, arguments: list[str], *, doing: str, seconds: float = _SHORT_SECONDS, named: bool = True
    ) -> subprocesses.CommandResult:
        return self._run([*(["-s", self.serial] if named else []), *arguments], doing=doing, seconds=seconds)

    def _run(
        self, arguments: list[str], *, doing: str, seconds: float, quiet: bool = False
    ) -> subprocesses.CommandResult:
        try:
            return subprocesses.run([self._adb, *arguments], seconds=seconds, silent=quiet)
        except subprocesses.TimeLimitError:
            raise AdbError(
                f"adb:{getattr(self, 'serial', '')}: {doing}: no answer for {seconds:g} s",
                hint="The device or a program on it hangs: reconnect it.",
            ) from None
        except subprocesses.CommandError as error:
            raise AdbError(error.message, hint=INSTALL) from error

    def _explain(self, doing: str, text: str, fallback: str) -> AdbError:
        """Return the error for what adb printed."""
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("*")]
        marked = [line for line in lines if line.startswith(("adb: ", "error: "))]
        line = (marked or lines or [fallback])[0]
        hint = next((hint for words, hint in _HINTS.items() if words in line), None)
        return AdbError(f"adb:{getattr(self, 'serial', '')}: {doing} failed: {line}", hint=hint)


def program() -> str:
    """Return the path of adb: on PATH, or in the Android SDK that ANDROID_HOME names.

    Raises:
      AdbError: there is none.
    """
    folders = [
        Path(named) / "platform-tools" for named in map(os.environ.get, ("ANDROID_HOME", "ANDROID_SDK_ROOT")) if named
    ]
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
    adb = shutil.which("adb", path=path)
    if adb is None:
        raise AdbError("the program 'adb' is not installed", hint=f"Install it: {INSTALL}")
    return adb
