"""A quality measure on a model's answers, with an interval from resampled test samples."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError
from edgefm.data.quality import Outputs, Quality
from edgefm.statistics import estimates as statistics
from edgefm.statistics.estimates import Estimate

_RESAMPLES = 1000
# A measure that is no mean of samples is computed anew for each resample: fewer of them, and only a fast one.
_RESAMPLES_OF_OTHERS = 200
_MOST_SECONDS = 5.0
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class QualityScore:
    """What a quality measure gave.

    Attributes:
      value: of all samples.
      drawn: float64 [resamples], of samples drawn with replacement; the same samples for every model that was
        measured on as many. None where that would have taken too long.
      samples: number of samples.
    """

    value: float
    drawn: NDArray[np.float64] | None
    samples: int

    @property
    def estimate(self) -> Estimate | None:
        """The value with its 95 % bootstrap interval, None where nothing was drawn."""
        return None if self.drawn is None else statistics.interval(self.value, self.drawn)


def score(measure: Quality, outputs: Outputs, targets: NDArray[np.generic]) -> QualityScore:
    """Return what a measure gives, and gives for resamples.

    Args:
      measure: see `edgefm.data.quality`.
      outputs: float32 [n, ...] each.
      targets: [n, ...].
    Raises:
      DataError: the measure does not fit the outputs or the targets.
    Source: Efron 1979, Annals of Statistics 7:1-26.
    """
    count = len(targets)
    started = time.perf_counter()
    value = measure.function(outputs, targets)
    seconds = time.perf_counter() - started
    generator = np.random.default_rng(_SEED)
    if measure.of_samples is not None:
        each = measure.of_samples(outputs, targets)
        drawn = np.array([each[generator.integers(0, count, count)].mean() for _ in range(_RESAMPLES)])
        if measure.unit == "%":
            drawn = np.clip(drawn, 0.0, 1.0)  # an AUC is a mean of values that may lie beyond
        return QualityScore(value=value, drawn=drawn, samples=count)
    if measure.counts is not None and measure.of_counts is not None:
        counts = measure.counts(outputs, targets)
        flat = counts.reshape(count, -1).astype(np.float64)
        drawn = np.empty(_RESAMPLES)
        for place in range(_RESAMPLES):
            times = np.bincount(generator.integers(0, count, count), minlength=count)
            drawn[place] = measure.of_counts((times @ flat).reshape(counts.shape[1:]))
        return QualityScore(value=value, drawn=drawn, samples=count)
    if 2 * _RESAMPLES_OF_OTHERS * seconds > _MOST_SECONDS:
        return QualityScore(value=value, drawn=None, samples=count)
    values = []
    for _ in range(_RESAMPLES_OF_OTHERS):
        places = generator.integers(0, count, count)
        try:
            values.append(measure.function(tuple(output[places] for output in outputs), targets[places]))
        except DataError:  # a resample may lack what the measure needs, such as a class
            values.append(float("nan"))
    drawn = np.array(values)
    return QualityScore(value=value, drawn=None if np.isnan(drawn).mean() > 0.1 else drawn, samples=count)


def difference(score: QualityScore, reference: QualityScore) -> Estimate | None:
    """Return (one - reference) with an interval over the same resamples, None where that cannot be told."""
    if score.drawn is None or reference.drawn is None or score.samples != reference.samples:
        return None
    return statistics.interval(score.value - reference.value, score.drawn - reference.drawn)


def quality_json(quality: Quality, estimate: Estimate | None, *, n: int, reason: str | None) -> dict[str, Any]:
    """Return what a record says of a model's quality; the reason where there is no value."""
    return {
        "name": quality.name,
        "unit": quality.unit,
        "higher_is_better": quality.higher_is_better,
        "n": n,
        "value": estimate.value if estimate else None,
        "low": estimate.low if estimate else None,
        "high": estimate.high if estimate else None,
        "reason": reason,
    }
