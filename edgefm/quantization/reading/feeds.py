"""The ways to make a model's inputs of pictures: value ranges, orders of channels, ImageNet's normalisations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.data.preprocessing import PIXELS, preprocessing
from edgefm.quantization.calibration_set import rescales_first
from edgefm_converters.readers.model_file import Loaded

RANGES = (PIXELS, (0.0, 1.0), (-1.0, 1.0))
# ImageNet's: (pixel / 255 - mean) / std by channel, and pixel - mean in the order blue, green, red.
_TORCH_MEAN, _TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)
AS_GIVEN = "as given"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to read pictures and answers.

    Attributes:
      values: 'LO to HI' of the inputs for pixels 0 to 255, 'as given' for floats, or ImageNet's in words.
      value_range: (LO, HI); None where no single range says it.
      swapped: red and blue are swapped.
      labels: class names in the order of the model's outputs.
    """

    values: str
    value_range: tuple[float, float] | None
    swapped: bool
    labels: tuple[str, ...]

    @property
    def plain(self) -> bool:
        """Whether a contract can say it: one range for all channels, in their order."""
        return not self.swapped and (self.value_range is not None or self.values == AS_GIVEN)

    def __str__(self) -> str:
        channels = ", channels swapped (BGR)" if self.swapped else ""
        return f"inputs {self.values}{channels}"


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One way to make inputs of pictures: (pixel - mean) / std, in this order of channels; see `Reading`."""

    values: str
    value_range: tuple[float, float] | None
    swapped: bool
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def inputs(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """Return pictures [n, ..., channels] as inputs of the same shape."""
        channels = pictures[..., ::-1] if self.swapped else pictures
        if pictures.dtype.kind in "iu" and self.values == AS_GIVEN:
            return channels  # tokens
        return ((channels - np.array(self.mean)) / np.array(self.std)).astype(np.float32)


def feeds_of(loaded: Loaded, pictures: NDArray[Any], value_range: tuple[float, float] | None) -> list[Feed]:
    """Return the ways to feed the pictures that are possible; what was said comes first."""
    colour = pictures.ndim == 4 and pictures.shape[-1] == 3
    ways = (False, True) if colour else (False,)
    if pictures.dtype != np.uint8:
        return [Feed(values=AS_GIVEN, value_range=value_range, swapped=swapped) for swapped in ways]
    fixed = value_range is not None or (loaded.keras is not None and rescales_first(loaded.keras))
    feeds = []
    for limits, swapped in product((value_range or PIXELS,) if fixed else RANGES, ways):
        encoding = preprocessing(limits)
        text = f"{limits[0]:g} to {limits[1]:g}"
        feeds.append(Feed(values=text, value_range=limits, swapped=swapped, mean=(encoding.mean,), std=(encoding.std,)))
    if colour and not fixed:
        mean, std = (tuple(255 * value for value in values) for values in (_TORCH_MEAN, _TORCH_STD))
        feeds.append(
            Feed(values="(pixel / 255 - mean) / std of ImageNet", value_range=None, swapped=False, mean=mean, std=std)
        )
        feeds.append(Feed(values="pixel - mean of ImageNet", value_range=None, swapped=True, mean=_CAFFE_MEAN))
    return feeds


def as_layers(reading: Reading) -> str:
    """Return code that puts a reading into a Keras model, behind its input."""
    swap = "x = inputs[..., ::-1]; " if reading.swapped else ""
    source = "x" if reading.swapped else "inputs"
    if reading.values.startswith("pixel - mean"):
        return f"{swap}x = keras.layers.Rescaling(1.0, offset={[-value for value in _CAFFE_MEAN]})({source})"
    if reading.values.startswith("("):
        scale = [round(1 / (255 * std), 6) for std in _TORCH_STD]
        offset = [round(-mean / std, 6) for mean, std in zip(_TORCH_MEAN, _TORCH_STD, strict=True)]
        return f"{swap}x = keras.layers.Rescaling({scale}, offset={offset})({source})"
    if reading.value_range in (None, PIXELS):
        return swap.rstrip("; ")
    encoding = preprocessing(reading.value_range)
    shift = f", offset={-encoding.mean / encoding.std:g}" if encoding.mean else ""
    return f"{swap}x = keras.layers.Rescaling(1 / {encoding.std:g}{shift})({source})"
