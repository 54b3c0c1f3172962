"""Trials as plain tasks of a Ray cluster; Ray runs them, and nothing else of it is used.

Each task is pinned to a node and done once (`max_retries=0`): edgefm itself gives a trial again that a node lost, under
the same index and with the same parameters, so that none counts twice whatever Ray would do. What a task needs lies in
a store by its content. A node that dies is nobody's fault: its trials are done again for as long as there is another.
A worker process that dies on a node that lives has perhaps been killed by its trial: after `ATTEMPTS` the trial fails.
What else goes wrong on a node that lives is the cluster's fault, or the store's: after `LOSSES` the search ends, and
the trial counts as not done. A node with a fault of its own, such as a full disk, gets no more trials.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from edgefm.core.machine_faults import fault_behind
from edgefm.core.progress import SILENT, Progress
from edgefm.searching.driver import Task
from edgefm.searching.evaluation import Shelf
from edgefm.searching.executors.joined import Joined
from edgefm.searching.executors.on_node import do
from edgefm.searching.executors.passes import Passes
from edgefm.searching.executors.ray_nodes import (
    Node,
    Patience,
    connected,
    failures,
    one_line,
    own_node_gone,
    pinned,
)
from edgefm.searching.executors.store import Store, StoreError
from edgefm.searching.executors.work import Answer, Work
from edgefm.searching.journal import SearchError
from edgefm.searching.trials import Outcome
from edgefm.searching.workers import not_handed

ATTEMPTS, LOSSES = 2, 5
# A cluster notices within so many seconds that a node is gone; Ray's own default takes 15 to 20.
NOTICE_SECONDS = 30.0
_LOOK_SECONDS = 1.0
# The result of a task on a node that died may still be on its way.
_LATE_SECONDS = 3.0


@dataclass(frozen=True)
class _Crash:
    """A loss of a task: the node's id, and whether its process ended, which the trial may have caused."""

    node: str
    process: bool


@dataclass(frozen=True)
class _Running:
    """A task that was handed to Ray."""

    task: Task
    node: Node
    crashes: tuple[_Crash, ...] = ()
    gone_since: float | None = None


