"""Native code on the bytes of a file of others runs in a process of its own, with a limit of memory and of time.

A damaged file can crash LiteRT or HDF5, hang it or make it take all memory. What happens to the process is told as an
error; this one goes on. The process is started with the first call, serves one call after the other, and ends with
this one. See docs/adr/0022.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import math
import os
import pickle
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from numpy.typing import NDArray

from edgefm.core import with_parent
from edgefm.core.errors import ModelError
from edgefm.core.given import limits
from edgefm.core.subprocesses import import_path, signal_name
from edgefm.runtimes.apart.patience import patience
from edgefm.runtimes.base import TensorDetails
from edgefm.runtimes.session import BaseSession

# The first call imports numpy and LiteRT.
_START_SECONDS = 120.0
_TOLD_EVERY = 0.1
# While this process stands still (Ctrl-Z), so may the other one: silence is counted in turns of waiting.
_TURN_SECONDS = 0.5
_MEMORY_WORDS = (b"bad_alloc", b"MemoryError", b"Cannot allocate memory", b"OOM")
_DAMAGED = "The file is damaged, or describes what cannot be run. Write it again, or give another one."

_T = TypeVar("_T")


def call(
    function: Callable[..., _T],
    *arguments: Any,
    size_bytes: int,
    doing: str,
    runs: bytes | Path | None = None,
    seconds: float | None = None,
    told: Callable[[int], None] | None = None,
    again: bool = True,
) -> _T:
    """Return what a function returns, called in the process apart.

    Args:
      function: of a module, found there by its name.
      arguments: of it; they and what it returns are copied.
      size_bytes: of the model's file, which says how much memory it may take: `edgefm.core.given.limits.working`.
      doing: what this is, for messages, e.g. 'running the model'.
      runs: the .tflite file, or its content, that the function runs, one inference between two signs of life.
      seconds: without a sign of life (see `tell`) after which the process is ended; None takes `patience`.
      told: receives what the function tells of its progress.
      again: where the process is killed (by a person, or for want of memory), which says nothing of the file, call the
        function once more.
    Raises:
      ModelError: the process crashed, took more memory or more time than it may, or the function raised something.
      EdgefmError: that the function raised.
    """
    if is_here():  # what it calls in turn needs no other process
        return function(*arguments)
    if seconds is None:
        seconds = patience(size_bytes, runs=runs)

    def asked() -> tuple[str, Any]:
        process = _started()
        try:
            return process.ask(function, arguments, size_bytes=size_bytes, doing=doing, seconds=seconds, told=told)
        except BaseException:  # Ctrl-C, too: an answer that comes later would be taken for another call's
            process.close()
            raise

    with _LOCK:
        try:
            kind, value = asked()
        except _KilledError:
            if not again:
                raise
            kind, value = asked()
    if kind == "gave":
        gave: _T = value
        return gave
    if kind == "failed":
        raise value
    if kind == "memory":
        raise _out_of_memory(doing, size_bytes)
    raise ModelError(f"{doing} failed: {value}", hint=_DAMAGED)


def is_here() -> bool:
    """Return whether this process is the process apart."""
    return bool(_SINK)


def tell(done: int) -> None:
    """Say how far a call is, from within it: a call that tells something is alive."""
    now = time.monotonic()
    if _SINK and now - _LAST[0] > _TOLD_EVERY:
        _LAST[0] = now
        send(_SINK[0], ("told", done))


def load(path: Path) -> Session:
    """Return a session of a .tflite file whose model lies in the process apart; see `edgefm.runtimes.base.Runtime`.

    Raises:
      ModelError: the file is no model, is damaged, or cannot be run by LiteRT.
    """
    size_bytes = path.stat().st_size if path.is_file() else 0
    number = next(_NUMBERS)
    seconds = patience(size_bytes, runs=path)
    source, sinks = call(
        _load, number, path.absolute(), size_bytes=size_bytes, doing=f"loading {path}", seconds=seconds
    )
    return Session(number, source, sinks, size_bytes=size_bytes, seconds=seconds, name=str(path))


class Session(BaseSession):
    """A model that lies in the process apart."""

    def __init__(
        self,
        number: int,
        source: TensorDetails,
        sinks: tuple[TensorDetails, ...],
        *,
        size_bytes: int,
        seconds: float,
        name: str,
    ) -> None:
        super().__init__(source, sinks, self._invoke)
        self._number, self._size_bytes, self._seconds, self._name = number, size_bytes, seconds, name

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape into the model."""
        self._call(_set_input, array)

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return copies of all outputs of the last invoke."""
        return self._call(_get_outputs)

    def close(self) -> None:
        """Free the model."""
        if self._number:
            self._call(_close)
        self._number = 0
        super().close()

    def _invoke(self) -> None:
        self._call(_run)

    def _call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        return call(
            function,
            self._number,
            *arguments,
            size_bytes=self._size_bytes,
            doing=f"running {self._name}",
            seconds=self._seconds,
            again=False,  # another process does not hold the model
        )


# ---- what runs in the process apart

# Counted by the parent: a process that was started anew knows none of the old ones.
_NUMBERS = itertools.count(1)
_SINK: list[IO[bytes]] = []
_LAST = [0.0]
_SESSIONS: dict[int, BaseSession] = {}


def send(sink: IO[bytes], message: tuple[Any, ...]) -> None:
    """Write one message to a pipe."""
    pickle.dump(message, sink, protocol=pickle.HIGHEST_PROTOCOL)
    sink.flush()


def _load(number: int, path: Path) -> tuple[TensorDetails, tuple[TensorDetails, ...]]:
    from edgefm.runtimes import litert

    session = _SESSIONS[number] = litert.load(path)
    return session.input, session.outputs


def _set_input(number: int, array: NDArray[Any]) -> None:
    _session(number).set_input(array)


def _run(number: int) -> None:
    _session(number).invoke()


def _get_outputs(number: int) -> tuple[NDArray[Any], ...]:
    return _session(number).get_outputs()


def _close(number: int) -> None:
    if number in _SESSIONS:
        _SESSIONS.pop(number).close()


def _session(number: int) -> BaseSession:
    if number not in _SESSIONS:
        raise ModelError("the process that held the model has ended", hint="Load the model again.")
    return _SESSIONS[number]


# ---- the parent's side


class _KilledError(ModelError):
    """The process was killed: nothing that a file holds does that."""


class _Process:
    """The process apart, with a thread that reads its answers."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        self._process = subprocess.Popen(
            with_parent.command("edgefm.runtimes.apart"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": import_path()},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._answers: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()
        self._fresh = True

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        *,
        size_bytes: int,
        doing: str,
        seconds: float,
        told: Callable[[int], None] | None,
    ) -> tuple[str, Any]:
        """Return the last message of a call: what it 'gave', or how it ended."""
        try:
            send(self._requests, (function.__module__, function.__qualname__, arguments, limits.working(size_bytes)))
        except OSError:
            raise self._death(doing, size_bytes) from None
        while True:
            patience = max(seconds, _START_SECONDS) if self._fresh else seconds
            try:
                message = self._next(patience)
            except queue.Empty:
                raise ModelError(f"{doing} gave no answer for {patience:.3g} s and was ended", hint=_DAMAGED) from None
            if message is None:
                raise self._death(doing, size_bytes)
            self._fresh = False
            kind, value = message
            if kind not in ("told", "ready"):
                return kind, value
            if kind == "told" and told is not None:
                told(value)

    def _next(self, seconds: float) -> tuple[Any, ...] | None:
        turns = math.ceil(seconds / _TURN_SECONDS)
        for _ in range(turns - 1):
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=seconds / turns)
        return self._answers.get(timeout=seconds / turns)

    def close(self) -> None:
        """End the process; it has nothing to save."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._process.stdout, self._log):
            try:
                assert pipe is not None
                pipe.close()
            except OSError:  # a request that was never read
                continue

    def _read(self, answers: IO[bytes]) -> None:
        try:
            while True:
                self._answers.put(pickle.load(answers))
        except Exception:  # the end, or what the process wrote while it crashed
            self._answers.put(None)

    def _death(self, doing: str, size_bytes: int) -> ModelError:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return ModelError(f"{doing} ended without an answer", hint=_DAMAGED)
        self._log.seek(0)
        if any(word in self._log.read() for word in _MEMORY_WORDS):
            return _out_of_memory(doing, size_bytes)
        if code >= 0:
            return ModelError(f"{doing} ended with exit code {code}", hint=_DAMAGED)
        name = signal_name(-code)
        kind = _KilledError if name == "SIGKILL" else ModelError
        return kind(f"{doing} crashed with {name}", hint=_DAMAGED)


def _out_of_memory(doing: str, size_bytes: int) -> ModelError:
    allowed = limits.working(size_bytes)
    return ModelError(
        f"{doing} takes more than the {allowed >> 20:,} MB of memory that a file of its size may",
        hint=limits.how_to_raise(2 * allowed),
    )


_LOCK = threading.Lock()
_CURRENT: list[_Process] = []


def _started() -> _Process:
    """Return the process, started anew where there is none or it has ended."""
    if _CURRENT and not _CURRENT[0].alive:
        _end()
    if not _CURRENT:
        _CURRENT.append(_Process())
    return _CURRENT[0]


def _end() -> None:
    while _CURRENT:
        _CURRENT.pop().close()


def _forget() -> None:
    """In a process that was forked: what the other one started is not its own."""
    global _LOCK
    _LOCK = threading.Lock()
    for process in _CURRENT:
        process._process.returncode = 0  # never waited for here
    _CURRENT.clear()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
