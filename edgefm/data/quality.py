"""How good a model's answers are: accuracy, top-5, AUC, mean squared error, or a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError, RecipeError, unknown_name
from edgefm.core.named_function import function_named
from edgefm.data import masks

Outputs = tuple[NDArray[Any], ...]

DEFAULTS = {"classification": "accuracy", "regression": "mse", "reconstruction": "mse", "segmentation": "miou"}
UNITS = ("", "%")
_TOP = 5
_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A quality measure.

    Attributes:
      name: 'accuracy', 'top5', 'auc', 'mse', or 'module:function'.
      function: (outputs, targets) -> value. `outputs` are a model's outputs, float32 [n, ...] each, in its order;
        `targets` int64 [n] for classes, float32 [n, ...] otherwise.
      higher_is_better: False for an error.
      unit: '%' where the value is a share (0 to 1) that is shown in percent, '' otherwise.
      of_samples: (outputs, targets) -> float64 [n] of which the value is the mean, where it is one.
    """

    name: str
    function: Callable[[Outputs, NDArray[Any]], float]
    higher_is_better: bool
    unit: str
    of_samples: Callable[[Outputs, NDArray[Any]], NDArray[np.float64]] | None = None

    def loss(self, reference: float, measured: float) -> float:
        """Return by how much `measured` is worse than `reference`: above 0 is worse; percentage points for a share."""
        difference = reference - measured if self.higher_is_better else measured - reference
        return 100 * difference if self.unit == "%" else difference


def quality(name: str, *, task: str) -> Quality:
    """Return a quality measure by name.

    Built in, of the first output: 'accuracy' and 'top5', the share of samples whose class has the highest score, or
    one of the five highest (of a single score, above 0.5 means the second of two classes); 'auc', the area under the
    ROC curve, for more than two classes the mean over the classes, each against the rest; 'mse', the mean squared
    error over all values; of masks 'miou' and 'pixel_accuracy', see `edgefm.data.masks`. 'module:function' is the
    user's own: it takes (outputs, targets) as `Quality.function` does and returns a number; its attributes
    `higher_is_better` (True) and `unit` ('' or '%') are optional.

    Args:
      name: see above.
      task: one of `edgefm.data.dataset.TASKS`.
    Raises:
      RecipeError: an unknown name or task, or a measure that is not one of the task.
      DataError: the module has no such function.
    """
    if task not in DEFAULTS:
        raise unknown_name("task", task, DEFAULTS)
    if ":" in name:
        return _own(name)
    known = [*_MEASURES, "miou"]
    if name not in known:
        raise unknown_name("quality measure", name, [*known, "module:function"])
    fitting = _FITTING[task]
    if name not in fitting:
        raise RecipeError(
            f"the quality measure '{name}' does not fit the task '{task}'",
            hint=f"Allowed: {', '.join(fitting)}, or module:function.",
        )
    if name == "miou":
        return Quality(name=name, function=masks.mean_iou, higher_is_better=True, unit="%")
    of_classes = name != "mse"
    of_samples = _MEASURES[name]
    return Quality(
        name=name,
        function=lambda outputs, targets: float(of_samples(outputs, targets).mean()),
        higher_is_better=of_classes,
        unit="%" if of_classes else "",
        of_samples=of_samples,
    )


def predicted_classes(outputs: Outputs) -> NDArray[np.int64]:
    """Return the class that the first output says of each sample, int64 [n]: the first highest score.

    A single score a sample is the probability of class 1, which is said above 0.5.
    """
    scores = _flat(outputs)
    if scores.shape[1] == 1:
        return (scores[:, 0] > _THRESHOLD).astype(np.int64)
    best: NDArray[np.int64] = scores.argmax(axis=1).astype(np.int64)
    return best


def auc(outputs: Outputs, targets: NDArray[Any]) -> float:
    """Return the area under the ROC curve, 0 to 1; of several classes the mean, each against the rest.

    It is the share of pairs of a sample of the class and another one in which the former has the higher score, a
    tie counting half; it comes from ranks. Of two outputs the difference is the score.

    >>> auc((np.array([[0.1], [0.4], [0.4], [0.8]]),), np.array([0, 0, 1, 1]))
    0.875

    Raises:
      DataError: a class has no sample, or all samples are of one class.
    Source: Mann & Whitney 1947; Hanley & McNeil 1982, Radiology 143:29-36.
    """
    return float(_shares_of_auc(outputs, targets).mean())


