"""The loop of a search: ask what is tried next, hand it to an executor, write what came of it."""

from __future__ import annotations

import math
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from edgefm.core import signals
from edgefm.core.errors import (
    EdgefmError,
    MeasureError,
    ModelError,
    NoQualityError,
    RecipeError,
    TrainingDivergedError,
)
from edgefm.core.machine_faults import fault_behind
from edgefm.core.progress import SILENT, Progress
from edgefm.searching.journal import Journal, SearchError
from edgefm.searching.sampling import Sampling
from edgefm.searching.trials import Outcome, Trial

# What says that this point is impossible, not that nothing works here: measures have taken the model's own answers.
_REFUSALS = (MeasureError, ModelError, NoQualityError, RecipeError, TrainingDivergedError)
# Times that a trial may raise what nobody foresaw, and so many trials in a row for the same reason.
_MOST_RAISED, _MOST_IN_A_ROW = 2, 5
_REASON = 300  # characters of an exception's text
# A process that is killed while it waits for a trial has counted its time up to the last so many seconds.
_COUNT_SECONDS = 10.0
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A trial to be done, or a finalist.

    Attributes:
      index: of the trial; a finalist has one that no trial has.
      params: of its point.
      known: the trials that it is compared with.
      trial: of a finalist: the trial whose point it has.
      seed: of a finalist: that it is trained with, to the end; None makes it a trial.
    """

    index: int
    params: dict[str, Any]
    known: tuple[Trial, ...] = ()
    trial: int | None = None
    seed: int | None = None

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"trial {self.index}" if self.seed is None else f"trial {self.trial} with seed {self.seed}"


class Unforeseen(str):
    """Why a task has no outcome, where its point may not be why: an exception that no pass is known to raise."""

    __slots__ = ()

    def is_like(self, other: Unforeseen) -> bool:
        """Return whether both are the same but for numbers, such as those in the names of layers."""
        return re.sub(r"\d+", "", self) == re.sub(r"\d+", "", other)


Evaluate = Callable[[Task], Outcome]
# Is told of the trials, in their order, when some have begun or ended, and of the seconds that the search has taken.
Watch = Callable[[Sequence[Trial], float], None]


class Executor(Protocol):
    """Does trials, some at a time."""

    @property
    def slots(self) -> int:
        """How many trials it does at a time now."""

    def submit(self, task: Task) -> None:
        """Take a task; there is a free slot."""

    def next(self) -> tuple[int, Outcome | str]:
        """Return the index of a task that ended, with its outcome or why it has none; waits for one."""


def outcome_of(evaluate: Evaluate, task: Task) -> Outcome | str:
    """Return what came of a task, or why it has no outcome: its point is impossible, or see `Unforeseen`.

    Raises:
      EdgefmError: something is wrong that is so for other points, too, such as a library that is missing.
      OSError: a fault of the machine made it fail.
      KeyboardInterrupt: see `attempted`.
    """
    try:
        return attempted(lambda: evaluate(task))
    except EdgefmError:
        raise
    except Exception as error:  # whatever TensorFlow, Keras and layers of the user's own raise
        _check_machine(error)
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system says so, not a library
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(f"{type(error).__name__}: {error}".split())[:_REASON]
        return Unforeseen(f"{said} ({Path(last.filename).name}, line {last.lineno})")


def attempted(make: Callable[[], _T]) -> _T | str:
    """Return what is made of a point, or why that is impossible.

    Raises:
      OSError: a fault of the machine made it fail, such as a full disk: that says nothing of the point.
      KeyboardInterrupt: it failed when a signal asked for the end, whose exception native code may have swallowed.
    """
    try:
        return make()
    except _REFUSALS as error:
        _check_machine(error)
        return error.message


def _check_machine(error: Exception) -> None:
    """Raise what an error comes from, if that is the machine, or a signal that asked for the end."""
    if signals.was_asked_to_stop():
        raise KeyboardInterrupt from error
    fault = fault_behind(error)
    if fault is not None:
        raise fault from error


class InProcess:
    """Does one trial at a time in this process."""

    slots = 1

    def __init__(self, evaluate: Evaluate) -> None:
        """Take what does a trial."""
        self._evaluate = evaluate
        self._task: Task | None = None

    def submit(self, task: Task) -> None:
        """Keep the task until `next`."""
        self._task = task

    def next(self) -> tuple[int, Outcome | str]:
        """Do the task that was submitted."""
        task, self._task = self._task, None
        assert task is not None, "a task was submitted"
        return task.index, outcome_of(self._evaluate, task)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a search ends.

    Attributes:
      trials: most of them, those of former processes too.
      seconds: of the search, those of former processes too; None sets no limit.
      afterwards: how many of them, by the trials so far, are needed when the last one has begun.
    """

    trials: int
    seconds: float | None = None
    afterwards: Callable[[Sequence[Trial]], float] = field(default=lambda trials: 0.0, repr=False, compare=False)

    def last_begin(self, trials: Sequence[Trial]) -> float:
        """Return the second after which no trial begins; half of the time is for trials, whatever is needed later."""
        return math.inf if self.seconds is None else max(self.seconds / 2, self.seconds - self.afterwards(trials))


