"""Commands that run to their end: with a limit of time and of output, and errors that name the command.

A command gets a session of its own, so that whatever it has started itself is killed along with it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
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


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module under this Python; nothing is imported from the working folder."""
    return [sys.executable, "-P", "-m", module, *arguments]


def import_path() -> str:
    """Return PYTHONPATH for a process of this Python: what this process can import, but for the working folder."""
    return os.pathsep.join(part for part in sys.path if part)


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
    before: Callable[[], None] | None = None,
) -> CommandResult:
    """Run a command to its end and return what came of it; its exit status is the caller's to judge.

    One that is stopped, by a limit or by Ctrl-C, is killed with the processes that it started. What a command that
    ended by itself leaves behind goes on: a server, say.

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
                start_new_session=True,
                preexec_fn=before,
            )
        except OSError as error:
            raise NotStartedError(
                f"{command[0]} cannot be run: {error.strerror or error}", hint="Check that it exists and is a program."
            ) from error
        with process:
            stop = functools.partial(_kill, process)
            readers: list[_Reader] = []
            try:
                for pipe in (process.stdout, process.stderr):
                    readers.append(_Reader(pipe, most_bytes=most_bytes, full=stop))
                for reader in readers:
                    reader.join(max(0.0, until - time.monotonic()))
                late = any(reader.is_alive() for reader in readers)
                if late:
                    stop()
                code = process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                late = True
            finally:
                stop()
                for reader in readers:
                    reader.left = reader.is_alive()
    if late:
        raise TimeLimitError(f"{name} did not end within {seconds:g} s, and was killed")
    written, errors = readers
    if written.overflowed or errors.overflowed:
        raise OutputLimitError(f"{name} wrote more than {most_bytes:,} bytes, and was killed")
    return CommandResult(code=code, raw=bytes(written.content), raw_errors=bytes(errors.content))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was not waited for, and those of its session that are still in its group."""
    if process.returncode is not None:
        return  # the number may be that of another group by now
    if not hasattr(os, "killpg"):  # Windows
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS forbids it where all have ended
        os.killpg(process.pid, signal.SIGKILL)


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
