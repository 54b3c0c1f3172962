"""The rule by which a claim is judged, on figures whose verdict follows by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from edgefm.statistics.claim import judge_claim, mean_of_seeds, standard_error

N = 10_000  # at 90 % the standard error is 0.3 points


@pytest.mark.parametrize(
    ("values", "claim", "doubt", "verdict"),
    [
        ([90.0], 90.0, "", "reproduced"),
        ([90.29], 90.0, "", "reproduced"),
        ([89.71], 90.0, "", "reproduced"),
        ([90.31], 90.0, "", "exceeded"),
        ([89.69], 90.0, "", "not reproduced"),
        ([90.31], 90.0, "no mark is so high", "exceeded"),
        ([89.8], 90.0, "no mark is so high", "reproduced"),
        ([89.69], 90.0, "no mark is so high", "not credible"),
        # Three seeds: t is 4.303, so that a spread of 0.3 widens the mean by 0.745 points to either side.
        ([88.7, 89.0, 89.3], 90.0, "", "reproduced"),
        ([88.9, 89.0, 89.1], 90.0, "", "not reproduced"),
        ([90.9, 91.0, 91.1], 90.0, "", "exceeded"),
        ([89.0], (88.01, 89.58), "", "reproduced"),
        ([87.6], (88.01, 89.58), "", "not reproduced"),
        ([89.9], (88.01, 89.58), "", "exceeded"),
        ([100.0], 100.0, "", "reproduced"),
        ([99.99], 100.0, "", "reproduced"),  # one image; a share of 100 % has no standard error
        ([99.98], 100.0, "", "not reproduced"),
        ([90.0], None, "", "no claim"),
        ([], 90.0, "", "not measured"),
    ],
)
def test_verdict_follows_from_the_figures(values: list, claim: object, doubt: str, verdict: str) -> None:
    judged = judge_claim(values, claim, samples=N, doubt=doubt)  # type: ignore[arg-type]
    assert judged.name == verdict
    assert (doubt in judged.reason) == (verdict == "not credible" or not doubt)


def test_fewer_images_leave_more_open() -> None:
    assert judge_claim([89.0], 90.0, samples=10_000).name == "not reproduced"
    assert judge_claim([89.0], 90.0, samples=500).name == "reproduced"


@pytest.mark.parametrize("count", [2, 3, 5, 8, 20])
def test_interval_is_that_of_student(count: int) -> None:
    values = np.random.default_rng(count).normal(90, 0.5, count)
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    found = mean_of_seeds(list(values))
    assert found.low == pytest.approx(low, abs=2e-3) and found.high == pytest.approx(high, abs=2e-3)


def test_standard_error_is_that_of_a_share() -> None:
    assert standard_error(90.0, N) == pytest.approx(100 * math.sqrt(0.9 * 0.1 / N))


def test_one_wrong_image_does_not_refute_a_claim_of_all() -> None:
    assert judge_claim([100 * 47_999 / 48_000], 100.0, samples=48_000).name == "reproduced"
    assert judge_claim([100 * 47_990 / 48_000], 100.0, samples=48_000).name == "not reproduced"
    assert judge_claim([100 * 1 / 48_000], 0.0, samples=48_000).name == "reproduced"


def test_reason_shows_which_side_of_a_narrow_range_a_figure_is_on() -> None:
    reasons = [judge_claim([100 * right / 48_000], 100.0, samples=48_000).reason for right in (47_999, 47_998)]
    # One of 48,000 images is 0.0021 points; nothing is above 100 %.
    assert reasons == [
        "99.998 % (one seed) against 100 %, with its standard error 99.998 to 100.000",
        "99.996 % (one seed) against 100 %, with its standard error 99.998 to 100.000",
    ]
    assert judge_claim([99.0], 99.9, samples=100).reason.endswith("standard error 98.90 to 100.00")
