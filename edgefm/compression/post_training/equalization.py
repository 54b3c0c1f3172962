"""Cross-layer equalisation: neighbouring linear layers share out their channels' ranges, the function stays the same.

An activation tensor has one int8 scale for all channels: a channel that is a hundred times smaller than another
keeps one or two levels. ReLU commutes with a scale above 0, so that channel i of a layer can be divided by s_i and
the next layer's weights for it multiplied by s_i. With r1_i = max |W1[.., i]| and r2_i = max |W2[i, ..]|,

    s_i = sqrt(r1_i * r2_i) / r2_i

makes both ranges sqrt(r1_i * r2_i). Pairs overlap, hence several rounds.

Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers

from edgefm.keras_graph import affine
from edgefm.keras_graph.affine import Affine, Linear, Vector
from edgefm.keras_graph.folding import ChannelShift
from edgefm.keras_graph.graph import Call, Graph
from edgefm.keras_graph.inference import (
    MAXIMA,
    MEANS,
    Stop,
    activation,
    channels_first,
    does_nothing,
    is_linear,
    is_relu,
    linear_of,
    positions,
)

ROUNDS = 20
# A round that moves no channel by more than this factor is the last one.
SETTLED = 1.01
_MOVE_VALUES = (
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.UpSampling1D,
    layers.UpSampling2D,
)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two linear layers with nothing between that a scale would not pass.

    Attributes:
      first: gives the channels.
      second: takes them.
      shifts: ChannelShift calls between, which are scaled too.
      repeats: how often a flattened input repeats the channels.
    """

    first: Call
    second: Call
    shifts: tuple[Call, ...]
    repeats: int


def equalize(model: Any, *, rounds: int = ROUNDS) -> tuple[Any, dict[str, Any]]:
    """Return a new keras.Model that computes the same with its channels' ranges equalised, and a report as JSON.

    Args:
      model: built Functional or Sequential model whose batch normalisation is folded; it is not changed.
      rounds: at most so many passes over the pairs.
    Returns:
      the model, its outputs equal up to the rounding of float32; `pairs` (first, second, and how far their channels'
      ranges lie apart before and after: the greatest over the least), `left_out` (layer, reason), `rounds`.
    Raises:
      ModelError: a subclassed model or one without input shape.
    """
    graph = Graph(model)
    pairs: list[_Pair] = []
    left_out: list[dict[str, str]] = []
    for call in graph.calls:
        if is_linear(call):
            next_pair = _pair(graph, call)
            if isinstance(next_pair, Stop):
                left_out.append({"layer": call.name, "reason": next_pair.reason})
            else:
                pairs.append(next_pair)
    weights = {call: linear_of(call) for pair in pairs for call in (pair.first, pair.second)}
    shifts = {call: np.asarray(call.layer.shift, np.float64) for pair in pairs for call in pair.shifts}
    before = [_spread(weights, pair) for pair in pairs]
    balanced = 0
    while balanced < rounds and pairs:
        balanced += 1
        moved = max(_balance(weights, shifts, pair) for pair in pairs)
        if moved <= SETTLED:
            break
    report = {
        "pairs": [
            {
                "first": pair.first.name,
                "second": pair.second.name,
                "spread_before": old,
                "spread_after": _spread(weights, pair),
            }
            for pair, old in zip(pairs, before, strict=True)
        ],
        "left_out": left_out,
        "rounds": balanced,
    }
    changed: dict[Call, list[Vector]] = {call: [shift] for call, shift in shifts.items()}
    for call, linear in weights.items():
        changed[call] = [*linear.kernels, *([linear.bias] if call.layer.use_bias else [])]
    return graph.with_weights(changed), report


