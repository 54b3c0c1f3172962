from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgefm.core.errors import DataError
from edgefm.data.calibration import calibration_images
from edgefm.data.dataset import Split, class_counts, shared_images
from edgefm.data.sampling import interleaved, stratified_split

BALANCED = np.repeat(np.arange(10), 60)

labels_strategy = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(lambda items: np.array(items, np.int64))


@given(labels_strategy, st.integers(0, 2**32))
def test_interleaved_is_a_permutation(labels: NDArray[np.int64], seed: int) -> None:
    assert sorted(interleaved(labels, seed=seed)) == list(range(len(labels)))


@given(labels_strategy, st.integers(0, 2**32))
def test_each_prefix_of_interleaved_is_stratified(labels: NDArray[np.int64], seed: int) -> None:
    order = interleaved(labels, seed=seed)
    sizes = np.bincount(labels)
    for k in range(len(labels) + 1):
        counts = np.bincount(labels[order[:k]], minlength=len(sizes))
        open_classes = counts < sizes
        if open_classes.any():
            # A class that is not used up has as many as any other, or one less.
            assert counts.max() - counts[open_classes].min() <= 1


def test_interleaved_depends_on_the_seed() -> None:
    assert (interleaved(BALANCED, seed=0) != interleaved(BALANCED, seed=1)).any()
    assert (interleaved(BALANCED, seed=0) == interleaved(BALANCED, seed=0)).all()


@given(labels_strategy, st.integers(0, 2**32), st.data())
def test_split_is_disjoint_and_covers_all(labels: NDArray[np.int64], seed: int, data: st.DataObject) -> None:
    held_out = data.draw(st.integers(0, len(labels)))
    kept, apart = stratified_split(labels, held_out=held_out, seed=seed)
    assert len(apart) == held_out
    assert sorted([*kept, *apart]) == list(range(len(labels)))
    assert (np.diff(kept) > 0).all() and (np.diff(apart) > 0).all()


def test_split_holds_each_class_equally_often() -> None:
    kept, apart = stratified_split(BALANCED, held_out=120, seed=3)
    assert set(np.bincount(BALANCED[kept])) == {48}
    assert set(np.bincount(BALANCED[apart])) == {12}


def a_split(name: str = "train", seed: int = 0) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (600, 5, 4, 3), dtype=np.uint8)
    return Split(name=name, images=images, labels=BALANCED.astype(np.int64))


@pytest.mark.parametrize("count", [1, 10, 256, 600])
def test_calibration_is_stratified_and_without_repeats(count: int) -> None:
    split = a_split()
    chosen = calibration_images(split, count=count, seed=7)
    assert chosen.shape == (count, 5, 4, 3)
    assert chosen.dtype == np.uint8
    by_content = {image.tobytes(): label for image, label in zip(split.images, split.labels, strict=True)}
    found = [by_content[image.tobytes()] for image in chosen]
    assert len({image.tobytes() for image in chosen}) == count
    counts = np.bincount(found, minlength=10)
    assert counts.max() - counts.min() <= 1


def test_calibration_repeats_with_its_seed() -> None:
    split = a_split()
    first, second, other = (calibration_images(split, count=50, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("count", [0, -1, 601])
def test_calibration_rejects_a_count_out_of_range(count: int) -> None:
    with pytest.raises(DataError, match=f"{count} calibration images .* holds 600") as caught:
        calibration_images(a_split(), count=count, seed=0)
    assert caught.value.hint == "Give a number from 1 to 600."


@pytest.mark.parametrize("name", ["validation", "test"])
def test_calibration_takes_only_the_training_split(name: str) -> None:
    with pytest.raises(DataError, match=f"'{name}' split; only 'train' is allowed"):
        calibration_images(a_split(name), count=10, seed=0)


def test_class_counts_hold_absent_classes() -> None:
    split = Split(name="test", images=np.zeros((2, 1, 1, 1), np.uint8), labels=np.array([1, 1]))
    assert class_counts(split, classes=3) == [0, 2, 0]


def test_shared_images_counts_equal_pictures() -> None:
    first, second = a_split(), a_split("test", seed=1)
    assert shared_images(first, second) == 0
    second.images[5] = first.images[17]
    assert shared_images(first, second) == 1
