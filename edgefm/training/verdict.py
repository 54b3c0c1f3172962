"""Reads underfitting and overfitting from a training history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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


@dataclass(frozen=True, kw_only=True)
class FitVerdict:
    """How a model fits, and the figures it is read from.

    Attributes:
      name: 'underfitted', 'good fit' or 'overfitted'.
      reason: the figures, in words.
      train_accuracy: on clean training images, in evaluation mode, 0 to 1.
      validation_accuracy: of the last epoch, 0 to 1.
    """

    name: str
    reason: str
    train_accuracy: float
    validation_accuracy: float

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as a JSON object."""
        return asdict(self)


def judge(epochs: Sequence[Mapping[str, Any]], *, train_accuracy: float) -> FitVerdict:
    """Return the verdict on a history.

    Overfitted: the training accuracy is 8 points or more above the validation accuracy, or 1 point or more while the
    validation loss ends 15 % or more, and 0.01 or more, above its lowest. Underfitted: not that, less than 99 % of the
    training images right, and the validation loss still fell by more than 2 % an epoch over the last three epochs, or
    rose as much as said without such a gap: a training that went astray, or learns nothing. Otherwise a good fit; the
    loss of one may have risen, as label smoothing has it where every image is right.

    Args:
      epochs: one entry an epoch with 'val_loss' and 'val_accuracy', oldest first, at least one.
      train_accuracy: on training images as they are, without augmentation and dropout, 0 to 1.
    """
    losses = [float(epoch["val_loss"]) for epoch in epochs]
    accuracy = float(epochs[-1]["val_accuracy"])
    best = min(range(len(losses)), key=losses.__getitem__)
    gap = 100 * (train_accuracy - accuracy)
    recent = losses[-4:]
    fall = 1 - (recent[-1] / recent[0]) ** (1 / (len(recent) - 1)) if len(recent) > 1 and recent[0] > 0 else 0.0
    figures = (
        f"training accuracy {100 * train_accuracy:.1f} %, validation {100 * accuracy:.1f} % (gap {gap:.1f} points); "
        f"validation loss {losses[-1]:.3f}, lowest {losses[best]:.3f} in epoch {best + 1}"
    )
    rise = losses[-1] >= OVERFIT_LOSS_RISE * losses[best] and losses[-1] - losses[best] >= _LEAST_RISE
    if gap >= (_LEAST_GAP_POINTS if rise else OVERFIT_GAP_POINTS):
        name = "overfitted"
    elif train_accuracy >= _LEARNT:
        name = "good fit"
    elif rise:
        name = "underfitted"
        figures += ", which rises though the training images are not learnt by heart: a smaller learning rate may help"
    elif fall > UNDERFIT_LOSS_FALL or len(losses) == 1:
        name = "underfitted"
        figures += f", falling by {100 * fall:.1f} % an epoch at the end: more epochs would help"
    else:
        name = "good fit"
    return FitVerdict(name=name, reason=figures, train_accuracy=train_accuracy, validation_accuracy=accuracy)
