"""Features in two dimensions: principal components, and t-SNE without approximations, in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERPLEXITY = 30.0
ITERATIONS = 500
# Of van der Maaten's own program: attraction is exaggerated at first, and the momentum grows after it.
_EXAGGERATION, _EXAGGERATED = 12.0, 125
_FIRST_MOMENTUM, _MOMENTUM = 0.5, 0.8
_LEAST_GAIN = 0.01
_BISECTIONS = 60
_LEAST = 1e-12
_FIRST_SPREAD = 1e-4


@dataclass(frozen=True, kw_only=True)
class Components:
    """Principal components.

    Attributes:
      points: float64 [n, k], the samples in their coordinates.
      explained: float64 [k], share of the variance of each, greatest first; zeros where all samples are equal.
    """

    points: NDArray[np.float64]
    explained: NDArray[np.float64]


def principal_components(features: NDArray[np.floating], count: int = 2) -> Components:
    """Return samples in their first principal components.

    The sign of each component is such that its largest weight is positive, so that equal samples give equal pictures.

    Args:
      features: [n, d], finite.
      count: components, at most min(n, d); fewer where there are not so many.
    Source: Pearson 1901, Philosophical Magazine 2:559-572, by the singular value decomposition.
    """
    centred = np.asarray(features, np.float64)
    centred = centred - centred.mean(axis=0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    points = (left * values * np.where(signs == 0, 1.0, signs))[:, :count]
    total = float((values**2).sum())
    return Components(points=points, explained=(values**2)[:count] / total if total else np.zeros(points.shape[1]))


def neighbour_probabilities(features: NDArray[np.floating], perplexity: float) -> NDArray[np.float64]:
    """Return t-SNE's joint probabilities, float64 [n, n], symmetric, with sum 1 and zeros on the diagonal.

    Each sample's Gaussian is as wide as gives its neighbours the entropy log2(perplexity).

    Args:
      features: [n, d], n at least 3.
      perplexity: effective number of neighbours, above 1 and below n - 1.
    """
    distances = _squared_distances(np.asarray(features, np.float64))
    scale = float(distances.mean()) or 1.0  # bisection starts at a width that fits the data
    conditional = np.zeros_like(distances)
    wanted = math.log(perplexity)
    for row in range(len(distances)):
        others = np.delete(distances[row], row)
        others = (others - others.min()) / scale
        low, high, precision = 0.0, math.inf, 1.0
        for _ in range(_BISECTIONS):
            weights = np.exp(-precision * others)
            total = weights.sum()
            entropy = math.log(total) + precision * float(others @ weights) / total
            if abs(entropy - wanted) < 1e-6:
                break
            if entropy > wanted:
                low, precision = precision, 2 * precision if math.isinf(high) else (precision + high) / 2
            else:
                high, precision = precision, (low + precision) / 2
        conditional[row] = np.insert(weights / total, row, 0.0)
    joint: NDArray[np.float64] = (conditional + conditional.T) / (2 * len(distances))
    return joint


def t_sne(
    features: NDArray[np.floating],
    *,
    perplexity: float = PERPLEXITY,
    iterations: int = ITERATIONS,
    told: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Return samples in two dimensions in which neighbours stay neighbours, and the Kullback-Leibler divergence left.

    It begins with the principal components, so that equal features give equal pictures. Distances between groups and
    their sizes mean little in it. Time and memory grow with n squared: give a thousand samples, not ten.

    Args:
      features: [n, d], n at least 4; of many dimensions give principal components.
      perplexity: effective number of neighbours; at most (n - 1) / 3 is taken.
      iterations: steps of gradient descent.
      told: receives the number of steps done.
    Returns:
      float64 [n, 2] and the divergence in nats.
    Source: van der Maaten & Hinton 2008, JMLR 9:2579-2605; the start: Kobak & Linderman 2021, Nature Biotechnology
      39:156-157.
    """
    count = len(features)
    wanted = neighbour_probabilities(features, max(1.01, min(perplexity, (count - 1) / 3)))
    start = principal_components(features).points
    start = np.hstack([start, np.zeros((count, 2 - start.shape[1]))])
    spread = float(start[:, 0].std())
    points = start * (_FIRST_SPREAD / spread if spread else 1.0)
    rate = max(count / _EXAGGERATION / 4, 50.0)
    update, gains = np.zeros_like(points), np.ones_like(points)
    for step in range(iterations):
        early = step < min(_EXAGGERATED, iterations // 4)
        slope = gradient(points, wanted * _EXAGGERATION if early else wanted)
        turns = np.sign(slope) != np.sign(update)
        gains = np.maximum(np.where(turns, gains + 0.2, gains * 0.8), _LEAST_GAIN)
        update = (_FIRST_MOMENTUM if early else _MOMENTUM) * update - rate * gains * slope
        points = points + update
        if told is not None:
            told(step + 1)
    return points - points.mean(axis=0), divergence(points, wanted)


def divergence(points: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Return KL(wanted || neighbours of the points) in nats."""
    kernel = _student(points)
    has = wanted > 0
    nearness = np.maximum(kernel / kernel.sum(), _LEAST)
    return float((wanted[has] * np.log(wanted[has] / nearness[has])).sum())


def gradient(points: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gradient of `divergence` by the points, float64 [n, 2]."""
    kernel = _student(points)
    total = kernel.sum()
    pull = wanted - kernel / total
    pull *= kernel
    slope: NDArray[np.float64] = 4 * (pull.sum(axis=1, keepdims=True) * points - pull @ points)
    return slope


def _student(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + squared distance), zero on the diagonal."""
    kernel = _squared_distances(points)
    kernel += 1.0
    np.reciprocal(kernel, out=kernel)
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _squared_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = np.einsum("ij,ij->i", points, points)
    distances = points @ points.T
    distances *= -2.0
    distances += squares[:, None]
    distances += squares[None, :]
    np.maximum(distances, 0.0, out=distances)
    return distances
