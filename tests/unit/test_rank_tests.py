from __future__ import annotations

import doctest
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from edgefm.statistics import rank_tests

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 15, 40])
@pytest.mark.parametrize("shift", [0.0, 0.5, -2.0])
def test_signed_rank_agrees_with_scipy_wilcoxon(n: int, shift: float) -> None:
    differences = GENERATOR.normal(shift, 1, n)
    wanted = stats.wilcoxon(differences, method="exact")
    assert rank_tests.signed_rank(differences.tolist()).p == pytest.approx(wanted.pvalue, rel=1e-9)


@pytest.mark.parametrize(
    "differences",
    [
        pytest.param([1, 1, -1, 2, 2, 3, -3, 4], id="ties"),
        pytest.param([0, 0, 1, -2, 3, 4, 5], id="zeros"),
        pytest.param([0, 0.0, 0, 1, 1, 1, -1], id="zeros-and-ties"),
        pytest.param([0.0] * 8, id="all-zero"),
        pytest.param([-1.0, -2, -3, -4, -5, -6], id="one-sided"),
    ],
)
def test_signed_rank_counts_all_sign_flips_with_ties_and_zeros(differences: list[float]) -> None:
    # The definition, by brute force: every sign flipped in every way, zeros without a side.
    ranks = stats.rankdata(np.abs(differences))

    def statistic(signs: tuple[int, ...]) -> float:
        return abs(float(np.dot(ranks, np.sign(differences) * signs)))

    found = statistic((1,) * len(differences))
    flips = [statistic(signs) for signs in itertools.product((1, -1), repeat=len(differences))]
    assert rank_tests.signed_rank(differences).p == pytest.approx(np.mean(np.array(flips) >= found - 1e-9))


def test_signed_rank_is_scipy_s_permutation_test_of_signed_ranks() -> None:
    differences = np.array([0.3, -0.1, 0.8, 0.2, -0.4, 0.9, 1.1, 0.25, 0.6])
    signed = np.sign(differences) * stats.rankdata(np.abs(differences))
    wanted = stats.permutation_test((signed,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert rank_tests.signed_rank(differences.tolist()).p == pytest.approx(wanted.pvalue)


def test_signed_rank_effect_is_the_share_of_ranks_for_less_that_against() -> None:
    assert rank_tests.signed_rank([1, 2, -3, 4]).effect == pytest.approx((1 + 2 + 4 - 3) / 10)
    assert rank_tests.signed_rank([-1, -2]).effect == -1


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 4), (8, 8), (15, 12), (30, 45)])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_mann_whitney_without_ties_agrees_with_scipy_exact(m: int, n: int, shift: float) -> None:
    first, second = GENERATOR.normal(shift, 1, m), GENERATOR.normal(0, 1, n)
    wanted = stats.mannwhitneyu(first, second, method="exact")
    found = rank_tests.mann_whitney(first.tolist(), second.tolist())
    assert found.exact
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-9)
    assert found.effect == pytest.approx(2 * wanted.statistic / (m * n) - 1)


@pytest.mark.parametrize(("m", "n", "levels"), [(10, 12, 5), (20, 20, 8), (70, 80, 10_000), (5, 6, 2)])
def test_mann_whitney_with_ties_or_many_values_agrees_with_scipy_asymptotic(m: int, n: int, levels: int) -> None:
    first, second = GENERATOR.integers(0, levels, m), GENERATOR.integers(0, levels, n)
    wanted = stats.mannwhitneyu(first, second, method="asymptotic", use_continuity=True)
    found = rank_tests.mann_whitney(first.tolist(), second.tolist())
    assert not found.exact
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-9)


def test_mann_whitney_of_equal_values_only_is_one() -> None:
    assert rank_tests.mann_whitney([2, 2, 2], [2, 2]).p == 1.0


def test_mann_whitney_of_wholly_separate_groups_has_the_least_p() -> None:
    found = rank_tests.mann_whitney(list(range(60)), list(range(100, 160)))
    assert found.p == pytest.approx(2 / math.comb(120, 60), rel=1e-9)


@pytest.mark.parametrize("n", [6, 9, 15, 30])
def test_shift_interval_ends_where_the_signed_rank_test_begins_to_reject(n: int) -> None:
    values = GENERATOR.normal(1, 2, n)
    found = rank_tests.shift(values.tolist())
    for supposed, rejected in (
        (found.low - 1e-6, True), (found.low + 1e-6, False), (found.high - 1e-6, False), (found.high + 1e-6, True),
    ):  # fmt: skip
        assert (stats.wilcoxon(values - supposed, method="exact").pvalue < 0.05) == rejected


