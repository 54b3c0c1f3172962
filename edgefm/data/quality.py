"""How good a model's answers are: a measure of its task (`MEASURES`), or a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError, EdgefmError, MeasureError, NoQualityError, RecipeError, unknown_name
from edgefm.core.named_function import function_named
from edgefm.data import label_scores, masks

Outputs = tuple[NDArray[Any], ...]

UNITS = ("", "%")
_TOP = 5
# A probability above this means yes; 0 is the same of a logit.
THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A quality measure.

    Attributes:
      name: one of `MEASURES`, or 'module:function'.
      function: (outputs, targets) -> value. `outputs` are a model's outputs, float32 [n, ...] each, in its order;
        `targets` int64 [n] for classes, int64 [n, labels] of 0 and 1 for several labels, float32 [n, ...] otherwise.
      higher_is_better: False for an error.
      unit: '%' where the value is a share (0 to 1) that is shown in percent, '' otherwise.
      of_samples: (outputs, targets) -> float64 [n] of which the value is the mean, where it is one.
      counts: (outputs, targets) -> int64 [n, ...], whose sum over samples `of_counts` makes the value of, where it can.
      of_counts: see there.
      task: that a built-in measure is of; '' for the user's own.
    """

    name: str
    function: Callable[[Outputs, NDArray[Any]], float]
    higher_is_better: bool
    unit: str
    of_samples: Callable[[Outputs, NDArray[Any]], NDArray[np.float64]] | None = None
    counts: Callable[[Outputs, NDArray[Any]], NDArray[np.int64]] | None = None
    of_counts: Callable[[NDArray[Any]], float] | None = None
    task: str = ""

    def at(self, threshold: float) -> Quality:
        """Return the measure with another least score that means yes, 0 for logits; the user's own stays as it is."""
        return quality(self.name, task=self.task, threshold=threshold) if self.task else self

    def loss(self, reference: float, measured: float) -> float:
        """Return by how much `measured` is worse than `reference`: above 0 is worse; percentage points for a share."""
        difference = reference - measured if self.higher_is_better else measured - reference
        return 100 * difference if self.unit == "%" else difference


