from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.core.errors import DataError, RecipeError
from edgefm.data.preprocessing import PIXELS, preprocessing
from edgefm.quantization.calibration_set import from_npz

SHAPE = (6, 5, 3)


@pytest.mark.parametrize("value_range", [(0, 255), (0, 1), (-1, 1), (-0.5, 2.0)])
def test_preprocessing_maps_black_and_white_onto_the_range(value_range: tuple[float, float]) -> None:
    encoding = preprocessing(value_range)
    encoded = encoding.encode(np.array([0, 255], np.uint8))
    np.testing.assert_allclose(encoded, value_range, atol=1e-6)


@pytest.mark.parametrize("value_range", [(1, 0), (1, 1), (0, np.inf), (np.nan, 1)])
def test_preprocessing_rejects_empty_range(value_range: tuple[float, float]) -> None:
    with pytest.raises(RecipeError, match="LO < HI is expected"):
        preprocessing(value_range)


def test_npz_of_pixels_is_encoded_and_chosen_by_the_seed(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, *SHAPE), dtype=np.uint8)
    path = tmp_path / "a.npz"
    np.savez(path, images=images)
    one = from_npz(path, preprocessing((0, 1)), count=8, seed=1, shape=SHAPE)
    same = from_npz(path, preprocessing((0, 1)), count=8, seed=1, shape=SHAPE)
    other = from_npz(path, preprocessing((0, 1)), count=8, seed=2, shape=SHAPE)
    assert one.inputs.shape == (8, *SHAPE) and one.sha256 == same.sha256 != other.sha256
    near = [[np.abs(taken - image / 255).max() < 1e-6 for image in images] for taken in one.inputs]
    assert np.sum(near, axis=1).tolist() == [1] * 8 and np.sum(near, axis=0).max() == 1
    everything = from_npz(path, preprocessing(PIXELS), count=99, seed=1, shape=SHAPE)
    np.testing.assert_array_equal(everything.inputs, images.astype(np.float32))


def test_npz_of_floats_is_taken_as_it_is(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (4, *SHAPE))
    np.savez(tmp_path / "a.npz", images=images)
    found = from_npz(tmp_path / "a.npz", preprocessing((-1, 1)), count=4, seed=0, shape=SHAPE)
    np.testing.assert_array_equal(found.inputs, images.astype(np.float32))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 6, 5, 1), np.uint8), "has shape"),
        (np.zeros((0, *SHAPE), np.uint8), "has shape"),
        (np.zeros((4, *SHAPE), np.int64), "has dtype int64"),
        (np.full((4, *SHAPE), np.nan), "NaN or infinite"),
        (np.full((4, *SHAPE), 200.0), "goes from 200 to 200; the model takes 0 to 1"),
        (np.array([{"a": 1}]), "holds Python objects in the array 'images'"),
    ],
    ids=["shape", "none", "dtype", "nan", "range", "pickle"],
)
def test_npz_rejects(tmp_path: Path, array: Any, message: str) -> None:
    np.savez(tmp_path / "a.npz", images=array)
    with pytest.raises(DataError, match=message):
        from_npz(tmp_path / "a.npz", preprocessing((0, 1)), count=4, seed=0, shape=SHAPE)


def test_npz_rejects_other_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="no calibration data at"):
        from_npz(path, preprocessing(PIXELS), count=4, seed=0, shape=SHAPE)
    path.write_text("text")
    with pytest.raises(DataError, match="cannot be read as"):
        from_npz(path, preprocessing(PIXELS), count=4, seed=0, shape=SHAPE)
    np.savez(path, pictures=np.zeros((1, *SHAPE), np.uint8))
    with pytest.raises(DataError, match="no array called 'images'"):
        from_npz(path, preprocessing(PIXELS), count=4, seed=0, shape=SHAPE)
