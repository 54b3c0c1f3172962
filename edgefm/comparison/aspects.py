"""One aspect of two models compared: latency, a size or another exact figure, or a quality (`qualities`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edgefm.comparison.figures import DIRECTIONS, Better, configuration, unjudged
from edgefm.comparison.subjects import figures_of, rounds_of
from edgefm.statistics import pairing
from edgefm.statistics.estimates import Estimate
from edgefm.statistics.round_comparison import (
    ALPHA,
    FASTER,
    SLOWER,
    LatencyComparison,
    compare_turns,
    compare_unpaired,
)
from edgefm.statistics.round_comparison import verdict as latency_verdict

BETTER, WORSE, SAME = "better", "worse", "the same"
EQUIVALENT, UNDECIDED, TOO_FEW = "equivalent", "no difference seen", "too few rounds"
NOT_COMPARED, NOT_JUDGED = "not compared", "not judged"
# Counted instructions repeat to 0.003 %; gzip packs files of equal size to some bytes more or less.
_SAME_SHARE = {"instructions": 1e-4, "size_gzip_bytes": 1e-3}
_TITLES = {"size_bytes": "size", "size_gzip_bytes": "gzipped size"}


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Differences that do no harm; with 0 it is significance alone that decides.

    Attributes:
      latency: share of the first model's.
      quality: in the quality's own unit; a share of 1 where that is shown in percent (0.005: half a point).
      size: share of the first model's, of sizes and other exact figures.
    """

    latency: float = 0.0
    quality: float = 0.0
    size: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Aspect:
    """How two models compare in one thing.

    Attributes:
      name: 'latency', 'size_bytes', or the name of the quality or figure.
      first: value of the first model, in the unit of the record.
      second: of the second.
      verdict: whether the second is better, worse, ...
      difference: a ratio (latency, sizes) or a difference (quality) of the second to the first, with its 95 %
        interval; an exact figure's interval is the figure.
      p: two-sided; None where nothing is left to chance.
      p_raised: by Holm's correction, where several tests were made.
      method: how the difference was tested.
      reason: why it is not compared or not judged.
      details: further figures.
    """

    name: str
    first: float | None
    second: float | None
    verdict: str
    difference: Estimate | None = None
    p: float | None = None
    p_raised: float | None = None
    method: str | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the aspect as a JSON object."""
        return {
            **asdict(self),
            "difference": None if self.difference is None else self.difference.to_json(),
            "details": dict(self.details),
        }


def title(aspect: Aspect) -> str:
    """Return the name of an aspect in words."""
    return _TITLES.get(aspect.name, aspect.name.replace("_", " "))


def figure(aspect: Aspect, value: float | None) -> str:
    """Return a value of an aspect with its unit, '-' where there is none."""
    if value is None:
        return "-"
    if aspect.name == "latency" or aspect.name.endswith("_ns"):
        return f"{value / 1e3:,.1f} us"
    if aspect.name.endswith("_bytes"):
        return f"{value / 1e3:,.1f} KB" if value >= 1e5 else f"{value:,.0f} bytes"
    if aspect.details.get("unit") == "%":
        return f"{100 * value:.2f} %"
    return f"{value:,.6g}"


def latency(
    first: Mapping[str, Any], second: Mapping[str, Any], *, paired: bool, margin: float, refused: str | None
) -> Aspect:
    """Return how the times of an inference compare.

    Args:
      first: row of a record.
      second: row of the same or another.
      paired: both are of one record, whose rounds are interleaved.
      margin: see `Margins`.
      refused: why they must not be compared; None where they may.
    """
    mine, other = _p50(first), _p50(second)
    if refused is None and (mine is None or other is None):
        refused = "latency was not measured for both models"
    if refused is not None:
        return Aspect(name="latency", first=mine, second=other, verdict=NOT_COMPARED, reason=refused)
    compared = latency_comparison(first, second, paired=paired, margin=margin)
    return Aspect(
        name="latency",
        first=mine,
        second=other,
        verdict=_of_latency(compared.verdict),
        difference=compared.round_ratio,
        p=compared.p,
        method=compared.test,
        details={
            "effect": compared.effect,
            "smallest_difference": compared.smallest_difference,
            "rounds": [compared.reference_rounds, compared.rounds],
            "margin": margin,
        },
    )


def latency_comparison(
    first: Mapping[str, Any], second: Mapping[str, Any], *, paired: bool, margin: float = 0.0
) -> LatencyComparison:
    """Return how the rounds of the second row compare with those of the first, which both have.

    Within one record, rounds are paired as `edgefm.statistics.pairing.shared` has it, which looks at both models'
    turns at once; the rounds that each model's own figures are made of need not be the same ones.
    """
    if paired and (shared := pairing.shared(second["rounds"], first["rounds"])):
        return compare_turns(shared, margin=margin)
    return compare_unpaired(list(rounds_of(second).values()), list(rounds_of(first).values()), margin=margin)


def exact(
    name: str,
    first: float,
    second: float,
    *,
    margin: float,
    better: Better = "less",
    details: Mapping[str, Any] | None = None,
) -> Aspect:
    """Return how two figures compare that no chance is in; `better`: the less of it or the more."""
    ratio = second / first if first else math.inf if second else 1.0
    if abs(ratio - 1) <= _SAME_SHARE.get(name, 0.0):
        verdict = SAME
    elif margin and abs(ratio - 1) <= margin:
        verdict = EQUIVALENT
    else:
        verdict = WORSE if (ratio > 1) == (better == "less") else BETTER
    return Aspect(
        name=name,
        first=first,
        second=second,
        verdict=verdict,
        difference=Estimate(ratio, ratio, ratio) if math.isfinite(ratio) else None,
        details={**(details or {}), "better": better, "margin": margin},
    )


def exact_figures(first: Mapping[str, Any], second: Mapping[str, Any], *, margin: float) -> list[Aspect]:
    """Return how the sizes of two rows compare, and what else was counted or estimated of both (`figures`)."""
    figures = [exact(name, first[name], second[name], margin=margin) for name in ("size_bytes", "size_gzip_bytes")]
    mine, other = figures_of(first), figures_of(second)
    for name in (name for name in DIRECTIONS if name in mine and name in other):
        (a, mode, details), (b, other_mode, other_details) = mine[name], other[name]
        needs, other_needs = configuration(details), configuration(other_details)
        if (mode, needs) != (other_mode, other_needs):
            reason = f"the configurations differ: {mode} {needs}, and {other_mode} {other_needs}"
            figures.append(Aspect(name=name, first=a, second=b, verdict=NOT_COMPARED, reason=reason))
        elif (why := unjudged(name, mine, other)) is not None:
            figures.append(Aspect(name=name, first=a, second=b, verdict=NOT_JUDGED, reason=why))
        else:
            facts = {"mode": mode, **needs}
            figures.append(exact(name, a, b, margin=margin, better=DIRECTIONS[name], details=facts))
    peaks = [(row["memory"] or {}).get("above_bare_bytes") for row in (first, second)]
    if None not in peaks:
        figures.append(
            Aspect(
                name="peak_memory_bytes", first=peaks[0], second=peaks[1], verdict=NOT_JUDGED,
                reason="peak memory varies between processes; one value of each is not enough to compare",
            )
        )  # fmt: skip
    return figures


def raised(aspect: Aspect, p: float) -> Aspect:
    """Return an aspect judged anew by a p that was raised for several tests."""
    if aspect.name == "latency":
        if aspect.verdict == TOO_FEW or aspect.difference is None:
            return replace(aspect, p_raised=p)
        verdict = latency_verdict(aspect.difference, p, margin=float(aspect.details["margin"]))
        return replace(aspect, p_raised=p, verdict=_of_latency(verdict))
    return replace(aspect, p_raised=p, verdict=quality_verdict(aspect, p))


def beyond_margin(aspect: Aspect) -> bool:
    """Return whether the second model is worse by more than the margin; by its whole interval where it has one."""
    if aspect.verdict != WORSE:
        return False
    margin, difference = float(aspect.details.get("margin", 0.0)), aspect.difference
    if not margin or difference is None:
        return True
    if "higher_is_better" in aspect.details:
        return difference.high < -margin if aspect.details["higher_is_better"] else difference.low > margin
    if aspect.details.get("better") == "more":
        return difference.high < 1 - margin
    return difference.low > 1 + margin


def is_missing(aspect: Aspect) -> bool:
    """Return whether an aspect should have been decided and could not be: refused, too few rounds, no interval.

    A size or a count that is shown and not judged (peak memory) is not missing: no one could judge it.
    """
    return aspect.verdict in (NOT_COMPARED, TOO_FEW) or (
        aspect.verdict == NOT_JUDGED and "higher_is_better" in aspect.details
    )


def is_compared(aspect: Aspect) -> bool:
    """Return whether the two figures of an aspect were compared at all."""
    return aspect.verdict not in (NOT_COMPARED, NOT_JUDGED, TOO_FEW)


def _of_latency(verdict: str) -> str:
    return {FASTER: BETTER, SLOWER: WORSE}.get(verdict, verdict)


def quality_verdict(aspect: Aspect, p: float | None) -> str:
    """Return the verdict on a quality by its difference, its margin and p."""
    difference, margin = aspect.difference, float(aspect.details["margin"])
    assert difference is not None
    if aspect.details.get("images") and aspect.details["only_first_right"] == aspect.details["only_second_right"] == 0:
        return SAME
    if margin and -margin < difference.low and difference.high < margin:
        return EQUIVALENT
    if (p is not None and p >= ALPHA) or difference.low <= 0 <= difference.high:
        return UNDECIDED
    return BETTER if (difference.low > 0) == aspect.details["higher_is_better"] else WORSE


def _p50(row: Mapping[str, Any]) -> float | None:
    latency = row["latency_ns"]
    return None if latency is None or not rounds_of(row) else latency["p50"]["value"]
