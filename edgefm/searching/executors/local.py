"""Worker processes on this machine, each on one core, one trial at a time each; they end with this process.

A worker that is killed, by a system that ran out of memory say, is replaced, and its trial is done once more; where
that ends in the same way, the trial fails with the reason, and the search goes on.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from edgefm.core import with_parent
from edgefm.core.progress import SILENT, Progress
from edgefm.core.subprocesses import import_path, signal_name
from edgefm.searching.driver import Task
from edgefm.searching.executors.work import Work
from edgefm.searching.trials import Outcome

ATTEMPTS = 2
_ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
_LOG_BYTES = 4000


class Workers:
    """Does trials in processes of this machine; see `workers`."""

    def __init__(self, work: Work, *, count: int, kept: Path, progress: Progress = SILENT) -> None:
        """Take the work, the number of processes, and the folder of finished passes; processes start when needed."""
        self.slots = count
        self._work, self._kept, self._progress = pickle.dumps(work), kept, progress
        self._idle: list[_Worker] = []
        self._busy: dict[int, tuple[_Worker, Task, int]] = {}
        self._ended: deque[tuple[int, Outcome | str]] = deque()

    def submit(self, task: Task) -> None:
        """Give a task to a worker that has none."""
        self._give(task, attempt=1)

    def next(self) -> tuple[int, Outcome | str]:
        """Return the index of a task that ended, with its outcome or why it has none; waits for one."""
        while not self._ended:
            by_channel = {worker.answers: index for index, (worker, _, _) in self._busy.items()}
            for channel in wait(list(by_channel)):
                self._take(by_channel[channel])  # type: ignore[index]  # what was given to wait
        return self._ended.popleft()

    def close(self) -> None:
        """End all processes."""
        for worker in (*self._idle, *(worker for worker, _, _ in self._busy.values())):
            worker.end()
        self._idle, self._busy = [], {}

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that do a trial now."""
        return tuple(worker.process.pid for worker, _, _ in self._busy.values())

    def _give(self, task: Task, *, attempt: int) -> None:
        while True:
            worker = self._idle.pop() if self._idle else _Worker(self._work, self._kept)
            try:
                worker.requests.send(task)
            except OSError:  # it was killed while it had nothing to do
                worker.end()
                continue
            self._busy[task.index] = worker, task, attempt
            return

    def _take(self, index: int) -> None:
        worker, task, attempt = self._busy.pop(index)
        try:
            reply = worker.answers.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            reason = worker.end()
            if attempt < ATTEMPTS:
                self._progress.note(f"trial {index}: {reason}; it is done again")
                self._give(task, attempt=attempt + 1)
            else:
                self._ended.append((index, f"{reason}, {attempt} times"))
            return
        self._idle.append(worker)
        self._ended.append((index, reply.value()))


@contextmanager
def workers(work: Work, *, count: int, kept: Path, progress: Progress = SILENT) -> Iterator[Workers]:
    """Give so many worker processes; they are ended at the end of the block.

    Args:
      work: of the search.
      count: number of processes, 1 or more.
      kept: folder of finished passes, which they share.
      progress: is told of trials that are done again.
    """
    executor = Workers(work, count=count, kept=kept, progress=progress)
    try:
        yield executor
    finally:
        executor.close()


class _Worker:
    """A process with its channel."""

    def __init__(self, work: bytes, kept: Path) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        self.process = subprocess.Popen(
            with_parent.command("edgefm.searching.executors.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **_ONE_CORE, "PYTHONPATH": import_path()},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests = _channel(self.process.stdin, writable=True)
        self.answers = _channel(self.process.stdout, writable=False)
        with suppress(OSError):  # it has ended already: so the first task says
            self.requests.send((kept, work))

    def end(self) -> str:
        """End the process, and return how it had ended."""
        self.requests.close()
        try:
            code: int | None = self.process.wait(0.2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.answers.close()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LOG_BYTES))
        lines = self._log.read().decode("utf-8", errors="replace").strip().splitlines()
        self._log.close()
        how = f"was ended by {signal_name(-code)}" if code and code < 0 else f"ended with exit code {code}"
        last = f" ({lines[-1]})" if lines and code and code > 0 else ""
        return f"the process that did it {how}{last}"


def _channel(pipe: IO[Any], *, writable: bool) -> Connection:
    """Return a channel that owns the descriptor of a pipe."""
    descriptor = os.dup(pipe.fileno())
    pipe.close()
    return Connection(descriptor, readable=not writable, writable=writable)
