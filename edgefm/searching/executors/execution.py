"""How the trials of a search are done: in this process, in several of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgefm.core.errors import RecipeError, unknown_name
from edgefm.core.progress import SILENT, Progress
from edgefm.searching.driver import Evaluate, Executor, InProcess
from edgefm.searching.executors.local import workers
from edgefm.searching.executors.ray_tasks import ray_tasks
from edgefm.searching.executors.work import Work
from edgefm.searching.sampling import LAG

LOCAL, RAY = "local", "ray"
EXECUTORS = (LOCAL, RAY)
STORE_FOLDER = "store"
# A trial waits for those so many places before it, as a multiple of the workers: see docs/scale.md.
_AHEAD = 2


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
    def ready(self, folder: Path, *, kept: Path, progress: Progress = SILENT) -> Iterator[Hands]:
        """Give what does trials; a cluster is connected, and its nodes have been asked for their versions.

        Args:
          folder: of the search.
          kept: folder of finished passes.
          progress: receives progress.
        Raises:
          SearchError: there is no cluster, or a node differs from this process.
          RuntimeUnavailableError: Ray is not installed.
        """
        if self.executor == RAY:
            store = self.store or str((folder / STORE_FOLDER).resolve())
            address = self.address or "auto"
            with ray_tasks(address=address, store=store, workers=self.workers, progress=progress) as tasks:

                def on_cluster(_: Evaluate, work: Callable[[], Work]) -> Executor:
                    tasks.take(work())
                    return tasks

                yield Hands(slots=tasks.slots, begin=on_cluster)
            return
        count = self.workers or 1
        with ExitStack() as stack:

            def here(evaluate: Evaluate, work: Callable[[], Work]) -> Executor:
                if count == 1:
                    return InProcess(evaluate)
                return stack.enter_context(workers(work(), count=count, kept=kept, progress=progress))

            yield Hands(slots=count, begin=here)


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What does trials, before it has any.

    Attributes:
      slots: trials at a time.
      begin: makes the executor, of what does a trial in this process and of what makes the same for others.
    """

    slots: int
    begin: Callable[[Evaluate, Callable[[], Work]], Executor]

    @property
    def lag(self) -> int:
        """How many places before a trial the nearest one is whose outcome it knows, see `Sampling`."""
        return LAG if self.slots == 1 else max(LAG, _AHEAD * self.slots)
