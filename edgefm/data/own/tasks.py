"""Which task labels are for: what the user said, else what they look like, with the model's head where that decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT, Progress
from edgefm.data import masks
from edgefm.data.head import ModelHead

_SIGMOIDS = ("sigmoid", "log_sigmoid")


def task_of(
    labels: Mapping[str, NDArray[Any] | None],
    task: str | None,
    *,
    source: str,
    head: ModelHead | None = None,
    inputs: NDArray[Any] | None = None,
    named: bool = False,
    progress: Progress = SILENT,
) -> str:
    """Return what the labels are for.

    A whole number for each pixel is a mask; without any labels the inputs are the targets of a reconstruction. Whole
    numbers, names and one-hot rows are classes; rows of 0 and 1 with another number of ones are several labels
    a sample; -1 and 1 are two classes; other floats are targets of a regression. Where the model's head is known,
    whole numbers that one linear unit answers are targets of a regression if they are not 0 and 1, or if its loss
    compares numbers; floats that are whole numbers are classes if the head has several outputs.

    Args:
      labels: of each split, as they were read.
      task: what the user said; None: nothing.
      source: of the labels, for messages.
      head: of the model; None where it is not known.
      inputs: the training samples, [n, ...]; None where they are not known: then there are no masks.
      named: the classes have names.
      progress: receives what was decided where it can be doubted.
    Raises:
      DataError: labels are missing.
    """
    several = inputs is not None and joined.is_joined(inputs)
    if task == "reconstruction" and not several:
        return task
    unlabelled = all(y is None for y in labels.values())
    if task is None and inputs is not None and unlabelled and inputs.dtype.kind != "i" and not several:
        progress.note(f"{source} has no labels: the samples themselves are the targets of a reconstruction")
        return "reconstruction"
    for split, y in labels.items():
        if y is None:
            raise DataError(
                f"the {split} samples of {source} have no labels",
                hint="Give them as y, or use task 'reconstruction' if the targets are the inputs.",
            )
    if task is not None:
        return task
    known = [y for y in labels.values() if y is not None]
    if inputs is not None and masks.is_mask(inputs, known[0]):
        progress.note(f"the labels of {source} are a class for each pixel: used as masks of a segmentation")
        return "segmentation"
    if any(y.dtype.kind in "US" for y in known):
        return "classification"
    if all(one_hot(y) for y in known):
        if known[0].dtype.kind == "f":
            progress.note(f"the labels of {source} are one-hot rows: used as classes")
        return "classification"
    if all(multi_hot(y) for y in known):
        if head is not None and _of_numbers(head):
            return _regression(source, f"the model was compiled with {head.loss}", progress)
        progress.note(f"the labels of {source} are rows of 0 and 1 with several ones: used as several labels a sample")
        return "multilabel"
    single = all(y.size == len(y) for y in known)
    if (
        single
        and signs(np.concatenate([y.reshape(-1) for y in known]))
        and not (head is not None and _of_numbers(head))
    ):
        progress.note(f"the labels of {source} are -1 and 1: used as two classes")
        return "classification"
    if all(_whole(y) for y in known):
        return _of_whole_numbers(known, head, named=named, source=source, progress=progress)
    progress.note(f"the labels of {source} are {known[0].dtype} numbers: used as targets of a regression")
    return "regression"


def one_hot(y: NDArray[Any]) -> bool:
    """Return whether each row of [n, classes >= 2] holds a single 1 and zeros."""
    return multi_hot(y) and bool((y.sum(axis=1) == 1).all())


def signs(y: NDArray[Any]) -> bool:
    """Return whether labels are -1 and 1, one a sample, and -1 occurs."""
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.ndim != 1 or flat.dtype.kind not in "if":
        return False
    return bool((np.abs(flat) == 1).all() and (flat == -1).any())


def multi_hot(y: NDArray[Any]) -> bool:
    """Return whether labels are rows of 0 and 1, [n, labels >= 2]."""
    if y.ndim != 2 or y.shape[1] < 2 or y.dtype.kind not in "iubf":
        return False
    return bool(((y == 0) | (y == 1)).all())


def _of_whole_numbers(
    known: list[NDArray[Any]], head: ModelHead | None, *, named: bool, source: str, progress: Progress
) -> str:
    """Return the task of whole numbers, one a sample."""
    floats = known[0].dtype.kind == "f"
    two = all(bool(((y == 0) | (y == 1)).all()) for y in known) and len(np.unique(known[0])) == 2
    if head is not None and not named and head.units == 1 and head.activation not in _SIGMOIDS:
        if _of_numbers(head):
            return _regression(source, f"the model was compiled with {head.loss}", progress)
        if not two:
            return _regression(source, "the model has one output, and they are not 0 and 1", progress)
    if not floats:
        return "classification"
    if two or (head is not None and (head.units or 1) > 1):  # several outputs cannot answer a single number
        progress.note(f"the labels of {source} are {known[0].dtype}, but whole numbers: used as classes")
        return "classification"
    progress.note(f"the labels of {source} are {known[0].dtype} numbers: used as targets of a regression")
    return "regression"


def _of_numbers(head: ModelHead) -> bool:
    """Return whether a head was trained to give numbers, not scores of classes."""
    return head.loss_is_of_numbers and head.activation in ("linear", "other")


def _regression(source: str, why: str, progress: Progress) -> str:
    progress.note(
        f"the labels of {source} are used as targets of a regression: {why}. Give the task 'classification' or "
        "'multilabel' if they are classes"
    )
    return "regression"


def _whole(y: NDArray[Any]) -> bool:
    """Return whether labels are one whole number from 0 a sample."""
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if flat.ndim != 1 or flat.dtype.kind not in "iubf":
        return y.dtype.kind in "iub"  # of another shape: said in full when they are read as classes
    if flat.dtype.kind != "f":
        return True
    return bool(np.isfinite(flat).all() and (flat == np.floor(flat)).all() and (flat >= 0).all())
