"""What another process needs to do the trials of a search: the model, its data, and how they are done, pickled."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefm.quantization.checks.given_model import GivenModel
from edgefm.quantization.source import Source
from edgefm.searching.driver import Evaluate, Task
from edgefm.searching.evaluation import Evaluator, Latency, Shelf, Trials
from edgefm.searching.sampling import Sampling
from edgefm.searching.trials import Outcome


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """The model and the data of a search as another process gets them; the model lies beside it as a Keras file.

    Attributes:
      source: without its model, and with a data set in place of its task.
      dataset: of the task.
      quality: name of the task's measure.
    """

    source: Source
    dataset: Any
    quality: str

    @classmethod
    def of(cls, source: Source) -> Parcel:
        """Return the parcel of a source with data."""
        assert source.task is not None, "a search has data"
        return cls(
            source=replace(source, model=None, task=None),
            dataset=source.task.dataset,
            quality=source.task.quality.name,
        )

    def opened(self, model: Any) -> Source:
        """Return the source, in the other process, with the model that was loaded there."""
        from edgefm.compression.fine_tuning.task import Task as DataTask
        from edgefm.data.quality import quality

        head = self.source.head
        measure = quality(self.quality, task=self.dataset.task).at(head.threshold)
        task = DataTask(dataset=self.dataset, encoding=self.source.encoding, quality=measure, head=head.kind)
        return replace(self.source, model=model, task=task)

    def trials(self, model: Any, *, shelf: Shelf = nullcontext) -> Evaluate:
        """Open the parcel, which is all that is asked of a worker that is started to see whether it can."""
        self.opened(model)

        def none(task: Task) -> Outcome:
            raise AssertionError(f"this worker does no trials, and got {task.label}")

        return none


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker needs, but for its model, which lies beside it as a Keras file.

    Attributes:
      parcel: the model and the data.
      given: what the model answers.
      kept: folder of passes.
      latency: predicts a file's p50.
      on_targets: predicts it on other targets, by the name of the figure.
      arena: ask for the arena.
      sampling: of the search.
      epochs: of a trial.
    """

    parcel: Parcel
    given: GivenModel
    kept: Path
    latency: Latency
    on_targets: Mapping[str, Latency]
    arena: bool
    sampling: Sampling
    epochs: int

    def trials(self, model: Any, *, shelf: Shelf = nullcontext) -> Trials:
        """Return what does trials, in the worker; `shelf` shares passes, see `edgefm.quantization.chain.Chain`."""
        evaluator = Evaluator(
            self.parcel.opened(model),
            self.sampling.space,
            given=lambda: self.given,
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
    return Setup(
        parcel=Parcel.of(trials.evaluator.source),
        given=trials.evaluator.given,
        kept=kept.resolve(),
        latency=latency,
        on_targets=dict(on_targets or {}),
        arena=arena,
        sampling=trials.sampling,
        epochs=trials.epochs,
    )
