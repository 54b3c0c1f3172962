"""What a model takes and gives: the shape of a sample, how pixels become inputs, the names of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError, ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.task_names import LABELLED
from edgefm.data.checks import check_dtype, check_fit
from edgefm.data.dataset import Dataset
from edgefm.data.masks import check_masks
from edgefm.data.pixel_range import encoding_of_floats
from edgefm.data.preprocessing import PIXELS, Preprocessing, preprocessing
from edgefm.quantization.calibration_set import rescales_first
from edgefm.quantization.heads import task_without_data
from edgefm.quantization.reading.several_inputs import check_inputs_fit, of_several
from edgefm_converters.readers import model_file
from edgefm_converters.readers.model_file import Loaded


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What a model takes and gives.

    Attributes:
      input_shape: of one sample, without the batch.
      encoding: how pixels become inputs.
      classes: how many classes or labels the first output has scores of; None where it holds no such scores.
      labels: their names, or those of the classes of masks; () without.
      task: one of `edgefm.core.task_names.TASKS`; '' where neither data nor labels say so.
    """

    input_shape: tuple[int, ...]
    encoding: Preprocessing
    classes: int | None
    labels: tuple[str, ...]
    task: str


def infer_interface(
    loaded: Loaded,
    *,
    file: str,
    dataset: Dataset | None,
    samples: NDArray[Any] | None = None,
    value_range: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    head: str = "auto",
    progress: Progress = SILENT,
) -> Interface:
    """Return what a model takes and gives, from the model, its data and what its user said.

    Args:
      loaded: the model.
      file: its name, for messages.
      dataset: its data, checked against the model; None where there are none.
      samples: [n, ...] that calibrate it where there are no data; floats tell how pixels become inputs.
      value_range: what the model takes for pixels 0 to 255; None where it was not said.
      labels: class names; None takes those of the data, or numbers.
      head: one of `edgefm.core.task_names.HEADS`.
      progress: receives what was assumed.
    Raises:
      ModelError: the outputs cannot be the classes of the data.
      DataError: the data or the labels do not fit the model.
    """
    shape = model_file.input_shape(loaded)
    shown = samples if dataset is None else dataset.train.images
    inputs = model_file.inputs_of(loaded)
    if shown is not None:
        check_inputs_fit(shown, inputs, file=file, source="the samples" if dataset is None else dataset.name)
    if len(inputs) > 1:
        encoding = of_several(inputs, file=file, value_range=value_range, progress=progress)
    else:
        encoding = _encoding(file, loaded.keras, shown, value_range, progress)
    end = model_file.head_of(loaded)
    names = len(labels) if labels else None
    task = dataset.task if dataset is not None else task_without_data(end, labels=names, wanted=head)
    classes = _classes(end.shape, task)
    if dataset is not None:
        check_dtype(dataset, takes_tokens=model_file.tokens(loaded) is not None)
        _check_output(dataset, model_file.output_shape(loaded), shape)
        known = value_range or dataset.train.images.dtype == np.uint8 or _rescales(loaded.keras)
        check_fit(dataset, input_shape=shape, value_range=encoding.value_range if known else None, classes=classes)
    return Interface(
        input_shape=shape,
        encoding=encoding,
        classes=classes,
        labels=_labels(labels, dataset, classes, file, progress)
        if task != "segmentation"
        else _mask_labels(labels, dataset, end.shape, file),
        task=task,
    )


def _check_output(dataset: Dataset, output: tuple[int, ...], source: tuple[int, ...]) -> None:
    """Raise a DataError where the first output cannot be the targets of the data, all that are no classes."""
    if dataset.task == "segmentation":
        for split in dataset.splits:
            check_masks(split.labels, output, where=f"the {split.name} labels of {dataset.name}")
    elif dataset.task == "reconstruction" and output != source:
        raise DataError(
            f"{dataset.name} has no labels, and the first output of the model, {list(output)}, does not give back its "
            f"input, {list(source)}",
            hint="Give labels as y; or, without them, only what needs none: leave the data out.",
        )


def _rescales(model: Any) -> bool:
    return model is not None and rescales_first(model)


def _classes(shape: tuple[int, ...], task: str) -> int | None:
    """Return how many classes or labels a first output of this shape has scores of; None where it has none."""
    if task not in LABELLED:
        return None
    if len(shape) != 1:
        raise ModelError(
            f"the first output has shape {shape}; for data with classes, shape [classes] is expected",
            hint="If these are not classes, give data whose task is regression or reconstruction.",
        )
    return 2 if shape[0] == 1 and task == "classification" else shape[0]


def _encoding(
    file: str, model: Any, samples: NDArray[Any] | None, value_range: Sequence[float] | None, progress: Progress
) -> Preprocessing:
    rescales = _rescales(model)
    if samples is not None and samples.dtype.kind == "f" and samples.size and np.isfinite(samples).all():
        # Floats are the model's inputs already: what is not said, the training samples tell.
        encoding = encoding_of_floats(samples, value_range=value_range or (PIXELS if rescales else None))
        if encoding.no_pixels is not None:
            progress.note(f"{file} takes real inputs, no pictures: {encoding.no_pixels}")
        elif value_range is None and not rescales:
            low, high = encoding.value_range
            progress.note(
                f"the floats of the data, {samples.min():g} to {samples.max():g}, are taken for pictures: {low:g} is "
                f"pixel 0, {high:g} is pixel 255. If not, give the value range of pixels 0 and 255."
            )
        return encoding
    if samples is not None and samples.dtype.kind in "iu" and samples.dtype != np.uint8:
        low, high = float(samples.min()), float(samples.max())
        return Preprocessing(mean=0.0, std=1.0, value_range=(low, high), no_pixels="the inputs are tokens")
    if value_range is None and not rescales and not (model is not None and "int" in str(model.inputs[0].dtype)):
        progress.note(
            f"{file} does not start with a Rescaling layer: its inputs are taken to be pixels 0 to 255. "
            "Give the value range 0, 1 (or -1, 1) if it was trained on such values."
        )
    low, high = value_range or PIXELS
    return preprocessing((low, high))


def _labels(
    given: Sequence[str] | None, dataset: Dataset | None, classes: int | None, file: str, progress: Progress
) -> tuple[str, ...]:
    if classes is None:
        return ()
    labels = tuple(given or (dataset.labels if dataset is not None else ()))
    if not labels:
        progress.note("no labels were given: the classes are numbered")
        labels = tuple(str(index) for index in range(classes))
    if len(labels) != classes:
        raise DataError(
            f"{len(labels)} labels were given for {classes} outputs of {file}",
            hint="Give one label per class, in the order of the output.",
        )
    return labels


def _mask_labels(
    given: Sequence[str] | None, dataset: Dataset | None, output: tuple[int, ...], file: str
) -> tuple[str, ...]:
    """Return the names of the classes of masks, () where they have none."""
    labels = tuple(given or (dataset.labels if dataset is not None else ()))
    classes = max(2, output[-1])
    if labels and len(labels) != classes:
        raise DataError(
            f"{len(labels)} labels were given for {classes} classes of the masks of {file}",
            hint="Give one label per class, in the order of the output's channels; of one, those of 0 and 1.",
        )
    return labels