def quality(name: str, *, task: str, threshold: float = THRESHOLD, named_in: Path | None = None) -> Quality:
    """Return a quality measure by name.

    Built in, of the first output, for classes: 'accuracy' and 'top5', the share of samples whose class has the
    highest score, or one of the five highest (of a single score, above the threshold means the second of two
    classes); 'auc', the area under the ROC curve, for more than two classes the mean over the classes, each against
    the rest. For several labels a sample: 'map', 'f1', 'f1_micro', 'label_accuracy' and 'auc', see
    `edgefm.data.label_scores`. For masks: 'miou' and 'pixel_accuracy', see `edgefm.data.masks`. For numbers: 'mse',
    the mean squared error over all values. 'module:function' is the
    user's own: it takes (outputs, targets) as `Quality.function` does and returns a number; its attributes
    `higher_is_better` (True) and `unit` ('' or '%') are optional.

    Args:
      name: see above.
      task: one of `edgefm.core.task_names.TASKS`.
      threshold: a score above it means yes.
      named_in: file that names a function, see `edgefm.core.named_function`; None where the user does.
    Raises:
      RecipeError: an unknown name or task, or a measure that is not one of the task.
      DataError: the module has no such function, or it is not trusted.
    """
    if task not in MEASURES:
        raise unknown_name("task", task, MEASURES)
    if ":" in name:
        return _own(name, named_in)
    if name not in MEASURES[task]:
        if not any(name in measures for measures in MEASURES.values()):
            raise unknown_name("quality measure", name, [*ALL_MEASURES, "module:function"])
        raise RecipeError(
            f"the quality measure '{name}' does not fit the task '{task}'",
            hint=f"Allowed: {', '.join(MEASURES[task])}, or module:function.",
        )
    measure = MEASURES[task][name]

    def of_all(outputs: Outputs, targets: NDArray[Any]) -> float:
        return float(np.mean(measure.function(outputs, targets, threshold)))

    def of_samples(outputs: Outputs, targets: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(measure.function(outputs, targets, threshold), np.float64)

    counted = measure.counts
    return Quality(
        name=name,
        function=of_all,
        higher_is_better=measure.higher_is_better,
        unit="%" if measure.higher_is_better else "",
        of_samples=of_samples if measure.of_samples else None,
        counts=None if counted is None else lambda outputs, targets: counted(outputs, targets, threshold),
        of_counts=measure.of_counts,
        task=task,
    )


def predicted_classes(outputs: Outputs, *, threshold: float = THRESHOLD) -> NDArray[np.int64]:
    """Return the class that the first output says of each sample, int64 [n]: the first highest score.

    A single score a sample is that of class 1, which is said above the threshold.
    """
    scores = _flat(outputs)
    if scores.shape[1] == 1:
        return (scores[:, 0] > threshold).astype(np.int64)
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


def _shares_of_auc(outputs: Outputs, targets: NDArray[Any], _: float = THRESHOLD) -> NDArray[np.float64]:
    """Return what each sample adds to the AUC: values whose mean is the AUC, and whose spread is its uncertainty."""
    scores = _class_scores(outputs, targets)
    if scores.shape[1] == 1:
        return label_scores.shares_of_area(scores[:, 0], targets == 1)
    if scores.shape[1] == 2:
        return label_scores.shares_of_area(scores[:, 1] - scores[:, 0], targets == 1)
    each = [label_scores.shares_of_area(scores[:, place], targets == place) for place in range(scores.shape[1])]
    mean: NDArray[np.float64] = np.mean(each, axis=0)
    return mean


def _hits(outputs: Outputs, targets: NDArray[Any], threshold: float) -> NDArray[np.float64]:
    _class_scores(outputs, targets)
    right: NDArray[np.float64] = (predicted_classes(outputs, threshold=threshold) == targets).astype(np.float64)
    return right


def _hits_in_top(outputs: Outputs, targets: NDArray[Any], _: float) -> NDArray[np.float64]:
    """Return 1.0 for each sample whose class is among the five highest; of equal scores the first is the higher."""
    scores = _class_scores(outputs, targets)
    classes = scores.shape[1]
    if classes <= _TOP:
        raise DataError(
            f"top5 needs more than {_TOP} classes; the model has {max(classes, 2)}",
            hint="Use the quality accuracy.",
        )
    own = scores[np.arange(len(scores)), targets][:, np.newaxis]
    before = (scores > own) | ((scores == own) & (np.arange(classes) < targets[:, np.newaxis]))
    right: NDArray[np.float64] = (before.sum(axis=1) < _TOP).astype(np.float64)
    return right


def _squared_errors(outputs: Outputs, targets: NDArray[Any], _: float) -> NDArray[np.float64]:
    """Return the mean squared error of each sample's values."""
    answers = _flat(outputs)
    if targets.dtype == np.uint8:
        raise DataError("the targets are uint8 pixels; floats in the input range of the model are expected")
    wanted = targets.reshape(len(targets), -1)
    if answers.shape != wanted.shape:
        raise DataError(
            f"the first output of the model has shape {outputs[0].shape[1:] or '(1,)'} per sample, "
            f"the targets {targets.shape[1:] or '(1,)'}: they cannot be compared",
            hint="Give targets of the output's shape, or a measure of your own as module:function.",
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


def _own(name: str, named_in: Path | None) -> Quality:
    function, _ = function_named(name, named_in=named_in)
    unit, higher_is_better = getattr(function, "unit", ""), getattr(function, "higher_is_better", True)
    if unit not in UNITS:
        raise RecipeError(f"the unit of {name} is {unit!r}", hint="Allowed: '' and '%' (for a share of 1).")
    if not isinstance(higher_is_better, bool):
        raise RecipeError(f"higher_is_better of {name} is {higher_is_better!r}; True or False is expected")

    def measured(outputs: Outputs, targets: NDArray[Any]) -> float:
        try:
            value = float(function(outputs, targets))
        except EdgefmError:  # it would have imported what is not trusted, say
            raise
        except Exception as error:  # whatever the user's code raises
            shapes = ", ".join(str(output.shape) for output in outputs)
            kind = (
                NoQualityError if isinstance(error, ArithmeticError) else MeasureError
            )  # 1 / 0, where NumPy gives NaN
            raise kind(
                f"the quality measure {name} raised {type(error).__name__}: {error}",
                hint=f"It was given outputs of shape {shapes} and targets of shape {targets.shape}.",
            ) from error
        if not np.isfinite(value):
            raise NoQualityError(f"the quality measure {name} gave {value}; a finite number is expected")
        return value

    return Quality(name=name, function=measured, higher_is_better=higher_is_better, unit=unit)


@dataclass(frozen=True)
class Measure:
    """A built-in measure.

    Attributes:
      function: (outputs, targets, threshold) -> a value of each sample, float64 [n], or one of all.
      of_samples: whether it gives one of each sample.
      counts: see `Quality`, with the threshold.
      of_counts: see `Quality`.
      higher_is_better: and then it is a share; an error otherwise.
    """

    function: Callable[[Outputs, NDArray[Any], float], Any]
    of_samples: bool = True
    higher_is_better: bool = True
    counts: Callable[[Outputs, NDArray[Any], float], NDArray[np.int64]] | None = None
    of_counts: Callable[[NDArray[Any]], float] | None = None


_MSE = {"mse": Measure(_squared_errors, higher_is_better=False)}
# By task; the first measure of each is its default.
MEASURES: Mapping[str, Mapping[str, Measure]] = {
    "classification": {"accuracy": Measure(_hits), "top5": Measure(_hits_in_top), "auc": Measure(_shares_of_auc)},
    "multilabel": {
        "f1": Measure(label_scores.macro_f1, of_samples=False),
        "map": Measure(label_scores.mean_average_precision, of_samples=False),
        "f1_micro": Measure(label_scores.micro_f1, of_samples=False),
        "label_accuracy": Measure(label_scores.shares_of_right_labels),
        "auc": Measure(label_scores.shares_of_auc),
    },
    "segmentation": {
        "miou": Measure(masks.mean_iou, of_samples=False, counts=masks.overlaps, of_counts=masks.iou_of),
        "pixel_accuracy": Measure(masks.pixel_accuracy),
    },
    "regression": _MSE,
    "reconstruction": _MSE,
}
DEFAULTS: Mapping[str, str] = {task: next(iter(measures)) for task, measures in MEASURES.items()}
ALL_MEASURES = tuple(dict.fromkeys(name for measures in MEASURES.values() for name in measures))