@pytest.mark.parametrize(("m", "n"), [(4, 4), (15, 12), (3, 20)])
def test_shift_between_interval_ends_where_the_u_test_begins_to_reject(m: int, n: int) -> None:
    first, second = GENERATOR.normal(1, 2, m), GENERATOR.normal(0, 2, n)
    found = rank_tests.shift_between(first.tolist(), second.tolist())
    for supposed, rejected in (
        (found.low - 1e-6, True), (found.low + 1e-6, False), (found.high - 1e-6, False), (found.high + 1e-6, True),
    ):  # fmt: skip
        assert (stats.mannwhitneyu(first - supposed, second, method="exact").pvalue < 0.05) == rejected


@pytest.mark.parametrize(("m", "n"), [(61, 61), (100, 12), (5, 300)])
def test_shift_between_of_many_values_ends_where_the_normal_approximation_begins_to_reject(
    m: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_tests, "_u_chances", lambda m, n: pytest.fail("it is not to be counted"))
    first, second = GENERATOR.normal(1, 2, m), GENERATOR.normal(0, 2, n)
    found = rank_tests.shift_between(first.tolist(), second.tolist())
    for supposed, rejected in (
        (found.low - 1e-6, True), (found.low + 1e-6, False), (found.high - 1e-6, False), (found.high + 1e-6, True),
    ):  # fmt: skip
        tested = rank_tests.mann_whitney((first - supposed).tolist(), second.tolist())
        assert (tested.p < 0.05) == rejected and not tested.exact
    assert found.error == pytest.approx(2 * math.sqrt((1 / m + 1 / n) * math.pi / 3), rel=0.35)


def test_shift_between_hardly_changes_where_counting_ends() -> None:
    first, second = GENERATOR.normal(1, 2, 60), GENERATOR.normal(0, 2, 60)
    exact = rank_tests.shift_between(first.tolist(), second.tolist())
    normal = rank_tests.shift_between([*first.tolist(), 1.0], second.tolist())
    assert (normal.low, normal.high) == pytest.approx((exact.low, exact.high), abs=0.1)
    assert exact.error is not None and normal.error == pytest.approx(exact.error, rel=0.1)


@pytest.mark.parametrize("n", [15, 40])
def test_shift_error_is_near_that_of_the_mean_of_normal_values(n: int) -> None:
    errors = [rank_tests.shift(GENERATOR.normal(5, 2, n).tolist()).error for _ in range(200)]
    # By its efficiency against the mean, sqrt(pi / 3) = 1.02 times that at large n; more where n is small.
    assert np.median(np.array(errors, float)) == pytest.approx(1.05 * 2 / math.sqrt(n), rel=0.1)


def test_shift_between_error_is_near_that_of_the_difference_of_means() -> None:
    errors = [
        rank_tests.shift_between(GENERATOR.normal(5, 2, 15).tolist(), GENERATOR.normal(0, 2, 12).tolist()).error
        for _ in range(100)
    ]
    assert np.median(np.array(errors, float)) == pytest.approx(1.05 * 2 * math.sqrt(1 / 15 + 1 / 12), rel=0.1)


def test_shift_hardly_follows_one_disturbed_round() -> None:
    values = GENERATOR.normal(0, 1, 15).tolist()
    quiet, disturbed = rank_tests.shift(values), rank_tests.shift([*values[:-1], 1000.0])
    assert quiet.error is not None and disturbed.error is not None
    assert disturbed.error < 2 * quiet.error
    assert abs(disturbed.value - quiet.value) < quiet.error


def test_shift_of_too_few_values_is_from_least_to_greatest_without_error() -> None:
    assert rank_tests.shift([1, 2, 3, 4, 5]) == rank_tests.Shift(3.0, 1.0, 5.0, None)
    assert rank_tests.shift_between([1, 2, 3], [4, 5, 6]) == rank_tests.Shift(-3.0, -5.0, -1.0, None)
    assert rank_tests.shift_between([1, 2, 3, 4], [4.5, 5.5, 6.5, 7.5]).error is not None


@pytest.mark.parametrize("p", [[0.2], [0.01, 0.04, 0.03], [0.5, 0.5, 0.001, 0.02, 0.9]])
def test_holm_agrees_with_its_definition(p: list[float]) -> None:
    order = np.argsort(p)
    wanted = np.minimum(1, np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1)))
    assert np.array(rank_tests.holm(p))[order] == pytest.approx(wanted)
    assert rank_tests.holm([]) == []


def test_ranks_agree_with_scipy() -> None:
    values = GENERATOR.integers(0, 10, 30).astype(float)
    np.testing.assert_array_equal(rank_tests.ranks(values), stats.rankdata(values))


def test_worked_examples_hold() -> None:
    result = doctest.testmod(rank_tests, optionflags=doctest.ELLIPSIS)
    assert result.attempted >= 4 and result.failed == 0
