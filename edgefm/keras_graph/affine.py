"""Arithmetic of folding: an affine map of channels, y = scale * x + shift, merged into a linear layer.

All functions are exact in real numbers; they compute in float64 and leave rounding to the caller. numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Kind = Literal["conv", "depthwise", "separable", "dense"]


@dataclass(frozen=True, kw_only=True)
class Affine:
    """y = scale * x + shift over the last axis; both are float64 [channels]."""

    scale: Vector
    shift: Vector

    @property
    def keeps_order(self) -> bool:
        """True where x <= x' gives y <= y' in every channel, so that it commutes with a maximum."""
        return bool((self.scale >= 0).all())

    def times(self, repeats: int) -> Affine:
        """Return the map of a flattened tensor: the channels of each of its `repeats` positions in a row."""
        return Affine(scale=np.tile(self.scale, repeats), shift=np.tile(self.shift, repeats))


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Weights of a linear layer, float64.

    Attributes:
      kind: what the kernels' axes mean.
      kernels: 'conv' [kh, kw, c_in / groups, c_out]; 'depthwise' [kh, kw, c_in, multiplier]; 'separable' the
        depthwise one, then [1, 1, c_in * multiplier, c_out]; 'dense' [c_in, c_out].
      bias: [c_out]; zeros for a layer without.
      groups: of a 'conv'.
    """

    kind: Kind
    kernels: tuple[NDArray[np.float64], ...]
    bias: Vector
    groups: int = 1


def then(linear: Linear, affine: Affine) -> Linear:
    """Return the weights of affine(linear(x)): kernel * scale, bias * scale + shift.

    >>> dense = Linear(kind="dense", kernels=(np.array([[1.0, 2.0]]),), bias=np.array([0.0, 1.0]))
    >>> folded = then(dense, Affine(scale=np.array([10.0, -1.0]), shift=np.array([5.0, 0.0])))
    >>> folded.kernels[0].tolist(), folded.bias.tolist()
    ([[10.0, -2.0]], [5.0, -1.0])

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
    """
    *first, last = linear.kernels
    scale = affine.scale.reshape(last.shape[-2:]) if linear.kind == "depthwise" else affine.scale
    return replace(linear, kernels=(*first, last * scale), bias=linear.bias * affine.scale + affine.shift)


def after(affine: Affine, linear: Linear) -> Linear:
    """Return the weights of linear(affine(x)), for a layer that pads nothing or a shift of zero.

    >>> dense = Linear(kind="dense", kernels=(np.array([[1.0], [2.0]]),), bias=np.array([0.5]))
    >>> folded = after(Affine(scale=np.array([2.0, 3.0]), shift=np.array([10.0, 100.0])), dense)
    >>> folded.kernels[0].tolist(), folded.bias.tolist()
    ([[2.0], [6.0]], [210.5])
    """
    first, *others = linear.kernels
    if linear.kind == "conv":
        scale, shift = (_by_group(vector, first.shape, linear.groups) for vector in (affine.scale, affine.shift))
    else:
        scale, shift = affine.scale[:, None], affine.shift[:, None]
    spatial = tuple(range(first.ndim - 2))
    seen = (first * shift).sum(axis=spatial)
    constant = seen.reshape(-1) if linear.kind in ("depthwise", "separable") else seen.sum(axis=0)
    if linear.kind == "separable":
        constant = constant @ others[0][0, 0]
    return replace(linear, kernels=(first * scale, *others), bias=linear.bias + constant)


def _by_group(vector: Vector, kernel: tuple[int, ...], groups: int) -> NDArray[np.float64]:
    """Return an input-channel vector as [c_in / groups, c_out]: an output sees its own group only."""
    per_group = vector.reshape(groups, kernel[-2])
    return np.repeat(per_group, kernel[-1] // groups, axis=0).T