def _pair(graph: Graph, first: Call) -> _Pair | Stop:
    """Return the pair that a linear layer begins, or why there is none."""
    if first.shared:
        return Stop("it is called more than once")
    if activation(first) == "other":
        return Stop(f"its activation {_activation_name(first.layer)} does not commute with a scale")
    shifts: list[Call] = []
    call, repeats = first, 1
    while True:
        takers = graph.consumers(call)
        if len(takers) != 1:
            return Stop(f"more than one layer takes the output of {call.name}")
        later = takers[0]
        if later is None:
            return Stop("it gives the output of the model")
        if later.shared:
            return Stop(f"{later.name} is called more than once")
        if channels_first(later):
            return Stop(f"{later.name} has its channels first")
        if is_linear(later):
            return _Pair(first=first, second=later, shifts=tuple(shifts), repeats=repeats)
        if type(later.layer) is layers.Flatten:
            length = positions(later)
            if length is None:
                return Stop(f"the shape before {later.name} is not fixed")
            repeats *= length
        elif type(later.layer) is ChannelShift and repeats == 1:
            shifts.append(later)
        elif type(later.layer) is layers.ReLU and later.layer.max_value is not None:
            return Stop(f"the ceiling of {later.name} (ReLU, {later.layer.max_value:g}) does not commute with a scale")
        elif type(later.layer) is layers.Activation and activation(later) == "other":
            return Stop(f"{later.name} ({_activation_name(later.layer)}) does not commute with a scale")
        elif not _commutes(later):
            return Stop(f"{later.name} ({type(later.layer).__name__}) follows it")
        call = later


def _commutes(call: Call) -> bool:
    """Return whether a layer gives s * f(x) for s * x, s > 0 per channel, and leaves the channels in place."""
    return (
        does_nothing(call)
        or is_relu(call)
        or isinstance(call.layer, (*MAXIMA, *MEANS))
        or type(call.layer) in _MOVE_VALUES
    )


def _activation_name(layer: Any) -> str:
    return str(getattr(layer.activation, "__name__", layer.activation))


def _ranges(weights: Mapping[Call, Linear], pair: _Pair) -> tuple[Vector, Vector]:
    """Return the greatest |weight| of each channel in the first layer, and in the second."""
    first, second = weights[pair.first], weights[pair.second]
    last = np.abs(first.kernels[-1])
    # A depthwise kernel's outputs lie on its last two axes, any other's on the last one.
    first_ranges = last.reshape(-1, first.bias.size).max(axis=0)
    taken = np.abs(second.kernels[0])
    if second.kind == "conv":
        # Outputs lie group by group; a group sees its own input channels only.
        by_group = taken.reshape(-1, taken.shape[-2], second.groups, taken.shape[-1] // second.groups)
        of_channel = by_group.max(axis=(0, 3)).T.reshape(-1)
    else:
        of_channel = taken.reshape(-1, *taken.shape[-2:]).max(axis=(0, 2))
    return first_ranges, of_channel.reshape(pair.repeats, -1).max(axis=0)


def _balance(weights: dict[Call, Linear], shifts: dict[Call, Vector], pair: _Pair) -> float:
    """Equalise one pair in place, and return the greatest factor by which a channel moved."""
    first_ranges, taken = _ranges(weights, pair)
    alive = (first_ranges > 0) & (taken > 0)
    scale = np.ones_like(first_ranges)
    scale[alive] = np.sqrt(first_ranges[alive] * taken[alive]) / taken[alive]
    nothing = np.zeros_like(scale)
    weights[pair.first] = affine.then(weights[pair.first], Affine(scale=1 / scale, shift=nothing))
    up = Affine(scale=scale, shift=nothing).times(pair.repeats)
    weights[pair.second] = affine.after(up, weights[pair.second])
    for call in pair.shifts:
        shifts[call] = shifts[call] / scale
    return float(np.maximum(scale, 1 / scale).max())


def _spread(weights: Mapping[Call, Linear], pair: _Pair) -> float:
    """Return how many times the widest channel of the first layer is wider than its narrowest that is not dead."""
    first_ranges, taken = _ranges(weights, pair)
    alive = first_ranges[(first_ranges > 0) & (taken > 0)]
    return float(alive.max() / alive.min()) if alive.size else 1.0
