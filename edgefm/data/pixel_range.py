"""Which range of pictures' values samples of floats hold, and so how a pixel becomes one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError
from edgefm.data.preprocessing import PIXELS, Preprocessing, preprocessing, real_inputs

RANGES = ((0.0, 1.0), (-1.0, 1.0), PIXELS)
_CHANNELS = (1, 3, 4)
_LEVELS = 255
_SLACK = 1e-3  # of the range: what checks of ranges allow, too
# Pictures of 8 bits that were scaled lie on 256 levels, but for rounding: by 0.06 of a level in float16.
_OFF_GRID = 0.1
_FEWEST_LEVELS = 8
_LOOKED_AT = 256


def encoding_of_floats(images: NDArray[Any], *, value_range: Sequence[float] | None = None) -> Preprocessing:
    """Return how pixels become samples that are given as floats, or that they cannot.

    Args:
      images: floats [n, ...], model inputs already.
      value_range: what the model takes for pixels 0 and 255, as its user said; it counts for pictures.
    Returns:
      its `no_pixels` is the reason where the samples are no pictures, or their values have no range of pictures.
      Without `value_range`, the range of pictures that the samples fill (see `picture_range`).
    Raises:
      RecipeError: the value range is empty or not finite.
      DataError: the samples are pictures of 8 bits in another range than `value_range`.

    >>> encoding_of_floats(np.linspace(0, 0.97, 48, dtype=np.float32).reshape(1, 4, 4, 3))
    Preprocessing(mean=0.0, std=255.0, value_range=(0.0, 1.0), no_pixels=None)
    """
    seen = (float(images.min()), float(images.max()))
    shape = images.shape[1:]
    if len(shape) != 3:
        reason = f"an input of shape {list(shape)} is no picture, [height, width, channels]"
        return real_inputs(seen if value_range is None else _pair(value_range), reason=reason)
    if value_range is not None:
        encoding = preprocessing(_pair(value_range))
        _check_said(images, encoding.value_range)
        return encoding
    if shape[-1] not in _CHANNELS:
        reason = f"an input of shape {list(shape)} has {shape[-1]} channels; pictures have 1, 3 or 4"
        return real_inputs(seen, reason=reason)
    filled = picture_range(images)
    if filled is not None:
        return preprocessing(filled)
    low, high = seen
    known = ", ".join(f"{least:g} to {most:g}" for least, most in RANGES)
    reason = f"its samples are floats from {low:g} to {high:g}, which is no range of pictures ({known})"
    if low < -1 and high > 1:
        reason += ": they look standardised, a mean taken off and divided by a deviation"
    return real_inputs(seen, reason=reason)


def picture_range(images: NDArray[Any]) -> tuple[float, float] | None:
    """Return the range of pictures' values, one of `RANGES`, that samples fill; None where they fill none.

    A range is filled where all values lie in it and span half of it, or lie on the 256 levels of 8-bit pictures in it,
    as dark pictures do. Whole numbers up to 127 could count anything: they are taken for no pictures.

    Args:
      images: floats [n, ...].
    """
    least, most = float(images.min()), float(images.max())
    for low, high in RANGES:
        span = high - low
        if least < low - _SLACK * span or most > high + _SLACK * span:
            continue
        if most - least >= span / 2 and (low == 0 or least < 0):
            return low, high
        if (low, high) != PIXELS and (low == 0 or least < 0) and _on_levels(images, low, high):
            return low, high
    return None


def _check_said(images: NDArray[Any], value_range: tuple[float, float]) -> None:
    """Raise a DataError where samples lie on the levels of 8-bit pictures, but of another range than was said."""
    filled = picture_range(images)
    if filled is None or filled == value_range:
        return
    if _on_levels(images, *filled) and not _on_levels(images, *value_range):
        (low, high), (least, most) = value_range, filled
        raise DataError(
            f"the value range {low:g},{high:g} was given, but the samples, floats from {images.min():g} to "
            f"{images.max():g}, are 8-bit pictures scaled to {least:g} to {most:g}: pixels would be scaled wrongly",
            hint=f"Give the value range {least:g},{most:g}, or samples from {low:g} to {high:g}.",
        )


def _on_levels(images: NDArray[Any], low: float, high: float) -> bool:
    """Return whether samples lie on the levels of 8-bit pictures in a range, and on more than a few of them."""
    levels = (images[:_LOOKED_AT].astype(np.float64) - low) / (high - low) * _LEVELS
    whole = np.round(levels)
    return bool(np.abs(levels - whole).max() < _OFF_GRID and len(np.unique(whole)) >= _FEWEST_LEVELS)


def _pair(value_range: Sequence[float]) -> tuple[float, float]:
    low, high = value_range
    return float(low), float(high)
