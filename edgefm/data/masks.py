"""Masks of a segmentation: a class for each pixel, and how well a model gives them.

mIoU is taken over all samples: of each class the pixels that are its own in mask and answer, over those that are in
either; the mean over the classes that occur. Source: Everingham et al. 2015, IJCV 111:98-136.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError

Outputs = tuple[NDArray[Any], ...]
# A single score above it is the second of two classes.
_THRESHOLD = 0.5


def is_mask(inputs: NDArray[Any], targets: NDArray[Any]) -> bool:
    """Return whether targets are a whole number for each pixel of pictures: [n, h, w] or [n, h, w, 1]."""
    if targets.dtype.kind not in "iub" or inputs.ndim < 3 or targets.ndim < 3:
        return False
    bare = targets.shape[:-1] if targets.ndim == 4 and targets.shape[-1] == 1 else targets.shape
    return bare == inputs.shape[:3]


def masks(targets: NDArray[Any], *, where: str) -> NDArray[np.int64]:
    """Return masks as int64 [n, h, w], or raise a DataError."""
    if targets.dtype.kind not in "iub" or targets.ndim not in (3, 4) or (targets.ndim == 4 and targets.shape[-1] != 1):
        raise DataError(
            f"{where} are {targets.dtype} {targets.shape}; masks of a segmentation are whole numbers "
            "[n, height, width]",
            hint="Give the class of each pixel: masks.argmax(axis=-1) of one-hot masks.",
        )
    bare = targets.reshape(targets.shape[:3]).astype(np.int64)
    if bare.size and bare.min() < 0:
        raise DataError(f"{where} hold the class {bare.min()}; classes are 0 and above")
    return bare


def check_masks(targets: NDArray[np.int64], output_shape: tuple[int, ...], *, where: str) -> None:
    """Raise a DataError where a model whose first output has this shape a sample cannot give these masks."""
    classes = max(2, output_shape[-1]) if output_shape else 0
    if len(output_shape) != 3 or output_shape[:2] != targets.shape[1:]:
        raise DataError(
            f"{where} are masks {list(targets.shape[1:])}, the first output of the model is {list(output_shape)} a "
            "sample; [height, width, classes] of the masks' size is expected",
            hint="Resize the masks (nearest neighbour) to the size of the output.",
        )
    if targets.size and int(targets.max()) >= classes:
        raise DataError(f"{where} hold the class {int(targets.max())}; the model has {classes} classes, from 0 on")


def predicted_masks(outputs: Outputs, threshold: float = _THRESHOLD) -> NDArray[np.int64]:
    """Return the class of each pixel, int64 [n, h, w]: the highest score; of one above the threshold the second."""
    scores = outputs[0]
    if scores.shape[-1] == 1:
        return (scores[..., 0] > threshold).astype(np.int64)
    best: NDArray[np.int64] = scores.argmax(axis=-1).astype(np.int64)
    return best


def pixel_accuracy(outputs: Outputs, targets: NDArray[Any], threshold: float = _THRESHOLD) -> NDArray[np.float64]:
    """Return of each sample the share of pixels whose class is right, float64 [n]."""
    check_masks(targets, outputs[0].shape[1:], where="the targets")
    right: NDArray[np.float64] = (predicted_masks(outputs, threshold) == targets).mean(axis=(1, 2))
    return right


def mean_iou(outputs: Outputs, targets: NDArray[Any], threshold: float = _THRESHOLD) -> float:
    """Return the mean intersection over union of the classes that occur in masks or answers.

    >>> answer = np.eye(2)[np.array([[[0, 0], [1, 1]]])]
    >>> round(mean_iou((answer,), np.array([[[0, 1], [1, 1]]])), 4)
    0.5833
    """
    return iou_of(overlaps(outputs, targets, threshold).sum(axis=0))


def overlaps(outputs: Outputs, targets: NDArray[Any], threshold: float = _THRESHOLD) -> NDArray[np.int64]:
    """Return of each sample and class the pixels in both mask and answer, and those in either: int64 [n, 2, classes].

    Sums over samples are those of the samples together, so that drawing samples anew needs no pixel again.
    """
    check_masks(targets, outputs[0].shape[1:], where="the targets")
    classes, answers = max(2, outputs[0].shape[-1]), predicted_masks(outputs, threshold)
    first = np.arange(len(targets))[:, np.newaxis, np.newaxis] * classes

    def counted(places: NDArray[np.int64]) -> NDArray[np.int64]:
        counts: NDArray[np.int64] = np.bincount(places.reshape(-1), minlength=len(targets) * classes)
        return counts.reshape(len(targets), classes)

    both = counted((first + targets)[answers == targets])
    return np.stack([both, counted(first + targets) + counted(first + answers) - both], axis=1)


def iou_of(counts: NDArray[Any]) -> float:
    """Return the mean intersection over union of counts [2, classes], see `overlaps`.

    >>> round(iou_of(np.array([[1, 2, 0], [2, 3, 0]])), 4)  # the third class does not occur
    0.5833
    """
    both, either = counts
    occurring = either > 0
    return float((both[occurring] / either[occurring]).mean())
