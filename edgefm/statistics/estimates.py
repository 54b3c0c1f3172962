"""Intervals and tests, in numpy and the standard library. Probabilities are 0 to 1, intervals 95 %."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Nanoseconds of the calls of one round.
Samples: TypeAlias = Sequence[int] | NDArray[np.int64]

Z = 1.959963984540054  # 97.5 % point of the normal distribution
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
# What a time of 0 counts as, where it is divided by: half a nanosecond.
LEAST_NS = 0.5
_RESAMPLES = 1000
_BISECTIONS = 60
_CELLS = 200_000  # of a table of resamples x samples that is held at once


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the estimate as a JSON object."""
        return {"value": self.value, "low": self.low, "high": self.high}


def proportion(hits: int, total: int) -> Estimate:
    """Return hits / total with Wilson's score interval, which stays within [0, 1] and holds at its ends too.

    >>> proportion(9_330, 10_000)
    Estimate(value=0.933, low=0.9279..., high=0.9377...)

    Source: Wilson 1927, JASA 22:209-212.
    """
    assert 0 <= hits <= total and total > 0
    share, z2 = hits / total, Z * Z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def paired_difference(only_first: int, only_second: int, total: int, *, z: float = Z) -> Estimate:
    """Return (second - first) of two paired proportions with Tango's score interval.

    Args:
      only_first: pairs in which the first alone is a hit.
      only_second: pairs in which the second alone is a hit.
      total: all pairs.
      z: normal point of the interval's level; by default 95 %.

    >>> paired_difference(7, 1, 21)
    Estimate(value=-0.285..., low=-0.517..., high=-0.02...)

    Source: Tango 1998, Statistics in Medicine 17:891-908.
    """
    assert only_first >= 0 and only_second >= 0 and only_first + only_second <= total and total > 0
    value = (only_second - only_first) / total

    def score(difference: float) -> float:
        return _tango_score(only_second, only_first, total, difference)

    # The score falls as the supposed difference grows.
    low = -1.0 if value == -1 else _bisect(lambda difference: score(difference) - z, -1.0, value)
    high = 1.0 if value == 1 else _bisect(lambda difference: score(difference) + z, value, 1.0)
    return Estimate(value, low, high)


def difference_of_proportions(hits: int, total: int, other_hits: int, other_total: int) -> Estimate:
    """Return hits / total - other_hits / other_total of independent samples, with Newcombe's hybrid score interval.

    Of two models on the same samples, `paired_difference` is the narrower one.

    >>> difference_of_proportions(56, 70, 48, 80)
    Estimate(value=0.2..., low=0.052..., high=0.333...)

    Source: Newcombe 1998, Statistics in Medicine 17:873-890, method 10.
    """
    mine, other = proportion(hits, total), proportion(other_hits, other_total)
    value = mine.value - other.value
    return Estimate(
        value,
        value - math.hypot(mine.value - mine.low, other.high - other.value),
        value + math.hypot(mine.high - mine.value, other.value - other.low),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test: are the two kinds of disagreement equally likely?

    It is the binomial test of min(a, b) out of a + b at 1/2, in whole numbers: no overflow, no approximation.

    >>> mcnemar(1, 7)
    0.0703125

    Source: McNemar 1947, Psychometrika 12:153-157.
    """
    total, fewer = only_first + only_second, min(only_first, only_second)
    if 2 * fewer == total:
        return 1.0
    ways = term = 1
    for k in range(1, fewer + 1):
        term = term * (total - k + 1) // k
        ways += term
    return min(1.0, 2 * ways / (1 << total))


def percentiles(rounds: Sequence[Samples]) -> dict[str, Estimate]:
    """Return p50, p90 and p99 of all samples, with bootstrap intervals over rounds.

    Samples within a round share what the machine was doing then; so whole rounds are drawn anew, not samples.
    A percentile is the least sample that at least this share of all samples does not exceed. With one round there
    is nothing to draw: the interval then runs from the least to the greatest sample.

    Args:
      rounds: samples of each round, at least one with at least one.
    Source: Efron 1979, Annals of Statistics 7:1-26; resampling of clusters: Davison & Hinkley 1997, 3.8.
    """
    pool = _Pool(rounds)
    drawn = pool.quantiles(draws(len(rounds)))
    plain = pool.quantiles(np.ones((1, len(rounds)), dtype=np.int64))[0]
    if len(rounds) == 1:
        least, greatest = float(pool.samples[0]), float(pool.samples[-1])
        return {name: Estimate(float(plain[i]), least, greatest) for i, name in enumerate(QUANTILES)}
    return {name: interval(float(plain[i]), drawn[:, i]) for i, name in enumerate(QUANTILES)}


def draws(count: int, *, resamples: int = _RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """Return how often each of `count` rounds is drawn in each resample: int64 [resamples, count]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples)


