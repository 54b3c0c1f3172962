"""Which range of pictures floats hold: kinds of data, and what a user says of them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.core.errors import DataError, RecipeError
from edgefm.data.pixel_range import encoding_of_floats

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3)).astype(np.uint8)
UNIT = PIXELS / np.float32(255)
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def smooth(images: NDArray[Any]) -> NDArray[Any]:
    """Return pictures as resizing leaves them: off the levels of 8 bits."""
    return (images[:, :-1] * 0.3 + images[:, 1:] * 0.7).astype(images.dtype)


@pytest.mark.parametrize(
    ("images", "value_range"),
    [
        (UNIT, (0, 1)),
        (UNIT.astype(np.float64), (0, 1)),
        (UNIT.astype(np.float16), (0, 1)),
        (UNIT[..., :1], (0, 1)),
        (np.concatenate([UNIT, UNIT[..., :1]], axis=-1), (0, 1)),
        (UNIT * np.float32(0.97), (0, 1)),
        (smooth(UNIT), (0, 1)),
        (PIXELS // 8 / np.float32(255), (0, 1)),
        ((PIXELS > 128).astype(np.float32), (0, 1)),
        (UNIT * 2 - 1, (-1, 1)),
        (smooth(UNIT) * 1.9 - 0.98, (-1, 1)),
        ((PIXELS.astype(np.float32) - 127.5) / 128, (-1, 1)),
        ((UNIT * 2 - 1).astype(np.float16), (-1, 1)),
        (PIXELS.astype(np.float32), (0, 255)),
        (smooth(PIXELS.astype(np.float32)), (0, 255)),
        (PIXELS.astype(np.float16), (0, 255)),
    ],
    ids=[
        "unit", "float64", "float16", "grey", "four channels", "max 0.97", "resized", "dark", "masks", "symmetric",
        "symmetric resized", "by 128", "symmetric float16", "raw", "raw resized", "raw float16",
    ],
)  # fmt: skip
def test_pictures_are_known_by_their_range(images: NDArray[Any], value_range: tuple[float, float]) -> None:
    encoding = encoding_of_floats(images)
    assert encoding.no_pixels is None and encoding.value_range == value_range
    # A real picture then gives the range that the model was shown.
    black, white = encoding.encode(np.array([0, 255], np.uint8))
    np.testing.assert_allclose([black, white], value_range, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ((UNIT - MEAN) / STD, "they look standardised"),
        (np.random.default_rng(1).normal(size=(40, 49, 10, 1)), "no range of pictures"),
        (-np.abs(np.random.default_rng(1).normal(size=(40, 9, 10, 1))) * 40, "no range of pictures"),
        (np.random.default_rng(1).uniform(0, 1, (40, 7)), r"shape \[7\] is no picture"),
        (np.random.default_rng(1).uniform(0, 1, (40, 28, 28)), r"shape \[28, 28\] is no picture"),
        (np.random.default_rng(1).uniform(0, 1, (40, 3, 4, 5, 1)), "is no picture"),
        (np.random.default_rng(1).uniform(0, 1, (40, 4, 4, 13)), "13 channels; pictures have 1, 3 or 4"),
        ((PIXELS // 16).astype(np.float32), "floats from 0 to 15"),
        (np.random.default_rng(1).uniform(0, 0.2, (40, 4, 4, 1)), "no range of pictures"),
        (np.random.default_rng(1).uniform(0, 65535, (40, 4, 4, 1)), "no range of pictures"),
        (np.full((40, 4, 4, 1), 0.25), "floats from 0.25 to 0.25"),
    ],
    ids=["imagenet", "normal", "decibels", "features", "no channels", "volume", "bands", "0 to 15", "narrow", "16 bits",
         "constant"],
)  # fmt: skip
def test_floats_that_are_no_pictures_say_why(images: NDArray[Any], words: str) -> None:
    encoding = encoding_of_floats(images.astype(np.float32))
    assert encoding.no_pixels is not None
    assert re.search(words, encoding.no_pixels)
    assert (encoding.mean, encoding.std) == (0, 1)
    assert encoding.value_range == (float(images.astype(np.float32).min()), float(images.astype(np.float32).max()))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (UNIT, (0.0, 1.0)),
        ((PIXELS // 16).astype(np.float32), (0.0, 15.0)),
        (smooth(UNIT), (-1.0, 1.0)),
        ((UNIT[..., :1] - np.float32(0.3)) / np.float32(0.3), (-1.0, 7 / 3)),
        (np.random.default_rng(1).uniform(0, 1, (40, 4, 4, 13)).astype(np.float32), (0.0, 1.0)),
    ],
    ids=["unit", "0 to 15", "half of a range", "standardised grey", "bands"],
)
def test_a_range_that_was_said_counts(images: NDArray[Any], said: tuple[float, float]) -> None:
    encoding = encoding_of_floats(images, value_range=said)
    assert encoding.no_pixels is None and encoding.value_range == said
    np.testing.assert_allclose(encoding.encode(np.array([0, 255], np.uint8)), said, atol=1e-5)


def test_a_range_that_was_said_does_not_make_features_pictures() -> None:
    encoding = encoding_of_floats(np.zeros((3, 7), np.float32), value_range=(0, 1))
    assert encoding.no_pixels is not None and encoding.value_range == (0, 1)


def test_a_range_that_8_bit_pictures_contradict_is_refused() -> None:
    with pytest.raises(DataError, match="-1,1 was given, but the samples, floats from 0 to 1, are 8-bit") as caught:
        encoding_of_floats(UNIT, value_range=(-1, 1))
    assert "0,1" in str(caught.value.hint)
    with pytest.raises(RecipeError, match="LO < HI"):
        encoding_of_floats(UNIT, value_range=(1, 1))
