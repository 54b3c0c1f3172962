"""How the trials of a search are done: in this process, in several of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from edgefm.core.errors import RecipeError, unknown_name
from edgefm.core.progress import SILENT, Progress
from edgefm.quantization.source import Source
from edgefm.searching.driver import Executor, InProcess
from edgefm.searching.evaluation import Shelf, Trials
from edgefm.searching.executors.by_default import processes
from edgefm.searching.executors.late_start import LateStart
from edgefm.searching.executors.ray_nodes import AUTO
from edgefm.searching.executors.ray_tasks import RayTasks, ray_tasks
from edgefm.searching.executors.store import swept
from edgefm.searching.executors.work import SetupWork
from edgefm.searching.parcel import Setup
from edgefm.searching.sampling import LAG, STARTUP_TRIALS
from edgefm.searching.workers import Workers

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
      workers: trials at a time; None means one a core, of this machine as far as its memory goes, or of the cluster.
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
    def ready(
        self, folder: Path, source: Source, *, trials: int, resume: bool = False, progress: Progress = SILENT
    ) -> Iterator[Hands]:
        """Give what does trials; a cluster is connected, and its nodes have been asked for their versions.

        Args:
          folder: of the search.
          source: the model with its data.
          trials: most of the search.
          resume: it was begun before, so that how far its trials look back is known.
          progress: receives progress.
        Raises:
          SearchError: there is no cluster, or a node differs from this process.
          RuntimeUnavailableError: Ray is not installed.
        """
        if self.executor == LOCAL and self.workers is not None:
            yield Hands(slots=self.workers)
            return
        if self.executor == LOCAL:
            slots = processes(source, trials=trials, try_one=not resume, progress=progress)
            yield Hands.by_default(slots=slots, trials=trials)
            return
        store = self.store or str(folder / STORE_FOLDER)
        if "://" not in store:
            store = str(Path(store).resolve())  # nodes work in other folders
        address = self.address or AUTO
        with swept(store), ray_tasks(address=address, store=store, workers=self.workers, progress=progress) as tasks:
            yield Hands(slots=tasks.slots, tasks=tasks)


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What does trials, before it has any.

    Attributes:
      slots: trials at a time.
      tasks: of a cluster; None for processes of this machine.
      most_lag: how far a search that is begun looks back at most, whatever its workers; None sets no limit.
      falls_back: where no other process can take the model, this one does the trials.
    """

    slots: int
    tasks: RayTasks | None = None
    most_lag: int | None = None
    falls_back: bool = False

    @classmethod
    def by_default(cls, *, slots: int, trials: int) -> Hands:
        """Return what does trials where nobody said how many at a time.

        Half of the trials know what came of others, however many cores there are: else nothing would be learnt.
        """
        return cls(slots=slots, most_lag=max(STARTUP_TRIALS, trials // 2), falls_back=True)

    @property
    def shelf(self) -> Shelf:
        """What shares passes with the nodes of a cluster; see `edgefm.quantization.chain.Chain`."""
        return nullcontext if self.tasks is None else self.tasks.shelf

    @property
    def lag(self) -> int:
        """How many places before a trial the nearest one is whose outcome it knows, see `Sampling`."""
        lag = LAG if self.slots == 1 else max(LAG, AHEAD * self.slots)
        return lag if self.most_lag is None else min(lag, self.most_lag)

    @contextmanager
    def executor(
        self, trials: Trials, setup: Callable[[], Setup], *, progress: Progress = SILENT
    ) -> Iterator[Executor]:
        """Give the executor.

        Args:
          trials: does a trial in this process.
          setup: makes what another process needs to do the same.
          progress: is told where this process does the trials after all.
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
            # More than the search's lag, which may be of another machine, would have nothing to do.
            slots = min(self.slots, trials.sampling.lag) if self.falls_back else self.slots

            def start() -> Workers:
                return Workers(setup(), slots, model=model)

            instead = InProcess(trials) if self.falls_back else None
            with LateStart(start, slots, instead=instead, progress=progress) as executor:
                yield executor
