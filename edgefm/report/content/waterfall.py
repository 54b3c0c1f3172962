"""What each step from float32 to a variant cost and bought: figures of both files, and their differences.

Quality and time of a step are compared pair by pair, like everything else in a report: the same images, the same
interleaved rounds. numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.comparison.shipping.words import EQUAL_TIME
from edgefm.report.content.facts import SIGNIFICANCE, Facts, Model
from edgefm.report.content.inputs import ModelAnswers, ReportInputs
from edgefm.report.content.lineage import Growth, plans, tree
from edgefm.report.content.measure import ACCURACY, Measure
from edgefm.report.content.wording import Interval
from edgefm.statistics import estimates as statistics
from edgefm.statistics.round_comparison import time_ratio


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is known of one file; None where it was not measured.

    Attributes:
      quality: in the waterfall's measure, as measured where the waterfall says; an interval where one is known.
      p50: latency in nanoseconds.
      macs: multiply-accumulates of one inference.
      memory_bytes: measured above the bare runtime, once.
      activation_bytes: estimated from the graph: the most that one operator's inputs and results take.
    """

    size_bytes: int
    gzip_bytes: int
    zstd_bytes: int | None = None
    macs: int | None = None
    quality: Interval | None = None
    p50: Interval | None = None
    memory_bytes: int | None = None
    activation_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A file against an earlier one.

    Attributes:
      quality: later minus earlier; its interval is bare where the two were not compared sample by sample.
      quality_shown: whether the measurement shows a difference; None where that is not known.
      p: of McNemar's test, where answers are right or wrong.
      won: samples that only the later one answers rightly; None where that is not known.
      lost: samples that only the earlier one answers rightly.
      time: p50 of the later one over that of the earlier one.
      size_bytes, gzip_bytes, zstd_bytes, macs, memory_bytes, activation_bytes: later minus earlier.
    """

    size_bytes: int
    gzip_bytes: int
    zstd_bytes: int | None
    macs: int | None
    memory_bytes: int | None
    activation_bytes: int | None
    quality: Interval | None
    quality_shown: bool | None
    p: float | None
    won: int | None
    lost: int | None
    time: Interval | None

    @property
    def faster(self) -> bool:
        """Whether less time is shown, beyond the 1 % that counts as equal."""
        return self.time is not None and self.time.high < 1 and self.time.value < 1 - EQUAL_TIME

    @property
    def slower(self) -> bool:
        """Whether more time is shown, beyond the 1 % that counts as equal."""
        return self.time is not None and self.time.low > 1 and self.time.value > 1 + EQUAL_TIME


@dataclass(frozen=True, kw_only=True)
class WaterfallStep:
    """A file, and the way to it from the one that it grew from.

    Attributes:
      growth: which file it grew from, and by what.
      failure: why it could not be measured, where it could not.
      before: figures of the file that it grew from; None for a root.
      change: against that one.
      total: against float32; None for float32 itself.
    """

    growth: Growth
    figures: Figures
    failure: str | None = None
    before: Figures | None = None
    change: Change | None = None
    total: Change | None = None

    @property
    def name(self) -> str:
        """Name of the variant."""
        return self.growth.name


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """All steps of a run, each behind the one that it grew from.

    Attributes:
      measure: of the quality.
      split: 'test' or 'validation': where the quality was measured.
      samples: number of them; 0 without data.
    """

    steps: tuple[WaterfallStep, ...]
    measure: Measure
    split: str
    samples: int

    def step(self, name: str) -> WaterfallStep | None:
        """Return a step by its variant's name, or None."""
        return next((step for step in self.steps if step.name == name), None)

    @property
    def grown(self) -> tuple[WaterfallStep, ...]:
        """The steps that are no root."""
        return tuple(step for step in self.steps if step.change is not None)


def waterfall(inputs: ReportInputs, facts: Facts | None) -> Waterfall | None:
    """Return the steps of a run; None where no file grew from another, or nothing says how the files were made.

    Figures of the benchmark are taken where it measured the very file; without it, quality is that on the
    validation samples, and nothing is known of time.
    """
    described = inputs.quantize or {}
    entries = {variant["variant"]: variant for variant in described.get("variants", [])}
    known = plans(described.get("recipe", {}))
    growths = tree(known, list(entries))
    if all(growth.parent is None for growth in growths):
        return None
    measured = {model.name: model for model in (facts.models if facts else ())}
    measured = {name: model for name, model in measured.items() if entries.get(name, {}).get("sha256") == model.sha256}
    tested = any(model.quality for model in measured.values())
    measure, samples = _measure(facts if tested else None, entries)
    figures = {name: _figures(entry, measured.get(name), tested=tested) for name, entry in entries.items()}
    failures = {failure.name: failure.reason for failure in (facts.failures if facts else ())}
    root = next((growth.name for growth in growths if growth.name == "float32"), None)
    compare = _Comparing(figures=figures, measured=measured, held=inputs, measure=measure)
    steps = []
    for growth in growths:
        name, parent = growth.name, growth.parent
        step = WaterfallStep(growth=growth, figures=figures[name], failure=failures.get(name))
        if parent is not None:
            step = replace(step, before=figures[parent], change=compare.change(parent, name))
        if root is not None and name != root:
            step = replace(step, total=step.change if parent == root else compare.change(root, name))
        steps.append(step)
    return Waterfall(
        steps=tuple(steps), measure=measure, split=facts.split if facts and tested else "validation", samples=samples
    )


