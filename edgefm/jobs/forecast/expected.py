"""What training is expected to make of an untrained file: its loss of quality, and the size of its download.

Learnt from recorded runs (`benchmarks/forecast_outcomes.py`): of each, what the file was like before any training and
after it. There are few: the intervals are wide, and say so.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.jobs.forecast.recorded import OUTCOMES, Outcome
from edgefm.jobs.forecast.result import Interval
from edgefm.recipes import Variant, variant_named

_Z = 1.96
# Student's t of a two-sided 90 % interval, by degrees of freedom; more are as many.
_T = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81)
_FEWEST = 2
# Points by which some thousand samples may show more loss after a training that lost nothing.
_SLACK = 0.3


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
    answers are the same or not. Of others: the mean of recorded runs of the same passes, and Student's interval of one
    further run; at most what is lost without any training.
    """
    if not trains(variant):
        if untrained.same is None:
            why = f"measured: nothing is trained (n = {untrained.samples:,}); no share of answers tells how sure it is"
            return Interval(value=untrained.loss, low=untrained.loss, high=untrained.loss, why=why)
        differing = max(1 - untrained.same, 1 / untrained.samples)
        half = 100 * _Z * math.sqrt(differing / untrained.samples)
        why = f"measured: nothing is trained (n = {untrained.samples:,} validation samples)"
        return Interval(value=untrained.loss, low=untrained.loss - half, high=untrained.loss + half, why=why)
    known = alike(variant, outcomes)
    if len(known) < _FEWEST:
        return None
    value, half = _further([one.loss for one in known])
    most = max(untrained.loss, 0.0)
    why = f"learnt from {_runs(known)}; {untrained.loss:+.1f} points before training"
    return Interval(value=min(value, most), low=min(value - half, most), high=min(value + half, most + _SLACK), why=why)


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
    return statistics.mean(values), _T[min(len(values) - 1, len(_T)) - 1] * deviation * math.sqrt(1 + 1 / len(values))


def _runs(known: Sequence[Outcome]) -> str:
    models = len({one.model for one in known})
    return f"{len(known)} files of {models} model{'s' if models != 1 else ''} that edgefm trained"