def _shares_of_auc(outputs: Outputs, targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return what each sample adds to the AUC: values whose mean is the AUC, and whose spread is its uncertainty."""
    scores = _class_scores(outputs, targets)
    if scores.shape[1] == 1:
        return _shares_of_area(scores[:, 0], targets == 1)
    if scores.shape[1] == 2:
        return _shares_of_area(scores[:, 1] - scores[:, 0], targets == 1)
    each = [_shares_of_area(scores[:, place], targets == place) for place in range(scores.shape[1])]
    mean: NDArray[np.float64] = np.mean(each, axis=0)
    return mean


def _shares_of_area(scores: NDArray[Any], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return float64 [n] whose mean is the area: area + its structural components, weighted by n / samples of a kind.

    The component of a positive sample is the share of the others below it, that of another one the share of the
    positive ones above it. Source: DeLong et al. 1988, Biometrics 44:837-845.
    """
    hits, count = int(positive.sum()), len(scores)
    others = count - hits
    if hits == 0 or others == 0:
        raise DataError(
            "the AUC needs samples inside and outside each class; one class has none or all of the samples",
            hint="Give test samples of all classes, or use another measure: --quality.",
        )
    ranks = _ranks(scores)
    beaten = (ranks[positive] - _ranks(scores[positive])) / others
    beaten_by = 1 - (ranks[~positive] - _ranks(scores[~positive])) / hits
    area = beaten.mean()
    shares = np.full(count, area)
    shares[positive] += (beaten - area) * count / hits
    shares[~positive] += (beaten_by - area) * count / others
    return shares


def _ranks(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rank of each score from 1; equal scores share the mean of their ranks."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[places.reshape(-1)]
    return ranks


def _hits(outputs: Outputs, targets: NDArray[Any]) -> NDArray[np.float64]:
    _class_scores(outputs, targets)
    right: NDArray[np.float64] = (predicted_classes(outputs) == targets).astype(np.float64)
    return right


def _hits_in_top(outputs: Outputs, targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return 1.0 for each sample whose class is among the five highest; of equal scores the first is the higher."""
    scores = _class_scores(outputs, targets)
    classes = scores.shape[1]
    if classes <= _TOP:
        raise DataError(
            f"top5 needs more than {_TOP} classes; the model has {max(classes, 2)}",
            hint="Use --quality accuracy.",
        )
    own = scores[np.arange(len(scores)), targets][:, np.newaxis]
    before = (scores > own) | ((scores == own) & (np.arange(classes) < targets[:, np.newaxis]))
    right: NDArray[np.float64] = (before.sum(axis=1) < _TOP).astype(np.float64)
    return right


def _squared_errors(outputs: Outputs, targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean squared error of each sample's values."""
    answers = _flat(outputs)
    if targets.dtype == np.uint8:
        raise DataError("the targets are uint8 pixels; floats in the input range of the model are expected")
    wanted = targets.reshape(len(targets), -1)
    if answers.shape != wanted.shape:
        raise DataError(
            f"the first output of the model has shape {outputs[0].shape[1:] or '(1,)'} per sample, "
            f"the targets {targets.shape[1:] or '(1,)'}: they cannot be compared",
            hint="Give targets of the output's shape, or a measure of your own with --quality module:function.",
        )
    errors: NDArray[np.float64] = np.square(answers.astype(np.float64) - wanted).mean(axis=1)
    return errors


def _flat(outputs: Outputs) -> NDArray[Any]:
    return outputs[0].reshape(len(outputs[0]), -1)


def _class_scores(outputs: Outputs, targets: NDArray[Any]) -> NDArray[Any]:
    """Return the first output as [n, classes], or raise a DataError where it does not cover the targets."""
    scores = _flat(outputs)
    classes = max(2, scores.shape[1])
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise DataError(f"the targets are {targets.dtype} {targets.shape}; this measure needs classes: integers [n]")
    if len(targets) and int(targets.max()) >= classes:
        raise DataError(
            f"the first output has {classes} classes, the targets hold class {int(targets.max())}",
            hint="The scores of the classes must be the model's first output.",
        )
    return scores


def _own(name: str) -> Quality:
    function = function_named(name)
    unit, higher_is_better = getattr(function, "unit", ""), getattr(function, "higher_is_better", True)
    if unit not in UNITS:
        raise RecipeError(f"the unit of {name} is {unit!r}", hint="Allowed: '' and '%' (for a share of 1).")
    if not isinstance(higher_is_better, bool):
        raise RecipeError(f"higher_is_better of {name} is {higher_is_better!r}; True or False is expected")

    def measured(outputs: Outputs, targets: NDArray[Any]) -> float:
        try:
            value = float(function(outputs, targets))
        except Exception as error:  # whatever the user's code raises
            shapes = ", ".join(str(output.shape) for output in outputs)
            raise DataError(
                f"the quality measure {name} raised {type(error).__name__}: {error}",
                hint=f"It was given outputs of shape {shapes} and targets of shape {targets.shape}.",
            ) from error
        if not np.isfinite(value):
            raise DataError(f"the quality measure {name} gave {value}; a finite number is expected")
        return value

    return Quality(name=name, function=measured, higher_is_better=higher_is_better, unit=unit)


_MEASURES: dict[str, Callable[[Outputs, NDArray[Any]], NDArray[np.float64]]] = {
    "accuracy": _hits,
    "top5": _hits_in_top,
    "auc": _shares_of_auc,
    "mse": _squared_errors,
    "pixel_accuracy": masks.pixel_accuracy,
}
_FITTING = {
    "classification": ("accuracy", "top5", "auc"),
    "regression": ("mse",),
    "reconstruction": ("mse",),
    "segmentation": ("miou", "pixel_accuracy"),
}