class RayTasks:
    """Does trials as tasks of a cluster; see `ray_tasks`."""

    def __init__(self, ray: Any, store: Store, *, workers: int | None, progress: Progress, notice: float) -> None:
        self._ray, self._store, self._work = ray, store, ""
        self._most, self._progress, self._notice = workers, progress, notice
        self._function = ray.remote(num_cpus=1, max_retries=0, retry_exceptions=False)(do)
        self._running: dict[Any, _Running] = {}
        self._again: deque[tuple[Task, tuple[_Crash, ...]]] = deque()
        self._ended: deque[tuple[int, Outcome | str]] = deque()
        self._looked = float("-inf")
        self._joined, self._patience = Joined(ray, notice=notice, progress=progress), Patience(notice)

    def take(self, work: Work) -> None:
        """Take the work that tasks are of: into the store.

        Raises:
          StoreError: the store cannot be written.
          EdgefmError: the work cannot be handed to another process.
        """
        try:
            content = pickle.dumps(work)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise not_handed(error) from error
        self._work = self._store.put(content)

    @property
    def shelf(self) -> Shelf:
        """What shares a pass's folder with the nodes, see `edgefm.searching.executors.passes`."""
        return Passes(self._store).shelf

    @property
    def slots(self) -> int:
        """How many trials run at a time: the cores of the nodes that do trials now, `workers` at most."""
        cores = sum(node.cores for node in self._joined.usable)
        return cores if self._most is None else min(self._most, cores)

    @property
    def running_on(self) -> dict[int, str]:
        """The nodes of the trials that run, by index."""
        return {running.task.index: running.node.id for running in self._running.values()}

    def submit(self, task: Task) -> None:
        """Take a task; it is handed to Ray as soon as a node has a free core."""
        self._again.append((task, ()))
        self._hand_out()

    def next(self) -> tuple[int, Outcome | str]:
        """Return the index of a task that ended, with its outcome or why it has none; waits for one.

        Raises:
          SearchError: no node is left, the cluster does not answer any more, or it loses a trial again and again.
        """
        alone_since: float | None = None
        while not self._ended:
            self._look()
            self._hand_out()
            if self._joined.usable or self._running:
                alone_since = None
            else:
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > self._notice:
                    faults = "; ".join(self._joined.faults)
                    raise SearchError(
                        f"no node of the Ray cluster is left{f' without a fault: {faults}' if faults else ''}",
                        hint="Start nodes, and go on by resume: what runs now is done again, nothing is lost.",
                    )
                time.sleep(min(_LOOK_SECONDS, self._notice / 10))
                continue
            for reference in self._ready():
                self._take(reference)
        return self._ended.popleft()

    def _ready(self) -> list[Any]:
        """Return the tasks that ended; waits a moment for one."""
        try:
            if self._running:
                ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_LOOK_SECONDS)
                self._patience.answered()
                return list(ready)
        except self._ray.exceptions.LocalRayletDiedError:
            raise own_node_gone() from None
        except failures(self._ray) as error:
            self._patience.failed(error)
        time.sleep(min(_LOOK_SECONDS, self._notice / 10))
        return []

    def close(self) -> None:
        """Stop what runs."""
        for reference in self._running:
            with suppress(Exception):  # its node may be gone
                self._ray.cancel(reference, force=True)
        self._running = {}

    def _take(self, reference: Any) -> None:
        running = self._running.pop(reference)
        try:
            reply: Answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise SearchError(
                f"{running.node.address} cannot do trials: {str(error).strip().splitlines()[-1]}",
                hint="Check that the node has what the driver has, and go on by resume.",
            ) from None
        except self._ray.exceptions.LocalRayletDiedError:
            raise own_node_gone() from None
        except failures(self._ray) as error:
            self._lost(running, error)
        else:
            if reply.error is not None and fault_behind(reply.error) is not None:
                said = self._joined.set_aside(running.node, one_line(reply.error))
                self._progress.note(f"{running.task.label}: {said}; it is done again, not on that node")
                self._again.appendleft((running.task, running.crashes))
            elif isinstance(reply.error, (StoreError, OSError)):
                self._lost(running, reply.error, answered=True)
            else:
                self._ended.append((running.task.index, reply.value()))

    def _lost(self, running: _Running, error: Exception, *, answered: bool = False) -> None:
        """Give a task again that was lost, or let its trial fail where its process ended on nodes that live.

        Raises:
          SearchError: it is lost again and again, and the trial cannot be why.
        """
        named = self._ray.exceptions
        process = isinstance(error, (named.WorkerCrashedError, named.OutOfMemoryError))
        crashes = (*running.crashes, _Crash(running.node.id, process))
        task, reason = running.task, f"{type(error).__name__} on {running.node.address}"
        if len(crashes) >= ATTEMPTS and not answered:
            crashes = self._on_living(crashes)
        ends = sum(crash.process for crash in crashes)
        if ends >= ATTEMPTS:
            self._ended.append((task.index, f"its process ended {ends} times: {reason}"))
            return
        if len(crashes) >= LOSSES:
            where = "that node and the store" if answered else "Ray's logs on that node"
            raise SearchError(
                f"the Ray cluster lost {task.label} {len(crashes)} times: {reason}: {one_line(error)}",
                hint=f"Look at {where}, and go on by resume: nothing that had ended is lost.",
            )
        self._progress.note(f"{task.label}: {reason}; it is done again")
        self._again.appendleft((task, crashes))

    def _on_living(self, crashes: tuple[_Crash, ...]) -> tuple[_Crash, ...]:
        """Return the crashes on nodes that live: those of a node that died were not the trial's doing."""
        until = time.monotonic() + self._notice
        while True:
            living = self._joined.living()
            left = tuple(crash for crash in crashes if crash.node in living)
            if len(left) < ATTEMPTS or time.monotonic() > until:
                return left
            time.sleep(_LOOK_SECONDS / 2)

    def _hand_out(self) -> None:
        while self._again and len(self._running) < self.slots:
            task, crashes = self._again[0]
            free = self._free(crashes)
            if free is None:
                return
            self._again.popleft()
            reference = pinned(self._ray, self._function, free.id).remote(self._work, self._store.address, task)
            self._running[reference] = _Running(task, free, crashes)

    def _free(self, crashes: tuple[_Crash, ...]) -> Node | None:
        """Return the node with most free cores; one that lost the task only where there is no other."""
        taken = [running.node.id for running in self._running.values()]
        lost = [crash.node for crash in crashes]
        for avoided in (lost, lost[-1:], []):
            if among := [node for node in self._joined.usable if node.id not in avoided]:
                free = [node for node in among if taken.count(node.id) < node.cores]
                return max(free, key=lambda node: node.cores - taken.count(node.id), default=None)
        return None

    def _look(self) -> None:
        """See who is there, a second after the last look at the soonest; tasks of a node that died are given again."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        self._joined.look()
        for reference, running in list(self._running.items()):
            if running.node in self._joined:
                continue
            if running.gone_since is None:
                self._running[reference] = replace(running, gone_since=now)
            elif now - running.gone_since > _LATE_SECONDS:
                del self._running[reference]
                self._progress.note(f"{running.task.label}: {running.node.address} is gone; it is done again")
                self._again.appendleft((running.task, running.crashes))
                with suppress(Exception):  # whatever is left of it counts no more
                    self._ray.cancel(reference, force=True)


@contextmanager
def ray_tasks(
    *,
    address: str,
    store: str,
    workers: int | None = None,
    progress: Progress = SILENT,
    notice: float = NOTICE_SECONDS,
) -> Iterator[RayTasks]:
    """Give the tasks of a Ray cluster, whose work is given by `take`; what runs at the end of the block is stopped.

    Args:
      address: see `edgefm.searching.executors.ray_nodes.connected`.
      store: folder or URL that all nodes reach, see `Store`.
      workers: most trials at a time; None takes all cores.
      progress: is told of trials that are done again.
      notice: seconds within which the cluster notices that a node is gone, and that are waited for a new one.
    Raises:
      SearchError: there is no cluster, or a node's versions differ from those of this process.
      StoreError: the store's address is none.
    """
    shared = Store(store)
    with connected(address, workers=workers) as ray:
        executor = RayTasks(ray, shared, workers=workers, progress=progress, notice=notice)
        try:
            yield executor
        finally:
            executor.close()
