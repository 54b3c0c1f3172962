"""Light augmentation of whole epochs in numpy: the same on every backend, and repeatable."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def epoch_order(count: int, *, seed: int, epoch: int) -> tuple[NDArray[np.int64], np.random.Generator]:
    """Return the order of images in an epoch, and the generator for the rest of that epoch's chance.

    Both follow from (seed, epoch) alone, so that a resumed training sees what an unbroken one would have seen.
    """
    generator = np.random.default_rng([seed, epoch])
    return generator.permutation(count), generator


def flip_and_shift(
    images: NDArray[np.uint8], generator: np.random.Generator, *, flip: bool, shift_pixels: int
) -> NDArray[np.uint8]:
    """Return images, each mirrored left to right with probability 1/2 and moved by up to `shift_pixels`.

    Args:
      images: uint8 [n, h, w, c].
      generator: source of chance.
      flip: whether to mirror.
      shift_pixels: greatest move in x and in y; what is moved in is 0 (black, the background).
    Returns:
      uint8 [n, h, w, c], a new array.
    """
    count, height, width, _ = images.shape
    result = images.copy()
    if flip:
        mirrored = generator.random(count) < 0.5
        result[mirrored] = result[mirrored, :, ::-1]
    if shift_pixels == 0:
        return result
    reach = 2 * shift_pixels + 1
    border = (shift_pixels, shift_pixels)
    padded = np.pad(result, ((0, 0), border, border, (0, 0)))
    down, right = generator.integers(0, reach, (2, count))
    for row in range(reach):
        for column in range(reach):
            chosen = (down == row) & (right == column)
            result[chosen] = padded[chosen, row : row + height, column : column + width]
    return result
