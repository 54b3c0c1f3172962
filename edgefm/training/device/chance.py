"""The random numbers of an epoch: drawn with numpy, one small row an image, moved to the device once.

So an epoch is the same on every backend, and follows from (seed, epoch) alone: a resumed training sees what an unbroken
one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.recipes import Training
from edgefm.training.augmentation import epoch_order

# Share of an image that is erased, and the ratio of the box's sides (Zhong et al. 2017, arXiv:1708.04896, table 1).
_ERASED_AREA = (0.02, 0.4)
_ERASED_RATIO = (0.3, 1 / 0.3)
# Share of an image's side that the side of an exchanged box has. Yun et al. 2019 draw the area from 0 to 1.
_EXCHANGED_SIDE = (2 / 7, 5 / 7)


def epoch_chance(
    recipe: Training, *, count: int, shape: tuple[int, ...], epoch: int
) -> tuple[NDArray[np.int32], Mapping[str, NDArray[Any]]]:
    """Return the order of images in an epoch, and what happens to each in that order.

    Only what the recipe asks for is drawn, in a fixed sequence: two recipes that share a seed share what they share.

    Args:
      recipe: of the training.
      count: of training images.
      shape: of one image, (height, width, channels).
      epoch: from 0.
    Returns:
      int32 [count], a permutation; and by name, as far as the recipe asks for it:
        moves: int32 [count, 3]: rows down, columns right, 1 where the image is mirrored.
        turns: float32 [count, 4]: rows of the matrix from a place in the new image to one in the old, about the centre.
        erased: int32 [count, 4]: top, bottom, left, right of the box, ends exclusive; all 0 for no box.
        exchanged: int32 [count, 4]: the box that is taken from the second image, likewise.
        shares: float32 [count]: of the second image in every pixel.
        second: float32 [count]: of the second image in the label.
    """
    order, generator = epoch_order(count, seed=recipe.seed, epoch=epoch)
    rows: dict[str, NDArray[Any]] = {}
    if recipe.flip or recipe.shift_pixels or recipe.rotation_degrees or recipe.zoom:
        rows["moves"] = _moves(generator, count, flip=recipe.flip, shift=recipe.shift_pixels)
    if recipe.rotation_degrees or recipe.zoom:
        rows["turns"] = _turns(generator, count, degrees=recipe.rotation_degrees, zoom=recipe.zoom)
    if recipe.erasing:
        rows["erased"] = _erased(generator, count, shape, probability=recipe.erasing)
    if recipe.mixup or recipe.cutmix:
        rows |= _mixing(generator, count, shape, recipe)
    return order.astype(np.int32), rows


def _moves(generator: np.random.Generator, count: int, *, flip: bool, shift: int) -> NDArray[np.int32]:
    mirrored = generator.random(count) < 0.5 if flip else np.zeros(count, bool)
    offsets: NDArray[np.int64] = np.zeros((2, count), np.int64)
    if shift:
        offsets = generator.integers(0, 2 * shift + 1, (2, count)) - shift
    return np.stack([*offsets, mirrored], axis=1).astype(np.int32)


def _turns(generator: np.random.Generator, count: int, *, degrees: float, zoom: float) -> NDArray[np.float32]:
    angle = np.radians(generator.uniform(-degrees, degrees, count))
    scale = 1 / generator.uniform(1 - zoom, 1 + zoom, count)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.stack([cosine, sine, -sine, cosine], axis=1).astype(np.float32)


def _erased(
    generator: np.random.Generator, count: int, shape: tuple[int, ...], *, probability: float
) -> NDArray[np.int32]:
    chosen = generator.random(count) < probability
    area = generator.uniform(*_ERASED_AREA, count)
    ratio = np.exp(generator.uniform(math.log(_ERASED_RATIO[0]), math.log(_ERASED_RATIO[1]), count))
    return _boxes(generator, shape, np.sqrt(area * ratio), np.sqrt(area / ratio), chosen)


def _mixing(
    generator: np.random.Generator, count: int, shape: tuple[int, ...], recipe: Training
) -> dict[str, NDArray[Any]]:
    """Return shares and boxes of the second image; an image gets one or the other."""
    rows: dict[str, NDArray[Any]] = {}
    second: NDArray[np.float64] = np.zeros(count)
    if recipe.mixup:
        second = generator.uniform(0, recipe.mixup, count)
    if recipe.cutmix:
        chosen = generator.random(count) < recipe.cutmix
        side = generator.uniform(*_EXCHANGED_SIDE, count)
        boxes = _boxes(generator, shape, side, side, chosen)
        area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) / (shape[0] * shape[1])
        if recipe.mixup:
            rows["shares"] = np.where(chosen, 0, second).astype(np.float32)
        rows["exchanged"] = boxes
        second = np.where(chosen, area, second)
    else:
        rows["shares"] = second.astype(np.float32)
    return {**rows, "second": second.astype(np.float32)}


def _boxes(
    generator: np.random.Generator,
    shape: tuple[int, ...],
    tall: NDArray[np.float64],
    wide: NDArray[np.float64],
    chosen: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Return boxes whose sides are these shares of an image's, at least 1 pixel, anywhere within it."""
    ends = []
    for length, share in zip(shape[:2], (tall, wide), strict=True):
        side = np.clip(np.rint(share * length), 1, length)
        first = np.floor(generator.random(len(share)) * (length - side + 1))
        ends += [first, first + side]
    boxes: NDArray[np.int32] = (np.stack(ends, axis=1) * chosen[:, None]).astype(np.int32)
    return boxes
