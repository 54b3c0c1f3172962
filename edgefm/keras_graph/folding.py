"""Exact folding of BatchNormalization and Rescaling into the layers around them, without retraining.

At inference a batch normalisation is an affine map of each channel, y = s * x + t with
s = gamma / sqrt(var + eps) and t = beta - mean * s. It is folded, in this order of preference:

1. back into the linear layer before it (Conv -> BN): both s and t;
2. where an activation stands between (Conv -> ReLU -> BN): s goes back, because ReLU commutes with s >= 0; t
   goes on through pooling and flattening into the next layer's bias, or is added where a zero-padded
   convolution stops it;
3. forward into the linear layer behind it (BN -> pooling -> Flatten -> Dense): both.

A zero-padded convolution takes no shift: its zeros would have to become -t / s. Layers that do nothing at
inference (dropout) are removed. What is left as it was is reported with the reason.

Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2 (rule 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from edgefm.keras_graph import affine
from edgefm.keras_graph.affine import Affine, Linear, Vector
from edgefm.keras_graph.graph import Call, Graph, call_copy, is_graph
from edgefm.keras_graph.inference import (
    MAXIMA,
    MEANS,
    Stop,
    activation,
    affine_of,
    channels_first,
    does_nothing,
    is_linear,
    is_relu,
    linear_of,
    pads_nothing,
    pads_zeros,
    positions,
)


@keras.saving.register_keras_serializable(package="edgefm")
class ChannelShift(layers.Layer):
    """Adds a constant to each channel: y = x + shift, float32 [channels]."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weight `shift`, zeros."""
        self.shift = self.add_weight(name="shift", shape=(input_shape[-1],), initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        """Return inputs + shift."""
        return inputs + keras.ops.cast(self.shift, inputs.dtype)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One layer that was folded or removed: `what` says where to."""

    layer: str
    what: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One layer that stays as it was, and why."""

    layer: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FoldReport:
    """What folding did to each layer that it looked at."""

    folded: tuple[Fold, ...]
    left_out: tuple[LeftOut, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self)


def fold(model: Any, *, rescaling: bool = True) -> tuple[Any, FoldReport]:
    """Return a new keras.Model that computes the same at inference, and what was folded.

    Args:
      model: built Functional or Sequential model; it is not changed. Names of layers are kept.
      rescaling: fold a Rescaling that takes the model's input, too. Without it the weights behind it stay of a
        size that can be trained: 1 / 255 folded into a kernel would have to be met by the learning rate.
    Returns:
      a Functional model with its own weights, equal up to the rounding of float32; the report.
    Raises:
      ModelError: a subclassed model or one without input shape.
    """
    plan = _Plan(Graph(model))
    for call in plan.graph.calls:
        if does_nothing(call):
            plan.remove(call, "removed: it does nothing at inference")
    for call in plan.graph.calls:
        if type(call.layer) is layers.Rescaling and not rescaling and plan.graph.producer(call) is None:
            continue
        if type(call.layer) in (layers.BatchNormalization, layers.Rescaling):
            plan.place(call)
        elif is_graph(call.layer):
            reason = "a model within the model that is called more than once, or shares names of layers with it"
            plan.left_out.append(LeftOut(layer=call.name, reason=reason))
    return plan.rebuild(), FoldReport(folded=tuple(plan.folded), left_out=tuple(plan.left_out))


@dataclass(frozen=True, kw_only=True)
class _Before:
    """The linear layer before an affine map, and whether an activation stands between."""

    call: Call
    activated: bool


@dataclass(frozen=True, kw_only=True)
class _Ahead:
    """The linear layer behind an affine map, and how often a flattened input repeats the channels."""

    call: Call
    repeats: int


class _Plan:
    """The changes to a graph that folding will make."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.folded: list[Fold] = []
        self.left_out: list[LeftOut] = []
        self.removed: set[Call] = set()
        self.weights: dict[Call, Linear] = {}
        self.shifts: dict[Call, Vector] = {}

    def remove(self, call: Call, what: str) -> None:
        """Take a call out of the graph and say what became of it."""
        self.removed.add(call)
        self.folded.append(Fold(layer=call.name, what=what))

    def place(self, call: Call) -> None:
        """Fold one affine call the best way there is, or note why not."""
        own = affine_of(call)
        if isinstance(own, Stop):
            self.left_out.append(LeftOut(layer=call.name, reason=own.reason))
            return
        before = self._before(call, own)
        if isinstance(before, _Before):
            self._fold_back(call, own, before)
            return
        ahead, _ = self._ahead(call, own)
        if isinstance(ahead, _Ahead):
            self._absorb(ahead, own)
            self.remove(call, f"{'scale and shift' if own.shift.any() else 'scale'} into {ahead.call.name}")
            return
        self.left_out.append(LeftOut(layer=call.name, reason=f"{before.reason}; {ahead.reason}"))

    def _fold_back(self, call: Call, own: Affine, before: _Before) -> None:
        target = before.call
        if not before.activated:
            self.weights[target] = affine.then(self._linear(target), own)
            self.remove(call, f"scale and shift into {target.name}")
            return
        zero = np.zeros_like(own.shift)
        self.weights[target] = affine.then(self._linear(target), Affine(scale=own.scale, shift=zero))
        if not own.shift.any():
            self.remove(call, f"scale into {target.name}")
            return
        rest = Affine(scale=np.ones_like(own.scale), shift=own.shift)
        ahead, place = self._ahead(call, rest)
        if isinstance(ahead, _Ahead):
            self._absorb(ahead, rest)
            self.remove(call, f"scale into {target.name}, shift into {ahead.call.name}")
            return
        self.shifts[place] = self.shifts.get(place, zero) + own.shift
        where = "in its place" if place is call else f"after {place.name}"
        self.remove(call, f"scale into {target.name}, shift added {where}: {ahead.reason}")

    def _absorb(self, ahead: _Ahead, own: Affine) -> None:
        self.weights[ahead.call] = affine.after(own.times(ahead.repeats), self._linear(ahead.call))

    def _before(self, call: Call, own: Affine) -> _Before | Stop:
        """Return the linear layer from which only `call` takes, through what the scale commutes with."""
        activated = False
        while True:
            earlier = self.graph.producer(call)
            if earlier is None:
                return Stop("no layer stands before it")
            if len(self.graph.consumers(earlier)) > 1:
                return Stop(f"the output of {earlier.name} is also taken by another layer")
            if earlier in self.shifts:
                return Stop(f"a shift is added after {earlier.name}")
            if earlier.shared:
                return Stop(f"{earlier.name} is called more than once")
            if channels_first(earlier):
                return Stop(f"{earlier.name} has its channels first")
            call = earlier
            if earlier in self.removed:
                continue
            if isinstance(earlier.layer, MAXIMA) or is_relu(earlier):
                if not own.keeps_order:
                    return Stop(f"a scale is negative and does not commute with {earlier.name}")
                activated = activated or is_relu(earlier)
            elif isinstance(earlier.layer, MEANS) and pads_nothing(earlier):
                pass
            elif is_linear(earlier):
                kind = activation(earlier)
                if kind == "other":
                    return Stop(f"the activation of {earlier.name} does not commute with a scale")
                if kind == "relu" and not own.keeps_order:
                    return Stop(f"a scale is negative and does not commute with the ReLU of {earlier.name}")
                return _Before(call=earlier, activated=activated or kind == "relu")
            else:
                return Stop(f"{earlier.name} ({type(earlier.layer).__name__}) stands before it")

    def _ahead(self, call: Call, own: Affine) -> tuple[_Ahead | Stop, Call]:
        """Return the linear layer that can take the map whole, and the last place where a shift can rest."""
        rest, repeats = call, 1
        while True:
            takers = self.graph.consumers(call)
            if len(takers) != 1:
                return Stop(f"more than one layer takes the output of {call.name}"), rest
            later = takers[0]
            if later is None:
                return Stop("it is the output of the model"), rest
            if later.shared:
                return Stop(f"{later.name} is called more than once"), rest
            if later in self.removed and later not in self.shifts:
                pass
            elif isinstance(later.layer, MAXIMA) or (isinstance(later.layer, MEANS) and pads_nothing(later)):
                if channels_first(later):
                    return Stop(f"{later.name} has its channels first"), rest
                if isinstance(later.layer, MAXIMA) and not own.keeps_order:
                    return Stop(f"a scale is negative and does not commute with {later.name}"), rest
                rest = later if repeats == 1 else rest
            elif type(later.layer) is layers.Flatten and not channels_first(later):
                length = positions(later)
                if length is None:
                    return Stop(f"the shape before {later.name} is not fixed"), rest
                repeats *= length
            elif is_linear(later):
                if own.shift.any() and pads_zeros(later):
                    return Stop(f"{later.name} pads with zeros, which a shift would have to change"), rest
                return _Ahead(call=later, repeats=repeats), rest
            else:
                return Stop(f"{later.name} ({type(later.layer).__name__}) stands behind it"), rest
            if later in self.shifts:
                return Stop(f"a shift is already added after {later.name}"), rest
            call = later

    def _linear(self, call: Call) -> Linear:
        return self.weights.get(call) or linear_of(call)

    def rebuild(self) -> Any:
        """Return the new model."""
        copies: dict[int, Any] = {}

        def call_with(call: Call, first: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
            if call in self.removed:
                output = first
            elif call in self.weights:
                linear = self.weights[call]
                output = call_copy(
                    call,
                    args,
                    kwargs,
                    copies=copies,
                    config={"use_bias": True},
                    weights=[array.astype(np.float32) for array in (*linear.kernels, linear.bias)],
                )
            else:
                output = call_copy(call, args, kwargs, copies=copies)
            if call in self.shifts:
                shift = ChannelShift(name=f"{call.name}_shift")
                output = shift(output)
                shift.set_weights([self.shifts[call].astype(np.float32)])
            return output

        return self.graph.rebuild(call_with)
