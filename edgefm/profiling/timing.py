"""Times models side by side in worker processes: in each round every model has one turn, in an order drawn anew.

A round has a worker of its own, which loads a model for its turn and drops it for the next one. A model that crashes
or hangs costs its own turn and a new worker. Several models can share a turn: they are loaded together and invoked one
after the other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgefm import runtimes
from edgefm.core.errors import RecipeError
from edgefm.core.given import limits
from edgefm.core.progress import SILENT, Progress
from edgefm.runtimes import in_turn
from edgefm.targets.base import Place, Target
from edgefm.targets.host import Host
from edgefm.targets.worker_process import WorkerError, WorkerProcess

# A turn ends after this share of the time limit, however slow the model is: two loops fit.
_SHARE_OF_LIMIT = 1 / 4


@dataclass(frozen=True, kw_only=True)
class Turns:
    """How long models are timed.

    Attributes:
      rounds: turns of each model.
      turn_seconds: of one turn, without loading.
      least_invokes: in a turn, even where that takes longer.
      most_invokes: bounds the samples of a turn.
      warmup_invokes: before each turn's samples.
      seed: of the order of turns.
      model_seconds: a worker that gives no answer for so long is killed.
      memory_bytes: that one turn's models may use; None goes by the size of their files.
    """

    rounds: int = 9
    turn_seconds: float = 0.02
    least_invokes: int = 3
    most_invokes: int = 500
    warmup_invokes: int = 2
    seed: int = 0
    model_seconds: float = 60.0
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("rounds", "least_invokes", "most_invokes", "turn_seconds", "model_seconds", "memory_bytes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise RecipeError(f"{name} {value} is not allowed: it must be more than 0")


@dataclass(kw_only=True)
class Timed:
    """A model that is timed.

    Attributes:
      name: for progress and the reasons of failures.
      path: of the file.
      rounds: nanoseconds of each invoke, a list a turn.
      disturbed: what disturbed each of its turns; () where nothing did.
      failure: why it could not be timed; None where it could.
    """

    name: str
    path: Path
    rounds: list[list[int]] = field(default_factory=list)
    disturbed: list[tuple[str, ...]] = field(default_factory=list)
    failure: str | None = None

    def fail(self, reason: str) -> None:
        """Take the reason and drop the samples."""
        self.failure = reason.replace(str(self.path.resolve()), "the cut model")
        self.rounds.clear()


@dataclass(frozen=True, kw_only=True)
class Together:
    """Models that share each turn.

    Attributes:
      name: for progress and the reasons of failures.
      path: where the list of the models is written.
      models: in the order in which they are invoked; a failure of one is a failure of all.
    """

    name: str
    path: Path
    models: Sequence[Timed]

    @property
    def failure(self) -> str | None:
        """Why they could not be timed."""
        return self.models[0].failure

    def fail(self, reason: str) -> None:
        """Let all models take the reason."""
        for model in self.models:
            model.fail(f"the operators cannot be timed in turn: {reason}")


def time_models(
    models: Sequence[Timed | Together],
    *,
    runtime: str,
    turns: Turns,
    folder: Path,
    label: str = "operators",
    target: Target | None = None,
    progress: Progress = SILENT,
) -> str:
    """Fill in the samples of some models and return the version of the runtime, '' where no model could be loaded.

    Args:
      models: with different names.
      runtime: name of a runtime, with its kernel set where one is wanted.
      turns: how long.
      folder: where workers log.
      label: of the work, for progress.
      target: where they are timed; None takes this machine.
      progress: receives a step a turn.
    Raises:
      RecipeError: there is no such runtime.
      WorkerError: no worker can be started.
      TargetError: the target cannot be reached, or went away.
    """
    generator = np.random.default_rng(turns.seed)
    version = ""
    with (target or Host()).open(runtime) as place:
        for index in range(turns.rounds):
            worker: WorkerProcess | None = None
            with ExitStack() as stack:
                for position, number in enumerate(generator.permutation(len(models))):
                    model = models[int(number)]
                    done = index * len(models) + position + 1
                    progress.step(label, done, turns.rounds * len(models), {"model": model.name})
                    if model.failure is not None:
                        continue
                    if worker is None:
                        worker = stack.enter_context(
                            WorkerProcess(place=place, folder=folder, name=f"round-{index}-{position}")
                        )
                        worker.ready()
                    try:
                        version = _turn(worker, place, model, runtime, turns) or version
                    except WorkerError as error:
                        model.fail(error.message)
                        progress.note(f"{model.name}: {model.failure}")
                        if not _lives(worker):
                            worker.close()
                            worker = None
    return version


def lower_decile(samples: Sequence[int]) -> float:
    """Return the time that one in ten of a turn's invokes does not exceed, in nanoseconds.

    On a machine with other load the median invoke of a long model is interrupted, and that of its short operators is
    not: with eight programs on two cores a model of 2.0 ms of processor time had a median of 3.9 ms and a lower decile
    of 1.95 ms. On a quiet machine both are the same within a percent.
    """
    return float(np.quantile(samples, 0.1))


def _lives(worker: WorkerProcess) -> bool:
    """Return whether a worker still answers: one that could not load a model does, a killed one does not."""
    try:
        worker.request("peak", doing="being asked whether it lives", seconds=5.0)
    except WorkerError:
        return False
    return True


def _turn(worker: WorkerProcess, place: Place, model: Timed | Together, runtime: str, turns: Turns) -> str:
    """Give a model its turn and return the runtime's version."""
    if isinstance(model, Together):
        version = _load_together(worker, place, model, runtime, turns)
        parts = model.models
    else:
        version = worker.load(
            model.path, runtime=runtime, threads=1, memory_bytes=turns.memory_bytes, seconds=turns.model_seconds
        )["version"]
        parts = [model]
    most_ns = int(turns.model_seconds * 1e9 * _SHARE_OF_LIMIT)
    samples: dict[str, Any] = worker.request(
        "samples",
        doing="being timed",
        seconds=turns.model_seconds,
        warmup_calls=turns.warmup_invokes,
        least_calls=turns.least_invokes,
        least_ns=min(int(turns.turn_seconds * 1e9), most_ns),
        most_calls=turns.most_invokes,
        most_ns=most_ns,
    )
    for number, part in enumerate(parts):
        part.rounds.append(samples["invoke_ns"][number :: len(parts)])
        part.disturbed.append(tuple(samples["disturbed"]))
    return str(version)


def _load_together(worker: WorkerProcess, place: Place, together: Together, runtime: str, turns: Turns) -> str:
    _, kernels = runtimes.split(runtime)
    paths = [place.put(model.path) for model in together.models]
    wanted = {"runtime": runtimes.module_of(runtime), "kernels": kernels, "models": paths}
    together.path.write_text(json.dumps(wanted), encoding="utf-8")
    loaded = worker.request(
        "load",
        doing="loading",
        seconds=turns.model_seconds,
        path=place.put(together.path),
        runtime=in_turn.__name__,
        kernels=None,
        threads=1,
        memory_bytes=turns.memory_bytes
        or limits.of_worker(sum(model.path.stat().st_size for model in together.models)),
    )
    return str(loaded["facts"]["version"])
