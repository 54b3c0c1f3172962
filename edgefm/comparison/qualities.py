"""How the qualities of two models compare: on the same samples where they can be paired, else by their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import Any

from edgefm.comparison.aspects import NOT_COMPARED, NOT_JUDGED, Aspect, quality_verdict
from edgefm.comparison.subjects import Subject
from edgefm.statistics.estimates import Estimate, difference_of_proportions, mcnemar, paired_difference
from edgefm.statistics.round_comparison import ALPHA

_Z = NormalDist().inv_cdf(1 - ALPHA / 2)


def compare_quality(first: Subject, first_row: Mapping[str, Any], second: Subject, second_row: Mapping[str, Any],
            *, margin: float) -> Aspect | None:  # fmt: skip
    """Return how the qualities of the answers compare, None where neither record holds one.

    On the same images, with the predictions beside the records, the accuracies are compared image by image
    (McNemar's exact test, Tango's interval). Else the intervals of both are joined as of independent samples
    (Newcombe; of other measures Zou and Donner), which sees less.
    """
    mine, other = first_row["quality"], second_row["quality"]
    if mine is None and other is None:
        return None
    name = (mine or other)["name"]
    values = [aspect["value"] if aspect else None for aspect in (mine, other)]
    missing = _incomparable(first, mine, second, other)
    if missing is not None:
        return Aspect(name=name, first=values[0], second=values[1], verdict=NOT_COMPARED, reason=missing)
    details: dict[str, Any] = {"unit": mine["unit"], "higher_is_better": mine["higher_is_better"], "margin": margin}
    shared = _paired_hits(first, first_row, second, second_row) if name == "accuracy" else None
    difference: Estimate | None
    p: float | None
    if shared is not None:
        lost, won, total = shared
        difference, p = paired_difference(lost, won, total), mcnemar(lost, won)
        method = "McNemar's exact test, Tango's interval, over the same images"
        details |= {"only_first_right": lost, "only_second_right": won, "images": total}
    elif name == "accuracy":
        hits = [round(aspect["value"] * aspect["n"]) for aspect in (other, mine)]
        difference = difference_of_proportions(hits[0], other["n"], hits[1], mine["n"])
        p = two_proportions(hits[0], other["n"], hits[1], mine["n"])
        method = "z test, Newcombe's interval, independent images"
    elif (recorded := _recorded_difference(first, first_row, second, second_row)) is not None:
        difference, p = recorded, p_of_interval(recorded)
        method = "paired bootstrap interval over the same samples, p from its half-width"
        details["samples"] = mine["n"]
    else:
        difference = _joined(mine, other)
        p = None if difference is None else p_of_interval(difference)
        if difference is None:
            return Aspect(
                name=name, first=values[0], second=values[1], verdict=NOT_JUDGED, reason="no confidence interval",
                details=details,
            )  # fmt: skip
        method = "combined intervals, independent samples (Zou and Donner 2008), p from the half-width"
    aspect = Aspect(
        name=name, first=values[0], second=values[1], verdict="", difference=difference, p=p, method=method,
        details=details,
    )  # fmt: skip
    return replace(aspect, verdict=quality_verdict(aspect, p))


def _incomparable(
    first: Subject, mine: Mapping[str, Any] | None, second: Subject, other: Mapping[str, Any] | None
) -> str | None:
    """Return why two qualities cannot be compared, or None."""
    for subject, figure in ((first, mine), (second, other)):
        if figure is None:
            return f"{subject.name} has no quality measurement"
        if figure["value"] is None:
            return f"{subject.name}: {figure['reason']}"
    assert mine is not None and other is not None
    if mine["name"] != other["name"]:
        return f"the quality measures differ: {mine['name']} and {other['name']}"
    data, others = first.record["dataset"], second.record["dataset"]
    for what in ("name", "task", "labels"):
        if data[what] != others[what]:
            return f"the test data differ in {what}: {data['name']} and {others['name']}"
    return None


def _paired_hits(
    first: Subject, first_row: Mapping[str, Any], second: Subject, second_row: Mapping[str, Any]
) -> tuple[int, int, int] | None:
    """Return images that only the first and only the second has right, and all; None where they cannot be paired."""
    if first.record["dataset"]["sha256"] != second.record["dataset"]["sha256"]:
        return None
    mine, other = first.predictions(), second.predictions()
    answers = mine.get(f"{first_row['name']}/predicted"), other.get(f"{second_row['name']}/predicted")
    truth, others = mine.get("truth"), other.get("truth")
    if answers[0] is None or answers[1] is None or truth is None or others is None:
        return None
    if not truth.shape == others.shape == answers[0].shape == answers[1].shape or (truth != others).any():
        return None
    right, other_right = answers[0] == truth, answers[1] == truth
    return int((right & ~other_right).sum()), int((other_right & ~right).sum()), len(truth)


def _recorded_difference(
    first: Subject, first_row: Mapping[str, Any], second: Subject, second_row: Mapping[str, Any]
) -> Estimate | None:
    """Return the paired difference that a record holds of a model and its reference; None for other pairs."""
    against = second_row["against_reference"]
    if first.record is not second.record and (first.path is None or first.path != second.path):
        return None
    if against is None or against["reference"] != first_row["name"] or against["quality_difference"]["value"] is None:
        return None
    return Estimate(**against["quality_difference"])


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


def _joined(mine: Mapping[str, Any], other: Mapping[str, Any]) -> Estimate | None:
    """Return second - first from the intervals of both. Source: Zou & Donner 2008, Statistics in Medicine 27:1693."""
    if any(quality[end] is None for quality in (mine, other) for end in ("low", "high")):
        return None
    value = other["value"] - mine["value"]
    return Estimate(
        value,
        value - math.hypot(other["value"] - other["low"], mine["high"] - mine["value"]),
        value + math.hypot(other["high"] - other["value"], mine["value"] - mine["low"]),
    )
