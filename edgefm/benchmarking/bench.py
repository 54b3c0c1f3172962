"""The opened target of one benchmark, and what a failure there ends: a model's part in it, or all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefm.benchmarking.measured import MeasuredModel
from edgefm.core.errors import EdgefmError
from edgefm.core.progress import Progress
from edgefm.recipes import BenchmarkProtocol
from edgefm.targets.base import Place, TargetError
from edgefm.targets.worker_process import WorkerProcess


@dataclass(kw_only=True)
class Attempts:
    """Does work on models: a failure ends one model, the others go on until the place itself is gone.

    Attributes:
      place: where workers run; None where nothing is run.
      progress: is told of each failure.
      lost: why the place is gone; None while it is there.
    """

    place: Place | None
    progress: Progress
    lost: str | None = None

    def attempt(self, model: MeasuredModel, work: Callable[[], None]) -> None:
        """Do a piece of work unless the model has failed; note its failure.

        Where the target itself is gone, no other model has a chance; what was measured so far stays.
        """
        if model.failure is not None:
            return
        try:
            if self.lost is not None:
                raise TargetError(self.lost)
            work()
        except (EdgefmError, OSError) as failure:
            self.lost = self.lost or self._loss()
            reason = self.lost or (failure.message if isinstance(failure, EdgefmError) else str(failure))
            # The file's name, not its place on this machine: records are passed on.
            model.failure = reason.replace(str(model.path.resolve()), model.path.name)
            self.progress.note(f"{model.name} failed: {model.failure}")

    def _loss(self) -> str | None:
        """Return why the place is gone, where it is: a worker that ended can be the first sign of it."""
        try:
            if self.place is not None:
                self.place.state()
        except TargetError as error:
            return error.message
        return None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """An opened target with what every piece of work there needs.

    Attributes:
      place: where workers run.
      folder: of this machine, for what lasts as long as the benchmark.
      protocol: how to measure; its runtime is the one that is used.
      attempts: keep one model's failure from the others.
    """

    place: Place
    folder: Path
    protocol: BenchmarkProtocol
    attempts: Attempts

    @property
    def progress(self) -> Progress:
        """Receives one step a piece of work."""
        return self.attempts.progress

    @property
    def pictures(self) -> Path:
        """Where the test images lie, if there are any."""
        return self.folder / "pictures.npy"

    def worker(self) -> WorkerProcess:
        """Return a fresh worker process."""
        return WorkerProcess(place=self.place, folder=self.folder, name="worker")

    def start(self, model: MeasuredModel, worker: WorkerProcess) -> dict[str, Any]:
        """Load a model into a fresh worker and give it the pictures; return what it tells of the model."""
        protocol = self.protocol
        loaded = worker.load(
            model.path.resolve(),
            runtime=protocol.runtime,
            threads=protocol.threads,
            memory_bytes=protocol.model_memory_bytes,
            seconds=protocol.model_seconds,
        )
        if model.contract is not None:
            worker.request(
                "feed",
                doing="taking pictures",
                seconds=protocol.model_seconds,
                contract=model.contract.to_json(),
                pictures=self.place.put(self.pictures),
            )
        return loaded
