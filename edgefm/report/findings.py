"""Sentences computed from the facts: what was found, what to ship, what to keep in mind."""

from __future__ import annotations

from dataclasses import dataclass

from edgefm.report import wording
from edgefm.report.facts import SIGNIFICANCE, Comparison, Facts, Model, fastest, loss_is_shown
from edgefm.report.wording import Interval


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A need and the model that meets it."""

    need: str
    model: str
    why: str


def headline(facts: Facts) -> str:
    """Return the finding in one sentence."""
    model, reference = facts.chosen, facts.reference
    if not facts.models:
        return f"None of the {len(facts.failures)} models could be measured."
    if reference is None or model is None:
        return _alone(facts, model or facts.models[0])
    return (
        f"{model.name} is {_smaller(model, reference)} and {_faster(model)} {reference.name} "
        f"{_where(facts)}{_accuracy(model)}."
    )


def basis(facts: Facts) -> str:
    """Return what the finding rests on: machine, runtime, threads, images, rounds."""
    params = facts.protocol.get("params", {})
    parts = [str(facts.environment["cpu"])]
    runtimes = sorted({model.runtime for model in facts.models})
    if runtimes:
        parts.append(", ".join(runtimes))
    threads = params.get("threads")
    if threads:
        parts.append("1 thread" if threads == 1 else f"{threads} threads")
    parts.append("batch 1")
    if facts.rounds:
        parts.append(f"{facts.rounds} interleaved rounds")
    if facts.images:
        parts.append(f"{facts.images:,} {facts.split} images of {facts.dataset}".replace("  ", " "))
    return " · ".join(parts)


def advice(facts: Facts) -> list[Advice]:
    """Return which model meets which need, best first; a model that shows a loss of accuracy is not advised."""
    safe = [model for model in facts.models if not loss_is_shown(model)]
    found: list[Advice] = []
    swift = fastest(safe)
    limit = "with no loss of accuracy shown" if facts.reference else "of those measured"
    if swift and swift.p50:
        p50 = f"{facts.unit.text(swift.p50.value)} {facts.unit.name}"
        found.append(Advice(need="Least time", model=swift.name, why=f"p50 {p50}, the fastest {limit}"))
    if safe:
        small = min(safe, key=lambda model: (model.size_gzip_bytes, model.size_bytes))
        why = f"{wording.size(small.size_gzip_bytes)} compressed, the smallest {limit}"
        found.append(Advice(need="Smallest download", model=small.name, why=why))
    scored = [(model.accuracy.value, model) for model in facts.models if model.accuracy]
    if scored:
        value, exact = max(scored, key=lambda pair: (pair[0], -pair[1].size_bytes))
        why = f"{wording.percent(value)} % right, the highest measured"
        rivals = [
            model
            for model in facts.models
            if model is not exact and model.accuracy and exact.accuracy and model.accuracy.high >= exact.accuracy.low
        ]
        if rivals:
            why += f"; the intervals of {_count(len(rivals), 'other')} reach it"
        found.append(Advice(need="Highest accuracy", model=exact.name, why=why))
    return found


def warnings(facts: Facts) -> list[str]:
    """Return what a reader must know before trusting the figures."""
    found = []
    if facts.mode != "measured":
        found.append(f"The latencies are {facts.mode}, not measured on a device.")
    load, cores = facts.environment.get("load_average"), facts.environment["cores"]
    if load and load[0] > 0.5 * cores + 1:
        found.append(f"The machine was busy: load average {load[0]:.1f} on {_count(cores, 'core')}.")
    if facts.reference is None and len(facts.models) > 1:
        found.append("No float32 reference was measured, so no model is compared with one.")
    if not facts.dataset:
        found.append("There was no labelled data, so accuracy was not measured.")
    return found


def table_notes(facts: Facts) -> str:
    """Return how the main table is to be read, and what it rests on."""
    notes = ["The best of each column is bold. Intervals are 95 % intervals."]
    if any(model.to_ship for model in facts.models):
        notes.append("Pareto-optimal: no other model is as good in accuracy, p50 and size at once and better in one.")
    notes.append("Times are of one image; end to end adds preparing the input and reading the output.")
    compared = sum(model.comparison is not None and model.comparison.p is not None for model in facts.models)
    if compared:
        notes.append("McNemar's test counts the images that only one of the two models classifies rightly.")
    if compared > 1:
        notes.append(f"Its {compared} p-values are not corrected for being {compared}.")
    if facts.chosen is not None and facts.reference is not None:
        notes.append(
            "In colour the one proposed: the fastest that shows no loss of accuracy; of equally fast ones the smallest."
            if not loss_is_shown(facts.chosen)
            else "In colour the one proposed: every model shows a loss of accuracy, this one is the most accurate."
        )
    if facts.images:
        notes.append(f"Accuracy: n = {facts.images:,} images.")
    samples = sum(int(model.invoke_ns.size) for model in facts.models)
    notes.append(f"Latency: n = {samples:,} timed invokes in {facts.rounds} interleaved rounds.")
    return " ".join(notes)


def verdict(comparison: Comparison) -> str:
    """Return what McNemar's test says of a difference in accuracy."""
    if comparison.p is None or comparison.p >= SIGNIFICANCE:
        return "no difference shown"
    if comparison.only_this_right > comparison.only_reference_right:
        return "a gain is shown"
    return "a loss is shown"


