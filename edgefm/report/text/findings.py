"""Sentences computed from the facts: what was found, what to ship, what to keep in mind."""

from __future__ import annotations

from dataclasses import dataclass

from edgefm.comparison.shipping.verdict import NOT_RECOMMENDED
from edgefm.comparison.shipping.words import EQUAL_TIME
from edgefm.report.content import wording
from edgefm.report.content.facts import Facts, Model, ReferenceComparison
from edgefm.report.content.measure import ACCURACY, Measure
from edgefm.report.text.answer import NEEDS


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A need and the model that meets it."""

    need: str
    model: str
    why: str


def headline(facts: Facts) -> str:
    """Return the verdict in one or two sentences."""
    return facts.verdict.headline


def comparison(facts: Facts) -> str:
    """Return how the recommended file compares with the reference; of a single model its figures; else ''."""
    model, reference = facts.chosen, facts.reference
    if not facts.models:
        return ""
    if model is None or model is reference:
        alone = model or (facts.models[0] if len(facts.models) == 1 else None)
        return "" if alone is None else _alone(facts, alone)
    if reference is None:
        return _alone(facts, model)
    return (
        f"{model.name} is {_smaller(model, reference)} and {_faster(model)} {reference.name} "
        f"{_where(facts)}{_quality(model, facts.measure)}."
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
    """Return which model the verdict recommends for which need; where it recommends none for one, why."""
    verdict = facts.verdict
    return [
        Advice(
            need=NEEDS[choice.target],
            model=choice.file or "none",
            why=choice.reason,
        )
        for choice in verdict.choices
        if choice.reason != verdict.headline
    ]


def unfit(facts: Facts) -> list[tuple[str, str]]:
    """Return the files that the verdict does not recommend, each with the reason."""
    return [(file.name, file.reason) for file in facts.verdict.files if file.state in NOT_RECOMMENDED]


def warnings(facts: Facts) -> list[str]:
    """Return what a reader must know before trusting the figures."""
    texts = []
    if facts.mode != "measured":
        texts.append(f"The latencies are {facts.mode}, not measured on a device.")
    load, cores = facts.environment.get("load_average"), facts.environment["cores"]
    if load and load[0] > 0.5 * cores + 1:
        texts.append(f"The machine was busy: load average {load[0]:.1f} on {_count(cores, 'core')}.")
    if facts.disturbed:
        more = f" ({len(facts.disturbed)} such notes)" if len(facts.disturbed) > 1 else ""
        texts.append(f"The times were disturbed: {facts.disturbed[0]}{more}.")
    if facts.environment.get("fallback"):
        asked, ran = (facts.environment.get(name) for name in ("asked_for", "ran"))
        texts.append(f"{asked} was asked for, and {ran} ran the model: {facts.environment['fallback']}")
    if facts.reference is None and len(facts.models) > 1:
        texts.append("No float32 reference was measured, so no model is compared with one.")
    if not facts.dataset:
        texts.append("There was no labelled data, so the quality of the answers was not measured.")
    return texts


def table_notes(facts: Facts) -> str:
    """Return how the main table is to be read, and what it rests on."""
    notes = ["The best value of each column is bold. Intervals are 95 % intervals."]
    if any(model.to_ship for model in facts.models):
        notes.append(
            f"Pareto-optimal: no other model is as good in {facts.measure.word}, p50 and size at once and better in "
            "one of them."
        )
    notes.append("Times are of one image; end to end adds preparing the input and reading the output.")
    compared = sum(model.comparison is not None and model.comparison.p is not None for model in facts.models)
    if facts.measure != ACCURACY:
        compared = 0
        notes.append("A difference is shown where its 95 % interval excludes zero.")
    if compared:
        notes.append("McNemar's test counts the images that only one of the two models classifies correctly.")
    if compared > 1:
        notes.append(f"Its {compared} p-values are not corrected for multiple tests.")
    if facts.chosen is not None:
        notes.append(f"The model that is recommended for {facts.verdict.target} is in colour.")
    if facts.images:
        notes.append(f"{facts.measure.title}: n = {facts.images:,} images.")
    samples = sum(int(model.invoke_ns.size) for model in facts.models)
    notes.append(f"Latency: n = {samples:,} timed invokes in {facts.rounds} interleaved rounds.")
    starts = [model.cold_start_ns.value for model in facts.models if model.cold_start_ns]
    if starts:
        ends = f"{wording.number(min(starts) / 1e6, 0)} to {wording.number(max(starts) / 1e6, 0)}"
        notes.append(f"Each round is a fresh process; its cold start, up to the first answer, takes {ends} ms.")
    return " ".join(notes)


def verdict(comparison: ReferenceComparison, measure: Measure = ACCURACY) -> str:
    """Return what the measurement says of a difference in quality."""
    if comparison.difference is None or not comparison.shown(measure):
        return "no difference shown"
    return "a gain is shown" if measure.better(comparison.difference.value) else "a loss is shown"


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
        f"{neither:,} are wrong in both"
    )


def _alone(facts: Facts, model: Model) -> str:
    parts = [f"{model.name} takes {wording.size(model.size_bytes)}"]
    if model.p50:
        p50 = facts.unit.text(model.p50.value)
        parts.append(f"runs in {p50} {facts.unit.name} (p50) {_where(facts)}")
    measure, quality = facts.measure, model.quality
    if quality:
        unit = " %" if measure.unit == "%" else ""
        interval = f" (95 % interval {measure.interval(quality)})" if not quality.bare else ""
        value = f"{measure.text(quality.value)}{unit}"
        parts.append(
            f"classifies {value} rightly{interval}" if measure == ACCURACY else f"has {measure.word} {value}{interval}"
        )
    return f"{wording.join(parts)}."


def _smaller(model: Model, reference: Model) -> str:
    ratio = reference.size_bytes / model.size_bytes
    if abs(ratio - 1) < 0.005:
        return "the same size"
    return f"{wording.times(ratio)} smaller" if ratio > 1 else f"{wording.times(1 / ratio)} larger"


def _faster(model: Model) -> str:
    ratio = model.comparison.ratio if model.comparison else None
    if ratio is None:
        return "of unknown speed compared with"
    if abs(ratio.value - 1) <= EQUAL_TIME:
        return f"as fast (within {100 * EQUAL_TIME:.0f} %) as"
    if ratio.low <= 1 <= ratio.high:
        return "no faster or slower (no difference shown) than"
    gain = ratio.inverse() if ratio.value < 1 else ratio
    word = "faster" if ratio.value < 1 else "slower"
    # As many figures as it takes to tell the ends of a narrow interval apart.
    digits = 2 if gain.high - gain.low >= 0.01 else 3
    interval = f"95 % interval {gain.low:.{digits}f} to {gain.high:.{digits}f}"
    return f"{wording.times(gain.value)} {word} ({interval}) than"


def _quality(model: Model, measure: Measure) -> str:
    comparison = model.comparison
    if comparison is None or comparison.difference is None or comparison.shown(measure) is None:
        return (
            "; their accuracies were not compared"
            if measure == ACCURACY
            else f"; their {measure.word} was not compared"
        )
    difference, says = comparison.difference, verdict(comparison, measure)
    if measure == ACCURACY and comparison.p is not None:
        if comparison.only_reference_right == comparison.only_this_right == 0:
            return " and is right on exactly the same images"
        says = f"McNemar {wording.p_value(comparison.p)}: {says}"
    evidence = f"95 % interval {measure.change_interval(difference)}; {says}"
    if not float(wording.ascii_number(measure.change(difference.value))):
        return f"; its {measure.word} is the same ({evidence})"
    word = "lower" if difference.value < 0 else "higher"
    return f"; its {measure.word} is {measure.amount(difference.value)} {word} ({evidence})"


def _where(facts: Facts) -> str:
    if facts.mode != "measured":
        return f"({facts.mode})"
    return "on this machine" if facts.target == "host" else f"on {facts.environment['cpu']}"


def _count(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
