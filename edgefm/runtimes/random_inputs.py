"""Repeatable inputs for models that no picture is known to fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.runtimes.base import TensorDetails


def random_input(tensor: TensorDetails, generator: np.random.Generator | None = None) -> NDArray[Any]:
    """Return an input: no zeros and no denormals among floats, all levels of a byte among integers.

    Args:
      tensor: the input's.
      generator: where several different ones are wanted; without it the input is always the same.
    """
    generator = generator or np.random.default_rng(0)
    if tensor.parts:
        return joined.join({part.name: random_input(part, generator) for part in tensor.parts})
    dtype = np.dtype(tensor.dtype)
    if dtype.kind in "iu":
        if dtype.itemsize > 1 and tensor.scale is None:  # mostly places in a table: these two are in every one
            return generator.integers(0, 2, tensor.shape).astype(dtype)
        limits = np.iinfo(dtype)
        low, high = max(limits.min, -128), min(limits.max, 255)
        return generator.integers(low, high, tensor.shape, endpoint=True).astype(dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, tensor.shape).astype(dtype)
    return generator.random(tensor.shape).astype(dtype)
