from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from scipy import optimize, stats

from edgefm.statistics import estimates as statistics
from edgefm.statistics.estimates import Estimate


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (1, 10), (10, 10), (9330, 10_000), (1, 10_000)])
def test_proportion_agrees_with_scipy_wilson(hits: int, total: int) -> None:
    found = statistics.proportion(hits, total)
    wanted = stats.binomtest(hits, total).proportion_ci(0.95, method="wilson")
    assert found.value == hits / total
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@pytest.mark.parametrize("total", [1, 2, 20, 401, 5000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.45, 0.5, 0.9])
def test_mcnemar_agrees_with_exact_binomial_test(total: int, share: float) -> None:
    first = round(share * total)
    wanted = stats.binomtest(first, total, 0.5).pvalue
    # scipy's own binomial tail is good to about 1e-9 relative at thousands of trials
    assert statistics.mcnemar(first, total - first) == pytest.approx(wanted, rel=1e-8, abs=1e-300)


def test_mcnemar_without_disagreement_is_one() -> None:
    assert statistics.mcnemar(0, 0) == 1.0


def test_mcnemar_with_very_many_flips_neither_overflows_nor_fails() -> None:
    assert statistics.mcnemar(0, 50_000) == 0.0  # 2 ** -49999 is below the least float
    assert statistics.mcnemar(25_000, 25_000) == 1.0
    assert 0 < statistics.mcnemar(24_800, 25_200) < 0.1


def _score_by_likelihood(second: int, first: int, total: int, difference: float) -> float:
    """Score statistic with the nuisance parameter found by maximising the likelihood, not by Tango's formula."""
    low, high = max(0.0, -difference), (1 - difference) / 2

    def minus_log_likelihood(first_share: float) -> float:
        terms = (
            (second, first_share + difference),
            (first, first_share),
            (total - second - first, 1 - 2 * first_share - difference),
        )
        return -sum(count * math.log(max(share, 1e-300)) for count, share in terms if count)

    best = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-13}
    )
    variance = total * (2 * best.x + difference - difference**2)
    return (second - first - total * difference) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("first", "second", "total"), [(7, 1, 21), (30, 45, 10_000), (0, 5, 50), (12, 2, 50), (400, 380, 10_000)]
)
def test_paired_difference_inverts_the_score_test(first: int, second: int, total: int) -> None:
    found = statistics.paired_difference(first, second, total)
    assert found.value == (second - first) / total
    assert _score_by_likelihood(second, first, total, found.low) == pytest.approx(statistics.Z, abs=2e-3)
    assert _score_by_likelihood(second, first, total, found.high) == pytest.approx(-statistics.Z, abs=2e-3)


def test_paired_difference_of_equal_models_is_around_zero() -> None:
    found = statistics.paired_difference(0, 0, 10_000)
    assert found.value == 0
    # Tango's limits without discordant pairs: z^2 / (n + z^2)
    assert found.high == pytest.approx(statistics.Z**2 / (10_000 + statistics.Z**2), rel=1e-6)
    assert found.low == pytest.approx(-found.high, rel=1e-6)


def test_paired_difference_covers_the_truth_about_95_times_in_100() -> None:
    generator = np.random.default_rng(1)
    shares = [0.03, 0.05, 0.92]  # only first, only second, rest: true difference 0.02
    counts = generator.multinomial(500, shares, size=800)
    inside = sum(
        e.low <= 0.02 <= e.high for e in (statistics.paired_difference(int(a), int(b), 500) for a, b, _ in counts)
    )
    assert 0.93 <= inside / 800 <= 0.97  # four standard errors of a share of 800 are 0.03


def test_percentiles_are_those_of_all_samples_pooled() -> None:
    generator = np.random.default_rng(0)
    rounds = [[int(x) for x in generator.integers(100, 10_000, 37)] for _ in range(7)]
    pooled = np.concatenate(rounds)
    found = statistics.percentiles(rounds)
    for name, share in statistics.QUANTILES.items():
        assert found[name].value == np.quantile(pooled, share, method="inverted_cdf")
        assert found[name].low <= found[name].value <= found[name].high


def test_percentiles_of_ten_samples_are_ranks() -> None:
    found = statistics.percentiles([list(range(1, 11))])
    assert [found[name].value for name in ("p50", "p90", "p99")] == [5, 9, 10]
    assert (found["p50"].low, found["p50"].high) == (1, 10)


def test_percentile_resamples_equal_repeated_rounds() -> None:
    generator = np.random.default_rng(0)
    rounds = [[int(x) for x in generator.integers(0, 50, size)] for size in (3, 8, 5)]
    weights = np.array([[2, 0, 1], [0, 0, 3], [1, 1, 1]])
    found = statistics._Pool(rounds).quantiles(weights)
    for weight, row in zip(weights, found, strict=True):
        drawn = np.concatenate([np.tile(samples, times) for samples, times in zip(rounds, weight, strict=True)])
        assert row.tolist() == np.quantile(drawn, [0.5, 0.9, 0.99], method="inverted_cdf").tolist()


def test_percentile_interval_follows_rounds_not_samples() -> None:
    # Rounds that differ much, samples within a round that hardly do: 10,000 samples say no more than 10 rounds.
    generator = np.random.default_rng(0)
    levels = generator.normal(1000, 100, 10)
    rounds = [[int(level + x) for x in generator.normal(0, 1, 1000)] for level in levels]
    interval = statistics.percentiles(rounds)["p50"]
    assert interval.high - interval.low > 50


def test_draws_are_a_bootstrap() -> None:
    drawn = statistics.draws(8, resamples=4000)
    assert (drawn.sum(axis=1) == 8).all()
    # A round is absent from a resample with probability (1 - 1/8)^8.
    assert np.mean(drawn == 0) == pytest.approx((7 / 8) ** 8, abs=0.01)


def test_confusion_and_class_figures_by_hand() -> None:
    truth, predicted = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 0])
    matrix = statistics.confusion(truth, predicted, classes=4)
    assert matrix.tolist() == [[1, 1, 0, 0], [1, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    a, b, c, d = statistics.class_figures(matrix, ["a", "b", "c", "d"])
    assert (a["precision"], a["recall"]) == (1 / 3, 1 / 2)
    assert b["f1"] == pytest.approx(2 * (2 / 3) * (2 / 3) / (4 / 3))
    assert (c["precision"], c["recall"], c["f1"], c["images"]) == (None, 0.0, 0.0, 1)
    assert (d["precision"], d["recall"], d["f1"], d["images"]) == (None, None, None, 0)


def test_worked_examples_hold() -> None:
    result = doctest.testmod(statistics, optionflags=doctest.ELLIPSIS)
    assert result.attempted >= 3 and result.failed == 0


def test_estimate_to_json_has_the_record_s_keys() -> None:
    assert Estimate(1.0, 0.5, 2.0).to_json() == {"value": 1.0, "low": 0.5, "high": 2.0}


@pytest.mark.parametrize(
    ("hits", "total", "other_hits", "other_total", "low", "high"),
    # Newcombe 1998, table II, method 10
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (10, 10, 0, 10, 0.6075, 1.0),
    ],
)
def test_difference_of_proportions_is_newcombe_s_table(
    hits: int, total: int, other_hits: int, other_total: int, low: float, high: float
) -> None:
    found = statistics.difference_of_proportions(hits, total, other_hits, other_total)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)
