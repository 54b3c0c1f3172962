"""What a model's first output means, and what has to be added so that the scores of its labels are probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError, unknown_name
from edgefm.core.progress import SILENT, Progress
from edgefm.core.task_names import HEADS, SCORED
from edgefm.data.head import ModelHead

# Rounding of a runtime: values this far beyond 0 and 1, and sums this far from 1, are still probabilities.
_BEYOND = 1e-4
_SUM = 1e-3


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a first output means.

    Attributes:
      kind: 'softmax' (probabilities of classes that exclude each other), 'sigmoid' (each score is a probability of its
        own), 'logits' (scores before either), or 'values' (no scores of labels).
      added: 'softmax' or 'sigmoid', where edgefm put it behind the model; '' where nothing was added.
      task: one of `edgefm.core.task_names.TASKS`; '' where neither data nor labels say so.
    """

    kind: str
    added: str = ""
    task: str = ""

    @property
    def threshold(self) -> float:
        """A single score above it means yes."""
        return 0.0 if self.kind == "logits" else 0.5


def check_name(head: str) -> None:
    """Raise a RecipeError unless a head has one of the names that are allowed."""
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)


def task_without_data(model: ModelHead, *, labels: int | None, wanted: str = "auto") -> str:
    """Return the task of a model that has no data, '' where its outputs are taken for numbers.

    Several outputs are classes, or several labels where they are sigmoids, unless the loss compares numbers. A single
    one is the score of the second of two classes where its loss, two labels or the head that was asked for say so. An
    output for each pixel is a mask where there is a name for each of its classes.

    Args:
      model: its head.
      labels: number of names that were given; None without.
      wanted: the head that was asked for.
    """
    units = model.units
    if units is None:
        return "segmentation" if len(model.shape) == 3 and labels == max(2, model.shape[-1]) else ""
    if units == 1:
        named = labels is not None or wanted in ("sigmoid", "logits") or model.loss_is_binary
        return "classification" if named else ""
    if model.loss_is_of_numbers and model.activation != "softmax" and labels is None and wanted == "auto":
        return ""
    sigmoid = wanted == "sigmoid" or (wanted != "softmax" and model.activation == "sigmoid")
    if sigmoid or (wanted != "softmax" and model.loss_is_binary):
        return "classification" if model.loss_is_categorical else "multilabel"
    return "classification"


