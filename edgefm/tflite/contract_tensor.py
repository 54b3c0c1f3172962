"""One end of a model as its contract says it, and its values as real numbers and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One end of a model.

    Attributes:
      name: tensor name in the signature.
      dtype: 'float32', 'uint8' or 'int8'; 'int32' or 'int64' of tokens.
      shape: with the fixed batch of 1, e.g. (1, 28, 28, 1).
      scale: real = scale * (q - zero_point); None for a float tensor.
      zero_point: see `scale`.
      value_range: least and greatest real value.
      parts: the inputs of a model that has several, () of all other tensors; `dtype` is 'record' then.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None
    value_range: tuple[float, float]
    parts: tuple[Tensor, ...] = ()

    @property
    def size(self) -> int:
        """Number of values for one sample."""
        return sum(part.size for part in self.parts) if self.parts else math.prod(self.shape)


def quantize(real: NDArray[np.float32], tensor: Tensor) -> NDArray[Any]:
    """Return real values in a tensor's own dtype: q = clamp(round(real / scale) + zero_point).

    Those of several inputs are a structured array (`edgefm.core.joined`), before and after.

    Source: Jacob et al. 2018, arXiv:1712.05877.
    """
    if tensor.parts:
        values = joined.split(real)
        return joined.join({part.name: quantize(values[part.name], part) for part in tensor.parts})
    if tensor.scale is None or tensor.zero_point is None:
        return real.astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    levels = np.round(real / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(levels, limits.min, limits.max).astype(tensor.dtype)


class HasScale(Protocol):
    """A tensor with a scale and a zero point, or with neither."""

    @property
    def scale(self) -> float | None: ...  # noqa: D102
    @property
    def zero_point(self) -> int | None: ...  # noqa: D102


class HasEnds(HasScale, Protocol):
    """One end of a model: its dtype and shape, too."""

    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102


def dequantize(levels: NDArray[Any], tensor: HasScale) -> NDArray[np.float32]:
    """Return a tensor's values as real numbers, float32 of the same shape: real = scale * (q - zero_point)."""
    if tensor.scale is None or tensor.zero_point is None:
        return levels.astype(np.float32)
    real = (levels.astype(np.float32) - tensor.zero_point) * np.float32(tensor.scale)
    return real.astype(np.float32)


def tensor_of(value: Mapping[str, Any]) -> Tensor:
    """Return the tensor that `tensor_json` told."""
    low, high = value["value_range"]
    parts = tuple(tensor_of(part) for part in value.get("parts", ()))
    return Tensor(**{**value, "shape": tuple(value["shape"]), "value_range": (low, high), "parts": parts})


def tensor_json(tensor: Tensor) -> dict[str, Any]:
    """Return a tensor as JSON; `parts` only where it has some."""
    value = asdict(tensor)
    del value["parts"]
    return {**value, "parts": [tensor_json(part) for part in tensor.parts]} if tensor.parts else value
