"""The quarter of the samples that the first stages of a trial learn from and measure by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.data.dataset import Dataset, Split
from edgefm.data.quality import quality
from edgefm.searching.part_of_data import part_of

COUNT, TAKEN = 6000, 1500
RANDOM = np.random.default_rng(0).permutation(COUNT)
LEFT_OUT = RANDOM[TAKEN:]


def _dataset(labels: NDArray[Any], *, task: str) -> Dataset:
    images = np.arange(len(labels), dtype=np.float32)[:, np.newaxis]  # a sample is its place
    one = Split(name="validation", images=images, labels=labels)
    return Dataset(name="d", labels=("a", "b", "c"), train=one, validation=one, test=one, sha256="d", task=task)


def _places(part: Dataset) -> list[int]:
    return [int(place) for place in part.validation.images[:, 0]]


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_quarter_is_random_where_it_has_samples_of_all_kinds(task: str) -> None:
    classes = np.arange(COUNT) % 3
    labels = {"multilabel": (classes[:, np.newaxis] == np.arange(3)).astype(np.int64), "classification": classes}
    dataset = _dataset(labels.get(task, np.arange(COUNT, dtype=np.float32)), task=task)
    part = part_of(dataset)
    assert _places(part) == sorted(RANDOM[:TAKEN])
    assert len(part.train) == 2000 and part.test is dataset.test


def test_rare_class_that_chance_leaves_out_is_in_the_part() -> None:
    labels = np.arange(COUNT) % 2
    labels[LEFT_OUT[:9]] = 2
    part = part_of(_dataset(labels, task="classification"))
    more = set(_places(part)) - set(RANDOM[:TAKEN])
    assert len(more) == 2 and more <= set(LEFT_OUT[:9]) and len(part.validation) == TAKEN + 2
    assert list(part.validation.labels) == [labels[place] for place in _places(part)]
    assert _places(part) == _places(part_of(_dataset(labels, task="classification")))
    scores = np.random.default_rng(1).random((len(part.validation), 3))
    assert 0 < quality("auc", task="classification").function((scores,), part.validation.labels) < 1


def test_rare_label_and_one_that_few_samples_lack_are_told_apart_in_the_part() -> None:
    labels = np.stack([np.arange(COUNT) % 2, np.zeros(COUNT), np.ones(COUNT)], axis=1).astype(np.int64)
    labels[LEFT_OUT[0], 1], labels[LEFT_OUT[1], 2] = 1, 0
    part = part_of(_dataset(labels, task="multilabel"))
    assert set(_places(part)) == {*RANDOM[:TAKEN], *LEFT_OUT[:2]}
    scores = np.random.default_rng(1).random((len(part.validation), 3))
    assert 0 < quality("auc", task="multilabel").function((scores,), part.validation.labels) < 1
