"""64-bit Arm cores, emulated by qemu: the outputs of the real aarch64 kernels, and instruction counts; no latency.

Address: 'qemu-aarch64' or with a core: 'qemu-aarch64:cortex-a76'. Workers run under `qemu-aarch64` in an arm64 root
(`root`), which is made once with::

    python -m edgefm.targets.qemu_aarch64 setup

What an emulated worker tells of time and memory is the emulator's. See docs/target-qemu.md.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgefm import runtimes
from edgefm.core.errors import EdgefmError
from edgefm.runtimes.base import Availability, Available, Unavailable
from edgefm.targets.base import Figure, Mode, TargetError
from edgefm.targets.bundle import bundle
from edgefm.targets.host import LocalFiles
from edgefm.targets.qemu_aarch64 import cpus, program
from edgefm.targets.qemu_aarch64.instructions import CountingUnavailableError, count
from edgefm.targets.qemu_aarch64.program import Qemu, guest_environment
from edgefm.targets.qemu_aarch64.root import Root
from edgefm.targets.qemu_aarch64.root import find as find_root
from edgefm.targets.worker_start import WORKER, start
from edgefm.tflite import tflite_file

RUNTIME = "litert"
# The worker's own limit does not reach the system: qemu 7.2 takes a guest's RLIMIT_AS and does nothing. So the
# emulator has one: 4 GiB for the model, and 1 GiB for emulator and Python (0.5 GiB seen).
_ADDRESS_SPACE_BYTES = 5 << 30


def target(rest: str) -> QemuAarch64:
    """Return the core at an address.

    Raises:
      RecipeError: an unknown core, or one that cannot be trusted.
    """
    cpu = cpus.cpu(rest or cpus.DEFAULT).name
    return QemuAarch64(name=f"qemu-aarch64:{rest}" if rest else "qemu-aarch64", cpu=cpu)


@dataclass(frozen=True, kw_only=True)
class QemuAarch64:
    """An emulated core.

    Attributes:
      name: the address.
      cpu: name of the core.
    """

    name: str
    cpu: str

    mode: Mode = "simulated"
    latency: bool = False
    runtimes: tuple[str, ...] = (RUNTIME,)

    def availability(self) -> Availability:
        """Return whether the emulator and the root are here; takes less than 0.2 s."""
        try:
            self._parts()
        except TargetError as error:
            return Unavailable(_with_hint(error))
        return Available()

    def open(self, runtime: str) -> QemuPlace:
        """Return the place where emulated workers run."""
        root, qemu = self._parts()
        return QemuPlace(root=root, qemu=qemu, cpu=self.cpu)

    def figures(self, model: Path) -> tuple[Figure, ...]:
        """Return the instructions of one invoke with the default kernels, at one thread."""
        root, qemu = self._parts()
        tflite_file.check(model)
        kernels = runtimes.kernels_of(runtimes.runtime(RUNTIME))
        details: dict[str, Any] = {"cpu": self.cpu, "qemu": qemu.version, "threads": 1}
        try:
            counted = count(model, cpu=self.cpu, root=root, qemu=qemu, runtime=RUNTIME)
        except CountingUnavailableError as error:
            return (Figure(name="instructions", value=None, mode=self.mode, reason=_with_hint(error), details=details),)
        details |= {
            "runtime": counted.runtime,
            "version": counted.version,
            "kernels": kernels[0] if kernels else None,
            "invokes": len(counted.invokes),
            "spread": counted.spread,
            "meaning": "instructions of one invoke; neither cycles nor latency",
        }
        return (Figure(name="instructions", value=counted.instructions, mode=self.mode, details=details),)

    def _parts(self) -> tuple[Root, Qemu]:
        qemu = program.find()
        if self.cpu not in qemu.cpus:
            raise TargetError(f"{qemu.path.name} {qemu.version} does not support the cpu {self.cpu}")
        return find_root(), qemu


class QemuPlace(LocalFiles):
    """Emulated processes; their files are this machine's."""

    def __init__(self, *, root: Root, qemu: Qemu, cpu: str) -> None:
        """Use a place.

        Args:
          root: the arm64 root.
          qemu: the emulator.
          cpu: name of the core.
        """
        super().__init__()
        self._command = [*qemu.command(root, cpu=cpu), "-P", "-m", WORKER]
        self._environment = guest_environment(root, bundle(self._folder))

    def start(self, *, log: IO[bytes]) -> subprocess.Popen[str]:
        """Return a new emulated worker process; one process, so that killing it leaves nothing behind."""
        try:
            process = start(self._command, log=log, environment=self._environment)
        except OSError as error:
            raise TargetError(f"{self._command[0]} cannot be started: {error}") from error
        import resource  # not on Windows, where the target can still be asked for

        with contextlib.suppress(ProcessLookupError):  # it ended at once: the log says why
            resource.prlimit(process.pid, resource.RLIMIT_AS, (_ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES))
        return process

    def state(self) -> Mapping[str, Any]:
        """Nothing: no time is measured there that could be disturbed."""
        return {}


def _with_hint(error: EdgefmError) -> str:
    return error.message if error.hint is None else f"{error.message} ({error.hint})"
