"""The machine itself: workers are processes of this Python, or of another one that holds the runtime."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edgefm import runtimes
from edgefm.core import environment
from edgefm.core.errors import RecipeError
from edgefm.runtimes.base import Availability, Available
from edgefm.targets.base import Figure, Mode
from edgefm.targets.bundle import bundle

WORKER = "edgefm.worker.worker"


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


class HostPlace:
    """Processes and files of this machine."""

    def __init__(self, *, python: Path | None = None) -> None:
        """Use a place of this machine.

        Args:
          python: another interpreter with numpy and the runtime; None takes this one.
        """
        self._python = python
        self._folder = Path(tempfile.mkdtemp(prefix="edgefm-host-"))

    def start(self, *, log: IO[bytes]) -> subprocess.Popen[str]:
        """Return a new worker process."""
        if self._python is None:
            # As multiprocessing does: what the parent can import, the worker can.
            path, python = os.pathsep.join(sys.path), sys.executable
        else:
            path = os.pathsep.join([str(bundle(self._folder)), *_given_path()])
            python = str(self._python)
        return subprocess.Popen(
            [python, "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    def put(self, path: Path) -> str:
        """Return the absolute path: the file is here already."""
        return str(path.resolve())

    def scratch(self, name: str) -> str:
        """Return a path in a folder of its own."""
        return str(self._folder / name)

    def get(self, there: str, here: Path) -> None:
        """Move the file."""
        shutil.move(there, here)

    def state(self) -> Mapping[str, Any]:
        """Return load, temperature and frequency of this machine, as far as it tells."""
        return environment.conditions()

    def __enter__(self) -> HostPlace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _given_path() -> list[str]:
    """Return what the user put on PYTHONPATH."""
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
