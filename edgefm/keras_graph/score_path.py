"""The way to a classifier's scores: the softmax at its end, its last weights, its last convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras

from edgefm.keras_graph.channel_axes import FIRST, channel_axes
from edgefm.keras_graph.graph import Call, Graph

_PICTURE_RANK = 4
_ENDS = ("softmax", "sigmoid", "hard_sigmoid", "log_softmax", "log_sigmoid")
_END_LAYERS = ("Softmax", "Sigmoid", "HardSigmoid", "LogSoftmax", "LogSigmoid")
_PASSES_ON = ("Activation", "ActivityRegularization", "Dropout", "Flatten", "Identity", "Permute", "Reshape", "Squeeze")


def end_of(graph: Graph) -> tuple[Call | None, bool]:
    """Return the call that makes probabilities of scores, and whether it does more: only its activation does that."""
    call = _producer(graph, graph.outputs[0])
    while call is not None:
        kind = type(call.layer).__name__
        name = getattr(getattr(call.layer, "activation", None), "__name__", "")
        if kind in _END_LAYERS or (kind == "Activation" and name in _ENDS):
            return call, False
        if name in _ENDS and isinstance(call.layer, keras.Layer) and not call.shared:
            return call, True
        if kind not in _PASSES_ON or (name and name != "linear"):
            return None, False
        call = graph.producer(call)
    return None, False


def last_weights(graph: Graph) -> Call | None:
    """Return the call that the scores come from: the last one with a matrix of weights on the way to them."""
    call = _producer(graph, graph.outputs[0])
    while call is not None:
        if any(len(weight.shape) > 1 for weight in getattr(call.layer, "weights", ())):
            return call
        call = graph.producer(call)
    return None


def last_convolutions(graph: Graph, end: Call | None) -> list[Call]:
    """Return the calls whose outputs the maps are of, see `edgefm.keras_graph.class_maps`.

    Args:
      graph: of the model.
      end: the call that makes probabilities of scores; none of them is behind it.
    """
    needed = _needed(graph)
    axes = channel_axes(graph)
    followed: set[int] = set()  # calls that another convolution follows
    last: list[Call] = []
    makers = {output: call for call in graph.calls for output in call.outputs}
    for call in reversed(graph.calls):
        if id(call) not in needed:
            continue
        convolution = _is_convolution(call, axes)
        if convolution and id(call) not in followed:
            last.append(call)
        if convolution or id(call) in followed:
            followed |= {id(makers[taken]) for taken in call.inputs if taken in makers}
    moved = (_moved_on(graph, call, needed, axes, end) for call in reversed(last))
    return list({id(call): call for call in moved}.values())


def _needed(graph: Graph) -> set[int]:
    """Return the calls that the first output depends on."""
    makers = {output: call for call in graph.calls for output in call.outputs}
    needed: set[int] = set()
    open_ = [graph.outputs[0]]
    while open_:
        call = makers.get(open_.pop())
        if call is not None and id(call) not in needed:
            needed.add(id(call))
            open_ += call.inputs
    return needed


def _moved_on(graph: Graph, call: Call, needed: set[int], axes: Mapping[int, int | None], end: Call | None) -> Call:
    """Return the last call behind this one that keeps its places: normalisation, activation, a join of branches."""
    while True:
        takers = [taker for taker in graph.consumers(call) if taker is None or id(taker) in needed]
        if len({id(taker) for taker in takers}) != 1 or takers[0] is None:
            return call
        following = takers[0]
        if following is end or len(following.outputs) != 1 or _is_convolution(following, axes):
            return call
        if _places(following, axes) != _places(call, axes):
            return call
        call = following


def _is_convolution(call: Call, axes: Mapping[int, int | None]) -> bool:
    """Return whether a call gives pictures with several places, by a kernel of four dimensions."""
    places = _places(call, axes)
    if places is None or math.prod(places) < 2 or len(call.outputs) != 1:
        return False
    return any(len(weight.shape) == _PICTURE_RANK for weight in getattr(call.layer, "weights", ()))


def _places(call: Call, axes: Mapping[int, int | None]) -> tuple[int, int] | None:
    """Return (height, width) of a call's output, None where it has none."""
    shape, axis = call.output_shape, axes[call.outputs[0]]
    if len(shape) != _PICTURE_RANK or axis is None:
        return None
    height, width = shape[2:] if axis == FIRST else shape[1:3]
    return None if height is None or width is None else (height, width)


def _producer(graph: Graph, tensor: int) -> Call | None:
    return next((call for call in graph.calls if tensor in call.outputs), None)
