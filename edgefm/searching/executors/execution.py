"""How the trials of a search are done: in this process, in several of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from edgefm.core.errors import RecipeError, unknown_name
from edgefm.core.progress import SILENT, Progress
from edgefm.searching.driver import Executor, InProcess
from edgefm.searching.evaluation import Shelf, Trials
from edgefm.searching.executors.ray_nodes import AUTO
from edgefm.searching.executors.ray_tasks import RayTasks, ray_tasks
from edgefm.searching.executors.work import SetupWork
from edgefm.searching.sampling import LAG
from edgefm.searching.workers import Setup, Workers

LOCAL, RAY = "local", "ray"
EXECUTORS = (LOCAL, RAY)
STORE_FOLDER = "store"
# A trial waits for those so many places before it, as a multiple of the workers: see docs/scale.md.
AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How trials are done.

    Attributes:
      executor: 'local' or 'ray'.
      workers: trials at a time; None means one here, and all cores of a cluster.
      address: of the Ray cluster: 'local', 'auto', 'HOST:PORT'; None means 'auto'.
      store: folder or URL that all nodes of the cluster reach; None takes a folder in the search's.
    """

    executor: str = LOCAL
    workers: int | None = None
    address: str | None = None
    store: str | None = None

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise unknown_name("executor", self.executor, EXECUTORS)
        given = [name for name in ("address", "store") if getattr(self, name) is not None]
        if self.executor == LOCAL and given:
            raise RecipeError(f"{given[0]} is given, and the executor is 'local'", hint="Take the executor 'ray'.")

    @contextmanager
    def ready(self, folder: Path, *, progress: Progress = SILENT) -> Iterator[Hands]:
        """Give what does trials; a cluster is connected, and its nodes have been asked for their versions.

        Args:
          folder: of the search.
          progress: receives progress.
        Raises:
          SearchError: there is no cluster, or a node differs from this process.
          RuntimeUnavailableError: Ray is not installed.
        """
        if self.executor == LOCAL:
            yield Hands(slots=self.workers or 1)
            return
        store = self.store or str(folder / STORE_FOLDER)
        if "://" not in store:
            store = str(Path(store).resolve())  # nodes work in other folders
        address = self.address or AUTO
        with ray_tasks(address=address, store=store, workers=self.workers, progress=progress) as tasks:
            yield Hands(slots=tasks.slots, tasks=tasks)


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What does trials, before it has any.

    Attributes:
      slots: trials at a time.
      tasks: of a cluster; None for processes of this machine.
    """

    slots: int
    tasks: RayTasks | None = None

    @property
    def shelf(self) -> Shelf:
        """What shares passes with the nodes of a cluster; see `edgefm.quantization.chain.Chain`."""
        return nullcontext if self.tasks is None else self.tasks.shelf

    @property
    def lag(self) -> int:
        """How many places before a trial the nearest one is whose outcome it knows, see `Sampling`."""
        return LAG if self.slots == 1 else max(LAG, AHEAD * self.slots)

    @contextmanager
    def executor(self, trials: Trials, setup: Callable[[], Setup]) -> Iterator[Executor]:
        """Give the executor.

        Args:
          trials: does a trial in this process.
          setup: makes what another process needs to do the same.
        Raises:
          EdgefmError: the model or its data cannot be handed to another process.
        """
        model = trials.evaluator.source.model
        if self.tasks is not None:
            self.tasks.take(SetupWork.of(setup(), model))
            yield self.tasks
        elif self.slots == 1:
            yield InProcess(trials)
        else:
            with Workers(setup(), self.slots, model=model) as workers:
                yield workers
