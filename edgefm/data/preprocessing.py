"""How pixels become a model's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import RecipeError

PIXELS = (0.0, 255.0)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """real input = (pixel - mean) / std, pixel 0 to 255.

    Attributes:
      mean: see above.
      std: see above.
      value_range: least and greatest real input.
      no_pixels: why no pixels can go in, only real inputs (mean 0, std 1 then); None where the formula holds.
    """

    mean: float
    std: float
    value_range: tuple[float, float]
    no_pixels: str | None = None

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return uint8 pixels as float32 inputs of the same shape."""
        real = (pixels.astype(np.float32) - np.float32(self.mean)) / np.float32(self.std)
        return real.astype(np.float32)

    def inputs(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return samples as a model takes them: pixels encoded, tokens (whole numbers) as they are, else float32."""
        if joined.is_joined(samples):  # each input as the model takes it
            return joined.join({name: _as_numbers(part) for name, part in joined.split(samples).items()})
        if samples.dtype == np.uint8:
            return self.encode(samples)
        return _as_numbers(samples)


def _as_numbers(samples: NDArray[Any]) -> NDArray[Any]:
    tokens = samples.dtype.kind in "iu" and samples.dtype != np.uint8
    return samples if tokens else samples.astype(np.float32, copy=False)


def preprocessing(value_range: tuple[float, float]) -> Preprocessing:
    """Return the preprocessing that maps pixels 0 to 255 onto a range.

    >>> preprocessing((-1, 1))
    Preprocessing(mean=127.5, std=127.5, value_range=(-1.0, 1.0))

    Raises:
      RecipeError: the range is empty or not finite.
    """
    low, high = (float(value) for value in value_range)
    if not (np.isfinite([low, high]).all() and low < high):
        raise RecipeError(f"value range {low:g},{high:g} is not allowed: LO,HI with LO < HI is expected")
    std = 255.0 / (high - low)
    return Preprocessing(mean=-low * std + 0.0, std=std, value_range=(low, high))


def real_inputs(value_range: tuple[float, float], *, reason: str) -> Preprocessing:
    """Return the preprocessing of a model that takes real inputs in a range, and why pixels are none."""
    low, high = value_range
    return Preprocessing(mean=0.0, std=1.0, value_range=(float(low), float(high)), no_pixels=reason)
