"""Rank tests of two sets of rounds, in numpy and the standard library. Two-sided; probabilities are 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# Above this many values in one group, Mann-Whitney's p and interval are those of the normal approximation: the exact
# distribution is made of whole numbers of hundreds of digits, and takes as long as the cube of the number of values.
_EXACT_VALUES = 60


@dataclass(frozen=True)
class RankTest:
    """What a rank test found.

    Attributes:
      p: two-sided; how often chance alone would order the values at least as unevenly.
      effect: rank-biserial correlation, -1 to 1: 1 where every value of the first is the greater one.
      exact: p counts all arrangements; else it is the normal approximation's.
    """

    p: float
    effect: float
    exact: bool


def signed_rank(differences: Sequence[float]) -> RankTest:
    """Return Wilcoxon's signed-rank test of paired differences: are they as often above zero as below?

    It is the sign-flip permutation test on the ranks of their sizes: without a difference, each sign is a toss of a
    coin. All 2^n flips are counted (a sum over ranks at a time), ties and zeros included, for any n: nothing is
    approximated. A zero keeps its rank and takes no side (Pratt). Ranks, not sizes, so that one disturbed round of
    ten times the length counts as one round.

    Args:
      differences: one or more, e.g. the logarithm of the ratio in each round.

    >>> signed_rank([1, 2, 3, 4, 5, 6])
    RankTest(p=0.03125, effect=1.0, exact=True)
    >>> signed_rank([1, -2, 3, 4, 5, 6])
    RankTest(p=0.09375, effect=0.80..., exact=True)

    Source: Wilcoxon 1945, Biometrics Bulletin 1:80-83; Pratt 1959, JASA 54:655-667; effect: Kerby 2014,
    Comprehensive Psychology 3:1.
    """
    values = np.asarray(differences, dtype=np.float64)
    assert values.size and np.isfinite(values).all()
    # Twice the rank: ties have ranks of halves.
    doubled = np.rint(2 * ranks(np.abs(values))).astype(np.int64)
    doubled, positive = doubled[values != 0], values[values != 0] > 0
    if not doubled.size:
        return RankTest(1.0, 0.0, True)
    total, positive_sum = int(doubled.sum()), int(doubled[positive].sum())
    chances: NDArray[np.float64] = np.zeros(total + 1)
    chances[0] = 1.0
    reached = 0
    for rank in doubled:
        shifted = np.zeros_like(chances)
        shifted[rank : reached + rank + 1] = chances[: reached + 1]
        chances = (chances + shifted) / 2
        reached += int(rank)
    # Symmetric: the tail on the other side weighs as much.
    p = 2 * float(chances[: min(positive_sum, total - positive_sum) + 1].sum())
    return RankTest(min(1.0, p), (2 * positive_sum - total) / total, True)


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> RankTest:
    """Return Mann and Whitney's U test: is a value of the first as often above one of the second as below?

    Exact where there are no ties and at most 60 values each; else the normal approximation with corrections for
    ties and continuity.

    >>> mann_whitney([11, 12, 13, 14], [1, 2, 3, 4])
    RankTest(p=0.0285..., effect=1.0, exact=True)

    Source: Mann & Whitney 1947, Annals of Mathematical Statistics 18:50-60; ties: Lehmann 1975, Nonparametrics, 1.4.
    """
    m, n = len(first), len(second)
    assert m and n
    pooled = np.concatenate([np.asarray(first, np.float64), np.asarray(second, np.float64)])
    assert np.isfinite(pooled).all()
    u = float(ranks(pooled)[:m].sum()) - m * (m + 1) / 2
    effect = 2 * u / (m * n) - 1
    _, tied = np.unique(pooled, return_counts=True)
    if tied.max() == 1 and max(m, n) <= _EXACT_VALUES:
        chances = _u_chances(m, n)
        p = 2 * float(chances[: round(min(u, m * n - u)) + 1].sum())
        return RankTest(min(1.0, p), effect, True)
    size = m + n
    correction = float((tied.astype(np.float64) ** 3 - tied).sum()) / (size * (size - 1)) if size > 1 else 0.0
    variance = m * n / 12 * (size + 1 - correction)
    if variance <= 0:
        return RankTest(1.0, 0.0, False)
    z = max(0.0, abs(u - m * n / 2) - 0.5) / math.sqrt(variance)
    return RankTest(min(1.0, math.erfc(z / math.sqrt(2))), effect, False)


@dataclass(frozen=True)
class Shift:
    """How far apart two sets of values are, by a rank test.

    Attributes:
      value: Hodges and Lehmann's estimate.
      low: where the interval of the shifts begins that the test at 5 % does not reject; with too few values for
        that, the least one.
      high: where it ends.
      error: standard error: the width of the interval over 2 z, z being the normal point of its exact level. With
        few values it is greater than that of a known spread, as Student's t is than z. None with too few values.
    """

    value: float
    low: float
    high: float
    error: float | None


def shift(differences: Sequence[float]) -> Shift:
    """Return the middle of paired differences, with the interval that `signed_rank` leaves open at 5 %.

    The estimate is the median of the means of all pairs (Walsh averages); the interval runs between two of them. One
    disturbed round moves them little.

    >>> shift([1, 2, 3, 4, 5, 6])
    Shift(value=3.5, low=1.0, high=6.0, error=1.16...)

    Source: Hodges & Lehmann 1963, Annals of Mathematical Statistics 34:598-611; error: Lehmann 1963, ibid. 1507-1512.
    """
    values = np.asarray(differences, np.float64)
    chances = np.ones(1)
    for rank in range(1, len(values) + 1):
        chances = np.convolve(chances, np.concatenate([[0.5], np.zeros(rank - 1), [0.5]]))
    i, j = np.triu_indices(len(values))
    return _shift(np.sort((values[i] + values[j]) / 2), chances)


def shift_between(first: Sequence[float], second: Sequence[float]) -> Shift:
    """Return how far the first values lie above the second, with the interval that `mann_whitney` leaves open at 5 %.

    As `shift`, with the differences of all pairs of one of the first and one of the second. With more than 60 values
    in one of them, the interval ends where the normal approximation without ties rejects, as that test then does.
    """
    between = np.sort(np.subtract.outer(np.asarray(first, np.float64), np.asarray(second, np.float64)).ravel())
    m, n = len(first), len(second)
    if max(m, n) <= _EXACT_VALUES:
        return _shift(between, _u_chances(m, n))
    # U below this is rejected; half of a step is the correction for continuity.
    error = math.sqrt(m * n * (m + n + 1) / 12)
    cut = max(0, math.ceil(m * n / 2 - 0.5 + NormalDist().inv_cdf(0.025) * error))
    return _between(between, cut, tail=NormalDist().cdf((cut - 0.5 - m * n / 2) / error))


def holm(p: Sequence[float]) -> list[float]:
    """Return the p of several tests, raised so that 5 % is the chance of one false alarm among them all.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    """
    order = sorted(range(len(p)), key=lambda place: p[place])
    raised, least = [0.0] * len(p), 0.0
    for done, place in enumerate(order):
        least = max(least, min(1.0, (len(p) - done) * p[place]))
        raised[place] = least
    return raised


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value from 1 on; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=np.float64)


def _u_chances(m: int, n: int) -> NDArray[np.float64]:
    """Return the chance of each U from 0 to m n without ties: the Gaussian binomial coefficient, in whole numbers."""
    ways = np.zeros(m * n + 1, dtype=object)
    ways[0] = 1
    for k in range(1, m + 1):
        # times (1 - q^(n + k)) / (1 - q^k)
        less = ways.copy()
        less[n + k :] -= ways[: max(0, len(ways) - n - k)]
        for start in range(k):
            less[start::k] = np.cumsum(less[start::k])
        ways = less
    all_ways = math.comb(m + n, m)
    return np.array([way / all_ways for way in ways])


def _shift(means: NDArray[np.float64], chances: NDArray[np.float64]) -> Shift:
    """Return the shift between order statistics, by the chances of the test's statistic without a difference."""
    tail = np.cumsum(chances)
    # Values of the statistic that the test rejects on one side; the least of all is 0.
    cut = int(np.searchsorted(2 * tail, 0.05))
    return _between(means, cut, tail=float(tail[cut - 1]))


def _between(means: NDArray[np.float64], cut: int, *, tail: float) -> Shift:
    """Return the shift between the order statistics that a test leaves open.

    Args:
      means: sorted.
      cut: how many of them the test rejects on one side.
      tail: chance of that.
    """
    value = float(np.median(means))
    if cut == 0:
        return Shift(value, float(means[0]), float(means[-1]), None)
    low, high = float(means[cut - 1]), float(means[len(means) - cut])
    return Shift(value, low, high, (high - low) / (-2 * NormalDist().inv_cdf(tail)))
