"""What a trial does: passes, conversion, and the figures of the file: loss on validation, predicted p50, sizes.

Nothing is timed: latency comes from a cost model, so that several trials may run at once. Passes lie in the search's
folder by their content: trials that share a step, those of a killed process too, do it once.
"""

from __future__ import annotations

import copy
import gzip
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core import artefacts, scratch
from edgefm.core.errors import DataError, ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.preprocessing import Preprocessing
from edgefm.profiling.cost_model import LatencyForecast
from edgefm.quantization.checks.given_model import GivenModel
from edgefm.quantization.conversion import Converter
from edgefm.quantization.model_folder import described
from edgefm.quantization.source import Source
from edgefm.quantization.variant_writer import card_of, reencoded
from edgefm.recipes import PostTraining, Quantization, Variant
from edgefm.searching.driver import Task
from edgefm.searching.part_of_data import part_of
from edgefm.searching.promotion import Rival, promising
from edgefm.searching.sampling import Sampling
from edgefm.searching.space import Epochs, Point, Space
from edgefm.searching.trials import Figures, Outcome, Stage, Trial
from edgefm.tflite.inspection import inspect
from edgefm.training.distillation import Teacher
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

REFERENCE = "int8_w8a8"
PASSES_FOLDER = "passes"
# Content of a .tflite file -> its p50, predicted, with an interval.
Latency = Callable[[bytes], LatencyForecast]
# What predicts latency takes minutes to make where there is none yet: it is asked for when it is needed.
LatencySource = Callable[[], Latency]
# Entered with the folder of a pass, see `edgefm.quantization.chain.Chain`.
Shelf = Callable[[Path], AbstractContextManager[object]]
# Stages of a trial, as shares of its epochs; in all but the last one passes learn from a part of the samples alone.
_STAGES = (1 / 8, 3 / 8, 1.0)


def stage_epochs(epochs: int) -> tuple[int, ...]:
    """Return the epochs of a trial's stages.

    >>> stage_epochs(8), stage_epochs(2), stage_epochs(1)
    ((1, 3, 8), (1, 2), (1,))
    """
    return tuple(sorted({max(1, round(epochs * share)) for share in _STAGES}))


@dataclass(frozen=True, kw_only=True)
class MadeFile:
    """A file, not yet written.

    Attributes:
      content: of the .tflite file, with its metadata.
      encoding: how pixels become its inputs.
    """

    content: bytes
    encoding: Preprocessing