def difference_text(difference: Interval) -> str:
    """Return a difference in points with its interval.

    >>> difference_text(Interval(value=0.0005, low=-0.001, high=0.002)).replace("\N{MINUS SIGN}", "-")
    '+0.05 points (95 % interval -0.10 to +0.20)'
    """
    points = difference.scaled(100)
    low, high = wording.signed(points.low, 2), wording.signed(points.high, 2)
    return f"{wording.signed(points.value, 2)} points (95 % interval {low} to {high})"


def flip_text(model: Model, facts: Facts) -> str:
    """Return how many predictions a model changed, and how."""
    comparison = model.comparison
    if comparison is None or comparison.p is None:
        return ""
    flips = len(comparison.flipped)
    neither = flips - comparison.only_reference_right - comparison.only_this_right
    return (
        f"{flips:,} of {facts.images:,} predictions differ from {comparison.reference}: "
        f"{comparison.only_reference_right:,} became wrong, {comparison.only_this_right:,} became right, "
        f"{neither:,} are wrong both ways"
    )


def _alone(facts: Facts, model: Model) -> str:
    parts = [f"{model.name} takes {wording.size(model.size_bytes)}"]
    if model.p50:
        p50 = facts.unit.text(model.p50.value)
        parts.append(f"runs in {p50} {facts.unit.name} (p50) {_where(facts)}")
    if model.accuracy:
        a = model.accuracy
        interval = f"{wording.percent(a.low)} to {wording.percent(a.high)}"
        parts.append(f"classifies {wording.percent(a.value)} % rightly (95 % interval {interval})")
    return f"{wording.join(parts)}."


def _smaller(model: Model, reference: Model) -> str:
    ratio = reference.size_bytes / model.size_bytes
    if abs(ratio - 1) < 0.005:
        return "the same size"
    return f"{wording.times(ratio)} smaller" if ratio > 1 else f"{wording.times(1 / ratio)} larger"


def _faster(model: Model) -> str:
    ratio = model.comparison.ratio if model.comparison else None
    if ratio is None:
        return "of unknown speed beside"
    if ratio.low <= 1 <= ratio.high:
        return "no faster or slower (no difference shown) than"
    gain = ratio.inverse() if ratio.value < 1 else ratio
    word = "faster" if ratio.value < 1 else "slower"
    # As many figures as it takes to tell the ends of a narrow interval apart.
    digits = 2 if gain.high - gain.low >= 0.01 else 3
    interval = f"95 % interval {gain.low:.{digits}f} to {gain.high:.{digits}f}"
    return f"{wording.times(gain.value)} {word} ({interval}) than"


def _accuracy(model: Model) -> str:
    comparison = model.comparison
    if comparison is None or comparison.difference is None or comparison.p is None:
        return "; their accuracies were not compared"
    points = comparison.difference.scaled(100)
    p, says = wording.p_value(comparison.p), verdict(comparison)
    interval = f"95 % interval {wording.signed(points.low, 2)} to {wording.signed(points.high, 2)}"
    word = "lower" if points.value < 0 else "higher"
    if comparison.only_reference_right == comparison.only_this_right == 0:
        return " and is right on exactly the same images"
    if abs(points.value) < 0.005:
        return f"; its accuracy is the same ({interval}; McNemar {p}: {says})"
    change = wording.number(abs(points.value), 2)
    return f"; its accuracy is {change} points {word} ({interval}; McNemar {p}: {says})"


def _where(facts: Facts) -> str:
    return "on this machine" if facts.mode == "measured" else f"({facts.mode})"


def _count(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
