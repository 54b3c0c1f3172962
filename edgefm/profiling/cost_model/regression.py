"""The time of operators of one kind from their shapes: what the work costs, and how measured neighbours differ from it.

First a sum of work (multiply-accumulates with lengths rounded up to tiles, bytes, pixels) with costs of zero or more,
fitted to the relative error. Then a Gaussian process over the logarithms of the lengths, fitted to what is left: it
returns to the sum of work far from all that was measured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefm.profiling.cost_model.shapes import OperatorShape, value_bytes

_Floats = NDArray[np.float64]
# Kernels work on tiles of so many channels; which, differs by processor and dtype, and the fit finds out.
_TILES = (8, 16)
_SWEEPS = 400
_LENGTHS, _NOISES = (1.0, 2.0, 4.0), (0.01, 0.03, 0.1)
# A shape is within what was measured where each of its lengths is, and its MACs and weights are, by this factor.
_BEYOND = 1.5
# How far apart, in octaves, channels that fill their tiles are from those that do not.
_PARTIAL = 1.0


@dataclass(frozen=True)
class Fit:
    """Predicts times of operators.

    Attributes:
      costs: float64 [features], of a unit of each kind of work, >= 0.
      places: float64 [measured, lengths], logarithms of the lengths of what was measured.
      weights: float64 [measured], of the Gaussian process.
      length: over which times become unlike, in octaves.
      most: MACs and weights of the largest of what was measured.
    """

    work: Callable[[OperatorShape], list[float]]
    costs: _Floats
    places: _Floats
    weights: _Floats
    length: float
    most: tuple[int, int]

    def nanoseconds(self, shape: OperatorShape) -> float:
        """Return the predicted time."""
        base = float(np.dot(self.work(shape), self.costs))
        if not len(self.weights):
            return base
        near = _kernel(np.array([_lengths(shape)]), self.places, self.length)[0]
        return base * math.exp(float(near @ self.weights))

    def beyond(self, shape: OperatorShape) -> bool:
        """Return whether a length of a shape, or its work, lies outside of what was measured."""
        if any(has > _BEYOND * most for has, most in zip((shape.macs, shape.weights), self.most, strict=True)):
            return True
        place, margin = np.array(_lengths(shape)), math.log2(_BEYOND)
        low, high = self.places.min(axis=0) - margin, self.places.max(axis=0) + margin
        return bool(np.any(place < low) or np.any(place > high))


def fit(shapes: Sequence[OperatorShape], times_ns: Sequence[float]) -> Fit:
    """Return the fit to measured operators of one kind and dtype.

    Args:
      shapes: at least one.
      times_ns: of each, > 0.
    """
    times = np.asarray(times_ns, np.float64)
    costs = nonnegative(np.array([_work(shape) for shape in shapes]), times)
    places = np.array([_lengths(shape) for shape in shapes])
    left = np.log(times) - np.log(np.array([_work(shape) for shape in shapes]) @ costs)
    weights, length = _smooth(places, left)
    return Fit(_work, costs, places, weights, length, _most(shapes))


def fit_any(shapes: Sequence[OperatorShape], times_ns: Sequence[float]) -> Fit:
    """Return the fit for operators of kinds that were never measured: by MACs and bytes alone."""
    costs = nonnegative(np.array([_plain_work(shape) for shape in shapes]), np.asarray(times_ns, np.float64))
    return Fit(_plain_work, costs, np.array([_lengths(shape) for shape in shapes]), np.zeros(0), 1.0, _most(shapes))


def _most(shapes: Sequence[OperatorShape]) -> tuple[int, int]:
    return max(shape.macs for shape in shapes), max(shape.weights for shape in shapes)


def nonnegative(work: _Floats, times: _Floats, *, prior: _Floats | None = None, weight: float = 0.0) -> _Floats:
    """Return costs >= 0 that make work @ costs / times nearest to 1 in the sum of squares, by coordinate descent.

    >>> nonnegative(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([3.0, 5.0, 7.0])).round(3)
    array([3., 2.])

    Args:
      work: float64 [measured, features], >= 0.
      times: float64 [measured], > 0.
      prior: float64 [features], what the costs are drawn to; None draws them nowhere.
      weight: of the prior, in measurements.
    """
    rows = work / times[:, None]
    size = np.sqrt((rows**2).sum(axis=0))
    size[size == 0] = 1.0
    rows = rows / size
    gram, aim = rows.T @ rows, rows.sum(axis=0)
    if prior is not None:
        gram = gram + weight * np.diag(1 / size**2)
        aim = aim + weight * prior / size
    costs = np.zeros(len(size)) if prior is None else prior * size
    for _ in range(_SWEEPS):
        for place in range(len(costs)):
            if gram[place, place] > 0:
                costs[place] = max(0.0, costs[place] + (aim[place] - gram[place] @ costs) / gram[place, place])
    unscaled: _Floats = costs / size
    return unscaled


def _work(shape: OperatorShape) -> list[float]:
    """Return the amounts of work of an operator, in units that are alike in size."""
    rows, taps = shape.sink[0] * shape.sink[1], math.prod(shape.window)
    c_in, c_out = shape.source[2] // shape.groups, shape.sink[2]
    loaded, stored = math.prod(shape.source), math.prod(shape.sink)
    if shape.kind in ("CONV_2D", "FULLY_CONNECTED"):
        tiled = [rows * taps * _up(c_in, a) * _up(c_out, b) / 1000 for a, b in itertools.product((1, *_TILES), _TILES)]
        # Channels that do not fill the last tile may take another kernel for all of them. LiteRT 2.3.0, AMD EPYC, a
        # float32 dense layer of 10,816 values: 113 us to 128 units, 203 us to 120.
        partial = [shape.macs / 1000 * (c_out % tile > 0) for tile in _TILES]
        return [1.0, *tiled, *partial, shape.weights / 1000, rows * taps / 10, stored / 100, loaded / 100]
    if shape.macs or shape.window != (1, 1):
        return [1.0, *(rows * taps * _up(c_out, tile) / 1000 for tile in (1, *_TILES)), stored / 100, loaded / 100]
    tiled = [shape.sink[0] * shape.sink[1] * _up(c_out, tile) / 100 for tile in _TILES]
    return [1.0, stored / 100, loaded / 100, *tiled, rows / 10]


def _plain_work(shape: OperatorShape) -> list[float]:
    size = value_bytes(shape.dtypes.split("*")[0].split(">")[0])
    return [1.0, shape.macs / 1000, size * (math.prod(shape.source) + math.prod(shape.sink) + shape.weights) / 1000]


def _lengths(shape: OperatorShape) -> list[float]:
    """Return the logarithms of an operator's lengths, and of what tiles of channels waste."""
    c_in, c_out = max(1, shape.source[2] // shape.groups), shape.sink[2]
    numbers = [
        shape.sink[0] * shape.sink[1],
        c_in,
        c_out,
        math.prod(shape.window),
        math.prod(shape.strides),
        *((_up(c_out, tile) / c_out) ** 2 for tile in _TILES),
        (_up(c_in, _TILES[0]) / c_in) ** 2,
    ]
    return [*(math.log2(number) for number in numbers), *(_PARTIAL * (c_out % tile > 0) for tile in _TILES)]


def _up(length: int, tile: int) -> int:
    return -(-length // tile) * tile


def _kernel(first: _Floats, second: _Floats, length: float) -> _Floats:
    """Return Matern covariances (nu = 3/2) of variance 1. Source: Rasmussen and Williams 2006, eq. 4.17."""
    distance = np.sqrt(((first[:, None, :] - second[None, :, :]) ** 2).sum(axis=2)) * math.sqrt(3) / length
    covariance: _Floats = (1 + distance) * np.exp(-distance)
    return covariance


def _smooth(places: _Floats, left: _Floats) -> tuple[_Floats, float]:
    """Return the weights of the Gaussian process and its length: the ones with the least error left out one by one.

    Source: Rasmussen and Williams 2006, eq. 5.12.
    """
    variance = float(np.mean(left**2))
    best: tuple[float, _Floats, float] = (math.inf, np.zeros(len(left)), 1.0)
    if len(left) < 3 or variance == 0:
        return best[1], best[2]
    for length, noise in itertools.product(_LENGTHS, _NOISES):
        inverse = np.linalg.inv(_kernel(places, places, length) + (noise**2 / variance + 1e-9) * np.eye(len(left)))
        weights = inverse @ left
        error = float(np.mean(np.abs(weights / np.diag(inverse))))
        if error < best[0]:
            best = (error, weights, length)
    return best[1], best[2]
