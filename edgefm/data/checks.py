"""What is wrong with data, said before a model sees them: each check raises a DataError or does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.task_names import LABELLED, TASKS
from edgefm.core.text import few
from edgefm.data import masks
from edgefm.data.dataset import Dataset

# Floats within this are taken for pictures that were divided by 255 (or scaled to -1 … 1) already.
_UNIT = 1.0 + 1e-3
_BITS_OF_PIXELS = (8, 10, 12, 14, 16)  # of cameras and of files
_PIXEL_MAX = 255


def check(dataset: Dataset, *, source: str, progress: Progress = SILENT) -> None:
    """Raise a DataError where a data set is not what `Dataset` says; note what is only doubtful.

    Args:
      dataset: of any task.
      source: where it comes from, for messages.
      progress: told of classes that the validation or test split lacks.
    """
    if dataset.task not in TASKS:
        raise DataError(f"the task of {source} is '{dataset.task}'; allowed: {', '.join(TASKS)}")
    shape = dataset.train.images.shape[1:]
    for split in dataset.splits:
        where = f"the {split.name} samples of {source}"
        check_inputs(split.images, where=where)
        check_lengths(split.images, split.labels, where=where)
        if split.images.shape[1:] != shape:
            raise DataError(f"{where} are {_by(split.images.shape[1:])}, the training samples {_by(shape)}")
        if joined.is_joined(split.images) and split.images.dtype != dataset.train.images.dtype:
            given, wanted = joined.described(split.images), joined.described(dataset.train.images)
            raise DataError(f"{where} have the inputs {given}; the training samples have {wanted}")
        if (split.images.dtype == np.uint8) != (dataset.train.images.dtype == np.uint8):
            raise DataError(f"{where} are {split.images.dtype}, the training samples {dataset.train.images.dtype}")
        if dataset.task == "classification":
            check_classes(whole_numbers(split.labels, where=where), dataset.labels, where=where)
        elif dataset.task == "multilabel":
            check_columns(hot_rows(split.labels, where=where), dataset.labels, where=where)
        elif dataset.task == "regression":
            numbers(split.labels, where=where)
        elif dataset.task == "segmentation":
            masks.masks(split.labels, where=where)
    if dataset.task in LABELLED:
        _check_each_class(dataset, source=source, progress=progress)


def check_fit(
    dataset: Dataset, *, input_shape: tuple[int, ...], value_range: tuple[float, float] | None, classes: int | None
) -> None:
    """Raise a DataError where data do not fit a model: shape, range or number of classes.

    Args:
      dataset: checked before.
      input_shape: of the model's input, without the batch.
      value_range: least and greatest input that the model takes: (0, 255) where it begins with a Rescaling, else
        mostly (0, 1) or (-1, 1); None where any number is allowed.
      classes: values of the model's first output for one sample, None where they are no classes. A single one is
        the probability of the second of two classes.
    """
    for split in dataset.splits:
        where = f"the {split.name} samples of {dataset.name}"
        check_shape(split.images.shape[1:], input_shape, where=where)
        if value_range is not None and not joined.is_joined(split.images):
            check_range(split.images, value_range, where=where)
    if dataset.task in LABELLED and classes is not None:
        wanted = 2 if classes == 1 and dataset.task == "classification" else classes
        if len(dataset.labels) != wanted:
            numbers = " A model whose one output is a number needs the task 'regression'." if wanted <= 2 else ""
            raise DataError(
                f"{dataset.name} has {len(dataset.labels)} classes ({few(dataset.labels)}), the model has {wanted}",
                hint=f"Give data with exactly the classes of the model, in the order of its outputs.{numbers}",
            )


def check_has_classes(dataset: Dataset) -> None:
    """Raise a DataError unless each sample has one class, as a model of the zoo learns them."""
    if dataset.task != "classification":
        raise DataError(
            f"the task of {dataset.name} is {dataset.task}; the models of the zoo learn one class a sample",
            hint="Give whole numbers or names as labels; train other models with Keras, and quantize "
            "the file with these data.",
        )


def check_dtype(dataset: Dataset, *, takes_tokens: bool) -> None:
    """Raise a DataError where a model takes whole numbers and the data are others, or the other way round.

    Args:
      dataset: checked before.
      takes_tokens: the model's input is int32 or int64.
    """
    dtype = dataset.train.images.dtype
    if dtype.names is not None:
        return  # each input is cast to its own
    tokens = dtype.kind in "iu" and dtype != np.uint8
    if tokens and not takes_tokens:
        least, greatest = int(dataset.train.images.min()), int(dataset.train.images.max())
        bits = next((bits for bits in _BITS_OF_PIXELS if least >= 0 and greatest < 1 << bits), None)
        pixels = "" if bits is None else f"(x >> {bits - 8}).astype('uint8') for pixels of {bits} bits, "
        if bits == 8:
            pixels = "x.astype('uint8') for pixels, "
        raise DataError(
            f"the train samples of {dataset.name} are whole numbers from {least} to {greatest} that are no uint8; "
            "uint8 pixels (0 to 255) or floats (inputs of the model) are expected: the model takes floats",
            hint=f"Use {pixels}x.astype('float32') for inputs of the model.",
        )
    if takes_tokens and not tokens:
        raise DataError(
            f"the train samples of {dataset.name} have dtype {dtype}; the model takes whole numbers, such as tokens",
            hint="Use x.astype('int32').",
        )


def check_inputs(x: NDArray[Any], *, where: str) -> None:
    """Raise a DataError unless inputs are some samples of uint8 pixels, finite floats, or whole numbers (tokens)."""
    if joined.is_joined(x):
        for name, part in joined.split(x).items():
            check_inputs(part, where=f"'{name}' of {where}")
        return
    if x.dtype.kind not in "iuf":
        raise DataError(
            f"{where} have dtype {x.dtype}; uint8 pixels (0 to 255), floats (inputs of the model) or int32 (tokens) "
            "are expected",
            hint="Use x.astype('uint8') for pixels, x.astype('float32') for inputs of the model.",
        )
    if x.ndim < 2:
        raise DataError(f"{where} have shape {x.shape}; [n, ...] with one entry per sample is expected")
    if len(x) == 0:
        raise DataError(f"{where} are empty (shape {x.shape})", hint="Give at least one sample per split.")
    if x.size == 0:
        raise DataError(f"{where} have shape {x.shape}: a sample holds no values")
    if x.dtype.kind == "f":
        bad = np.flatnonzero((~np.isfinite(x)).any(axis=tuple(range(1, x.ndim))))
        if len(bad):
            raise DataError(
                f"{where} hold NaN or infinite values, in {len(bad)} of {len(x)} samples: {_places(bad)}",
                hint="Remove these samples, or replace the values: numpy.isfinite(x) finds them.",
            )


def check_lengths(x: NDArray[Any], y: NDArray[Any], *, where: str) -> None:
    """Raise a DataError unless there are as many targets as inputs."""
    if y.ndim == 0 or len(x) != len(y):
        raise DataError(
            f"{where}: {len(x)} inputs, but {len(y) if y.ndim else 'a single'} labels",
            hint="x and y must have one entry per sample, in the same order.",
        )


def check_shape(shape: tuple[int, ...], wanted: tuple[int, ...], *, where: str) -> None:
    """Raise a DataError unless a sample has the shape that the model takes."""
    if tuple(shape) == tuple(wanted):
        return
    hint = "Give samples of the model's shape; pictures in folders are resized to it."
    if len(shape) == 3 and (*shape[1:], shape[0]) == tuple(wanted):
        hint = "The channels come first; move them to the end: x.transpose(0, 2, 3, 1)."
    elif len(shape) == 3 and (shape[2], *shape[:2]) == tuple(wanted):
        hint = "The model takes the channels first: put keras.layers.Permute((3, 1, 2)) behind a channels-last input."
    elif len(shape) == len(wanted) == 3 and shape[:2] == wanted[:2]:
        hint = f"The samples have {shape[2]} channels, the model takes {wanted[2]}."
    raise DataError(f"{where} are {_by(shape)}, the model takes {_by(wanted)}", hint=hint)


def check_range(x: NDArray[Any], value_range: tuple[float, float], *, where: str) -> None:
    """Raise a DataError where inputs are scaled twice, or not at all, for a model.

    uint8 pixels are scaled by edgefm itself; what can be wrong is that they were scaled before. Floats are taken as
    they are and must lie within the model's range.
    """
    low, high = value_range
    least, greatest = float(x.min()), float(x.max())
    if x.dtype == np.uint8:
        if greatest <= 1:
            raise DataError(
                f"{where} are uint8 from {least:g} to {greatest:g}; 0 to {_PIXEL_MAX} is expected: nearly black, or "
                f"divided by {_PIXEL_MAX} before the conversion to integers",
                hint=f"Give the original pixels, uint8 from 0 to {_PIXEL_MAX}.",
            )
        return
    if high > 2 * _UNIT and least >= -_UNIT and greatest <= _UNIT:
        raise DataError(
            f"{where} are floats from {least:g} to {greatest:g}; the model takes {low:g} to {high:g} and "
            "normalises them itself (Rescaling layer): they would be normalised twice",
            hint=f"Give uint8 pixels from 0 to {_PIXEL_MAX}, or floats from {low:g} to {high:g}.",
        )
    slack = 1e-3 * (high - low)
    if least >= low - slack and greatest <= high + slack:
        return
    pixels = least >= 0 and greatest > _UNIT and greatest <= _PIXEL_MAX and high <= _UNIT
    raise DataError(
        f"{where} are floats from {least:g} to {greatest:g}; the model takes {low:g} to {high:g}"
        + (": they look like pixels that were not normalised" if pixels else ""),
        hint="Give uint8 pixels, which edgefm normalises for the model, floats in the model's range, or another "
        "value range.",
    )


def check_classes(y: NDArray[np.int64], labels: tuple[str, ...], *, where: str) -> None:
    """Raise a DataError unless all labels are places in the class names."""
    if len(y) == 0:
        return
    if int(y.min()) < 0:
        raise DataError(
            f"{where} hold the negative class {int(y.min())}; classes are numbered from 0",
            hint="Remove samples without a class.",
        )
    if int(y.max()) >= len(labels):
        raise DataError(
            f"{where} hold class {int(y.max())}; with {len(labels)} classes, 0 to {len(labels) - 1} are allowed",
            hint="Classes are numbered from 0 in the order of the class names.",
        )


def whole_numbers(y: NDArray[Any], *, where: str) -> NDArray[np.int64]:
    """Return class labels as int64 [n], or raise a DataError."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "iubf":
        raise DataError(f"{where} have dtype {y.dtype}; whole numbers from 0 are expected")
    if y.ndim != 1:
        raise DataError(
            f"{where} have shape {y.shape}; one class per sample, [n], is expected",
            hint="For samples with several labels give rows of 0 and 1, [n, labels], and use task 'multilabel'.",
        )
    if y.dtype.kind == "f" and not (np.isfinite(y).all() and (y == np.floor(y)).all()):
        odd = y[~(np.isfinite(y) & (y == np.floor(y)))][0]
        raise DataError(
            f"{where} hold {odd:g}, which is not a class: whole numbers from 0 are expected",
            hint="For numeric targets use task 'regression'.",
        )
    return y.astype(np.int64)


