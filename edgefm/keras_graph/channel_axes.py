"""On which axis the channels of pictures [n, ...] are, at each place in a graph.

Layers with a `data_format` say it. What has none (normalisation, activations, joins, operations) keeps the axis of what
it takes, but for permutations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.keras_graph.graph import Call, Graph

FIRST, LAST = 1, 3
_PICTURE_RANK = 4
_MARKS = np.empty((2, 3, 5, 7))  # axes that can be told apart by their length


def channel_axes(graph: Graph) -> dict[int, int | None]:
    """Return FIRST or LAST for each tensor by its identity; None where rows and columns have changed places."""
    axes: dict[int, int | None] = dict.fromkeys(map(id, graph.model.inputs), input_axis(graph))
    for call in graph.calls:
        axis = _own_axis(call.layer)
        if axis is None:
            pictures = [
                axes.get(tensor, LAST)
                for tensor, shape in zip(call.inputs, call.input_shapes, strict=False)
                if len(shape) == _PICTURE_RANK
            ]
            axis = _turned(call, pictures[0]) if pictures else LAST
        axes |= dict.fromkeys(call.outputs, axis)
    return axes


def input_axis(graph: Graph) -> int:
    """Return FIRST or LAST for the first input of a model: what the first layers say that take it as it is."""
    as_given = {id(graph.model.inputs[0])}
    for call in graph.calls:
        if as_given.isdisjoint(call.inputs):
            continue
        axis = _own_axis(call.layer)
        if axis is not None:
            return axis
        if _order(call) is None:
            as_given |= set(call.outputs)
    return LAST


def takes_channels_first(layer: Any) -> bool:
    """Return whether a layer says that its channels are on axis 1."""
    return _own_axis(layer) == FIRST


def _own_axis(layer: Any) -> int | None:
    """Return what a layer, or all layers in it, say; None where they say nothing, or not the same."""
    parts = layer._flatten_layers() if hasattr(layer, "_flatten_layers") else [layer]
    said = {str(getattr(part, "data_format", None)) for part in parts} - {"None"}
    return {"channels_first": FIRST, "channels_last": LAST}.get(said.pop()) if len(said) == 1 else None


def _turned(call: Call, axis: int | None) -> int | None:
    order = _order(call)
    if order is None or axis is None:
        return axis
    rows, columns = (2, 3) if axis == FIRST else (1, 2)
    new = order.index(axis)
    return new if new in (FIRST, LAST) and order.index(rows) < order.index(columns) else None


def _order(call: Call) -> list[int] | None:
    """Return the axes of what a call takes in the order in which it gives them; None where it does not permute them."""
    layer, kind = call.layer, type(call.layer).__name__
    if len(call.input_shape) != _PICTURE_RANK:
        return None
    moved: NDArray[Any]
    if kind == "Permute":
        moved = _MARKS.transpose(0, *layer.dims)
    elif kind == "Transpose":
        moved = _MARKS.transpose(layer.axes)
    elif kind == "Moveaxis":
        moved = np.moveaxis(_MARKS, layer.source, layer.destination)
    elif kind == "Swapaxes":
        moved = _MARKS.swapaxes(layer.axis1, layer.axis2)
    else:
        return None
    return [_MARKS.shape.index(length) for length in moved.shape]