def drive(
    journal: Journal,
    sampling: Sampling,
    executor: Executor,
    limits: Limits,
    *,
    clock: Callable[[], float] = time.monotonic,
    watch: Watch = lambda trials, elapsed: None,
    progress: Progress = SILENT,
) -> tuple[Trial, ...]:
    """Do the trials of a search that are not done yet, and return all of them.

    Trials that a killed process left are done again, first, with the same parameters. One that raises what nobody
    foresaw is done once more, and fails where it does so again, as one that ends its worker twice.

    Args:
      journal: locked for this process.
      sampling: says what is tried.
      executor: does it.
      limits: of this search.
      clock: seconds that only grow, whatever is done to the machine's time.
      watch: is told of the trials.
      progress: receives the reasons of trials that fail.
    Raises:
      SearchError: several trials in a row raised the same, which nobody foresaw.
      EdgefmError, OSError: of a trial, see `outcome_of`; nothing is lost: the search goes on behind the trials that
        ended.
    """
    again = list(journal.lost())
    trials = {trial.index: trial for trial in journal.trials()}
    before, started = journal.elapsed, clock()
    running: dict[int, Task] = {}
    in_a_row: list[Unforeseen] = []

    def elapsed() -> float:
        return before + clock() - started

    def begin(index: int, params: dict[str, Any]) -> None:
        journal.begin(index, params)
        trials[index] = Trial(index=index, params=params)
        known = tuple(sampling.known(index, list(trials.values())))
        running[index] = Task(index=index, params=params, known=known)
        executor.submit(running[index])

    exhausted = False
    while True:
        # Where nothing runs one is handed over all the same: without a node the executor waits for one, or gives up.
        while (len(running) < executor.slots or not running) and not exhausted:
            if elapsed() >= limits.last_begin(list(trials.values())):
                exhausted = True
            elif again and _due(sampling, again[0].index, trials):
                lost = again.pop(0)
                begin(lost.index, dict(lost.params))
            elif again:
                break
            else:
                index = max(trials, default=-1) + 1
                if index >= limits.trials:
                    exhausted = True
                elif not _due(sampling, index, trials):
                    break
                else:
                    params = sampling.choose(index, list(trials.values()))
                    if params is None:
                        exhausted = True
                        progress.note(f"after {index} trials no further point was drawn that none of them has")
                    else:
                        begin(index, params)
        ordered = tuple(trials[index] for index in sorted(trials))
        watch(ordered, elapsed())
        if not running:
            return ordered
        with _counted(journal, elapsed):
            index, outcome = executor.next()
        if isinstance(outcome, Unforeseen):
            times = journal.raised(index, outcome)
            if times < _MOST_RAISED:
                progress.note(f"trial {index}: {outcome}; it is done again")
                executor.submit(running[index])
                continue
            in_a_row = [*(one for one in in_a_row if outcome.is_like(one)), outcome]
            _check_others(in_a_row, running[index], sampling)
            outcome = f"it failed {times} times: {outcome}"
        else:
            in_a_row = []
        del running[index]
        if isinstance(outcome, str):
            journal.fail(index, outcome, elapsed=elapsed())
            progress.note(f"trial {index}: {outcome}")
        else:
            journal.finish(index, outcome, elapsed=elapsed())
        trials[index] = journal_trial(journal, index)


def _check_others(in_a_row: Sequence[Unforeseen], last: Task, sampling: Sampling) -> None:
    """Raise a SearchError where so many trials raised the same that it is no fault of their points."""
    if len(in_a_row) >= _MOST_IN_A_ROW:
        point = sampling.space.words(sampling.space.point(last.params))
        raise SearchError(
            f"{len(in_a_row)} trials in a row failed by the same error, at last {last.label} ({point}): {in_a_row[-1]}",
            hint=f"Find the cause, then go on by resume: {last.label} is done again, those before it are not.",
        )


def journal_trial(journal: Journal, index: int) -> Trial:
    """Return a trial as the journal has it."""
    return next(trial for trial in journal.trials() if trial.index == index)


def _due(sampling: Sampling, index: int, trials: dict[int, Trial]) -> bool:
    return sampling.is_due(index, list(trials.values()))


@contextmanager
def _counted(journal: Journal, elapsed: Callable[[], float]) -> Iterator[None]:
    """Write within the block, every few seconds, how many the search has taken: the process may be killed in it."""
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(_COUNT_SECONDS):
            with suppress(Exception):  # the driver's own next line says what is wrong
                journal.count(elapsed())

    counting = threading.Thread(target=count, daemon=True)
    counting.start()
    try:
        yield
    finally:
        ended.set()
        counting.join()
