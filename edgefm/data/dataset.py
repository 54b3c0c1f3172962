"""A data set in three splits that share no sample: pictures with classes, or other inputs and targets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.data.origins import Origins


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples with what a model should answer.

    Attributes:
      name: 'train', 'validation' or 'test'.
      images: uint8 [n, height, width, channels], 0 to 255; or float32 [n, ...], which are model inputs already.
      labels: int64 [n], indices into the data set's labels; int64 [n, labels] of 0 and 1 where a sample has several;
        float32 [n, ...] targets of a regression; the images themselves where the task is a reconstruction; int64
        [n, height, width] masks of a segmentation.
      origins: where each sample comes from in the data as they were given; None where it is not known.
    """

    name: str
    images: NDArray[Any]
    labels: NDArray[Any]
    origins: Origins | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set.

    Attributes:
      name: e.g. 'fashion-mnist'.
      labels: class names; a label is an index into them, or a column of 0 and 1.
      train: what weights and calibration are learnt from.
      validation: what choices are made by.
      test: what figures are reported on; used for nothing else.
      sha256: of the content and of the split: equal sums mean equal splits, picture by picture.
      task: 'classification', 'multilabel' (each label is there or not), 'regression' (targets are numbers),
        'reconstruction' (targets are the inputs), or 'segmentation' (targets are masks: the class of each pixel).
      dark_background: pictures show bright things on a dark background; None where it is not known.
      flippable: a picture mirrored left to right is one of the same class; None where nobody said. Text, digits and
        road signs are not.
    """

    name: str
    labels: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    sha256: str
    task: str = "classification"
    dark_background: bool | None = None
    flippable: bool | None = None

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """The three splits: train, validation, test."""
        return self.train, self.validation, self.test


def class_counts(split: Split, *, classes: int) -> list[int]:
    """Return how many pictures of each class a split holds."""
    return [int(count) for count in np.bincount(split.labels, minlength=classes)]


def reordered(dataset: Dataset, labels: tuple[str, ...]) -> Dataset:
    """Return a data set whose classes are numbered in the order of `labels`; as it is where these are not its own."""
    if labels == dataset.labels or sorted(labels) != sorted(dataset.labels):
        return dataset
    if dataset.task == "multilabel":
        columns = [dataset.labels.index(label) for label in labels]
        splits = [replace(split, labels=split.labels[:, columns]) for split in dataset.splits]
    else:
        places = np.array([labels.index(label) for label in dataset.labels], np.int64)
        splits = [replace(split, labels=places[split.labels]) for split in dataset.splits]
    return _with_splits(replace(dataset, labels=labels), splits)


def resized(dataset: Dataset, shape: tuple[int, int, int]) -> Dataset:
    """Return a data set whose pictures have another size, or another number of channels, as those in folders get it.

    Args:
      dataset: uint8 [n, height, width, 1, 3 or 4]; another one is returned as it is.
      shape: (height, width, channels), channels 1, 3 or 4; for other channels the data stay as they are.
    """
    images, of_pictures = dataset.train.images, (1, 3, 4)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] == shape:
        return dataset
    if images.shape[-1] not in of_pictures or shape[-1] not in of_pictures:
        return dataset
    from edgefm.data.picture_file import resized_pixels

    return _with_splits(dataset, [replace(one, images=resized_pixels(one.images, shape)) for one in dataset.splits])


def with_channel(dataset: Dataset) -> Dataset:
    """Return a data set whose grey pictures [n, height, width] have a channel; another one as it is.

    >>> grey = Split(name="train", images=np.zeros((1, 2, 3), np.float32), labels=np.zeros(1, np.int64))
    >>> one = Dataset(name="grey", labels=("a",), train=grey, validation=grey, test=grey, sha256="")
    >>> with_channel(one).train.images.shape
    (1, 2, 3, 1)
    """
    if dataset.train.images.ndim != 3:
        return dataset
    return _with_splits(dataset, [replace(one, images=one.images[..., np.newaxis]) for one in dataset.splits])


def _with_splits(dataset: Dataset, splits: Sequence[Split]) -> Dataset:
    """Return a data set with other training, validation and test samples, and their sha256."""
    train, validation, test = splits
    sha256 = content_sha256(splits, labels=dataset.labels, task=dataset.task)
    return replace(dataset, train=train, validation=validation, test=test, sha256=sha256)


def shared_images(first: Split, second: Split) -> int:
    """Return how many samples of `first` are also in `second`, value by value."""
    known = {digest(image) for image in second.images}
    return sum(digest(image) in known for image in first.images)


def content_sha256(splits: Sequence[Split], *, labels: tuple[str, ...], task: str) -> str:
    """Return the sha256 of all that a data set says: its samples in their order, its class names and its task."""
    total = hashlib.sha256(json.dumps([task, list(labels)]).encode())
    for split in splits:
        for array in (split.images, split.labels):
            total.update(json.dumps([split.name, array.dtype.str, list(array.shape)]).encode())
            total.update(_bytes(array))
    return total.hexdigest()


def digest(sample: NDArray[Any]) -> bytes:
    """Return 16 bytes that equal samples of one shape share, and others do not."""
    return hashlib.blake2b(_bytes(sample), digest_size=16).digest()


def _bytes(array: NDArray[Any]) -> memoryview:
    """Return an array's bytes; those of a structured array too, whose field names a memoryview may not hold."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
