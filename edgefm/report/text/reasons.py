"""Sentences on what a step cost and bought, and why it bought nothing where it did not: rules over measured figures.

A difference within its 95 % interval is called none. A reason is given only where a rule knows one; a rule speaks of
how LiteRT stores and computes weights, and takes its numbers from the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgefm.core.environment import multiplies_bytes
from edgefm.report.content import wording
from edgefm.report.content.lineage import TRAINED
from edgefm.report.content.measure import Measure
from edgefm.report.content.waterfall import Change, Waterfall, WaterfallStep
from edgefm.report.content.weights import Inside
from edgefm.report.content.wording import Interval

# Less than this share of a size is called nothing where a reason for it is given.
_NOTHING = 0.01
# Growth by less than this share is said as an aside.
_HARDLY = 0.001
# Dense layers that do less of the work cannot make a model much faster.
_SMALL_PART = 0.25


@dataclass(frozen=True, kw_only=True)
class Story:
    """A step in words.

    Attributes:
      name: of the variant.
      start: which file it grew from and by what.
      bought: what it saved.
      why: why it bought nothing of something; '' where it bought all, or where no rule knows.
      cost: what it did to the quality.
      total: against float32; '' for a first step.
    """

    name: str
    start: str
    bought: str
    why: str
    cost: str
    total: str

    @property
    def sentences(self) -> list[str]:
        """The sentences that are not empty."""
        return [text for text in (self.bought, self.why, self.cost, self.total) if text]


def stories(
    waterfall: Waterfall, *, inside: Mapping[str, Inside] | None = None, environment: Mapping[str, Any] | None = None
) -> list[Story]:
    """Return the steps in words, roots left out."""
    known = inside or {}
    return [
        _story(step, waterfall, known.get(step.name), known.get(step.growth.parent or ""), environment or {})
        for step in waterfall.grown
    ]


def bought(step: WaterfallStep) -> str:
    """Return what a step saved of the file, of the download, of work and of time."""
    change, before, parent = step.change, step.before, step.growth.parent
    assert change is not None and before is not None
    saved: list[str] = []
    grew: list[str] = []
    for difference, whole, what in (
        (change.size_bytes, before.size_bytes, "the file"),
        (change.gzip_bytes, before.gzip_bytes, "the download (gzip)"),
    ):
        amount = _amount(abs(difference), whole)
        if 0 < difference < _HARDLY * whole:
            saved.append(f"nothing of {what} ({amount} more)")
        elif difference > 0:
            grew.append(f"{amount} to {what}")
        else:
            saved.append(f"{amount} of {what}")
    if change.macs is not None and before.macs and change.macs != 0:
        share = f"{wording.percent(abs(change.macs) / before.macs, 0)} %"
        if change.macs > 0:
            grew.append(f"{share} to the multiply-accumulates")
        else:
            saved.append(f"{share} of the multiply-accumulates")
    tail = ""
    if change.time is None:
        tail = "; time was not measured"
    elif change.faster:
        saved.append(f"{wording.percent(1 - change.time.value, 0)} % of the time ({_ratio(change.time, parent)})")
    elif change.slower:
        tail = f"; it takes more time ({_ratio(change.time, parent)})"
    else:
        saved.append(f"no measurable time ({_ratio(change.time, parent)})")
    text = f"It saved {wording.join(saved)}" if saved else "It saved nothing"
    if grew:
        text += f", and added {wording.join(grew)}" if saved else f" and added {wording.join(grew)}"
    return f"{text}{tail}."


def cost(change: Change, measure: Measure, samples: int) -> str:
    """Return what a step did to the quality."""
    difference = change.quality
    if difference is None:
        return f"Its {measure.word} was not measured."
    test = f"; McNemar {wording.p_value(change.p)}" if change.p is not None else ""
    ends = measure.change_interval(difference)
    basis = f" (95 % interval {ends}{test})" if ends else " (without an interval)"
    if change.won == change.lost == 0:
        return f"Of {samples:,} answers, none became right or wrong."
    if change.quality_shown is False:
        return f"No difference in {measure.word} is shown: {measure.change(difference.value)}{measure.points}{basis}."
    if difference.value == 0:
        return f"Its {measure.word} is the same{basis}."
    better = measure.better(difference.value)
    if measure.higher_is_better:
        verb = "gained" if better else "cost"
        return f"It {verb} {measure.amount(difference.value)} of {measure.word}{basis}."
    verb = "lowered" if better else "raised"
    return f"It {verb} {measure.word} by {measure.amount(difference.value)}{basis}."


def why(
    step: WaterfallStep,
    *,
    inside: Inside | None = None,
    before: Inside | None = None,
    environment: Mapping[str, Any] | None = None,
) -> str:
    """Return why a step bought nothing of something, in one sentence; '' where no rule knows or nothing is to say."""
    reasons = list(dict.fromkeys(_reasons(step, inside, before, environment or {})))
    return f"Why: {'; '.join(reasons)}." if reasons else ""


def _story(
    step: WaterfallStep,
    waterfall: Waterfall,
    inside: Inside | None,
    before: Inside | None,
    environment: Mapping[str, Any],
) -> Story:
    assert step.change is not None
    added = wording.join([ingredient.words for ingredient in step.growth.added])
    counted = _counted(step, inside)
    return Story(
        name=step.name,
        start=f"from {step.growth.parent}: {added}",
        bought=f"{counted}{bought(step)}",
        why=why(step, inside=inside, before=before, environment=environment),
        cost=cost(step.change, waterfall.measure, waterfall.samples),
        total=_total(step, waterfall.measure) if step.growth.depth > 1 and step.total is not None else "",
    )


def _counted(step: WaterfallStep, inside: Inside | None) -> str:
    """Return what pruning and clustering left in the file, counted there."""
    if inside is None:
        return ""
    kinds = {ingredient.kind for ingredient in step.growth.added}
    parts = []
    if "prune" in kinds:
        parts.append(f"{wording.percent(inside.zeros, 1)} % of all weights are zero")
    if "cluster" in kinds:
        parts.append(f"at most {inside.levels} different values in a channel of a kernel")
    return f"Counted in the file: {wording.join(parts)}. " if parts else ""


def _total(step: WaterfallStep, measure: Measure) -> str:
    total = step.total
    assert total is not None
    sizes = step.figures.gzip_bytes, step.figures.gzip_bytes - total.gzip_bytes
    parts = [f"{wording.times(sizes[1] / sizes[0])} smaller to download"]
    if total.time is not None:
        inverse = total.time.inverse()
        if total.faster:
            parts.append(f"{wording.times(inverse.value)} faster")
        elif total.slower:
            parts.append(f"{wording.times(total.time.value)} slower")
        else:
            parts.append("not shown to be faster")
    if total.quality is not None:
        shown = " (no difference shown)" if total.quality_shown is False else ""
        parts.append(f"{measure.change(total.quality.value)}{measure.points} of {measure.word}{shown}")
    return f"In all, against float32: {wording.join(parts)}."


def _reasons(
    step: WaterfallStep, inside: Inside | None, before: Inside | None, environment: Mapping[str, Any]
) -> Iterator[str]:
    change, earlier = step.change, step.before
    assert change is not None and earlier is not None
    no_bytes = -change.size_bytes < _NOTHING * earlier.size_bytes
    no_time = change.time is not None and not change.faster
    kinds = [ingredient.kind for ingredient in step.growth.added]
    dtype = inside.dtype if inside is not None else "int8"
    if "slim" in kinds:  # what else was added stands behind what the missing channels did
        return
    if "prune" in kinds:
        if no_bytes:
            yield "the file stores a zero like any other weight; only compression makes it smaller"
        if no_time:
            yield f"LiteRT has no fast sparse {dtype} kernel{_work(step)}"
    if "cluster" in kinds:
        if no_bytes:
            yield "the file stores each weight in full, not as an index to its level; only compression makes it smaller"
        if no_time:
            yield f"no kernel of LiteRT computes with shared values{_work(step)}"
    if kinds == [TRAINED] and (no_bytes or no_time):
        yield "it is the same graph with other weights: quantisation-aware training can gain accuracy only"
    if "int8_w8a8" in kinds and no_time and not multiplies_bytes(environment):
        yield "this processor reports no instructions for int8 products"
    if "float16" in kinds and no_time:
        yield "LiteRT unpacks float16 weights and computes in float32"
    if "drq_w8" in kinds and no_time:
        yield "activations stay float32 and are quantised again in every inference"
    if "int16x8" in kinds and no_time:
        yield "LiteRT has no fast kernel for int16 activations"
    if "int8_w8a8_fc4" in kinds and no_time:
        if before is not None and before.dense_macs < _SMALL_PART:
            share = wording.percent(before.dense_macs, 0)
            yield f"the dense layers, which alone have int4 weights, do {share} % of the multiply-accumulates"
        yield "int4 weights are unpacked to int8 before they are multiplied"
    if {"equalize", "correct_bias"} & set(kinds) and (no_bytes or no_time):
        yield "it changes only values, to improve quality"


def _work(step: WaterfallStep) -> str:
    change, macs = step.change, step.figures.macs
    if change is None or change.macs != 0 or not macs:
        return ""
    return f", so all {wording.count(macs)} multiply-accumulates are still done"


def _amount(size_bytes: int, whole: int) -> str:
    text = wording.byte_count(size_bytes)
    share = size_bytes / whole if whole else 0
    return f"{text} ({wording.percent(share, 0)} %)" if share >= _NOTHING else text


def _ratio(time: Interval, parent: str | None) -> str:
    # As many digits as it takes to tell the ends of an interval apart, and from 1 where they are not 1.
    ends = {round(time.low, 2), round(time.high, 2)}
    near = not time.low <= 1 <= time.high and 1.0 in ends
    digits = 3 if not time.bare and (len(ends) == 1 or time.high - time.low < 0.01 or near) else 2
    interval = "" if time.bare else f", 95 % interval {time.low:.{digits}f} to {time.high:.{digits}f}"
    return f"{time.value:.{digits}f} of {parent}'s{interval}"
