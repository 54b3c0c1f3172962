"""When enough was measured: the least number of rounds is there and each p50 is known well enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgefm.statistics import estimates as statistics
from edgefm.statistics.pairing import LEAST_PAIRS


def half_width(medians: Sequence[float]) -> float:
    """Return how far the 95 % interval of a p50 reaches to its farther side, as a share of the p50.

    It is the bootstrap interval of the median of the rounds' medians: quick enough to be asked after each round.
    With fewer than three rounds nothing is known: infinity.

    >>> round(half_width([100.0, 100.5, 99.8, 100.1, 100.2, 99.9, 103.0, 100.0]), 3)
    0.004

    Args:
      medians: median of each round, above 0.
    Source: Efron 1979, Annals of Statistics 7:1-26.
    """
    if len(medians) < 3:
        return float("inf")
    values = np.maximum(np.asarray(medians, dtype=np.float64), statistics.LEAST_NS)
    generator = np.random.default_rng(0)
    drawn = np.median(values[generator.integers(0, len(values), (500, len(values)))], axis=1)
    middle = float(np.median(values))
    estimate = statistics.interval(middle, drawn)
    return max(estimate.high - middle, middle - estimate.low) / middle


def reason_to_stop(
    calm: Sequence[Sequence[float]],
    *,
    used: Sequence[Sequence[float]],
    pairs: int,
    rounds: int,
    least: int,
    most: int,
    interval: float,
    seconds: float,
    budget_seconds: float,
) -> str | None:
    """Return why no further round is needed or allowed, or None.

    On a machine that is never left alone no model gets its undisturbed rounds: after twice as many rounds, intervals
    of disturbed ones have to do.

    Args:
      calm: medians of the undisturbed rounds of each model that is still measured.
      used: medians of the rounds that statistics are made of.
      pairs: undisturbed rounds that the two models have in common which have the fewest.
      rounds: that were taken.
      least: rounds that each model needs undisturbed.
      most: rounds that are taken at most.
      interval: see `half_width`: at most this much for every model.
      seconds: that went by.
      budget_seconds: no round begins after this.
    """
    if not calm:
        return "every model failed"
    narrow = all(half_width(medians) <= interval for medians in used)
    if narrow and pairs >= min(least, LEAST_PAIRS) and all(len(medians) >= least for medians in calm):
        return "every interval is narrow enough"
    if narrow and rounds >= 2 * least:
        return "every interval is narrow enough, though the machine was disturbed"
    if rounds >= most:
        return "maximum number of rounds reached"
    if seconds >= budget_seconds:
        return "time budget used up"
    return None
