"""Equal samples: those that lie in two splits, which makes figures too good, and groups that folds keep together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.progress import Progress
from edgefm.data.dataset import Dataset, digest

_CHOICES = "what is chosen by them, and what is said of them, will be too good"


def note_shared(dataset: Dataset, progress: Progress) -> None:
    """Note how many samples of a split are also in another one, value by value."""
    known = {split.name: {digest(sample) for sample in split.images} for split in dataset.splits}
    for first, second, what, harm in (
        (dataset.test, dataset.train, "training", "results will be too good"),
        (dataset.validation, dataset.train, "training", _CHOICES),
        (dataset.test, dataset.validation, "validation", "results of what was chosen by these will be too good"),
    ):
        both = known[first.name] & known[second.name]
        if both:
            repeated = sum(digest(sample) in both for sample in first.images)
            progress.note(f"{repeated} of the {len(first)} {first.name} samples are also {what} samples: {harm}")


def equal_groups(samples: Iterable[NDArray[Any]]) -> NDArray[np.int64]:
    """Return for each sample the place of the first one that is equal to it, value by value, int64 [n].

    >>> equal_groups(np.array([[1, 2], [3, 4], [1, 2]])).tolist()
    [0, 1, 0]
    """
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(digest(sample), place) for place, sample in enumerate(samples)], np.int64)
