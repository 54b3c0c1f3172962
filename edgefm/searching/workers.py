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
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from edgefm.core import scratch, with_parent
from edgefm.core.errors import EdgefmError
from edgefm.core.subprocesses import import_path, signal_name
from edgefm.quantization.checks.given_model import GivenModel
from edgefm.quantization.source import Source
from edgefm.searching.driver import Task
from edgefm.searching.evaluation import Evaluator, Latency, Shelf, Trials
from edgefm.searching.sampling import Sampling
from edgefm.searching.trials import Outcome

OUTCOME, IMPOSSIBLE, FAILED, READY = "outcome", "impossible", "failed", "ready"
MODEL_FILE, SETUP_FILE = "model.keras", "setup.pickle"
# One thread each: as many workers as cores fill them.
_ENVIRONMENT = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
# Times that a trial may end its worker.
_MOST_DEATHS = 2
_LOG_BYTES = 2000
# Stands in place of a task's index for workers that ended before they could do any.
_UNREADY = -1


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker needs, but for its model, which lies beside it as a Keras file.

    Attributes:
      source: without its model, and with a data set in place of its task.
      dataset: of the task.
      quality: name of the task's measure.
      given: what the model answers.
      kept: folder of passes.
      latency: predicts a file's p50.
      on_targets: predicts it on other targets, by the name of the figure.
      arena: ask for the arena.
      sampling: of the search.
      epochs: of a trial.
    """

    source: Source
    dataset: Any
    quality: str
    given: GivenModel
    kept: Path
    latency: Latency
    on_targets: Mapping[str, Latency]
    arena: bool
    sampling: Sampling
    epochs: int

    def trials(self, model: Any, *, shelf: Shelf = nullcontext) -> Trials:
        """Return what does trials, in the worker; `shelf` shares passes, see `edgefm.quantization.chain.Chain`."""
        from edgefm.compression.fine_tuning.task import Task as DataTask
        from edgefm.data.quality import quality

        head = self.source.head
        measure = quality(self.quality, task=self.dataset.task).at(head.threshold)
        task = DataTask(dataset=self.dataset, encoding=self.source.encoding, quality=measure, head=head.kind)
        evaluator = Evaluator(
            replace(self.source, model=model, task=task),
            self.sampling.space,
            given=self.given,
            kept=self.kept,
            latency=lambda: self.latency,
            on_targets=lambda: self.on_targets,
            arena=self.arena,
            seed=self.sampling.seed,
            shelf=shelf,
        )
        return Trials(evaluator=evaluator, sampling=self.sampling, epochs=self.epochs)


def setup_of(
    trials: Trials, *, kept: Path, latency: Latency, arena: bool, on_targets: Mapping[str, Latency] | None = None
) -> Setup:
    """Return what a worker needs to do the same as `trials`.

    Args:
      trials: does trials in this process.
      kept: folder of passes.
      latency: predicts a file's p50; can be pickled.
      arena: ask for the arena.
      on_targets: predicts it on other targets; can be pickled.
    """
    source = trials.evaluator.source
    assert source.task is not None, "an evaluator has data"
    return Setup(
        source=replace(source, model=None, task=None),
        dataset=source.task.dataset,
        quality=source.task.quality.name,
        given=trials.evaluator.given,
        kept=kept.resolve(),
        latency=latency,
        on_targets=dict(on_targets or {}),
        arena=arena,
        sampling=trials.sampling,
        epochs=trials.epochs,
    )


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
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            scratch.remove(self._folder)
            raise EdgefmError(
                f"this model or its data cannot be handed to another process: {error}", hint="Search with one worker."
            ) from error
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
          Exception: of a trial, where it does not say that its point is impossible.
        """
        while True:
            worker, message = self._messages.get()
            if worker not in self._workers:
                continue  # of one that was replaced
            if message is None:
                impossible = self._replace(worker)
                if impossible is not None:
                    return impossible
                continue
            kind, value = message
            task = worker.task
            if kind == READY:
                worker.ready = True
            if kind == READY or task is None:
                continue
            worker.task = None
            if kind == FAILED:
                raise value
            return task.index, value

    def _replace(self, worker: _Worker) -> tuple[int, str] | None:
        """Start a worker in place of one that ended, and give it its task; or return why that is impossible."""
        how = worker.death()
        task = worker.task
        worker.close()
        place = self._workers.index(worker)
        index = _UNREADY if task is None else task.index
        self._deaths[index] += task is not None or not worker.ready
        if self._deaths[index] >= _MOST_DEATHS and task is None:
            raise EdgefmError(f"a worker ends before it does anything: {how}", hint="Search with one worker.")
        self._workers[place] = _Worker(self._folder, self._messages)
        if task is None:
            return None
        if self._deaths[index] >= _MOST_DEATHS:
            return index, f"its worker ended {self._deaths[index]} times: {how}"
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


def send(sink: IO[bytes], message: Any) -> None:
    """Write one message to a pipe."""
    pickle.dump(message, sink, protocol=pickle.HIGHEST_PROTOCOL)
    sink.flush()
