"""How much of each tensor's values lies outside the range that it has in an int8 file, and is cut off there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefm.core.progress import SILENT, Progress
from edgefm.runtimes import apart, litert
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite.float_file import float_file
from edgefm_converters.tflite.operator_layers import operator_layers
from edgefm_converters.tflite.partly_quantised import OperatorPairs


@dataclass(frozen=True, kw_only=True)
class TensorSaturation:
    """One computed tensor.

    Attributes:
      layer: that it comes from; its own name where no layer is known.
      operator: that gives it.
      low: least value that it can hold.
      high: greatest value that it can hold.
      clipped_calibration: share of its values outside, on calibration samples.
      clipped_held_out: the same on held-out samples.
      used: share of the range that the held-out samples' values span; far below 1 wastes levels.
    """

    layer: str
    operator: str
    low: float
    high: float
    clipped_calibration: float
    clipped_held_out: float
    used: float


def saturation(
    float32: bytes,
    int8: bytes,
    *,
    samples: NDArray[np.float32],
    held_out: NDArray[np.float32],
    layer_names: tuple[str, ...] = (),
    progress: Progress = SILENT,
) -> tuple[TensorSaturation, ...]:
    """Return how the values of each computed tensor fit its range, in the order of running.

    Args:
      float32: .tflite file.
      int8: the same graph quantised, with int8 ends.
      samples: float32 [n, ...], n >= 1, some that calibrated.
      held_out: float32 [m, ...], m >= 1, some that did not.
      layer_names: see `operator_layers`.
      progress: told the samples.
    """
    prepared = float_file(float32)
    model = flatbuffer.editable(prepared)
    graph = model.subgraphs[0]
    layers = operator_layers(prepared, layer_names)
    ranges = OperatorPairs(prepared, int8).ranges()
    tensors = {
        int(index): (
            layers.get(place, graph.tensors[index].name.decode()),
            flatbuffer.operator_name(model, operator),
        )
        for place, operator in enumerate(graph.operators)
        for index in operator.outputs
        if index in ranges
    }
    total = len(samples) + len(held_out)
    own = _tally(prepared, samples, ranges, progress=progress, done=0, total=total)
    other = _tally(prepared, held_out, ranges, progress=progress, done=len(samples), total=total)
    return tuple(
        TensorSaturation(
            layer=layer,
            operator=operator,
            low=ranges[index][0],
            high=ranges[index][1],
            clipped_calibration=own[index].share,
            clipped_held_out=other[index].share,
            used=other[index].used(ranges[index]),
        )
        for index, (layer, operator) in tensors.items()
    )


@dataclass
class _Tally:
    values: int = 0
    outside: int = 0
    least: float = np.inf
    most: float = -np.inf

    @property
    def share(self) -> float:
        return self.outside / self.values if self.values else 0.0

    def used(self, limits: tuple[float, float]) -> float:
        """Return the share of a range that the values within it span."""
        low, high = limits
        return float((min(self.most, high) - max(self.least, low)) / (high - low))


def _tally(
    float32: bytes,
    inputs: NDArray[np.float32],
    ranges: dict[int, tuple[float, float]],
    *,
    progress: Progress,
    done: int,
    total: int,
) -> dict[int, _Tally]:
    def told(place: int) -> None:
        progress.step("saturation", done + place, total)

    doing = "running the model in LiteRT"
    tallies = apart.call(
        _tallied, float32, inputs, ranges, size_bytes=len(float32), doing=doing, runs=float32, told=told
    )
    told(len(inputs))
    return tallies


def _tallied(float32: bytes, inputs: NDArray[np.float32], ranges: dict[int, tuple[float, float]]) -> dict[int, _Tally]:
    """Called in the process apart."""
    interpreter = litert.with_all_tensors(float32)
    source = interpreter.get_input_details()[0]["index"]
    tallies = {index: _Tally() for index in ranges}
    for place in range(len(inputs)):
        interpreter.set_tensor(source, inputs[place : place + 1])
        interpreter.invoke()
        for index, tally in tallies.items():
            values = interpreter.get_tensor(index)
            low, high = ranges[index]
            # What is half a step beyond still rounds to the last level.
            slack = (high - low) / 255 / 2
            tally.values += values.size
            tally.outside += int(((values < low - slack) | (values > high + slack)).sum())
            tally.least, tally.most = min(tally.least, float(values.min())), max(tally.most, float(values.max()))
        apart.tell(place + 1)
    return tallies
