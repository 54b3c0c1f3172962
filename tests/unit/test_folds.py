"""Folds keep what scikit-learn's StratifiedKFold promises, and more: classes and folds differ by one sample at most."""

from __future__ import annotations

import numpy as np
import pytest

from edgefm.core.errors import DataError, RecipeError
from edgefm.data.folds import stratified_folds
from edgefm.data.repeated import equal_groups


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
@pytest.mark.parametrize("seed", range(3))
def test_folds_are_stratified_and_each_sample_is_in_one(folds: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat([0, 1, 2, 4], [11, 40, 25, 13]))
    fold = stratified_folds(labels, folds, seed=seed)
    assert fold.shape == labels.shape and set(fold.tolist()) == set(range(folds))
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in (0, 1, 2, 4):
        of_class = np.bincount(fold[labels == label], minlength=folds)
        assert of_class.max() - of_class.min() <= 1


def test_seeds_decide_and_are_the_same_on_every_machine() -> None:
    labels = np.arange(60) % 3
    assert np.array_equal(stratified_folds(labels, 4, seed=7), stratified_folds(labels, 4, seed=7))
    assert not np.array_equal(stratified_folds(labels, 4, seed=7), stratified_folds(labels, 4, seed=8))
    assert stratified_folds(np.arange(8) % 2, 2, seed=0).tolist() == FIRST


# Written down once: a change would give old runs other folds.
FIRST = [0, 1, 0, 0, 1, 1, 1, 0]


def test_samples_of_a_class_are_shuffled() -> None:
    fold = stratified_folds(np.zeros(100, int), 2, seed=0)
    assert not np.array_equal(fold, np.arange(100) % 2) and 15 <= (fold[:50] == 0).sum() <= 35


@pytest.mark.parametrize("folds", [-1, 0, 1])
def test_fewer_than_two_folds_are_refused(folds: int) -> None:
    with pytest.raises(RecipeError, match="2 or more is expected"):
        stratified_folds(np.zeros(5, int), folds)


def test_a_class_with_fewer_samples_than_folds_is_named_with_what_is_possible() -> None:
    labels = np.repeat([0, 1, 2], [9, 3, 2])
    told = r"5 folds need at least 5 different images of each class; too few have: cat \(3\), 2 \(2\)"
    with pytest.raises(DataError, match=told) as error:
        stratified_folds(labels, 5, names=("dog", "cat"))
    assert "at most 2 folds" in str(error.value.hint)
    with pytest.raises(DataError, match="too few have: all"):
        stratified_folds(np.zeros(0, int), 2)


@pytest.mark.parametrize("seed", range(3))
def test_equal_samples_are_in_one_fold_also_where_their_labels_differ(seed: int) -> None:
    # Fifty pictures, the first twelve of them twice more, the last time with the other label.
    pictures = np.random.default_rng(seed).integers(0, 256, (50, 4, 4, 1), np.uint8)
    images = np.concatenate([pictures, pictures[:12], pictures[:12]])
    labels = np.concatenate([np.arange(50) % 2, np.arange(12) % 2, 1 - np.arange(12) % 2])
    fold = stratified_folds(labels, 5, seed=seed, groups=equal_groups(images))
    for place in range(12):
        assert fold[place] == fold[50 + place] == fold[62 + place]
    # The fifty different ones are folded as if there were no others.
    assert np.array_equal(fold[:50], stratified_folds(labels[:50], 5, seed=seed))


def test_a_class_of_one_picture_many_times_cannot_be_folded() -> None:
    labels = np.repeat([0, 1], [4, 9])
    with pytest.raises(DataError, match=r"2 different images of each class; too few have: 1 \(1\)"):
        stratified_folds(labels, 2, groups=np.array([0, 1, 2, 3] + [4] * 9))
