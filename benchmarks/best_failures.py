"""What fails while the best models are made: a command and its reason, a row that stands alone, a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgefm.core.errors import EdgefmError

# Of what a command says, these many last lines are its reason.
_LINES = 4


@dataclass
class Left:
    """What was not made, in words.

    Attributes:
      late: for want of time.
      failed: with the reasons.
    """

    late: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Name what fails within, at once and for the closing list; all else goes on, except on a full disk."""
        try:
            yield
        except EdgefmError as error:
            self._name(f"{what}, which failed: {error}")
        except Exception as error:
            if is_full_disk(error):
                raise
            traceback.print_exception(error)
            self._name(f"{what}, which failed: {type(error).__name__}: {error}")

    def _name(self, words: str) -> None:
        print(words, file=sys.stderr, flush=True)
        self.failed.append(words)


def output_of(command: Sequence[str], *, where: str, also: Mapping[str, str] | None = None) -> str:
    """Return what a command prints; its words go to a log.

    Args:
      command: Python, then '-m' and a module of this folder, or '-c', a program and its arguments.
      where: file of the log, which is added to.
      also: variables of its environment.
    Raises:
      EdgefmError: it failed; the hint is the last lines of its words.
      OSError: the disk is full, here or in the command.
    """
    # Several processes share a GPU: none may take all of its memory at once.
    variables = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", **(also or {})}
    log = Path(where)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as words:
        begin = words.tell()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=words, text=True, env=variables, check=False)
        said = log.read_bytes()[begin:].decode(errors="replace")
        words.write(done.stdout)
    module = command[1] == "-m"
    # A command of edgefm ends with 1 where a limit was broken, which is recorded; a module, where Python gives up.
    if done.returncode == 0 or (done.returncode == 1 and not module):
        return done.stdout
    if os.strerror(errno.ENOSPC) in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), where)
    last = "\n".join(said.strip().splitlines()[-_LINES:])
    raise EdgefmError(f"{' '.join(command[2 if module else 3 :])} ended with {done.returncode}", hint=f"{log}:\n{last}")


def is_full_disk(error: Exception) -> bool:
    """Return whether an error says that the disk is full."""
    return isinstance(error, OSError) and error.errno == errno.ENOSPC
