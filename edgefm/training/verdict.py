"""Reads underfitting and overfitting from a training history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.statistics.estimates import difference_of_proportions

NOT_DECIDED = "not decided"
# Rising: the last validation loss is this much above its lowest.
OVERFIT_LOSS_RISE = 1.15
# Less than this above it, in nats, is nothing: the loss of a set that is learnt to the last image may be 0.
_LEAST_RISE = 0.01
# Falling: the validation loss fell by this share an epoch over the last three.
UNDERFIT_LOSS_FALL = 0.02
# Points of accuracy between training and validation images, both without augmentation or dropout.
OVERFIT_GAP_POINTS = 8.0
# A model that knows its training images no better than others by this much has not learnt them by heart.
_LEAST_GAP_POINTS = 1.0
# A model that answers so many of its training images right has nothing left to learn from them.
_LEARNT = 0.99
# Answers that know nothing of the pictures find 1 / classes of each class on average; this many times that is no more.
_AT_CHANCE = 1.1


@dataclass(frozen=True, kw_only=True)
class FitVerdict:
    """How a model fits, and the figures it is read from.

    Attributes:
      name: 'underfitted', 'good fit' or 'overfitted'; 'not decided' where there are too few validation images.
      reason: the figures, in words.
      train_accuracy: on clean training images, in evaluation mode, 0 to 1.
      validation_accuracy: of the epoch whose weights the model has, 0 to 1.
    """

    name: str
    reason: str
    train_accuracy: float
    validation_accuracy: float

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as a JSON object."""
        return asdict(self)


def judge(
    epochs: Sequence[Mapping[str, Any]],
    *,
    training: NDArray[np.int64],
    validation: int,
    best_epoch: int | None = None,
) -> FitVerdict:
    """Return the verdict on a model and its history.

    Underfitted, first of all: no more training images are right than if all were called the most frequent class, and
    the classes are told apart no better than by chance: nothing was learnt. Overfitted: the training accuracy is 8
    points or more above the validation accuracy, or 1 point or more while the validation loss ends 15 % or more, and
    0.01 or more, above its lowest; not decided where so few images may show such a gap by chance. Underfitted: not
    that, less than 99 % of the training images right, and the validation loss still fell by more than 2 % an epoch over
    the last three epochs, or rose as much as said without such a gap: a training that went astray. Otherwise a good
    fit; the loss of one may have risen, as label smoothing has it where every image is right.

    Args:
      epochs: one entry an epoch with 'val_loss' and 'val_accuracy', oldest first, at least one.
      training: int64 [classes, classes], training images as they are, without augmentation and dropout, of each class
        (row) by the class they were taken for (column).
      validation: number of validation images, 1 or more.
      best_epoch: the epoch, from 1, whose weights the model has; None stands for the last.
    """
    kept = epochs[:best_epoch]
    later = len(epochs) - len(kept)
    losses = [float(epoch["val_loss"]) for epoch in kept]
    accuracy = float(kept[-1]["val_accuracy"])
    hits, count = int(np.trace(training)), int(training.sum())
    train_accuracy = hits / count
    best = min(range(len(losses)), key=losses.__getitem__)
    gap = 100 * (train_accuracy - accuracy)
    recent = losses[-4:]
    fall = 1 - (recent[-1] / recent[0]) ** (1 / (len(recent) - 1)) if len(recent) > 1 and recent[0] > 0 else 0.0
    figures = (
        f"training accuracy {100 * train_accuracy:.1f} %, validation {100 * accuracy:.1f} % (gap {gap:.1f} points); "
        f"validation loss {losses[-1]:.3f}, lowest {losses[best]:.3f} in epoch {best + 1}"
    )
    if later:
        what = "epoch was" if later == 1 else "epochs were"
        figures += f"; the model has the weights of epoch {len(kept)}, after which {later} {what} trained"
    rise = losses[-1] >= OVERFIT_LOSS_RISE * losses[best] and losses[-1] - losses[best] >= _LEAST_RISE
    if _learnt_nothing(training):
        name = "underfitted"
        figures += (
            f"; calling every training image the most frequent class is right as often ({_most_frequent(training)} of "
            f"{count}): nothing was learnt. Another learning rate may help, or look at the pixels that the model gets"
        )
    elif gap >= (_LEAST_GAP_POINTS if rise else OVERFIT_GAP_POINTS):
        interval = difference_of_proportions(hits, count, round(accuracy * validation), validation)
        name = "overfitted" if interval.low > 0 else NOT_DECIDED
        if name == NOT_DECIDED:
            figures += (
                f"; {validation} validation images are too few to tell such a gap from chance (95 % interval "
                f"{100 * interval.low:.1f} to {100 * interval.high:.1f} points)"
            )
    elif train_accuracy >= _LEARNT:
        name = "good fit"
    elif rise:
        name = "underfitted"
        figures += ", which rises though the training images are not learnt by heart: a smaller learning rate may help"
    elif not later and (fall > UNDERFIT_LOSS_FALL or len(losses) == 1):
        name = "underfitted"
        figures += f", falling by {100 * fall:.1f} % an epoch at the end: more epochs would help"
    else:
        name = "good fit"
    return FitVerdict(name=name, reason=figures, train_accuracy=train_accuracy, validation_accuracy=accuracy)


def _most_frequent(confusion: NDArray[np.int64]) -> int:
    """Return how many images the most frequent class has."""
    return int(confusion.sum(axis=1).max())


def _learnt_nothing(confusion: NDArray[np.int64]) -> bool:
    """Return whether answers are right no more often than one class for all, and tell the classes apart by chance.

    The second counts where classes are weighted: a model may give up images of the frequent class for the rare ones.
    """
    images = confusion.sum(axis=1)
    there = images > 0
    recall = (np.diag(confusion)[there] / images[there]).mean()
    at_chance = recall <= _AT_CHANCE / there.sum()
    return bool(there.sum() > 1 and np.trace(confusion) <= images.max() and at_chance)
