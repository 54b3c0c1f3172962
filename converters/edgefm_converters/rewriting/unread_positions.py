"""Convolutions that compute rows and columns which the pooling behind them never reads compute them no more.

A pooling of 2 x 2 takes 6 x 6 of 7 x 7 positions. The padding becomes a PAD of what the positions that are read need,
which XNNPACK merges into the convolution, and the convolution pads no more. The Enhanced CNN's third convolution then
has 36 positions instead of 49.

Such a pooling has no padding: padding would read the last row. Where an input's own last row is not read, as behind
a convolution without padding, nothing is changed: leaving it out would take an operator of its own.
"""

from __future__ import annotations

from typing import Any

from edgefm_converters.rewriting.editing import VALID, Editing
from edgefm_converters.rewriting.pooled_convolution import Axis, PooledConvolution, pooled_convolutions


def leave_out_unread_positions(editing: Editing) -> list[dict[str, Any]]:
    """Rewrite a graph where it computes positions that are not read; return what was done, as JSON."""
    return [_rewrite(editing, found) for found in pooled_convolutions(editing) if _lengths(found) is not None]


def _rewrite(editing: Editing, found: PooledConvolution) -> dict[str, Any]:
    lengths = _lengths(found)
    assert lengths is not None
    height, width = lengths
    convolution = found.convolution
    source, result = int(convolution.inputs[0]), int(convolution.outputs[0])
    before = (found.height.before, found.width.before)
    after = (_after(found.height, height), _after(found.width, width))
    padding, padded = editing.pad(source, before, after, "_padded")
    place = editing.graph.operators.index(convolution)
    editing.graph.operators[place:place] = padding
    convolution.inputs = [padded, *list(convolution.inputs)[1:]]
    convolution.builtinOptions.padding = VALID
    channels = editing.shape(result)[3]
    editing.tensor(result).shape = [1, height, width, channels]
    return {
        "rewrite": "unread_positions",
        "operator": editing.name(convolution),
        "computed": [found.height.computed, found.width.computed],
        "read": [height, width],
    }


def _lengths(found: PooledConvolution) -> tuple[int, int] | None:
    """Return the height and width to compute, or None where nothing can be left out."""
    height, width = (_length(axis) for axis in (found.height, found.width))
    whole = (found.height.computed, found.width.computed)
    return (height, width) if (height, width) != whole else None


def _length(axis: Axis) -> int:
    """Return how much to compute along an axis: what is read, or all where the input would have to be cut."""
    after = _after(axis, axis.read)
    reached = (axis.before + axis.size + after - axis.kernel) // axis.stride + 1
    return axis.read if reached == axis.read else axis.computed


def _after(axis: Axis, length: int) -> int:
    """Return the padding at the end that so many positions need."""
    return max(0, (length - 1) * axis.stride + axis.kernel - axis.before - axis.size)