@dataclass(frozen=True, kw_only=True)
class _Comparing:
    """Compares two files of a run."""

    figures: Mapping[str, Figures]
    measured: Mapping[str, Model]
    held: ReportInputs
    measure: Measure

    def change(self, earlier: str, later: str) -> Change:
        before, after = self.figures[earlier], self.figures[later]
        return Change(
            size_bytes=after.size_bytes - before.size_bytes,
            gzip_bytes=after.gzip_bytes - before.gzip_bytes,
            zstd_bytes=_less(after.zstd_bytes, before.zstd_bytes),
            macs=_less(after.macs, before.macs),
            memory_bytes=_less(after.memory_bytes, before.memory_bytes),
            activation_bytes=_less(after.activation_bytes, before.activation_bytes),
            time=self._time(earlier, later),
            **self._quality(earlier, later),
        )

    def _time(self, earlier: str, later: str) -> Interval | None:
        before, after = self.measured.get(earlier), self.measured.get(later)
        if before is None or after is None:
            return None
        return Interval.of_estimate(time_ratio(after.row, before.row))

    def _quality(self, earlier: str, later: str) -> dict[str, Any]:
        unknown: dict[str, Any] = {"quality": None, "quality_shown": None, "p": None, "won": None, "lost": None}
        before, after = self.figures[earlier].quality, self.figures[later].quality
        if before is None or after is None:
            return unknown
        model = self.measured.get(later)
        comparison = model.comparison if model is not None else None
        if comparison is not None and comparison.reference == earlier and comparison.difference is not None:
            known = {"quality": comparison.difference, "quality_shown": comparison.shown(self.measure)}
            if comparison.p is None or self.measure.name != ACCURACY.name:
                return unknown | known
            won, lost = comparison.only_this_right, comparison.only_reference_right
            return known | {"p": comparison.p, "won": won, "lost": lost}
        answers = self.held.predictions.get(earlier), self.held.predictions.get(later)
        both = earlier in self.measured and later in self.measured
        if both and self.measure.name == ACCURACY.name and self.held.truth is not None and all(answers):
            return paired(self.held.truth, answers[0], answers[1])  # type: ignore[arg-type]  # both are there
        return unknown | {"quality": Interval.alone(after.value - before.value)}


def paired(truth: NDArray[np.int64], earlier: ModelAnswers, later: ModelAnswers) -> dict[str, Any]:
    """Return how the later answers differ from the earlier ones on the same samples, as fields of `Change`."""
    before, after = earlier.predicted == truth, later.predicted == truth
    lost, won = int(np.sum(before & ~after)), int(np.sum(after & ~before))
    p = statistics.mcnemar(lost, won)
    return {
        "quality": Interval.of_estimate(statistics.paired_difference(lost, won, len(truth))),
        "quality_shown": p < SIGNIFICANCE,
        "p": p,
        "won": won,
        "lost": lost,
    }


def _measure(facts: Facts | None, entries: Mapping[str, Mapping[str, Any]]) -> tuple[Measure, int]:
    """Return the measure of the test samples where facts are given, else that of validation, and how many."""
    if facts is not None:
        return facts.measure, facts.images
    validations: Sequence[Mapping[str, Any]] = [
        entry["validation"] for entry in entries.values() if entry.get("validation")
    ]
    if not validations:
        return Measure(), 0
    first = validations[0]
    return Measure.of(first), int(first["samples"])


def _figures(entry: Mapping[str, Any], model: Model | None, *, tested: bool) -> Figures:
    validation = entry.get("validation")
    figures = Figures(
        size_bytes=entry["size_bytes"],
        gzip_bytes=entry["gzip_bytes"],
        zstd_bytes=entry.get("zstd_bytes"),
        macs=entry.get("macs"),
        activation_bytes=entry.get("activation_bytes"),
        quality=Interval.alone(validation["value"]) if validation and not tested else None,
    )
    if model is None:
        return figures
    return replace(
        figures,
        macs=model.macs if figures.macs is None else figures.macs,
        quality=model.quality if tested else figures.quality,
        p50=model.p50,
        memory_bytes=model.memory_bytes,
    )


def _less(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else before - after
