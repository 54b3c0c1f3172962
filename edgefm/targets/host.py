"""The machine itself: workers are processes of this Python, or of another one that holds the runtime."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from edgefm import runtimes
from edgefm.core import environment, scratch
from edgefm.core.errors import RecipeError
from edgefm.runtimes.base import Availability, Available
from edgefm.targets.base import Figure, Mode
from edgefm.targets.bundle import bundle
from edgefm.targets.worker_start import given_path, start, start_here


def target(rest: str) -> Host:
    """Return this machine."""
    if rest:
        raise RecipeError(f"the target 'host:{rest}' is not understood", hint="This machine is 'host'.")
    return Host()


class Host:
    """The machine that edgefm runs on."""

    name = "host"
    mode: Mode = "measured"
    latency = True

    @property
    def runtimes(self) -> tuple[str, ...]:
        """All known runtimes that run here, whether installed or not."""
        return tuple(name for name in runtimes.modules() if name not in runtimes.OF_TARGETS)

    def availability(self) -> Availability:
        """It is always there."""
        return Available()

    def open(self, runtime: str) -> HostPlace:
        """Return this machine's place; workers run under the Python that holds the runtime."""
        return HostPlace(python=runtimes.interpreter_of(runtime))

    def figures(self, model: Path) -> tuple[Figure, ...]:
        """Nothing beside what workers measure."""
        return ()


class LocalFiles:
    """The half of a place whose workers see the files of this machine: a folder of its own, removed at the end."""

    def __init__(self) -> None:
        self._folder = scratch.make("place")

    def put(self, path: Path) -> str:
        """Return the absolute path: the file is here already."""
        return str(path.resolve())

    def scratch(self, name: str) -> str:
        """Return a path in a folder of its own."""
        return str(self._folder / name)

    def get(self, there: str, here: Path) -> None:
        """Move the file."""
        shutil.move(there, here)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scratch.remove(self._folder)


class HostPlace(LocalFiles):
    """Processes and files of this machine."""

    def __init__(self, *, python: Path | None = None) -> None:
        """Use a place of this machine.

        Args:
          python: another interpreter with numpy and the runtime; None takes this one.
        """
        super().__init__()
        self._python = python

    def start(self, *, log: IO[bytes]) -> subprocess.Popen[str]:
        """Return a new worker process."""
        if self._python is None:
            return start_here(log=log)
        # The zip file is run itself, not found by -m, which would look into the working folder first.
        command = [str(self._python), str(bundle(self._folder))]
        return start(command, log=log, environment={**os.environ, "PYTHONPATH": os.pathsep.join(given_path())})

    def state(self) -> Mapping[str, Any]:
        """Return load, temperature and frequency of this machine, as far as it tells."""
        return environment.conditions()
