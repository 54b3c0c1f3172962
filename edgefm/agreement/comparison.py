"""How far two sets of answers to the same inputs lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.agreement.arithmetic import ModelTensors, Unit
from edgefm.core.errors import EdgefmError
from edgefm.statistics.estimates import Estimate, proportion

Outputs = tuple[NDArray[Any], ...]

# Where a file has no levels for an output, one is 1/255 of the spread of the reference's answers: what 8 bits
# would give.
_STEPS = 255
# Float outputs of a quantised model carry the rounding of their last multiplication; it is no difference in levels.
_SLACK = 0.01
_VALUES_AT_ONCE = 1 << 20


class NotComparableError(EdgefmError):
    """Answers of other number, type or shape than the model file says."""


@dataclass(frozen=True, kw_only=True)
class OutputComparison:
    """How answers differ from those of a reference.

    Attributes:
      largest: largest difference in the unit of the model (quantisation levels, or the share of the largest
        magnitude of that output); None where one is NaN or infinite and the other is not.
      largest_absolute: the same difference as a real number; None as above.
      output: place of the output that holds it.
      sample: place of the sample that holds it.
      samples: number of samples.
      equal_samples: samples all of whose outputs are equal, value by value.
      values: number of values of all outputs of all samples.
      equal_values: of these, the ones that are equal.
      argmax_changes: samples whose first output has its (first) highest value in another place; None where it has
        one value alone.
      unit: see `largest`.
    """

    unit: Unit
    largest: float | None
    largest_absolute: float | None
    output: int
    sample: int
    samples: int
    equal_samples: int
    values: int
    equal_values: int
    argmax_changes: int | None

    @property
    def equal(self) -> bool:
        """Whether all outputs of all samples are equal."""
        return self.equal_samples == self.samples

    @property
    def differing(self) -> Estimate:
        """The share of samples like these whose outputs differ, with its 95 % interval.

        With none in n it is the exact bound behind the rule of three, 1 - 0.05^(1/n), about 3 / n.
        """
        if self.equal:
            return Estimate(0.0, 0.0, 1 - 0.05 ** (1 / self.samples))
        return proportion(self.samples - self.equal_samples, self.samples)

    def within(self, limit: float, *, share: float = 1.0) -> bool:
        """Return whether the answers stay within a tolerance.

        Args:
          limit: of the largest difference, in the same unit.
          share: of the values that may differ at all; it is broken where the whole 95 % interval of that share lies
            above it, so that a few samples raise no alarm by chance.
        """
        slack = _SLACK if self.unit == "levels" else 0.0
        differ = 0.0
        if self.equal_values < self.values:  # else the interval starts at 0, but for rounding
            differ = proportion(self.values - self.equal_values, self.values).low
        return self.largest is not None and self.largest <= limit + slack and differ <= share

    def within_both(self, first: tuple[float, float], second: tuple[float, float]) -> bool:
        """Return whether two answers are as near to each other as tolerances from a common reference allow.

        Args:
          first: (limit, share) of the first, see `within`.
          second: of the second.
        """
        return self.within(first[0] + second[0], share=min(1.0, first[1] + second[1]))

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object."""
        return {**asdict(self), "differing": self.differing.to_json()}


def checked(outputs: Sequence[NDArray[Any]], *, ends: ModelTensors, samples: int) -> Outputs:
    """Return answers in the shapes [samples, ...] of the model file.

    Raises:
      NotComparableError: they are of another number, type or size.
    """
    if len(outputs) != len(ends.sinks):
        raise NotComparableError(f"the runtime gives {len(outputs)} outputs, the model has {len(ends.sinks)}")
    arrays = []
    for place, (output, sink) in enumerate(zip(outputs, ends.sinks, strict=True)):
        if output.dtype.name != sink.dtype:
            raise NotComparableError(f"output {place} has dtype {output.dtype.name}; {sink.dtype} is expected")
        try:
            arrays.append(output.reshape(samples, *sink.shape[1:]))
        except ValueError:
            raise NotComparableError(
                f"output {place} has the shape {output.shape}; {(samples, *sink.shape[1:])} is expected"
            ) from None
    return tuple(arrays)


