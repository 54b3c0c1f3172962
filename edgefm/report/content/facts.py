"""The numbers of a benchmark record, ready to be written or drawn: no input or output, no drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.comparison.shipping.verdict import Verdict
from edgefm.report.content.measure import ACCURACY, Measure
from edgefm.report.content.wording import Interval, TimeUnit

# McNemar p-values below this show a difference.
SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Scores of one class, 0 to 1; None where nothing was predicted or present."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    images: int


@dataclass(frozen=True, kw_only=True)
class ReferenceComparison:
    """A model against the reference on the same samples.

    Attributes:
      reference: name of the reference model.
      only_reference_right: images that the reference alone classifies rightly; 0 where accuracy was not measured.
      only_this_right: images that this model alone classifies rightly; 0 where accuracy was not measured.
      flipped: indices of images whose predicted class differs.
      difference: quality of this minus the reference's, in the measure's own unit (accuracy: share of 1); None where
        it could not be had.
      p: of McNemar's test of the accuracies; None where accuracy was not measured.
      ratio: time of this over the reference's, see `edgefm.statistics.round_comparison.time_ratio`; None where it could
        not be had.
      speed: what the test over rounds says: 'faster', 'slower', 'no difference seen', …; '' in older records.
    """

    reference: str
    only_reference_right: int
    only_this_right: int
    flipped: tuple[int, ...]
    difference: Interval | None
    p: float | None
    ratio: Interval | None
    speed: str = ""

    def shown(self, measure: Measure) -> bool | None:
        """Return whether a difference in a measure is shown; None where that is not known.

        Accuracies are compared by McNemar's test, other measures by the interval of their difference.
        """
        if self.difference is None:
            return None
        if measure.name == ACCURACY.name:
            return None if self.p is None else self.p < SIGNIFICANCE
        return None if self.difference.bare else not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model that was measured.

    Attributes:
      accuracy: share of right answers; None where the answers are no classes.
      quality: in the measure of the facts; the accuracy where that is the measure.
      invoke_ns: int64 [samples], all rounds after one another.
      row: of the record, as it is there.
      round_medians_ns: float64 [rounds].
      reasons: why a figure is None, by the figure's name.
      on_front: no other model of the record is as good and faster, or as fast and better.
      to_ship: no other model of the record is as good in quality, p50 and raw size, and better in one.
      cold_start_ns: from no process to the first answer; None in older records.
    """

    name: str
    file: str
    sha256: str
    size_bytes: int
    size_gzip_bytes: int
    runtime: str
    macs: int | None
    input: Mapping[str, Any] | None
    output: Mapping[str, Any] | None
    load_ns: int | None
    memory_bytes: int | None
    p50: Interval | None
    p90: Interval | None
    p99: Interval | None
    end_to_end_p50: Interval | None
    accuracy: Interval | None
    quality: Interval | None
    classes: tuple[ClassScore, ...]
    confusion: NDArray[np.int64]
    comparison: ReferenceComparison | None
    invoke_ns: NDArray[np.int64]
    row: Mapping[str, Any]
    round_medians_ns: NDArray[np.float64]
    reasons: Mapping[str, str] = field(default_factory=dict)
    on_front: bool = False
    to_ship: bool = False
    cold_start_ns: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A model that could not be measured, and why."""

    name: str
    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a benchmark record says.

    Attributes:
      measure: of the quality of the models' answers.
      reference: the model that the others are compared with; None where there is none.
      chosen: the model that the verdict recommends for phones; None where it recommends none.
      verdict: which file to ship, and why.
      target: where it was measured, e.g. 'host'.
      disturbed: what disturbed the measurement so much that its times suffered from it.
    """

    created: str
    mode: str
    dataset: str
    split: str
    images: int
    labels: tuple[str, ...]
    dataset_sha256: str
    measure: Measure
    models: tuple[Model, ...]
    failures: tuple[Failure, ...]
    reference: Model | None
    chosen: Model | None
    verdict: Verdict
    unit: TimeUnit
    environment: Mapping[str, Any]
    protocol: Mapping[str, Any]
    target: str = "host"
    disturbed: tuple[str, ...] = ()

    @property
    def rounds(self) -> int:
        """Rounds of the measurement: the most that any model took part in."""
        return max((len(model.round_medians_ns) for model in self.models), default=0)

    def model(self, name: str) -> Model | None:
        """Return a measured model by its name, or None."""
        return next((model for model in self.models if model.name == name), None)


def confusions(model: Model, labels: Sequence[str], *, most: int = 5) -> list[tuple[str, str, int, int]]:
    """Return the most frequent mistakes as (true label, predicted label, images, images of the true class)."""
    matrix = model.confusion
    if matrix.size == 0:
        return []
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [divmod(int(cell), matrix.shape[1]) for cell in order]
    return [
        (labels[true], labels[guess], int(wrong[true, guess]), int(matrix[true].sum()))
        for true, guess in cells
        if wrong[true, guess]
    ]
