"""Commands that run to their end: with a limit of time and of output, and errors that name the command."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgefm.core.errors import EdgefmError

MOST_BYTES = 64 << 20
_READ_BYTES = 1 << 16


class CommandError(EdgefmError):
    """A command could not be run to its end."""


class NotStartedError(CommandError):
    """A command could not be started."""


class TimeLimitError(CommandError):
    """A command did not end in time, and was killed."""


class OutputLimitError(CommandError):
    """A command wrote more than it may, and was killed."""


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """A command that ended.

    Attributes:
      code: exit status; -n where signal n ended it.
      raw: what it wrote to standard output, and to standard error where the two were merged.
      raw_errors: what it wrote to standard error; empty where that was merged.
    """

    code: int
    raw: bytes
    raw_errors: bytes

    @property
    def output(self) -> str:
        """`raw` as text; what is no UTF-8 is replaced, every end of a line is a newline."""
        return _text(self.raw)

    @property
    def errors(self) -> str:
        """`raw_errors` as text."""
        return _text(self.raw_errors)

    @property
    def last_error(self) -> str:
        """The last line on standard error, else the exit status."""
        return (self.errors.strip().splitlines() or [f"exit code {self.code}"])[-1]


def run(
    command: Sequence[str],
    *,
    seconds: float,
    most_bytes: int = MOST_BYTES,
    stdin: bytes | IO[bytes] | None = None,
    out: IO[bytes] | None = None,
    merged: bool = False,
    silent: bool = False,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    own_session: bool = False,
    before: Callable[[], None] | None = None,
) -> CommandResult:
    """Run a command to its end and return what came of it; its exit status is the caller's to judge.

    Args:
      command: program and arguments.
      seconds: it may take.
      most_bytes: it may write to standard output, and to standard error.
      stdin: its standard input; None gives it an empty one.
      out: takes its standard output, without a limit; `raw` is empty then.
      merged: standard error goes where standard output goes.
      silent: what it writes goes nowhere; for one that leaves a process behind, which would hold its pipes.
      cwd: its working folder; None takes this process's.
      environment: all of its variables; None takes this process's.
      own_session: Ctrl-C in the terminal does not reach it.
      before: runs in the new process before the program does (see `subprocess.Popen`'s `preexec_fn`).
    Raises:
      NotStartedError: there is no such program, or it may not be run.
      TimeLimitError: it took longer.
      OutputLimitError: it wrote more.
    """
    name = Path(command[0]).name
    sink = subprocess.DEVNULL if silent else subprocess.PIPE
    until = time.monotonic() + seconds
    with ExitStack() as stack:
        if isinstance(stdin, bytes):
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(stdin)
            file.seek(0)
            stdin = file
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin or subprocess.DEVNULL,
                stdout=out or sink,
                stderr=subprocess.STDOUT if merged else sink,
                cwd=cwd,
                env=environment,
                start_new_session=own_session,
                preexec_fn=before,
            )
        except OSError as error:
            raise NotStartedError(
                f"{command[0]} cannot be run: {error.strerror or error}", hint="Is it there, and a program?"
            ) from error
        with process:
            written, errors = (
                _Reader(pipe, most_bytes=most_bytes, full=process.kill) for pipe in (process.stdout, process.stderr)
            )
            try:
                for reader in (written, errors):
                    reader.join(max(0.0, until - time.monotonic()))
                code = process.wait(max(0.0, until - time.monotonic()))
                late = written.is_alive() or errors.is_alive()
            except subprocess.TimeoutExpired:
                late = True
            finally:
                process.kill()
                for reader in (written, errors):
                    reader.left = reader.is_alive()
    if late:
        raise TimeLimitError(f"{name} did not end within {seconds:g} s, and was killed")
    if written.overflowed or errors.overflowed:
        raise OutputLimitError(f"{name} wrote more than {most_bytes:,} bytes, and was killed")
    return CommandResult(code=code, raw=bytes(written.content), raw_errors=bytes(errors.content))


def signal_name(number: int) -> str:
    """Return the name of a signal, e.g. 'SIGSEGV', or 'signal 77' where the system has no name for it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Reader(threading.Thread):
    """Reads a pipe, where there is one, until its end, or until it holds too much."""

    def __init__(self, pipe: IO[bytes] | None, *, most_bytes: int, full: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.content = bytearray()
        self.overflowed = False
        self.left = False  # the descriptor's number may be that of another file by now
        self._descriptor = None if pipe is None else pipe.fileno()
        self._most_bytes, self._full = most_bytes, full
        self.start()

    def run(self) -> None:
        """Read; a pipe that was closed meanwhile has ended."""
        if self._descriptor is None:
            return
        try:
            while not self.left and (piece := os.read(self._descriptor, _READ_BYTES)):
                self.content += piece
                if len(self.content) > self._most_bytes:
                    self.overflowed = True
                    self._full()
                    return
        except OSError:
            return


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
