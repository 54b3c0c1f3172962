"""What training is expected to make of an untrained file: its loss of quality, and the size of its download.

Learnt from recorded runs (`benchmarks/forecast_outcomes.py`): of each, what the file was like before any training and
after it. There are few: the intervals are wide, and say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgefm.jobs.forecast.recorded import OUTCOMES, Outcome
from edgefm.jobs.forecast.result import Interval
from edgefm.recipes import Variant

_Z = 1.96
# Student's t of a two-sided 90 % interval, by degrees of freedom; more are as many.
_T = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81)
_FEWEST = 2


@dataclass(frozen=True, kw_only=True)
class Untrained:
    """What is measured on a file before any training.

    Attributes:
      loss: of quality on the validation samples, in percentage points or the unit of the measure.
      gzip_bytes: of the file.
      samples: number of validation samples.
      same: share of the answers that are the given model's, 0 to 1; None where outputs are no classes or labels.
    """

    loss: float
    gzip_bytes: int
    samples: int
    same: float | None


def family(variant: Variant) -> str:
    """Return what variants share whose training is alike: the kinds of their passes, and how strong they are.

    >>> from edgefm.recipes import variant_named
    >>> family(variant_named("pruned80_qat_int8")), family(variant_named("int8_w8a8"))
    ('prune+qat', '')
    """
    return "+".join(recipe.kind for recipe in variant.passes)


def loss(variant: Variant, untrained: Untrained, *, outcomes: Sequence[Outcome] = OUTCOMES) -> Interval | None:
    """Return the loss of quality that is expected of a variant after its training; None where no run tells.

    Of variants that train nothing it is the loss that was measured, with the interval that so many samples leave where
    answers are the same or not. Of others: the mean of recorded runs of the same passes, moved by their slope over the
    logarithm of the untrained loss; no less than the least of them, and no more than before the training.
    """
    if not trains(variant):
        if untrained.same is None:
            why = f"measured: nothing is trained (n = {untrained.samples:,}); no share of answers tells how sure it is"
            return Interval(value=untrained.loss, low=untrained.loss, high=untrained.loss, why=why)
        differing = max(1 - untrained.same, 1 / untrained.samples)
        half = 100 * _Z * math.sqrt(differing / untrained.samples)
        why = f"measured: nothing is trained (n = {untrained.samples:,} validation samples)"
        return Interval(value=untrained.loss, low=untrained.loss - half, high=untrained.loss + half, why=why)
    alike = [one for one in outcomes if one.family == family(variant)]
    if len(alike) < _FEWEST:
        return None
    places, values = [_place(one.untrained_loss) for one in alike], [one.loss for one in alike]
    value, half = _line(places, values, at=_place(untrained.loss))
    value = max(min(value, untrained.loss), min(values))
    why = f"learnt from {_runs(alike)}; {untrained.loss:+.1f} points before training"
    return Interval(value=value, low=value - half, high=value + half, why=why)


def download(variant: Variant, untrained: Untrained, *, outcomes: Sequence[Outcome] = OUTCOMES) -> Interval:
    """Return the size of a variant's download after its training."""
    size = float(untrained.gzip_bytes)
    if not trains(variant):
        return Interval(value=size, low=size, high=size, why="exact: the weights do not change")
    alike = [one for one in outcomes if one.family == family(variant)]
    ratios = [one.gzip_bytes / one.untrained_gzip_bytes for one in alike]
    if len(ratios) < _FEWEST:
        why = "gzip of the untrained file: training changes the weights, and no recorded run tells by how much"
        return Interval(value=size, low=0.6 * size, high=1.2 * size, why=why)
    value, half = _line([0.0] * len(ratios), ratios, at=0.0)
    why = f"training changes the weights: gzip of the untrained file, times what {_runs(alike)} had"
    return Interval(value=size * value, low=size * max(0.0, value - half), high=size * (value + half), why=why)


def trains(variant: Variant) -> bool:
    """Return whether weights change after what is measured untrained."""
    return any(recipe.fine_tuning.epochs for recipe in variant.passes)


def _line(places: Sequence[float], values: Sequence[float], *, at: float) -> tuple[float, float]:
    """Return the value at a place of the least-squares line, its slope 0 or more, and half its 90 % interval."""
    count, middle, mean = len(places), sum(places) / len(places), sum(values) / len(values)
    spread = sum((place - middle) ** 2 for place in places)
    slope = 0.0
    if count >= 4 and spread > 1e-9:
        slope = max(0.0, sum((p - middle) * (v - mean) for p, v in zip(places, values, strict=True)) / spread)
    left = [v - mean - slope * (p - middle) for p, v in zip(places, values, strict=True)]
    freedom = max(1, count - (2 if slope else 1))
    deviation = math.sqrt(sum(one**2 for one in left) / freedom)
    far = (at - middle) ** 2 / spread if slope else 0.0
    return mean + slope * (at - middle), _T[min(freedom, len(_T)) - 1] * deviation * math.sqrt(1 + 1 / count + far)


def _place(loss_points: float) -> float:
    return math.log1p(max(0.0, loss_points))


def _runs(alike: Sequence[Outcome]) -> str:
    models = len({one.model for one in alike})
    return f"{len(alike)} files of {models} model{'s' if models != 1 else ''} that edgefm trained"
