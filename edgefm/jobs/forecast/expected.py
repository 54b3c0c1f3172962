"""What training is expected to make of an untrained file: its loss of quality, and the size of its download.

Learnt from recorded runs (`benchmarks/forecast_outcomes.py`): of each, what the file was like before any training and
after it. How much a pass takes from a model before training (how sensitive the model is to it) tells how much training
leaves of it. There are few runs: the intervals are wide, and say so.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.jobs.forecast.recorded import OUTCOMES, Outcome
from edgefm.jobs.forecast.result import Interval
from edgefm.recipes import Variant, variant_named

_Z = 1.645  # of a two-sided 90 % interval
# Student's t of a two-sided 90 % interval, by degrees of freedom; more are as many.
_T = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81)
_FEWEST = 2
_FEWEST_MODELS = 3
# Points: smaller losses are compared by their difference, larger ones by their ratio.
_LINEAR = 0.5
# Points by which some thousand samples may show more loss after a training that lost nothing.
_SLACK = 0.3
# Validation samples of the recorded runs: what chance did to them is in their spread.
_RECORDED_SAMPLES = 4_000
# They were trained on 12,000; of far fewer they tell how little may be lost, not how much.
_FEWEST_TRAINING = 2_000


@dataclass(frozen=True, kw_only=True)
class Untrained:
    """What is measured on a file before any training.

    Attributes:
      loss: of quality on the validation samples, in percentage points or the unit of the measure.
      gzip_bytes: of the file.
      samples: number of validation samples.
      right: share of them that the given model answers rightly, 0 to 1.
      training_samples: that the variant would be trained on.
      changed: share of the answers that are others than the given model's, 0 to 1; None where the quality is no share
        of right answers.
    """

    loss: float
    gzip_bytes: int
    samples: int
    right: float
    training_samples: int
    changed: float | None


def alike(variant: Variant, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of the same passes at the same strength; where there are fewer than two, at any strength."""
    passes = _passes(variant)
    same = [one for one in outcomes if _passes(variant_named(one.variant)) == passes]
    if len(same) >= _FEWEST:
        return same
    kinds = [kind for kind, _ in passes]
    return [one for one in outcomes if [kind for kind, _ in _passes(variant_named(one.variant))] == kinds]


def _passes(variant: Variant) -> list[tuple[str, Any]]:
    """Return the kind and the strength of each pass."""
    strengths = {"prune": "sparsity", "cluster": "clusters", "slim": "keep"}
    return [(one.kind, getattr(one, strengths.get(one.kind, ""), None)) for one in variant.passes]


def loss(variant: Variant, untrained: Untrained, *, outcomes: Sequence[Outcome] = OUTCOMES) -> Interval | None:
    """Return the loss of quality that is expected of a variant after its training; None where no run tells.

    Of variants that train nothing it is the loss that was measured, with the interval that so many samples leave where
    answers are the same or not. Of others: what recorded runs lost after training over what they lost before it, a
    straight line in asinh(loss), with the interval of a model that it was not learnt from (Student's t over models); at
    most what is lost without any training, which is the upper end where few samples are there to train on. Fewer
    validation samples than those runs had widen it by what chance does to them.
    """
    if not trains(variant):
        if untrained.changed is None:
            why = f"measured: nothing is trained (n = {untrained.samples:,}); no share of answers tells how sure it is"
            return Interval(value=untrained.loss, low=untrained.loss, high=untrained.loss, why=why, bounded=False)
        differing = max(untrained.changed, abs(untrained.loss) / 100, 1 / untrained.samples)
        half = 100 * _Z * math.sqrt(differing / untrained.samples)
        why = f"measured: nothing is trained (n = {untrained.samples:,} validation samples)"
        return Interval(value=untrained.loss, low=untrained.loss - half, high=untrained.loss + half, why=why)
    learnt = {kind for one in outcomes for kind, _ in _passes(variant_named(one.variant))}
    if not {kind for kind, _ in _passes(variant)} <= learnt or len({one.model for one in outcomes}) < _FEWEST_MODELS:
        return None
    line = _line(tuple(outcomes))
    left, half = line.at(_scaled(untrained.loss)), _t(line.models - 1) * line.deviation
    value, low, high = (_LINEAR * math.sinh(end) for end in (left, left - half, left + half))
    most = max(untrained.loss, 0.0)
    why = f"{untrained.loss:+.1f} points before training; what is left of that is learnt from {_runs(outcomes)}"
    value, chance = min(value, most), 0.0
    if untrained.samples < _RECORDED_SAMPLES:
        chance = _chance(untrained, value)
        why += f"; {untrained.samples:,} validation samples are few: {chance:.1f} points more either way"
    if untrained.training_samples < _FEWEST_TRAINING:
        high = math.inf
        why += f"; {untrained.training_samples:,} training samples are few: they may bring nothing back"
    return Interval(value=value, low=min(low, most) - chance, high=min(high, most + _SLACK) + chance, why=why)