def compare(outputs: Outputs, reference: Outputs, *, ends: ModelTensors) -> OutputComparison:
    """Return how answers differ from those of a reference.

    Two NaN in one place are equal, two zeros of other sign as well.

    Args:
      outputs: as `checked` gives them.
      reference: the same of the reference.
      ends: of the model.

    >>> from edgefm.runtimes.base import TensorDetails
    >>> end = TensorDetails(name="y", dtype="int8", shape=(1, 3), scale=0.5, zero_point=0)
    >>> whole = ModelTensors(source=end, sinks=(end,), level=(1.0,), arithmetic="integer")
    >>> first, second = np.array([[1, 2, 3], [9, 0, 0]], np.int8), np.array([[1, 2, 3], [7, 0, 8]], np.int8)
    >>> comparison = compare((first,), (second,), ends=whole)
    >>> comparison.largest, comparison.largest_absolute, comparison.equal_samples, comparison.argmax_changes
    (8.0, 4.0, 1, 1)
    >>> comparison.equal_values, comparison.values
    (4, 6)
    """
    samples = len(reference[0])
    equal, equal_values = np.ones(samples, np.bool_), 0
    worst: tuple[float, float, int, int] = (-1.0, 0.0, 0, 0)  # in the unit, real, output, sample
    for place, (output, other) in enumerate(zip(outputs, reference, strict=True)):
        largest, same = _largest_distances(output, other)
        equal &= largest == 0
        equal_values += same
        sample = int(largest.argmax())
        unit, real = _units(ends, place, other)
        if largest[sample] * unit > worst[0]:
            worst = (float(largest[sample] * unit), float(largest[sample] * real), place, sample)
    finite = np.isfinite(worst[0])
    return OutputComparison(
        unit=ends.unit,
        largest=worst[0] if finite else None,
        largest_absolute=worst[1] if finite else None,
        output=worst[2],
        sample=worst[3],
        samples=samples,
        equal_samples=int(equal.sum()),
        values=sum(other.size for other in reference),
        equal_values=equal_values,
        argmax_changes=_argmax_changes(outputs[0], reference[0]),
    )


def _largest_distances(output: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
    """Return the largest |output - other| of each sample, float64 [n], and the number of equal values.

    A distance is infinite where one alone is no finite number.
    """
    samples = len(other)
    values = max(1, other.size // max(1, samples))
    distances, same = np.zeros(samples), 0
    at_once = max(1, _VALUES_AT_ONCE // values)
    for start in range(0, samples, at_once):
        piece = slice(start, start + at_once)
        first, second = (array[piece].reshape(-1, values).astype(np.float64) for array in (output, other))
        with np.errstate(invalid="ignore"):
            distance = np.abs(first - second)
        distance[np.isnan(distance)] = np.inf
        alike = (first == second) | (np.isnan(first) & np.isnan(second))
        distance[alike] = 0.0
        distances[piece] = distance.max(axis=1)
        same += int(alike.sum())
    return distances, same


def _units(ends: ModelTensors, place: int, reference: NDArray[Any]) -> tuple[float, float]:
    """Return what a difference of 1 between two stored values is in the model's unit, and as a real number."""
    scale, level = ends.sinks[place].scale, ends.level[place]
    if level == 1.0 and not ends.sinks[place].dtype.startswith("float"):
        return 1.0, scale if scale is not None else 1.0
    values = reference[np.isfinite(reference)].astype(np.float64)
    if ends.unit == "relative":
        largest = float(np.abs(values).max(initial=0.0))
        return 1 / largest if largest > 0 else 1.0, 1.0
    if level is None:
        spread = float(np.ptp(values)) if values.size else 0.0
        level = spread / _STEPS
    return 1 / level if level > 0 else 1.0, 1.0


def _argmax_changes(output: NDArray[Any], other: NDArray[Any]) -> int | None:
    first, second = output.reshape(len(output), -1), other.reshape(len(other), -1)
    if first.shape[1] < 2:
        return None
    return int((first.argmax(axis=1) != second.argmax(axis=1)).sum())
