"""Tests and intervals of two qualities that were not measured on the same samples, or have an interval alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

from edgefm.statistics.estimates import Estimate
from edgefm.statistics.round_comparison import ALPHA

_Z = NormalDist().inv_cdf(1 - ALPHA / 2)


def two_proportions(hits: int, total: int, other_hits: int, other_total: int) -> float:
    """Return the two-sided p of the z test of two independent proportions, pooled."""
    share = (hits + other_hits) / (total + other_total)
    error = math.sqrt(share * (1 - share) * (1 / total + 1 / other_total))
    if error == 0:
        return 1.0
    return math.erfc(abs(hits / total - other_hits / other_total) / error / math.sqrt(2))


def p_of_interval(difference: Estimate) -> float:
    """Return the two-sided p that a 95 % interval stands for: below 5 % exactly where it leaves out 0.

    The distance to 0 is counted in standard errors, 1.96 of which make the half of the interval on that side, as of a
    normal estimate. So measures that have an interval alone take part in the correction for several tests.

    Source: Altman & Bland 2011, BMJ 343:d2304.
    """
    if difference.value == 0:
        return 1.0
    half = difference.value - difference.low if difference.value > 0 else difference.high - difference.value
    if half <= 0:
        return 0.0
    return math.erfc(_Z * abs(difference.value) / half / math.sqrt(2))


def joined(mine: Mapping[str, Any], other: Mapping[str, Any]) -> Estimate | None:
    """Return second - first from the intervals of both. Source: Zou & Donner 2008, Statistics in Medicine 27:1693."""
    if any(quality[end] is None for quality in (mine, other) for end in ("low", "high")):
        return None
    value = other["value"] - mine["value"]
    return Estimate(
        value,
        value - math.hypot(other["value"] - other["low"], mine["high"] - mine["value"]),
        value + math.hypot(other["high"] - other["value"], mine["value"] - mine["low"]),
    )
