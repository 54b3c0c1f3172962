"""A data set in three splits that share no sample: pictures with classes, or other inputs and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples with what a model should answer.

    Attributes:
      name: 'train', 'validation' or 'test'.
      images: uint8 [n, height, width, channels], 0 to 255; or float32 [n, ...], which are model inputs already.
      labels: int64 [n], indices into the data set's labels; float32 [n, ...] targets where the task is no
        classification.
    """

    name: str
    images: NDArray[Any]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set.

    Attributes:
      name: e.g. 'fashion-mnist'.
      labels: class names; a label is an index into them.
      train: what weights and calibration are learnt from.
      validation: what choices are made by.
      test: what figures are reported on; used for nothing else.
      sha256: of the content and of the split: equal sums mean equal splits, picture by picture.
      task: 'classification', 'regression' (targets are numbers), or 'reconstruction' (targets are the inputs).
    """

    name: str
    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    sha256: str
    task: str = "classification"

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """The three splits: train, validation, test."""
        return self.train, self.validation, self.test


def class_counts(split: Split, *, classes: int) -> list[int]:
    """Return how many pictures of each class a split holds."""
    return [int(count) for count in np.bincount(split.labels, minlength=classes)]


def shared_images(first: Split, second: Split) -> int:
    """Return how many pictures of `first` are also in `second`, pixel by pixel."""
    known = {image.tobytes() for image in second.images}
    return sum(image.tobytes() in known for image in first.images)
