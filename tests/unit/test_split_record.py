"""A training's record of its samples finds them again in other splits, as comparing all pixels does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.data.dataset import Dataset, Split
from edgefm.training import split_record


def data(*, train: NDArray[np.uint8], validation: NDArray[np.uint8], test: NDArray[np.uint8]) -> Dataset:
    splits = {
        name: Split(name=name, images=images, labels=np.zeros(len(images), np.int64))
        for name, images in (("train", train), ("validation", validation), ("test", test))
    }
    return Dataset(name="d", labels=("a",), sha256="0" * 64, **splits)


def pictures(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)


def test_samples_are_found_again_in_other_splits(tmp_path: Path) -> None:
    x = pictures(100)
    split_record.write(tmp_path, data(train=x[:80], validation=x[80:90], test=x[90:]))
    order = np.random.default_rng(1).permutation(100)
    later = split_record.record_of(data(train=x[order[:70]], validation=x[order[70:80]], test=x[order[80:]]))
    earlier = split_record.read(tmp_path)
    assert earlier is not None and earlier.shape == later.shape == (4, 5, 3)
    assert later.shared("validation", earlier.digests["train"]) == (order[70:80] < 80).sum()
    assert later.shared("test", earlier.digests["train"]) == (order[80:] < 80).sum()
    both = np.concatenate([earlier.digests["train"], earlier.digests["validation"]])
    assert later.shared("test", both) == (order[80:] < 90).sum()


@pytest.mark.parametrize("wrong", ["missing", "damaged", "another"])
def test_no_record_that_can_be_read_is_none(wrong: str, tmp_path: Path) -> None:
    if wrong == "damaged":
        (tmp_path / split_record.FILE).write_bytes(b"PK no archive")
    elif wrong == "another":
        np.savez(tmp_path / split_record.FILE, train=np.zeros(3), validation=np.zeros(3), test=np.zeros(3))
    assert split_record.read(tmp_path) is None
