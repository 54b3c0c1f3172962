"""How far rounding alone may carry right answers to one model apart: by its depth, and by its last function.

Two runtimes that round otherwise part by one level in a few values of the first layer. Each layer behind adds its own
rounding to what it is given, so differences grow as sums of many small independent ones do: with the square root of
their number. Measured in 110 parts of ResNet-8, MobileNetV1 0.25 and 20 convolutions in a row, random and trained, 20
samples (`python -m benchmarks.rounding_depth`): the largest difference of any two of five right runtimes is at most
2.2 x sqrt(depth) levels. A softmax behind makes that more: where it is undecided, one level of its input is many of
its output. docs/adr/0020 says what follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgefm.tflite.inspection import Inspection

# Of the model whose answers the limits of `edgefm.agreement.families` were measured on (tests/fixtures/measured_model).
_MEASURED_DEPTH, _MEASURED_GAIN = 9, 3.83
# Times sqrt(depth): two right runtimes were seen to lie 2.2 apart at most.
_ENVELOPE = 3.0
# They move values, or take the largest of some: nothing is rounded where the scale stays.
_MOVING = frozenset(
    {
        "BATCH_TO_SPACE_ND",
        "BROADCAST_TO",
        "CONCATENATION",
        "DEPTH_TO_SPACE",
        "DEQUANTIZE",
        "EXPAND_DIMS",
        "FILL",
        "GATHER",
        "GATHER_ND",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MINIMUM",
        "MIRROR_PAD",
        "PACK",
        "PAD",
        "PADV2",
        "QUANTIZE",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RELU",
        "RELU6",
        "RESHAPE",
        "RESIZE_NEAREST_NEIGHBOR",
        "REVERSE_V2",
        "SELECT",
        "SELECT_V2",
        "SLICE",
        "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SPLIT_V",
        "SQUEEZE",
        "STRIDED_SLICE",
        "TILE",
        "TRANSPOSE",
        "UNPACK",
    }
)
# Real change of an output that a change of 1 of each input can make: of a softmax sum |dp/dz| = 2 p (1 - p) <= 1/2.
_STEEPNESS = {"SOFTMAX": 0.5, "LOGISTIC": 0.25, "TANH": 1.0}


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How much rounding a model piles up.

    Attributes:
      depth: operators that round, on the path from an input that has most of them.
      gain: levels of an output that one level at the last softmax, sigmoid or tanh can become; at least 1.
    """

    depth: int
    gain: float

    @property
    def factor(self) -> float:
        """How much further apart answers may lie than those of the model that limits were measured on; at least 1."""
        return math.sqrt(max(1.0, self.depth / _MEASURED_DEPTH)) * max(1.0, self.gain / _MEASURED_GAIN)

    @property
    def reason(self) -> str:
        """What the factor comes from, in words."""
        return (
            f"{self.factor:.2g} times that: {self.depth} rounding operators in a row (there {_MEASURED_DEPTH}), "
            f"{self.gain:.2g} levels of the output for one before the last function (there {_MEASURED_GAIN:.2g})"
        )

    @property
    def envelope(self) -> float:
        """Levels of an output beyond which no rounding explains a difference of two right runtimes."""
        return _ENVELOPE * math.sqrt(max(1, self.depth)) * self.gain


MEASURED = Rounding(depth=_MEASURED_DEPTH, gain=_MEASURED_GAIN)


def rounding(inspection: Inspection) -> Rounding:
    """Return how much rounding a quantised model piles up, told from its graph and scales."""
    depth: dict[int, int] = {}
    gain: dict[int, float] = {}
    for operator in inspection.operators:
        before = max((depth.get(index, 0) for index in operator.inputs), default=0)
        steeper = max((gain.get(index, 1.0) for index in operator.inputs), default=1.0)
        scales = [_scale(inspection, index) for index in (operator.inputs[:1] + operator.outputs[:1])]
        moving = operator.name in _MOVING and (None in scales or len(set(scales)) == 1)
        for index in operator.outputs:
            depth[index] = before if moving else before + 1
            gain[index] = steeper if moving else _gain(operator.name, scales)
    return Rounding(
        depth=max((depth.get(index, 0) for index in inspection.outputs), default=0),
        gain=max((gain.get(index, 1.0) for index in inspection.outputs), default=1.0),
    )


def _gain(name: str, scales: list[float | None]) -> float:
    if name not in _STEEPNESS or len(scales) < 2 or scales[0] is None or not scales[1]:
        return 1.0
    return max(1.0, _STEEPNESS[name] * scales[0] / scales[1])


def _scale(inspection: Inspection, index: int) -> float | None:
    quantization = inspection.tensors[index].quantization
    return quantization.scale_range[0] if quantization is not None and quantization.scales == 1 else None
