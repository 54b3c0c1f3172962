"""Starting a worker process: the pipes that its parent reads and writes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from edgefm.core import with_parent
from edgefm.core.subprocesses import import_path

WORKER = "edgefm.worker.worker"


def given_path() -> list[str]:
    """Return what the user put on PYTHONPATH."""
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


def start(command: Sequence[str], *, log: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Return the new process of a worker.

    Args:
      command: its command line.
      log: takes its standard error.
      environment: all of its variables.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        text=True,
        encoding="utf-8",
        errors="replace",  # what is no text must be told of, not end the thread that reads
    )


def start_here(
    module: str = WORKER, *, log: IO[bytes], variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Return a worker of this Python, which can import what this process can.

    Args:
      module: that is run.
      log: takes its standard error.
      variables: of the environment beside those of this process.
    """
    # As multiprocessing does: what the parent can import, the worker can.
    environment = {**os.environ, "PYTHONPATH": import_path(), **(variables or {})}
    return start(with_parent.command(module), log=log, environment=environment)