class Evaluator:
    """Makes the files of points of one space, and says what they cost and what they lose."""

    def __init__(
        self,
        source: Source,
        space: Space,
        *,
        given: Callable[[], GivenModel],
        kept: Path,
        latency: LatencySource,
        on_targets: Callable[[], Mapping[str, Latency]] = dict,
        arena: bool = False,
        seed: int = 0,
        shelf: Shelf = nullcontext,
        progress: Progress = SILENT,
    ) -> None:
        """Take the model and where passes are kept.

        Args:
          source: the model with its data.
          space: of the points.
          given: returns what the model answers on validation samples, the same each time.
          kept: folder of finished passes.
          latency: returns what predicts a file's p50.
          on_targets: returns what predicts it on other targets, by the name of the figure.
          arena: ask TFLite Micro for the arena, too.
          seed: of fine-tuning.
          shelf: shares a pass's folder with other workers, see `edgefm.quantization.chain.Chain`.
          progress: receives progress.
        Raises:
          DataError: there are no data to train on and to measure by.
        """
        if source.task is None:
            raise DataError("a search trains and measures, and no data were given", hint="Give data.")
        self.source, self.space, self._given = source, space, given
        self._task = source.task
        self._latency, self._arena, self._kept, self._progress = latency, arena, kept, progress
        self._shelf = shelf
        self._on_targets = on_targets
        self._reference: LatencyForecast | None = None
        self._teachers: dict[tuple[str, ...], Teacher] = {}
        self._convert_with(seed)

    def _convert_with(self, seed: int) -> None:
        recipe = Quantization(seed=seed)
        short = replace(self.source, task=replace(self._task, dataset=part_of(self._task.dataset)))
        self.converter, self._short = (
            Converter(
                source,
                recipe,
                kept=self._kept,
                teachers=self._teachers,
                shelf=self._shelf,
                progress=self._progress,
            )
            for source in (self.source, short)
        )

    def with_seed(self, seed: int) -> Evaluator:
        """Return what makes and measures the same files, trained with another seed."""
        other = copy.copy(self)
        other._convert_with(seed)
        return other

    def with_latency(self, latency: Latency | None, on_targets: Mapping[str, Latency]) -> Evaluator:
        """Return what makes the same files, and predicts their p50 by other means; here by the same ones with None."""
        other = copy.copy(self)
        other._on_targets = lambda: on_targets
        if latency is not None:
            other._latency, other._reference = (lambda: latency), None
        return other

    @property
    def given(self) -> GivenModel:
        """What the model answers on validation samples."""
        return self._given()

    @property
    def reference(self) -> LatencyForecast:
        """Predicted p50 of the unchanged model's int8_w8a8 file, which ratios refer to."""
        if self._reference is None:
            variant = Variant(name=REFERENCE, quantization=PostTraining(scheme=REFERENCE))
            self._reference = self._latency()(self.made(variant).content)
        return self._reference

    def made(self, variant: Variant, *, short: bool = False) -> MadeFile:
        """Return the file of a variant; its passes are done unless they are kept.

        Args:
          variant: of the file.
          short: passes learn from a quarter of the samples.
        """
        made = (self._short if short else self.converter).make(variant)
        content = described(made.content, variant, card_of(self.source, made.encoding))
        return MadeFile(content=content, encoding=made.encoding)

    def forget(self) -> None:
        """Let go of what is kept in memory of files that were made."""
        self.converter.forget()
        self._short.forget()

    def latency_here(self, made: MadeFile, *, least: bool = True) -> dict[str, float | None]:
        """Return the p50 of a file on this machine as it is predicted, by the names of figures; nothing is timed.

        Args:
          made: the file.
          least: at the lower end of its 90 % interval, and its ratio to the upper end of the reference's: a limit below
            that is surely broken.
        """
        told, reference = self._latency()(made.content), self.reference
        here = told.low_ns if least else told.p50_ns
        return {"p50_us": here / 1000, "p50_ratio": here / (reference.high_ns if least else reference.p50_ns)}

    def latency_on_targets(self, made: MadeFile, *, least: bool = True) -> dict[str, float | None]:
        """Return the p50 of a file on other targets, see `latency_here`."""
        told = {name: predict(made.content) for name, predict in self._on_targets().items()}
        return {name: (one.low_ns if least else one.p50_ns) / 1000 for name, one in told.items()}

    def sizes(self, made: MadeFile) -> dict[str, float | None]:
        """Return the costs of a file but for its latency."""
        with scratch.folder("search") as folder:
            path = artefacts.write_bytes(folder / "model.tflite", made.content)
            return {
                "size_bytes": len(made.content),
                "download_bytes": len(gzip.compress(made.content, 9, mtime=0)),
                "macs": inspect(path).macs,
                "arena_bytes": arena_of(path) if self._arena else None,
            }

    def figures(self, made: MadeFile, *, label: str = "validation") -> dict[str, float | None]:
        """Return what a file costs and what it loses on the validation samples.

        Raises:
          ModelError: its answers give no figure, e.g. they are NaN.
        """
        inputs = reencoded(self.given.inputs, self.source.encoding, made.encoding)
        answers = tflite_outputs(made.content, inputs, label=label, progress=self._progress)
        assert self.given.quality is not None and self.given.targets is not None, "there are data"
        value = float(self._task.quality.function(tuple(answers), self.given.targets))
        loss = self._task.quality.loss(self.given.quality, value)
        if not math.isfinite(loss):
            raise ModelError(f"its {self._task.quality.name} on validation samples is {value}: it cannot be compared")
        latency = {**self.latency_here(made, least=False), **self.latency_on_targets(made, least=False)}
        return {**self.sizes(made), **latency, "accuracy_loss": loss}


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Does trials: stage by stage, as long as they are promising.

    Attributes:
      evaluator: makes and measures files.
      sampling: says which budget a trial is for.
      epochs: most of removing channels; a finalist gets more.
    """

    evaluator: Evaluator
    sampling: Sampling
    epochs: int
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __call__(self, task: Task) -> Outcome:
        """Return what came of a trial or a finalist; see `edgefm.searching.driver.Evaluate`."""
        if task.seed is not None:
            return self._finalist(task.params, task.seed)
        started = self.clock()
        point = self.evaluator.space.point(task.params)
        stages: list[Stage] = []
        ways = stage_epochs(self.epochs)
        for place, epochs in enumerate(ways):
            short = place + 1 < len(ways)
            figures = self._figures(point, epochs, short=short, name=f"trial{task.index}")
            stages.append(Stage(epochs=epochs, figures=figures))
            if place + 1 < len(ways) and not self._goes_on(task.index, stages[-1], place, task.known):
                break
        self.evaluator.forget()
        seconds = round(self.clock() - started, 3)
        return Outcome(stages=tuple(stages), complete=len(stages) == len(ways), seconds=seconds)

    def _finalist(self, params: Mapping[str, Any], seed: int) -> Outcome:
        started = self.clock()
        evaluator, epochs = self.evaluator.with_seed(seed), Epochs.of_finalist(self.epochs)
        variant = evaluator.space.variant(evaluator.space.point(params), epochs, name="finalist")
        figures = evaluator.figures(evaluator.made(variant), label="finalist on validation")
        stage = Stage(epochs=epochs.slim, figures=figures)
        return Outcome(stages=(stage,), complete=True, seconds=round(self.clock() - started, 3))

    def _figures(self, point: Point, epochs: int, *, short: bool, name: str) -> Figures:
        variant = self.evaluator.space.variant(point, Epochs.of(epochs), name=name)
        made = self.evaluator.made(variant, short=short)
        return self.evaluator.figures(made, label=f"{name} on validation")

    def _goes_on(self, index: int, stage: Stage, place: int, known: Sequence[Trial]) -> bool:
        rivals = [
            self._rival(index, trial.outcome.stages[place])
            for trial in known
            if trial.outcome is not None and len(trial.outcome.stages) > place
        ]
        return promising(self._rival(index, stage), rivals)

    def _rival(self, index: int, stage: Stage) -> Rival:
        # Accuracy still grows with the epochs: whether its limit is kept cannot be said yet.
        excess = self.sampling.budget(index).excess(stage.figures, static=True)
        return Rival(costs=stage.costs, excess=sum(excess.values()))


def arena_of(path: Path) -> int | None:
    """Return what TFLite Micro takes of its arena for a .tflite file; None where it does not run it.

    Raises:
      RuntimeUnavailableError: TFLite Micro is not installed.
    """
    from edgefm import targets
    from edgefm.core.errors import EdgefmError, RuntimeUnavailableError
    from edgefm.targets.raw_outputs import raw_outputs

    described_inputs = inspect(path)
    tensor = next(one for one in described_inputs.tensors if one.index == described_inputs.inputs[0])
    loaded: dict[str, Any] = {}
    nothing = np.zeros((1, *tensor.shape[1:]), tensor.dtype)
    try:
        raw_outputs(path, nothing, runtime="tflm", target=targets.target("host"), on_loaded=loaded.update)
    except RuntimeUnavailableError:
        raise
    except EdgefmError:
        return None
    return int(loaded["facts"]["arena_bytes"])