def _chance(untrained: Untrained, loss: float) -> float:
    """Return the points by which fewer samples than recorded runs had may show another loss, in nine of ten cases.

    Training changes which answers are wrong: as many turn from right to wrong or back as are wrong, which is a guess.
    """
    wrong = min(1.0, max(1 / untrained.samples, 1 - untrained.right + max(loss, 0.0) / 100))
    return 100 * _Z * math.sqrt(wrong * (1 / untrained.samples - 1 / _RECORDED_SAMPLES))


@dataclass(frozen=True, kw_only=True)
class _Line:
    """What is lost after training over what is lost before it, both scaled; a straight line.

    Attributes:
      slope, intercept: of it.
      deviation: of a file of a model that the line was not learnt from.
      models: that it was learnt from.
    """

    slope: float
    intercept: float
    deviation: float
    models: int

    def at(self, before: float) -> float:
        return self.slope * before + self.intercept


@functools.cache
def _line(outcomes: tuple[Outcome, ...]) -> _Line:
    """Return the line through outcomes; its deviation is that of each model from the line through the others."""
    models = sorted({one.model for one in outcomes})
    off = []
    for model in models:
        slope, intercept = _fitted([one for one in outcomes if one.model != model])
        off += [
            _scaled(one.loss) - slope * _scaled(one.untrained_loss) - intercept
            for one in outcomes
            if one.model == model
        ]
    slope, intercept = _fitted(outcomes)
    deviation = math.sqrt(statistics.fmean(value * value for value in off))
    return _Line(slope=slope, intercept=intercept, deviation=deviation, models=len(models))


def _fitted(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    before = [_scaled(one.untrained_loss) for one in outcomes]
    return statistics.linear_regression(before, [_scaled(one.loss) for one in outcomes])


def _scaled(loss: float) -> float:
    """Return a loss in points, small ones as they are and large ones by their logarithm, both over half a point."""
    return math.asinh(loss / _LINEAR)


def download(variant: Variant, untrained: Untrained, *, outcomes: Sequence[Outcome] = OUTCOMES) -> Interval:
    """Return the size of a variant's download after its training."""
    size = float(untrained.gzip_bytes)
    if not trains(variant):
        return Interval(value=size, low=size, high=size, why="exact: the weights do not change")
    known = alike(variant, outcomes)
    ratios = [one.gzip_bytes / one.untrained_gzip_bytes for one in known]
    if len(ratios) < _FEWEST:
        why = "gzip of the untrained file: training changes the weights, and no recorded run tells by how much"
        return Interval(value=size, low=0.6 * size, high=1.2 * size, why=why)
    value, half = _further(ratios)
    why = f"training changes the weights: gzip of the untrained file, times what {_runs(known)} had"
    return Interval(value=size * value, low=size * max(0.0, value - half), high=size * (value + half), why=why)


def trains(variant: Variant) -> bool:
    """Return whether weights change after what is measured untrained."""
    return any(recipe.fine_tuning.epochs for recipe in variant.passes)


def _further(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of some values, and half the 90 % interval in which one further value is expected."""
    deviation = statistics.stdev(values)
    return statistics.mean(values), _t(len(values) - 1) * deviation * math.sqrt(1 + 1 / len(values))


def _t(freedom: int) -> float:
    return _T[min(freedom, len(_T)) - 1]


def _runs(known: Sequence[Outcome]) -> str:
    models = len({one.model for one in known})
    return f"{len(known)} files of {models} model{'s' if models != 1 else ''} that edgefm trained"
