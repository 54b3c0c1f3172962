"""Calibration curves against plain loops, and against answers whose calibration is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgefm.statistics.reliability import BINS, reliability


def _by_loops(confidence: np.ndarray, right: np.ndarray, bins: int) -> tuple[list[int], float]:
    """Return the counts and the error as Guo et al. write them: bin m holds ((m - 1) / M, m / M]."""
    counts, error = [], 0.0
    for m in range(1, bins + 1):
        inside = [i for i, sure in enumerate(confidence) if (m - 1) / bins < sure <= m / bins or (m == 1 and sure == 0)]
        counts.append(len(inside))
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            error += len(inside) / len(confidence) * abs(accuracy - sum(confidence[i] for i in inside) / len(inside))
    return counts, error


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [1, 2, 10, BINS])
def test_curve_and_error_are_those_of_plain_loops(seed: int, bins: int) -> None:
    generator = np.random.default_rng(seed)
    confidence = generator.random(200)
    right = generator.random(200) < confidence**2
    curve = reliability(confidence, right, bins=bins, resamples=20)
    counts, error = _by_loops(confidence, right, bins)
    assert [entry.count for entry in curve.bins] == counts
    assert curve.ece.value == pytest.approx(error, abs=1e-12)
    assert curve.ece.low <= curve.ece.value <= curve.ece.high
    assert curve.accuracy == pytest.approx(right.mean()) and curve.samples == 200


def test_confidences_on_the_edges_belong_to_the_lower_bin() -> None:
    confidence = np.array([0.0, 0.5, 1.0, 1.0 + 1e-6])
    assert [entry.count for entry in reliability(confidence, confidence > 0, bins=2).bins] == [2, 2]


def test_empty_bins_have_no_figures() -> None:
    curve = reliability(np.full(30, 0.95), np.ones(30, bool))
    assert [entry.count for entry in curve.bins] == [0] * 14 + [30]
    assert curve.bins[0].accuracy is None and curve.bins[-1].confidence == pytest.approx(0.95)
    assert curve.ece.value == pytest.approx(0.05)


def test_calibrated_answers_stay_below_the_error_that_chance_gives() -> None:
    above = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        confidence = generator.uniform(0.4, 1, 300)
        curve = reliability(confidence, generator.random(300) < confidence, resamples=200, seed=seed)
        above += curve.ece.value > curve.calibrated_ece
    # 5 % of 60 are 3; more than 9 have a probability of 0.1 %.
    assert above <= 9


def test_overconfident_answers_are_above_it() -> None:
    generator = np.random.default_rng(0)
    curve = reliability(np.full(400, 0.99), generator.random(400) < 0.8)
    assert curve.ece.low > curve.calibrated_ece
    assert curve.ece.value == pytest.approx(0.99 - curve.accuracy, abs=1e-9)


def test_interval_covers_the_true_error_of_a_single_bin() -> None:
    # With one bin and a large gap the error is |accuracy - confidence|, whose true value is known.
    covered = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        curve = reliability(np.full(200, 0.9), generator.random(200) < 0.7, bins=1, resamples=300, seed=seed)
        covered += curve.ece.low <= 0.2 <= curve.ece.high
    assert 88 <= covered <= 100  # 95 are expected; fewer than 88 have a probability below 0.5 %


@pytest.mark.parametrize("confidence", [np.array([]), np.array([0.5, np.nan]), np.array([np.inf])])
def test_what_is_no_confidence_is_refused(confidence: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        reliability(confidence, np.ones(len(confidence), bool))