def hot_rows(y: NDArray[Any], *, where: str) -> NDArray[np.int64]:
    """Return rows of 0 and 1 as int64 [n, labels], or raise a DataError."""
    if y.ndim != 2 or y.dtype.kind not in "iubf":
        raise DataError(
            f"{where} are {y.dtype} {y.shape}; with several labels a sample, rows of 0 and 1 [n, labels] are expected",
            hint="For one class a sample use task 'classification'.",
        )
    if not ((y == 0) | (y == 1)).all():
        odd = y[~((y == 0) | (y == 1))][0]
        raise DataError(
            f"{where} hold {odd:g}; with several labels a sample, 0 and 1 are expected",
            hint="For numeric targets use task 'regression'.",
        )
    return y.astype(np.int64)


def check_columns(y: NDArray[np.int64], labels: tuple[str, ...], *, where: str) -> None:
    """Raise a DataError unless rows of 0 and 1 have a column for each name."""
    if y.shape[1] != len(labels):
        raise DataError(
            f"{where} have {y.shape[1]} columns, and there are {len(labels)} names: {few(labels)}",
            hint="Give one name per column, in the order of the columns.",
        )


def numbers(y: NDArray[Any], *, where: str) -> NDArray[np.float32]:
    """Return targets of a regression as float32 [n, ...], or raise a DataError."""
    if y.dtype.kind not in "iubf":
        raise DataError(f"{where} have dtype {y.dtype}; numbers are expected")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        bad = np.flatnonzero((~np.isfinite(y)).reshape(len(y), -1).any(axis=1))
        raise DataError(
            f"{where} hold NaN or infinite values, in {len(bad)} of {len(y)} samples: {_places(bad)}",
            hint="Remove these samples.",
        )
    return y.astype(np.float32, copy=False)


