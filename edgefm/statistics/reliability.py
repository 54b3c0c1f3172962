"""Calibration of a classifier: does an answer that is 80 % sure hold in 80 % of cases?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.statistics.estimates import Estimate, draws, interval

BINS = 15
_RESAMPLES = 1000
_CELLS = 2_000_000  # of a table of resamples x samples that is held at once


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The answers whose confidence lies in (low, high].

    Attributes:
      low: least confidence, not included but for 0.
      high: greatest confidence, included.
      count: number of answers.
      confidence: their mean confidence; None where there is none.
      accuracy: share that is right; None where there is none.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """A calibration curve and its error.

    Attributes:
      samples: number of answers.
      accuracy: share of right answers.
      confidence: mean confidence.
      ece: expected calibration error, 0 to 1, with its 95 % bootstrap interval.
      calibrated_ece: the greatest error that a perfectly calibrated model shows on so many answers of these
        confidences in 95 % of cases: the estimate is above 0 by chance alone.
      bins: the curve, of equal widths, from 0 to 1.
    """

    samples: int
    accuracy: float
    confidence: float
    ece: Estimate
    calibrated_ece: float
    bins: tuple[Bin, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the curve as a JSON object."""
        return {**asdict(self), "bins": [asdict(entry) for entry in self.bins]}


def reliability(
    confidence: NDArray[Any], right: NDArray[Any], *, bins: int = BINS, resamples: int = _RESAMPLES, seed: int = 0
) -> Reliability:
    """Return the calibration curve of answers.

    The expected calibration error is the mean over all answers of |accuracy - confidence| of their bin. It is biased
    upwards: few answers in a bin differ by chance. `calibrated_ece` says by how much.

    >>> curve = reliability(np.array([0.9, 0.9, 0.9, 0.5]), np.array([1, 1, 0, 0]), bins=2)
    >>> [entry.count for entry in curve.bins], round(curve.ece.value, 4)
    ([1, 3], 0.3)

    Args:
      confidence: float [n], probability of the class that was answered, 0 to 1; rounding beyond is cut off.
      right: bool [n], whether it is the true class.
      bins: number of bins.
      resamples: draws for the interval and for `calibrated_ece`.
      seed: of the draws.
    Raises:
      ValueError: no answer, or a confidence that is not finite.
    Source: Guo et al. 2017, arXiv:1706.04599; the bootstrap: Efron 1979, Annals of Statistics 7:1-26.
    """
    given, hits = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if not len(given) or not np.isfinite(given).all():
        raise ValueError("a calibration curve needs at least one answer, and finite confidences")
    sure = np.clip(given, 0.0, 1.0)
    place = _places(sure, bins)
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, sure, minlength=bins)
    right_of_bin = np.bincount(place, hits, minlength=bins)
    edges = np.linspace(0, 1, bins + 1)
    curve = tuple(
        Bin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            count=int(counts[index]),
            confidence=float(sums[index] / counts[index]) if counts[index] else None,
            accuracy=float(right_of_bin[index] / counts[index]) if counts[index] else None,
        )
        for index in range(bins)
    )
    value = float(np.abs(right_of_bin - sums).sum() / len(sure))
    return Reliability(
        samples=len(sure),
        accuracy=float(hits.mean()),
        confidence=float(sure.mean()),
        ece=interval(value, _resampled(hits - sure, place, bins, resamples=resamples, seed=seed)),
        calibrated_ece=_of_a_calibrated_model(sure, place, bins, resamples=resamples, seed=seed),
        bins=curve,
    )


def _places(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return the bin of each confidence: that of (index / bins, (index + 1) / bins]."""
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1).astype(np.int64)


def _resampled(
    gaps: NDArray[np.float64], place: NDArray[np.int64], bins: int, *, resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return the error of each resample, float64 [resamples]; gaps are right - confidence."""
    inside = np.zeros((len(gaps), bins))
    inside[np.arange(len(gaps)), place] = gaps
    errors = np.empty(resamples)
    at_once = max(1, _CELLS // len(gaps))
    for start in range(0, resamples, at_once):
        times = draws(len(gaps), resamples=min(at_once, resamples - start), seed=seed + start)
        errors[start : start + len(times)] = np.abs(times @ inside).sum(axis=1) / len(gaps)
    return errors


def _of_a_calibrated_model(
    sure: NDArray[np.float64], place: NDArray[np.int64], bins: int, *, resamples: int, seed: int
) -> float:
    generator = np.random.default_rng(seed)
    errors = np.empty(resamples)
    for index in range(resamples):
        gaps = (generator.random(len(sure)) < sure) - sure
        errors[index] = np.abs(np.bincount(place, gaps, minlength=bins)).sum() / len(sure)
    return float(np.quantile(errors, 0.95))
