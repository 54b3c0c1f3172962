"""How the times of two rows of one record compare, round by round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgefm.statistics import pairing, rank_tests
from edgefm.statistics.estimates import LEAST_NS, Estimate


def time_ratio(row: Mapping[str, Any], other: Mapping[str, Any]) -> Estimate | None:
    """Return the time of one inference of a row over another's, with its 95 % interval; None where it is not known.

    It is the middle ratio of the medians of the rounds that both have (`edgefm.statistics.rank_tests.shift`). Of a
    record without rounds it is that of p50, with the interval of both.
    """
    shared = pairing.shared(_timed(row), _timed(other))
    if shared:
        logs = [_log_median(mine) - _log_median(theirs) for mine, theirs in shared]
        shift = rank_tests.shift(logs)
        return Estimate(math.exp(shift.value), math.exp(shift.low), math.exp(shift.high))
    mine, theirs = _p50(row), _p50(other)
    if mine is None or theirs is None:
        return None
    return Estimate(mine.value / theirs.value, mine.low / theirs.high, mine.high / theirs.low)


def _timed(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [turn for turn in row["rounds"] if turn["invoke_ns"] and not turn["refused"]]


def _log_median(turn: Mapping[str, Any]) -> float:
    return math.log(max(float(np.median(turn["invoke_ns"])), LEAST_NS))


def _p50(row: Mapping[str, Any]) -> Estimate | None:
    latency = row["latency_ns"]
    if latency is None or latency["p50"]["value"] is None:
        return None
    value, low, high = (max(float(latency["p50"][end]), LEAST_NS) for end in ("value", "low", "high"))
    return Estimate(value, low, high)