def confusion(truth: NDArray[Any], predicted: NDArray[Any], *, classes: int) -> NDArray[np.int64]:
    """Return int64 [classes, classes]: row = true class, column = predicted class."""
    pairs = truth.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def class_figures(matrix: NDArray[np.int64], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each class of a confusion matrix; None where a denominator is 0."""
    figures = []
    for index, label in enumerate(labels):
        hits = int(matrix[index, index])
        images, answers = int(matrix[index].sum()), int(matrix[:, index].sum())
        figures.append(
            {
                "label": label,
                "precision": hits / answers if answers else None,
                "recall": hits / images if images else None,
                "f1": 2 * hits / (images + answers) if images + answers else None,
                "images": images,
            }
        )
    return figures


def interval(value: float, drawn: NDArray[np.float64]) -> Estimate:
    """Return a figure with the middle 95 % of what resamples gave; NaN among them is left out."""
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    # A percentile interval can miss the figure itself by a sample or two where rounds are few.
    return Estimate(value, min(value, float(low)), max(value, float(high)))


class _Pool:
    """All samples sorted, each with the round it came from, so that a resample is a weight for each round."""

    def __init__(self, rounds: Sequence[Samples]) -> None:
        samples = np.concatenate([np.asarray(samples, dtype=np.int64) for samples in rounds])
        assert samples.size, "no samples"
        origin = np.repeat(np.arange(len(rounds)), [len(samples) for samples in rounds])
        order = np.argsort(samples, kind="stable")
        self.samples = samples[order]
        self._origin = origin[order]
        self._rounds = len(rounds)

    def median(self) -> float:
        """Return p50 of all samples."""
        return float(self.quantiles(np.ones((1, self._rounds), dtype=np.int64))[0, 0])

    def quantiles(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return float64 [resamples, 3] for weights [resamples, rounds]."""
        values = np.empty((len(weights), len(QUANTILES)))
        at_once = max(1, _CELLS // len(self.samples))
        for start in range(0, len(weights), at_once):
            reached = np.cumsum(weights[start : start + at_once][:, self._origin], axis=1)
            for column, share in enumerate(QUANTILES.values()):
                # The small slack keeps 0.9 * 10 = 9.000000000000002 at the ninth sample.
                wanted = share * reached[:, -1:] * (1 - 1e-12)
                values[start : start + at_once, column] = self.samples[(reached < wanted).sum(axis=1)]
        return values


def tango_variance(second: float, first: float, difference: float) -> float:
    """Return the variance of a paired difference of shares, were a supposed difference the true one.

    Args:
      second: share of pairs in which the second alone is a hit.
      first: share of pairs in which the first alone is a hit.
      difference: supposed, second - first.
    """
    b = -second - first + (2 - second + first) * difference
    c = -first * difference * (1 - difference)
    share = (math.sqrt(max(0.0, b * b - 8 * c)) - b) / 4
    return 2 * share + difference * (1 - difference)


def _tango_score(second: int, first: int, total: int, difference: float) -> float:
    """Return Tango's score for a supposed difference, standard normal where that is the true one."""
    variance = total * tango_variance(second / total, first / total, difference)
    distance = second - first - total * difference
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function crosses zero."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