def head_of(
    model: ModelHead,
    values: Callable[[], NDArray[np.float32]],
    *,
    task: str,
    wanted: str = "auto",
    file: str,
    progress: Progress = SILENT,
) -> Head:
    """Return what a first output means, and what has to be added.

    A softmax or sigmoid at the end stays. Logits get a sigmoid where there is one unit, where a sample has several
    labels or where the loss was binary, else a softmax. The end of a model that is neither is told by its values.
    Nothing is added to the logits of masks unless it was asked for: the class of a pixel is the same without.

    Args:
      model: its head.
      values: gives its first output for some samples, float32 [n, units] (of masks [n, height, width, units]); asked
        for only where needed.
      task: see `Head.task`.
      wanted: one of `HEADS`.
      file: its name, for messages.
      progress: receives what is added, and why.
    Raises:
      ModelError: a softmax over one unit; a head that does not fit the model; outputs of which it is not clear
        whether they are logits.
      RecipeError: an unknown head.
    """
    check_name(wanted)
    if task not in SCORED:
        if wanted not in ("auto", "logits"):
            raise ModelError(
                f"the head '{wanted}' was asked for, and the outputs of {file} are no scores of labels",
                hint="Give data with classes, or class names, or the task 'classification' or 'multilabel'.",
            )
        return Head(kind="values", task=task)
    masks = task == "segmentation"
    units, given = model.shape[-1] if masks else model.units or 1, model.activation
    if "softmax" in (wanted, given) and units == 1:
        raise ModelError(
            f"a softmax over the one unit of {file} is always 1",
            hint="End the model in a sigmoid, or in one unit per class.",
        )
    if wanted != "auto":
        return _as_wanted(model, task=task, wanted=wanted, file=file, progress=progress)
    if given == "softmax" and task == "multilabel":
        progress.note(
            f"{file} ends in a softmax, whose values exclude each other; the data have several labels a sample"
        )
    if given in ("softmax", "sigmoid"):
        return Head(kind=given, task=task)
    if given == "log_sigmoid":
        raise ModelError(
            f"{file} ends in logarithms of probabilities (log_sigmoid)",
            hint="End it in a sigmoid, or in logits without activation.",
        )
    binary = units == 1 or (not masks and (task == "multilabel" or model.loss_is_binary))
    if given == "other":
        kind = _probabilities(values(), binary=binary)
        if kind:
            return Head(kind=kind, task=task)
    if given == "linear" and binary and not model.loss_takes_scores:
        if model.loss_is_of_numbers and masks:
            progress.note(
                f"the masks of {file} are numbers, trained with {model.loss}: a pixel is of the second class where its "
                "value is above 0.5; give the head 'logits' if they are logits"
            )
            return Head(kind="values", task=task)
        if model.loss_is_of_numbers:
            raise ModelError(
                f"it is not clear whether the outputs of {file} are logits: the model was compiled with {model.loss}",
                hint="Give the head 'sigmoid' (a sigmoid is added) or the task 'regression' (they are numbers).",
            )
        if model.loss_is_binary:
            progress.note(
                f"{file} was compiled with {model.loss} without from_logits: its outputs are taken as probabilities "
                "and left as they are; give the head 'sigmoid' if they are logits"
            )
            return Head(kind="sigmoid", task=task)
    if masks:
        if units == 1:
            progress.note(f"the masks of {file} are logits: a pixel is of the second class where its value is above 0")
        return Head(kind="logits", task=task)
    added = "sigmoid" if binary else "softmax"
    why = {"linear": "its last layer has no activation", "log_softmax": "they are logarithms of probabilities"}
    loss = f", compiled with {model.loss}" if model.loss else ""
    progress.note(
        f"the outputs of {file} are no probabilities ({why.get(given, 'values outside 0 to 1')}{loss}): a {added} is "
        "added, so that they are; with the head 'logits' they stay as they are"
    )
    return Head(kind=added, added=added, task=task)


def _as_wanted(model: ModelHead, *, task: str, wanted: str, file: str, progress: Progress) -> Head:
    """Return the head that was asked for, or raise a ModelError where the model cannot have it."""
    given = model.activation
    if wanted == "softmax" and task == "multilabel":
        raise ModelError(
            "the head 'softmax' was asked for, and the data have several labels a sample",
            hint="Take the head 'sigmoid', or give the task 'classification'.",
        )
    if wanted == given:
        return Head(kind=wanted, task=task)
    if given in ("softmax", "sigmoid", "log_sigmoid") or (given == "log_softmax" and wanted == "sigmoid"):
        raise ModelError(
            f"the head '{wanted}' was asked for, and {file} ends in a {given}",
            hint=f"Leave the head out, or give a model without the {given}.",
        )
    if wanted == "logits":
        return Head(kind="logits", task=task)
    progress.note(f"a {wanted} is added behind the outputs of {file}, as was asked for")
    return Head(kind=wanted, added=wanted, task=task)


def _probabilities(values: NDArray[np.float32], *, binary: bool) -> str:
    """Return 'softmax' or 'sigmoid' where values are probabilities, '' where they are not."""
    flat = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(-1, 1)
    if flat.min() < -_BEYOND or flat.max() > 1 + _BEYOND:
        return ""
    sums_to_one = flat.shape[1] > 1 and bool(np.abs(flat.sum(axis=1) - 1).max() <= _SUM)
    return "softmax" if sums_to_one and not binary else "sigmoid"
