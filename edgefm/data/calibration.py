"""Samples by which the ranges of a quantised model's activations are set."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from edgefm.core.errors import DataError
from edgefm.data.dataset import Split
from edgefm.data.sampling import sample_order


def calibration_images(split: Split, *, count: int, seed: int) -> NDArray[Any]:
    """Return `count` training samples: the classes in turn, or a plain random choice where there are none.

    Args:
      split: the training split; no other is taken, since calibration is a kind of training.
      count: 1 to the size of the split.
      seed: of the choice; equal seeds give equal samples.
    Returns:
      [count, ...], dtype and shape of the split's images.
    Raises:
      DataError: another split than 'train', or a count out of range.
    """
    if split.name != "train":
        raise DataError(
            f"calibration images cannot come from the '{split.name}' split; only 'train' is allowed",
            hint="Results on a split that was used for calibration would be too good.",
        )
    if not 1 <= count <= len(split):
        raise DataError(
            f"{count} calibration images are not allowed; the training split holds {len(split)}",
            hint=f"Give a number from 1 to {len(split)}.",
        )
    return split.images[sample_order(split.labels, seed=seed)[:count]]
