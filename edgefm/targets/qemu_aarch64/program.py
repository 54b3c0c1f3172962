"""The emulator's program: which one, what it can do, and the command that runs the root's Python in it."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgefm.core import subprocesses
from edgefm.targets.base import TargetError
from edgefm.targets.qemu_aarch64.root import Root
from edgefm.targets.worker_start import given_path

# The static one emulates as well, but has no plugins in Debian's build.
PROGRAMS = ("qemu-aarch64", "qemu-aarch64-static")
_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Qemu:
    """An emulator of aarch64 Linux programs.

    Attributes:
      path: program.
      version: e.g. '7.2.22'.
      has_plugins: whether it takes plugins, which count instructions.
      cpus: names of the cores that it knows.
    """

    path: Path
    version: str
    has_plugins: bool
    cpus: tuple[str, ...]

    def command(self, root: Root, *, cpu: str, plugin: Path | None = None) -> list[str]:
        """Return the command that runs the root's Python on a core; Python's own arguments follow.

        No chroot, so no privileges are needed: with -L qemu opens a file of the root where the program names one that
        the root holds, and the machine's own file elsewhere.
        """
        loaded = [] if plugin is None else ["-plugin", "file=" + str(plugin).replace(",", ",,")]
        prefix = str(root.prefix(cpu))
        return [str(self.path), "-L", prefix, "-cpu", cpu, *loaded, str(root.python), "-s"]


def guest_environment(root: Root, *first: Path) -> dict[str, str]:
    """Return the environment of the root's Python: nothing of this machine's but what the user put on PYTHONPATH.

    Args:
      root: the arm64 root.
      first: what comes before the root's own packages in the search for modules.
    """
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([*map(str, first), str(root.site), *given_path()]),
        # Its threads would wait in a loop, which costs time and is counted.
        "OPENBLAS_NUM_THREADS": "1",
    }


def find() -> Qemu:
    """Return the emulator.

    Raises:
      TargetError: there is none.
    """
    for name in PROGRAMS:
        path = shutil.which(name)
        if path is not None:
            return _look(Path(path))
    raise TargetError("qemu-aarch64 is not installed", hint="On Debian or Ubuntu: apt-get install qemu-user")


@cache
def _look(path: Path) -> Qemu:
    version = re.search(r"version (\d+(?:\.\d+)*)", _output(path, "--version"))
    if version is None:
        raise TargetError(f"{path} does not report its version")
    return Qemu(
        path=path,
        version=version.group(1),
        has_plugins="-plugin" in _output(path, "--help"),
        cpus=tuple(line.strip() for line in _output(path, "-cpu", "help").splitlines() if line.startswith("  ")),
    )


def _output(path: Path, *arguments: str) -> str:
    try:
        return subprocesses.run([str(path), *arguments], seconds=_SECONDS).output
    except subprocesses.CommandError as error:
        raise TargetError(error.message, hint=error.hint) from None
