"""What a way of feeding a model makes a user read, and how far that is from what was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefm.jobs.trace.expectation import Expected
from edgefm.jobs.trace.ways import Way
from edgefm.tflite.contract import Contract, Tensor

# Beyond the rounding of what was written down.
_SLACK = 1e-9


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """How near a way comes.

    Attributes:
      largest: largest difference of a value, in the unit of what was read.
      mean: mean difference.
      equal: no value differs by more than the rounding of what was written down.
      within: the differences are within what kernels of one family may differ by, too.
    """

    largest: float
    mean: float
    equal: bool
    within: bool


def nearness(
    outputs: Sequence[NDArray[np.generic]],
    way: Way,
    expected: Expected,
    contract: Contract,
    *,
    near: Sequence[float],
    share: float,
) -> Nearness:
    """Return how near the outputs of one sample come, read in a way, to what was read on the device.

    Args:
      outputs: of the model, in its own types.
      way: how they are read.
      expected: what was read.
      contract: of the model.
      near: that kernels of one family may differ by, of each output, in the unit of what was read.
      share: of the values that may differ at all.
    """
    largest, total, count, other, equal, within = 0.0, 0.0, 0, 0, True, True
    for place, wanted in enumerate(expected.outputs):
        tensor = contract.outputs[place]
        values = read(outputs[place].reshape(-1), way, tensor, contract, first=place == 0, levels=expected.levels)
        if len(values) != len(wanted):
            values = _of_both(values)
        if place == 0:
            values = _labelled(values, way, contract)
            if expected.labels is not None:
                order = [contract.labels.index(label) for label in expected.labels]
                values = values[order]
        if place == 0 and way.labels == "another order":
            values, wanted = np.sort(values), np.sort(wanted)
        apart = np.abs(values - wanted)
        rounding = 0.5 * 10.0**-expected.decimals + _SLACK if not expected.levels else _SLACK
        equal &= bool((apart <= rounding).all())
        within &= bool((apart <= rounding + near[place]).all())
        largest, total, count = max(largest, float(apart.max())), total + float(apart.sum()), count + len(apart)
        other += int((apart > rounding).sum())
    return Nearness(largest=largest, mean=total / count, equal=equal, within=within and other <= share * count)


def read(
    output: NDArray[np.generic], way: Way, tensor: Tensor, contract: Contract, *, first: bool, levels: bool
) -> NDArray[np.float64]:
    """Return an output as a user reads it: levels, or real values and, of labels, probabilities."""
    values = output.astype(np.float64)
    if tensor.scale is not None and tensor.zero_point is not None:
        if way.output == "other sign":
            values = (
                np.where(values < 0, values + 256, values) if tensor.dtype == "int8" else (values + 128) % 256 - 128
            )
        if levels:
            return values
        if way.output == "levels":
            return values
        zero = 0 if way.output == "no zero point" else tensor.zero_point
        values = ((values - zero).astype(np.float32) * np.float32(tensor.scale)).astype(np.float64)
    elif levels:
        return values
    if not first or not contract.labels:
        return values
    logits = contract.head == "logits"
    if logits and way.output != "no softmax":
        values = contract.probabilities(values.astype(np.float32)[np.newaxis])[0].astype(np.float64)
    if way.output == "softmax" and not logits:
        powers = np.exp(values - values.max())
        values = powers / powers.sum()
    return values


def _of_both(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return both probabilities where the model gives that of the second of two classes."""
    return np.concatenate([1 - values, values]) if len(values) == 1 else values


def _labelled(values: NDArray[np.float64], way: Way, contract: Contract) -> NDArray[np.float64]:
    """Return the values in the order in which a wrong list of labels puts them."""
    if way.labels in ("contract", "another order") or len(values) != len(contract.labels):
        return values
    if way.labels == "alphabetical":
        # A value is read under the name that stands in its place of the sorted list; by name that is another order.
        names = sorted(contract.labels)
        return values[[names.index(label) for label in contract.labels]]
    if way.labels == "reversed":
        return values[::-1]
    return np.roll(values, -1 if way.labels == "shifted back" else 1)
