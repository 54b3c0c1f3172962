"""PCA against an eigenvalue decomposition, t-SNE against scipy's root finder, entropy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from edgefm.statistics.embedding import (
    divergence,
    gradient,
    neighbour_probabilities,
    principal_components,
    t_sne,
)


def _features(count: int, width: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, width)) * np.arange(1, width + 1) + 5


@pytest.mark.parametrize(("count", "width"), [(40, 6), (6, 40), (5, 5)])
def test_components_are_those_of_the_covariance(count: int, width: int) -> None:
    features = _features(count, width, seed=1)
    components = principal_components(features, 2)
    values, vectors = np.linalg.eigh(np.cov(features.T))
    expected = (features - features.mean(axis=0)) @ vectors[:, ::-1][:, :2]
    assert np.allclose(np.abs(components.points), np.abs(expected), atol=1e-8)
    assert np.allclose(components.explained, values[::-1][:2] / values.sum())


def test_components_do_not_depend_on_the_sign_that_the_decomposition_happens_to_have() -> None:
    features = _features(30, 4, seed=2)
    turned = principal_components(features[::-1], 2).points[::-1]
    assert np.allclose(principal_components(features, 2).points, turned, atol=1e-8)


def test_equal_samples_have_no_components() -> None:
    components = principal_components(np.full((5, 3), 7.0))
    assert not components.explained.any() and not components.points.any()


@pytest.mark.parametrize("perplexity", [2.0, 5.0, 12.0])
def test_neighbour_probabilities_have_the_perplexity_that_scipy_finds(perplexity: float) -> None:
    features = _features(40, 5, seed=3)
    distances = cdist(features, features, "sqeuclidean")
    conditional = np.zeros_like(distances)
    for row in range(40):
        others = np.delete(distances[row], row)
        others -= others.min()
        precision = brentq(lambda b, d=others: entropy(np.exp(-b * d)) - np.log(perplexity), 1e-9, 1e3, xtol=1e-14)
        weights = np.exp(-precision * others)
        conditional[row] = np.insert(weights / weights.sum(), row, 0)
    expected = (conditional + conditional.T) / 80
    # The bisection ends where the entropy is right to 1e-6.
    assert np.allclose(neighbour_probabilities(features, perplexity), expected, atol=1e-7)


def test_divergence_is_scipys() -> None:
    wanted = neighbour_probabilities(_features(20, 3, seed=4), 5)
    points = np.random.default_rng(5).normal(size=(20, 2))
    kernel = 1 / (1 + cdist(points, points, "sqeuclidean"))
    np.fill_diagonal(kernel, 0)
    off = ~np.eye(20, dtype=bool)
    assert divergence(points, wanted) == pytest.approx(entropy(wanted[off], kernel[off]), rel=1e-9)


def test_gradient_is_that_of_finite_differences() -> None:
    wanted = neighbour_probabilities(_features(12, 3, seed=6), 3)
    points = np.random.default_rng(7).normal(size=(12, 2))
    slope, step = gradient(points, wanted), 1e-5
    for row, column in np.ndindex(12, 2):
        moved = [points.copy(), points.copy()]
        moved[0][row, column] += step
        moved[1][row, column] -= step
        numeric = (divergence(moved[0], wanted) - divergence(moved[1], wanted)) / (2 * step)
        assert slope[row, column] == pytest.approx(numeric, abs=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_groups(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(4), 25)
    features = generator.normal(size=(100, 10)) + 8 * np.eye(10)[truth]
    steps: list[int] = []
    points, left = t_sne(features, perplexity=10, iterations=300, told=steps.append)
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    assert (truth[distances.argmin(axis=1)] == truth).all()
    assert left < divergence(principal_components(features).points, neighbour_probabilities(features, 10))
    assert steps == list(range(1, 301))
    again, _ = t_sne(features, perplexity=10, iterations=300)
    assert np.array_equal(points, again)


@pytest.mark.parametrize("features", [np.zeros((20, 3)), np.eye(4), np.repeat(_features(5, 3, 8), 5, axis=0)])
def test_odd_features_give_finite_points(features: np.ndarray) -> None:
    points, left = t_sne(features, iterations=60)
    assert points.shape == (len(features), 2) and np.isfinite(points).all() and np.isfinite(left)