def _check_each_class(dataset: Dataset, *, source: str, progress: Progress) -> None:
    if not dataset.labels:
        raise DataError(f"{source} has no class names")
    if len(set(dataset.labels)) < len(dataset.labels):
        raise DataError(f"a class name occurs twice in {source}: {few(dataset.labels)}")
    counts = {split.name: _samples_of_each(split.labels, len(dataset.labels)) for split in dataset.splits}
    empty = [label for label, count in zip(dataset.labels, counts["train"], strict=True) if count == 0]
    if empty and dataset.task == "multilabel":
        progress.note(f"the training samples of {source} lack {len(empty)} labels: {few(empty)}")
    elif empty:
        raise DataError(
            f"{len(empty)} of {len(dataset.labels)} classes of {source} have no training sample: {few(empty)}",
            hint="Classes are numbered from 0 without gaps; give samples of each, or leave the class out.",
        )
    for split in ("validation", "test"):
        lacking = [label for label, count in zip(dataset.labels, counts[split], strict=True) if count == 0]
        if lacking:
            progress.note(f"the {split} samples of {source} lack {len(lacking)} classes: {few(lacking)}")


def _places(indices: NDArray[np.int64]) -> str:
    """Return the first places, counted from 0.

    >>> _places(np.array([3, 8]))
    'indices 3, 8'
    """
    return f"ind{'ices' if len(indices) > 1 else 'ex'} {few([str(index) for index in indices])}"


def _samples_of_each(labels: NDArray[Any], count: int) -> NDArray[np.int64]:
    whole = labels.astype(np.int64)
    each: NDArray[np.int64] = whole.sum(axis=0) if whole.ndim == 2 else np.bincount(whole, minlength=count)
    return each


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape) or "single numbers"
