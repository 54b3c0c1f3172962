"""The parent's side of a worker: ask, wait for so long, and say in words what went wrong."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from edgefm import runtimes
from edgefm.core.documents import object_told
from edgefm.core.errors import EdgefmError
from edgefm.core.given import limits
from edgefm.core.subprocesses import signal_name
from edgefm.targets.base import Place
from edgefm.worker.worker import PROTOCOL

_START_SECONDS = 120.0
_END_SECONDS = 5.0
_MEMORY_WORDS = ("bad_alloc", "MemoryError", "Cannot allocate memory")

# Colours of a terminal, and control characters but for line ends: a reason goes into records and pages.
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class WorkerError(EdgefmError):
    """A worker crashed, hung, ran out of memory or could not do what it was asked; `message` says which."""


class WorkerSilentError(WorkerError):
    """A worker gave no answer for as long as it may take."""


class WorkerProcess:
    """A worker process. Leave its `with` block, however that happens, and it is gone."""

    def __init__(self, *, place: Place, folder: Path, name: str) -> None:
        """Start the process; it is ready when the first request is answered.

        Args:
          place: where it runs.
          folder: where its standard error is kept, on this machine.
          name: of the file for that.
        Raises:
          TargetError: the place cannot be reached.
        """
        self._place = place
        self._log = folder / f"{name}.log"
        self._answers: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._memory = ""  # that it may take, in words
        self._started_ns = time.perf_counter_ns()
        self._process_ns: int | None = None
        with self._log.open("wb") as log:
            self._process = place.start(log=log)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def load(
        self, path: Path, *, runtime: str, threads: int, memory_bytes: int | None, seconds: float
    ) -> dict[str, Any]:
        """Load a model into the worker and return what the worker tells of it, with 'process_ns' added.

        Args:
          path: on this machine; the place makes it readable there.
          runtime: name of a runtime, with its kernel set where one is wanted.
          threads: of the runtime.
          memory_bytes: that the model may use; None goes by the size of its file.
          seconds: see `request`.
        """
        stated = memory_bytes is not None
        allowed = memory_bytes if memory_bytes is not None else limits.of_worker(path.stat().st_size)
        self._memory = f"{allowed / 1e6:,.0f} MB" + ("" if stated else f"; {limits.raised(2 * allowed)} allows more")
        there = self._place.put(path)
        _, kernels = runtimes.split(runtime)
        answer = self.request(
            "load",
            doing="loading",
            seconds=seconds,
            path=there,
            runtime=runtimes.module_of(runtime),
            kernels=kernels,
            threads=threads,
            memory_bytes=allowed,
        )
        return {**answer, "process_ns": self._process_ns}

    def ready(self) -> int:
        """Wait until the process answers; return the nanoseconds from its start to its first line.

        Raises:
          WorkerError: it gives no answer, or speaks another version of the protocol.
        """
        if self._process_ns is None:
            hello = self._receive("starting", _START_SECONDS)
            if hello.get("protocol") != PROTOCOL:
                raise WorkerError(f"the worker has protocol version {hello.get('protocol')}; {PROTOCOL} is expected")
            self._process_ns = self._received_ns - self._started_ns
        return self._process_ns

    def request(self, command: str, *, doing: str, seconds: float, **fields: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Args:
          command: see `edgefm.worker.worker`.
          doing: what this is, for the reason of a failure: 'the runtime crashed with SIGSEGV while <doing>'.
          seconds: a worker that gives no answer for so long is killed.
          fields: of the request.
        Raises:
          WorkerError: the worker crashed, hung, ran out of memory, or answered with an error.
        """
        self.ready()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"command": command, **fields}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(self._death(doing)) from None
        answer = self._receive(doing, seconds)
        if not answer["ok"]:
            raise WorkerError(self._out_of_memory(doing) if answer.get("memory") else str(answer["reason"]))
        return answer

    def close(self) -> None:
        """End the process and reap it. A worker has nothing to save."""
        self._process.kill()
        self._process.wait()
        self._reader.join(_END_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # a request that was never read
                continue

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        """Pass on the lines of the worker; an empty one says that there will be no more."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put((line, time.perf_counter_ns()))
        self._answers.put(("", time.perf_counter_ns()))

    def _receive(self, doing: str, seconds: float) -> dict[str, Any]:
        try:
            line, self._received_ns = self._answers.get(timeout=seconds)
        except queue.Empty:
            self._process.kill()
            self._process.wait()
            raise WorkerSilentError(f"no answer for {seconds:g} s while {doing}; the process was killed") from None
        if not line:
            raise WorkerError(self._death(doing))
        answer = object_told(line)
        if answer is None or "ok" not in answer:
            raise WorkerError(f"unexpected output while {doing}: {line[:200]!r}")
        return answer

    def _death(self, doing: str) -> str:
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"the process closed its output while {doing} and was killed"
        log = self._log.read_text(encoding="utf-8", errors="replace")
        if any(word in log for word in _MEMORY_WORDS):
            return self._out_of_memory(doing)
        if code < 0:
            return f"the runtime crashed with {signal_name(-code)} while {doing}{_last_line(log)}"
        return f"the process ended with exit code {code} while {doing}{_last_line(log)}"

    def _out_of_memory(self, doing: str) -> str:
        limit = f" (limit: {self._memory})" if self._memory else ""
        return f"out of memory while {doing}{limit}"


def _last_line(log: str) -> str:
    """Return the last line of a log that is no mere information, to put behind a reason."""
    plain = _CONTROL.sub("", log)
    lines = [line.strip() for line in plain.splitlines() if line.strip() and not line.startswith("INFO:")]
    return f": {lines[-1][:200]}" if lines else ""
