"""The batch of a preset on a GPU: larger than on a processor, with the learning rate that goes with it."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from edgefm.recipes import Training

GPU_BATCH = 512
# Steps that an epoch still has with it; and the largest pictures of which so many fit into a small GPU's memory.
_LEAST_STEPS, _MOST_PIXELS = 64, 64 * 64


def scales(recipe: Training, *, free: Collection[str], images: int, pixels: int) -> bool:
    """Return whether a recipe takes the larger batch if it is trained on a GPU.

    Args:
      recipe: of a preset.
      free: names of parameters that may be changed: a batch size or a rate that somebody named stays.
      images: training images; an epoch must keep 64 steps.
      pixels: of an image, up to 64 x 64.
    """
    enough = images >= _LEAST_STEPS * GPU_BATCH and pixels <= _MOST_PIXELS
    return {"batch_size", "learning_rate"} <= set(free) and recipe.batch_size < GPU_BATCH and enough


def scaled(recipe: Training, *, kind: str, free: Collection[str], images: int, pixels: int) -> Training:
    """Return the recipe for a kind of device: on a GPU a batch of 512, and the rate for it.

    The rate grows with the batch where the optimiser is SGD (Goyal et al. 2017, arXiv:1706.02677), and with its square
    root where it divides by the size of the gradients, as Adam and RMSprop do (Malladi et al. 2022, arXiv:2205.10287).

    >>> free = ("batch_size", "learning_rate")
    >>> recipe = scaled(Training(batch_size=128), kind="gpu", free=free, images=48_000, pixels=784)
    >>> recipe.batch_size, recipe.learning_rate
    (512, 0.003)

    Args:
      recipe: of a preset.
      kind: 'cpu' or 'gpu'.
      free: see `scales`.
      images: see `scales`.
      pixels: see `scales`.
    """
    if kind != "gpu" or not scales(recipe, free=free, images=images, pixels=pixels):
        return recipe
    factor = GPU_BATCH / recipe.batch_size
    rate = recipe.learning_rate * (factor if recipe.optimizer == "sgd" else math.sqrt(factor))
    return replace(recipe, batch_size=GPU_BATCH, learning_rate=float(f"{rate:.3g}"))
