"""Workers that are started with the first task: a search that is resumed when all is done needs none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from edgefm.core.errors import EdgefmError
from edgefm.core.progress import SILENT, Progress
from edgefm.searching.driver import Executor, InProcess, Task
from edgefm.searching.executors.by_default import alone
from edgefm.searching.trials import Outcome
from edgefm.searching.workers import Workers


class LateStart:
    """Does tasks in workers; see `edgefm.searching.driver.Executor`. Leave it as a context manager."""

    def __init__(
        self,
        start: Callable[[], Workers],
        slots: int,
        *,
        instead: InProcess | None = None,
        progress: Progress = SILENT,
    ) -> None:
        """Take what starts the workers.

        Args:
          start: starts so many workers as `slots` says.
          slots: tasks at a time.
          instead: does them one at a time where the workers cannot take the model or its data; None: that is an error.
          progress: is told of it.
        """
        self._start, self._slots, self._instead, self._progress = start, slots, instead, progress
        self._executor: Executor | None = None
        self._waiting: deque[Task] = deque()
        self._busy = 0
        self._open = ExitStack()

    def __enter__(self) -> LateStart:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @property
    def slots(self) -> int:
        """How many tasks are done at a time."""
        return self._slots if self._executor is None else self._executor.slots

    def submit(self, task: Task) -> None:
        """Take a task; the first ones are begun by `next`, which starts the workers."""
        self._waiting.append(task)
        if self._executor is not None:
            self._hand_over(self._executor)

    def next(self) -> tuple[int, Outcome | str]:
        """Return the index of a task that ended, with its outcome or why it is impossible; waits for one.

        Raises:
          EdgefmError: the workers cannot take the model or its data, and there is nothing instead.
          Exception: of a trial, where it does not say that its point is impossible.
        """
        if self._executor is None:
            self._executor = self._first()
        self._hand_over(self._executor)
        ended = self._executor.next()
        self._busy -= 1
        return ended

    def _hand_over(self, executor: Executor) -> None:
        while self._waiting and self._busy < executor.slots:
            self._busy += 1
            executor.submit(self._waiting.popleft())

    def _first(self) -> Executor:
        try:
            workers = self._open.enter_context(self._start())
            workers.check()
        except EdgefmError as error:
            self._open.close()
            if self._instead is None:
                raise
            self._progress.note(alone(error))
            return self._instead
        return workers
