"""What a model's answers on a split are worth: loss, accuracy, and which classes it takes for which."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgefm.training.distillation import LEAST_PROBABILITY


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Answers of a classifier on a split.

    Attributes:
      loss: mean cross-entropy, natural logarithm.
      accuracy: 0 to 1.
      confusion: int64 [classes, classes], images of each class (row) by the class they were taken for (column).
    """

    loss: float
    accuracy: float
    confusion: NDArray[np.int64] = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """The most frequent mistake: `count` of the `total` images of one class were taken for another."""

    true: str
    taken_for: str
    count: int
    total: int

    def __str__(self) -> str:
        share = 100 * self.count / self.total
        return f"{self.true} taken for {self.taken_for}, {self.count:,} of {self.total:,} ({share:.1f} %)"


def evaluated(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Evaluation:
    """Return the evaluation of probabilities, [n, classes], against labels, [n]; n > 0.

    >>> evaluated(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1])).confusion.tolist()
    [[1, 0], [1, 0]]
    """
    count, classes = probabilities.shape
    chosen = probabilities[np.arange(count), labels]
    answers = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)
    # A NaN stays one: it says that the weights are spoilt.
    losses = -np.log(np.maximum(chosen, LEAST_PROBABILITY))
    return Evaluation(
        loss=float(losses.mean()), accuracy=float((answers == labels).mean()), confusion=confusion.astype(np.int64)
    )


def worst_mistake(confusion: NDArray[np.int64], names: tuple[str, ...]) -> Mistake | None:
    """Return the most frequent mistake of a confusion matrix; None where there is none."""
    wrong = confusion - np.diag(np.diag(confusion))
    true, taken_for = np.unravel_index(int(wrong.argmax()), wrong.shape)
    if not wrong[true, taken_for]:
        return None
    return Mistake(
        true=names[true],
        taken_for=names[taken_for],
        count=int(wrong[true, taken_for]),
        total=int(confusion[true].sum()),
    )


def confusion_csv(confusion: NDArray[np.int64], names: tuple[str, ...]) -> str:
    """Return a confusion matrix as CSV: a row a class, a column for what its images were taken for."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true class", *names])
    writer.writerows([name, *row] for name, row in zip(names, confusion.tolist(), strict=True))
    return text.getvalue()
