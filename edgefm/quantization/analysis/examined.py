"""A model and its samples as the examinations of quantising take them: float32 TFLite, calibration, validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.task import Task
from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory
from edgefm.data.dataset import Dataset, Split
from edgefm.data.preprocessing import Preprocessing
from edgefm.data.sampling import interleaved
from edgefm.quantization.folded_model import folded_model
from edgefm.quantization.source import open_source
from edgefm.recipes import Quantization
from edgefm_converters.tflite.outputs import of_model
from edgefm_converters.tflite.quantizing import Calibration, calibrate

_COMPARED = 32


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A model with its data.

    Attributes:
      name: of the model.
      float32: .tflite content, batch normalisation folded.
      layer_names: Keras layers in order, without inputs; () for a .tflite from elsewhere.
      encoding: how pixels become inputs.
      task: its data and the quality measure.
      classes: number of classes; None where the targets are no classes.
    """

    name: str
    float32: bytes
    layer_names: tuple[str, ...]
    encoding: Preprocessing
    task: Task
    classes: int | None

    @property
    def pixels(self) -> bool:
        """Whether the data are 8-bit pixels."""
        return bool(self.task.dataset.train.images.dtype == np.uint8)

    def calibration_samples(self, recipe: Quantization) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the training samples that calibrate by a recipe, not encoded, and their targets."""
        split = self.task.dataset.train
        chosen = chosen_samples(split, count=recipe.calibration_images, seed=recipe.seed, classes=self.classes)
        return split.images[chosen], split.labels[chosen]

    def calibration(self, recipe: Quantization) -> Calibration:
        """Return the ranges of the model's activations by a recipe."""
        images, _ = self.calibration_samples(recipe)
        value_range = self.encoding.value_range
        return calibrate(self.float32, self.task.inputs(images), value_range=value_range, pixels=self.pixels)

    def validation(self, count: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return up to `count` samples of the validation split as inputs, and their targets, the classes in turn."""
        split = self.task.dataset.validation
        chosen = chosen_samples(split, count=count, seed=0, classes=self.classes)
        return self.task.inputs(split.images[chosen]), split.labels[chosen]


def examine(
    run: RunDirectory, dataset: Dataset | None, *, recipe: Quantization, progress: Progress = SILENT
) -> Examined:
    """Return the model of a run and its data.

    Args:
      run: has a finished training or a model that was brought.
      dataset: of the run.
      recipe: says how calibration samples are chosen, and whether batch normalisation is folded.
      progress: receives progress.
    Raises:
      DataError: the model was brought without data.
      ModelError: the model cannot be read or converted.
    """
    source = open_source(run, recipe=recipe, dataset=dataset, progress=progress)
    if source.task is None or dataset is None:
        raise DataError(
            f"the model of run {run.path} was imported without data: nothing can be measured",
            hint="Import it again: quantize the model with data.",
        )
    float32, names = source.float32, tuple[str, ...]()
    if float32 is None:
        float32, names = _converted(source.model, source.compared.inputs[:_COMPARED], fold=recipe.fold_batch_norm)
    return Examined(
        name=source.name,
        float32=float32,
        layer_names=names,
        encoding=source.encoding,
        task=source.task,
        classes=len(dataset.labels) if dataset.task == "classification" else None,
    )


def chosen_samples(split: Split, *, count: int, seed: int, classes: int | None) -> NDArray[np.int64]:
    """Return the indices of up to `count` samples, the classes in turn where there are classes."""
    labels = split.labels if classes is not None else np.zeros(len(split), np.int64)
    return interleaved(labels, seed=seed)[:count]


def _converted(model: Any, inputs: NDArray[np.float32], *, fold: bool) -> tuple[bytes, tuple[str, ...]]:
    from edgefm.keras_graph.graph import Graph
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    if fold:
        model, _ = folded_model(model, inputs, of_model(model, inputs))
    return float32_tflite(model), tuple(call.name for call in Graph(model).calls)
