"""Where one int8 scale would have to serve values of very different ranges, found before anything is quantised.

TFLite asks for one scale at all ends of some operators: the inputs of CONCATENATION, PACK, MAXIMUM, MINIMUM and SELECT
have the output's, the outputs of SPLIT, UNPACK, SLICE, STRIDED_SLICE and GATHER have the input's. A score from 0 to 1
that is joined to boxes in pixels from 0 to 1,000 then has one level left. Such an operator stays float32, with all
that works on the joined values up to the next operator that mixes them, since its output has a range of its own.
Source: https://ai.google.dev/edge/litert/models/quantization_spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefm.tflite import flatbuffer
from edgefm_converters.tflite.operator_layers import TracedOperator, traced_operators

# Fewer levels than this of a scheme's 255 or 65,535, and a range counts as lost.
FEWEST_LEVELS = 16
_JOINS = ("CONCATENATION", "PACK", "MAXIMUM", "MINIMUM", "SELECT", "SELECT_V2")
_PARTS = ("SPLIT", "SPLIT_V", "UNPACK", "SLICE", "STRIDED_SLICE", "GATHER")
# A constant in these is a bound, such as the 0 of max(x, 0), and not a branch.
_BOUNDED = ("MAXIMUM", "MINIMUM", "SELECT", "SELECT_V2")
# Each of their outputs depends on all channels of the input, or has levels that TFLite fixes.
_MIXES = (
    "CONV_2D",
    "CONV_3D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
    "BATCH_MATMUL",
    "SOFTMAX",
    "LOG_SOFTMAX",
    "LOGISTIC",
    "ARG_MAX",
    "ARG_MIN",
)

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class LostRange:
    """A tensor that would have too few levels.

    Attributes:
      name: of the layer that it comes from, or of the tensor.
      range: of its values in calibration, 0 within.
      levels: that it would have in the shared range.
    """

    name: str
    range: Range
    levels: float


@dataclass(frozen=True, kw_only=True)
class SharedScale:
    """An operator at which one scale cannot serve all.

    Attributes:
      operator: its index in the file.
      kind: e.g. 'CONCATENATION'.
      layer: Keras layer that it comes from, or the name of its output.
      range: that would be shared, 0 within.
      lost: the tensors that would have too few levels.
      float_operators: indices of what stays float32 for it, itself within.
      float_layers: their layers, as far as they are known.
    """

    operator: int
    kind: str
    layer: str
    range: Range
    lost: tuple[LostRange, ...]
    float_operators: tuple[int, ...]
    float_layers: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What is wrong and what is done, for people."""
        return sentence(self.layer, self.range, self.lost)

    def to_json(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return {
            "operator": self.kind,
            "layer": self.layer,
            "range": list(self.range),
            "lost": [{"name": one.name, "range": list(one.range), "levels": one.levels} for one in self.lost],
            "float32": list(self.float_layers),
        }


def sentence(layer: str, shared: Range, lost: Iterable[LostRange]) -> str:
    """Return in words what one scale would lose.

    >>> print(sentence("joined", (-300, 900), [LostRange(name="score", range=(0, 1), levels=0.2)]))
    'joined' stays float32: in its range of -300 to 900, 'score' (0 to 1) would have less than 1 level
    """
    parts = [
        f"'{one.name}' ({one.range[0]:.4g} to {one.range[1]:.4g}) would have {_levels(one.levels)}" for one in lost
    ]
    return f"'{layer}' stays float32: in its range of {shared[0]:.4g} to {shared[1]:.4g}, {', '.join(parts)}"


def _levels(levels: float) -> str:
    return "less than 1 level" if levels < 1 else f"{int(levels)} level{'s' if int(levels) > 1 else ''}"


def shared_scales(
    float32: bytes, ranges: Mapping[str, Any], *, bits: int, layer_names: Sequence[str] = ()
) -> tuple[SharedScale, ...]:
    """Return the operators of a float file at which one scale would lose a range, in the order of running.

    Args:
      float32: as `float_file` gives it.
      ranges: of its tensors over calibration samples: {name: {'min': array, 'max': array}}.
      bits: of the activations, 8 or 16.
      layer_names: see `operator_layers`.
    """
    graph = _Graph(float32, ranges, layer_names)
    steps = 2**bits - 1
    shared = []
    for index, operator in enumerate(graph.operators):
        kind = graph.kinds[index]
        if kind in _JOINS:
            shares, whole = graph.joined(index), operator.outputs[0]
        elif kind in _PARTS and operator.inputs[_input_of(kind)] in graph.made_by:
            shares, whole = [int(output) for output in operator.outputs], int(operator.inputs[_input_of(kind)])
        else:
            continue
        limits = graph.limits([int(whole), *shares])
        lost = graph.lost(shares, limits, steps)
        if lost:
            kept = graph.behind(index, limits, steps) if kind in _JOINS else graph.before(index)
            shared.append(
                SharedScale(
                    operator=index,
                    kind=kind,
                    layer=graph.name(int(operator.outputs[0])),
                    range=limits,
                    lost=lost,
                    float_operators=tuple(sorted(kept)),
                    float_layers=tuple(
                        dict.fromkeys(layer for place in sorted(kept) for layer in graph.traced[place].layers)
                    ),
                )
            )
    return tuple(shared)


def operators_of(float32: bytes, shared: Iterable[SharedScale]) -> tuple[TracedOperator, ...]:
    """Return the operators that stay float32 for some findings."""
    kept = {index for one in shared for index in one.float_operators}
    return tuple(operator for operator in traced_operators(float32) if operator.index in kept)


def lost_ranges(
    shares: Mapping[str, Range], shared: Range, *, steps: int, fewest: float = FEWEST_LEVELS
) -> tuple[LostRange, ...]:
    """Return those of some ranges that keep fewer than `fewest` levels in a shared one.

    >>> [one.name for one in lost_ranges({"box": (-300, 900), "score": (0, 1)}, (-300, 900), steps=255)]
    ['score']
    """
    width = shared[1] - shared[0]
    levels = {name: steps * (high - low) / width if width > 0 else float(steps) for name, (low, high) in shares.items()}
    return tuple(
        LostRange(name=name, range=shares[name], levels=round(levels[name], 3))
        for name in shares
        if 0 < levels[name] < fewest
    )


def _input_of(kind: str) -> int:
    return 1 if kind == "SPLIT" else 0


class _Graph:
    """The float file's operators, who makes and who takes each tensor, and the ranges of what is computed."""

    def __init__(self, float32: bytes, ranges: Mapping[str, Any], layer_names: Sequence[str]) -> None:
        model = flatbuffer.editable(float32)
        graph = model.subgraphs[0]
        self.tensors = graph.tensors
        self.operators = graph.operators
        self.inputs = {int(index) for index in graph.inputs}
        self.kinds = [flatbuffer.operator_name(model, operator) for operator in graph.operators]
        self.traced = traced_operators(float32, layer_names)
        self.made_by = {int(out): place for place, operator in enumerate(graph.operators) for out in operator.outputs}
        self.buffers = model.buffers
        self._ranges = ranges

    def joined(self, index: int) -> list[int]:
        """Return the float inputs of an operator whose ranges count."""
        operator = self.operators[index]
        floats = [int(i) for i in operator.inputs if i >= 0 and flatbuffer.dtype(self.tensors[i]) == "float32"]
        if self.kinds[index] not in _BOUNDED:
            return floats
        computed = [i for i in floats if i in self.made_by or i in self.inputs]
        return computed if len(computed) > 1 else []

    def range(self, tensor: int) -> Range | None:
        """Return the range of a tensor, 0 within; None where it is not known."""
        stored = self.buffers[self.tensors[tensor].buffer].data
        if stored is not None and tensor not in self.made_by and tensor not in self.inputs:
            values = np.asarray(stored, np.uint8).view("<f4")
            low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        else:
            measured = self._ranges.get(flatbuffer.text(self.tensors[tensor].name))
            if not measured:
                return None
            low, high = float(np.min(measured["min"])), float(np.max(measured["max"]))
        return min(low, 0.0), max(high, 0.0)

    def limits(self, tensors: Iterable[int]) -> Range:
        """Return the least range that holds some tensors."""
        known = [limits for tensor in tensors if (limits := self.range(tensor)) is not None]
        return min((low for low, _ in known), default=0.0), max((high for _, high in known), default=0.0)

    def lost(self, shares: Sequence[int], limits: Range, steps: int) -> tuple[LostRange, ...]:
        """Return the shares that would have too few levels."""
        lost: list[LostRange] = []
        for tensor in shares:
            own = self.range(tensor)
            if own is not None:
                lost += lost_ranges({self.name(tensor): own}, limits, steps=steps)
        return tuple(lost)

    def name(self, tensor: int) -> str:
        """Return the layer that a tensor comes from, or its name."""
        layers = self.traced[self.made_by[tensor]].layers if tensor in self.made_by else ()
        return layers[0] if layers else flatbuffer.text(self.tensors[tensor].name)

    def behind(self, index: int, limits: Range, steps: int) -> set[int]:
        """Return an operator and those that take its values, up to the next ones that mix them."""
        kept, todo = {index}, [int(output) for output in self.operators[index].outputs]
        while todo:
            tensor = todo.pop()
            for place, operator in enumerate(self.operators):
                if place in kept or tensor not in list(operator.inputs):
                    continue
                kept.add(place)
                if self.kinds[place] not in _MIXES:
                    todo += [int(out) for out in operator.outputs if not self._parted(place, int(out), limits, steps)]
        return kept

    def before(self, index: int) -> set[int]:
        """Return an operator and those that its values come through, from the last one that mixes them."""
        kept = {index}
        todo = [int(self.operators[index].inputs[_input_of(self.kinds[index])])]
        while todo:
            place = self.made_by.get(todo.pop())
            if place is not None and place not in kept:
                kept.add(place)
                if self.kinds[place] not in _MIXES:
                    todo += [int(i) for i in self.operators[place].inputs if i >= 0]
        return kept

    def _parted(self, place: int, output: int, limits: Range, steps: int) -> bool:
        """Return whether an operator's output is the small part alone."""
        return self.kinds[place] in _PARTS and bool(self.lost([output], limits, steps))
