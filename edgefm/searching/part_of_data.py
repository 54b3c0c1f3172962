"""The part of the samples that the first stages of a trial learn from and measure by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import artefacts
from edgefm.data.dataset import Dataset, Split

_PART, _LEAST_TRAIN, _LEAST_VALIDATION = 4, 2000, 1000


def part_of(dataset: Dataset) -> Dataset:
    """Return a quarter of the samples that are learnt from and chosen by, the same ones each time; test samples stay.

    At least 2,000 and 1,000 of them are in it, where there are so many. Of a class that a quarter by chance has no
    sample of, and of a label that all or none of its samples have, a quarter is taken by itself, or one: some measures
    of quality need both kinds.
    """
    parts = []
    for split, least in ((dataset.train, _LEAST_TRAIN), (dataset.validation, _LEAST_VALIDATION)):
        count = min(len(split), max(least, len(split) // _PART))
        order = np.random.default_rng(0).permutation(len(split))
        places = order[:count]
        for kind in _missing(dataset.task, split.labels, places):
            of_kind = order[kind[order]]
            places = np.append(places, of_kind[: max(1, len(of_kind) // _PART)])
        places = np.unique(places)
        parts.append(Split(name=split.name, images=split.images[places], labels=split.labels[places]))
    sha256 = artefacts.sha256_json([dataset.sha256, *map(len, parts)])
    return replace(dataset, train=parts[0], validation=parts[1], sha256=sha256)


def _missing(task: str, labels: NDArray[Any], places: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """Return which samples are of each kind, bool [n], that none of the samples at `places` is of."""
    there = labels[places]
    if task == "classification":
        return [labels == one for one in np.setdiff1d(labels, there)]
    if task == "multilabel":
        columns = range(labels.shape[1])
        kinds = [(column, value) for column in columns for value in (0, 1) if value not in there[:, column]]
        return [mask for column, value in kinds if (mask := labels[:, column] == value).any()]
    return []
