"""Trials in several processes of this machine: each loads the model and the data once, and does one trial at a time.

A worker that ends, killed by whomever or for want of memory, is started anew, and its trial is done again from the
passes that it had finished. Workers end with the driver, however that ends.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from edgefm.core import scratch, with_parent
from edgefm.core.errors import EdgefmError
from edgefm.core.subprocesses import import_path, signal_name
from edgefm.searching.driver import Task
from edgefm.searching.trials import Outcome

OUTCOME, IMPOSSIBLE, FAILED, READY, UNFIT = "outcome", "impossible", "failed", "ready", "unfit"
MODEL_FILE, SETUP_FILE = "model.keras", "setup.pickle"
# One thread each: as many workers as cores fill them.
_ENVIRONMENT = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
# Times that a trial may end its worker.
_MOST_DEATHS = 2
_LOG_BYTES = 2000
# Stands in place of a task's index for workers that ended before they could do any.
_UNREADY = -1


class Workers:
    """Does trials in processes; see `edgefm.searching.driver.Executor`. Leave it as a context manager."""

    def __init__(self, setup: Any, count: int, *, model: Any = None) -> None:
        """Start the workers.

        Args:
          setup: can be pickled; its method `trials(model)` gives what does a task, in the worker.
          count: of workers.
          model: keras.Model that each of them loads; None where they need none.
        Raises:
          EdgefmError: the model or its data cannot be handed to another process.
        """
        self.slots = count
        self._folder = scratch.make("workers")
        try:
            if model is not None:
                model.save(self._folder / MODEL_FILE)
            (self._folder / SETUP_FILE).write_bytes(pickle.dumps(setup))
        except OSError:
            scratch.remove(self._folder)
            raise
        except Exception as error:  # whatever layers and data sets of a user's own raise
            scratch.remove(self._folder)
            raise not_handed(error) from error
        self._messages: queue.SimpleQueue[tuple[_Worker, tuple[str, Any] | None]] = queue.SimpleQueue()
        self._deaths: Counter[int] = Counter()
        self._workers = [_Worker(self._folder, self._messages) for _ in range(count)]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.close()
        scratch.remove(self._folder)

    def submit(self, task: Task) -> None:
        """Hand a task to a worker that has none; one that has ended meanwhile is replaced, which is no fault of it."""
        free = next(place for place, worker in enumerate(self._workers) if worker.task is None)
        if self._workers[free].ended:
            self._replace(self._workers[free])
        self._workers[free].begin(task)

    def next(self) -> tuple[int, Outcome | str]:
        """Return the index of a task that ended, with its outcome or why it is impossible; waits for one.

        Raises:
          EdgefmError: a worker cannot take the model or its data, or ends before it could.
          Exception: of a trial, where it does not say that its point is impossible.
        """
        while True:
            ended = self._listen()
            if ended is not None:
                return ended

    def check(self) -> None:
        """Wait until a worker has taken the model and the data; none has a task yet.

        Raises:
          EdgefmError: it cannot.
        """
        while not any(worker.ready for worker in self._workers):
            self._listen()

    def _listen(self) -> tuple[int, Outcome | str] | None:
        """Take the next message of a worker; return what it says of a task that ended."""
        worker, message = self._messages.get()
        if worker not in self._workers:
            return None  # of one that was replaced
        if message is None:
            return self._replace(worker)
        kind, value = message
        if kind == UNFIT:
            raise not_handed(value)
        if kind == READY:
            worker.ready, self._deaths[_UNREADY] = True, 0
            return None
        task, worker.task = worker.task, None
        if kind == FAILED:
            raise value
        return None if task is None else (task.index, value)

    def _replace(self, worker: _Worker) -> tuple[int, str] | None:
        """Start a worker in place of one that ended, and give it its task; or return why that is impossible."""
        how, task = worker.death(), worker.task
        worker.close()
        place = self._workers.index(worker)
        if not worker.ready:  # no task's doing
            self._deaths[_UNREADY] += 1
            if self._deaths[_UNREADY] >= _MOST_DEATHS:
                raise EdgefmError(f"a worker ends before it does anything: {how}", hint="Search with one worker.")
        self._workers[place] = _Worker(self._folder, self._messages)
        if task is None:
            return None
        self._deaths[task.index] += worker.ready
        if self._deaths[task.index] >= _MOST_DEATHS:
            return task.index, f"its worker ended {self._deaths[task.index]} times: {how}"
        self._workers[place].begin(task)
        return None

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.pid for worker in self._workers]


class _Worker:
    """One process, with a thread that reads what it tells."""

    def __init__(self, folder: Path, messages: queue.SimpleQueue[Any]) -> None:
        self.task: Task | None = None
        self.ready = False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        environment: Mapping[str, str] = {**_ENVIRONMENT, **os.environ, "PYTHONPATH": import_path()}
        self._process = subprocess.Popen(
            [*with_parent.command("edgefm.searching.worker"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self.pid = self._process.pid
        threading.Thread(target=self._read, args=(self._process.stdout, messages), daemon=True).start()

    def begin(self, task: Task) -> None:
        """Hand over a task; where the process has ended, its reader says so."""
        self.task = task
        try:
            send(self._requests, task)
        except OSError:
            return

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def death(self) -> str:
        """Return how the process ended, in words."""
        code = self._process.wait()
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LOG_BYTES))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return signal_name(-code) if code < 0 else (lines or [f"exit code {code}"])[-1]

    def close(self) -> None:
        """End the process; what it had finished lies in its folder."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._log):
            try:
                pipe.close()
            except OSError:  # a request that was never read
                continue

    def _read(self, answers: IO[bytes], messages: queue.SimpleQueue[Any]) -> None:
        try:
            while True:
                messages.put((self, pickle.load(answers)))
        except Exception:  # the end
            messages.put((self, None))


def not_handed(why: object) -> EdgefmError:
    """Return the error where a model or its data cannot be handed to another process."""
    return EdgefmError(
        f"this model or its data cannot be handed to another process: {why}", hint="Search with one worker."
    )


def send(sink: IO[bytes], message: Any) -> None:
    """Write one message to a pipe."""
    pickle.dump(message, sink, protocol=pickle.HIGHEST_PROTOCOL)
    sink.flush()
