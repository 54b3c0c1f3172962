"""A convolution of one or two input channels with a 2 x 2 maximum behind it as a product of patches.

XNNPACK's int8 kernels take eight input channels at a time: with one channel, seven of eight products are by zero.
Instead, each patch of (kernel + 1) x (kernel + 1) pixels, all that the four positions under one maximum need, becomes
the channels of one position. A convolution of 1 x 1 computes the four positions ("phases") as four times the filters,
and the maximum goes over the phases:

    before: CONV 3x3, 1 -> 32 channels, 28 x 28 positions; MAX_POOL 2x2
    after:  RESHAPE to 28 x 7 x 4, blocks of four columns (no work)
            CONV 4x3, 4 -> 2 x 16 channels: a weight of 1 for each pixel of two patches; RESHAPE to 14 x 14 x 16
            CONV 1x1, 16 -> 4 x 32 channels; RESHAPE to 196 x 4 x 32; MAX_POOL 1x4
            RESHAPE to 14 x 14 x 32

The answers are equal bit for bit. The first convolution copies: weights of 1 at scale 1, the input's scale at both
ends. The second has the same int32 sums in another order, with zeros between, and the same scales. The maximum is over
the same four int8 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgefm_converters.rewriting.editing import Editing
from edgefm_converters.rewriting.pooled_convolution import Axis, PooledConvolution, pooled_convolutions

# Input channels that XNNPACK's int8 kernels take at a time (c8, on x86; c8 or c4 on ARM).
_LANES = 8
_PHASES = 4
# A rewrite must leave this share of the products or less: its four more operators cost about 1 us.
_WORTH = 0.75


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """How patches are gathered along the width.

    Attributes:
      group: columns that become channels of one block; 1 leaves them, and the convolution has a stride of 2.
      patches: that a block gives.
      reach: blocks that these patches lie in.
      before, after: blocks of padding.
    """

    group: int
    patches: int
    reach: int
    before: int
    after: int


def gather_patches(editing: Editing) -> list[dict[str, Any]]:
    """Rewrite a graph's convolutions of few channels where that saves products; return what was done, as JSON."""
    done = []
    for found in list(pooled_convolutions(editing)):
        columns = _worthwhile(editing, found)
        if columns is not None:
            done.append(_rewrite(editing, found, columns))
    return done


def _worthwhile(editing: Editing, found: PooledConvolution) -> _Columns | None:
    """Return how to gather the patches of a convolution, or None where it is of another kind or nothing is saved."""
    if not _fits(editing, found):
        return None
    channels = editing.shape(int(found.convolution.inputs[0]))[3]
    filters = editing.shape(int(found.convolution.inputs[1]))[0]
    height, width = found.height, found.width
    kernel = height.kernel * width.kernel
    before = height.computed * width.computed * kernel * _lanes(channels) * filters
    patch = _patch(height) * _patch(width) * channels
    product = height.pooled * width.pooled * _lanes(patch) * _PHASES * filters

    def after(columns: _Columns) -> int:
        blocks = height.pooled * width.pooled // columns.patches
        taps = _patch(height) * columns.reach * _lanes(columns.group * channels)
        return blocks * taps * columns.patches * patch + product

    # Of equal ways the one of larger blocks: fewer positions, longer runs of memory.
    best = min(_ways(height, width), key=lambda columns: (after(columns), -columns.group), default=None)
    return best if best is not None and after(best) <= _WORTH * before else None


def _fits(editing: Editing, found: PooledConvolution) -> bool:
    convolution, pooling = found.convolution, found.pooling
    if editing.name(convolution) != "CONV_2D" or editing.name(pooling) != "MAX_POOL_2D":
        return False
    if pooling.builtinOptions.fusedActivationFunction != schema.ActivationFunctionType.NONE:
        return False
    options = convolution.builtinOptions
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1) or len(convolution.inputs) != 3:
        return False
    for axis in (found.height, found.width):
        if (axis.stride, axis.window, axis.step) != (1, 2, 2) or axis.pooled != axis.computed // 2:
            return False
    source, weights, bias = (int(index) for index in convolution.inputs)
    if editing.shape(source)[3] != editing.shape(weights)[3]:  # grouped
        return False
    if not editing.same_scale(int(convolution.outputs[0]), int(pooling.outputs[0])):
        return False
    if bias < 0 or editing.own_values(bias, np.int32) is None or editing.own_values(weights, np.int8) is None:
        return False
    return not np.any(editing.tensor(weights).quantization.zeroPoint) and _vertical(found.height) is not None


def _patch(axis: Axis) -> int:
    return axis.kernel + 1


def _lanes(channels: int) -> int:
    return -(-channels // _LANES) * _LANES


def _vertical(axis: Axis) -> tuple[int, int] | None:
    """Return the padding before and after with which a stride of 2 gives a patch for each maximum."""
    after = max(0, 2 * (axis.pooled - 1) + _patch(axis) - axis.before - axis.size)
    reached = (axis.before + axis.size + after - _patch(axis)) // 2 + 1
    return (axis.before, after) if reached == axis.pooled else None


def _ways(height: Axis, width: Axis) -> list[_Columns]:
    ways = []
    strided = _vertical(width)
    if strided is not None:
        ways.append(_Columns(group=1, patches=1, reach=_patch(width), before=strided[0], after=strided[1]))
    for group in (2, 4, 8):
        patches = group // 2
        if width.size % group or width.pooled % patches:
            continue
        first, last = -width.before // group, (2 * (patches - 1) - width.before + width.kernel) // group
        after = width.pooled // patches - 1 + last - (width.size // group - 1)
        if after >= 0:
            ways.append(_Columns(group=group, patches=patches, reach=last - first + 1, before=-first, after=after))
    return ways


def _rewrite(editing: Editing, found: PooledConvolution, columns: _Columns) -> dict[str, Any]:
    convolution, height, width = found.convolution, found.height, found.width
    source, weights, bias = (int(index) for index in convolution.inputs)
    result, pooled = int(convolution.outputs[0]), int(found.pooling.outputs[0])
    channels, filters = editing.shape(source)[3], editing.shape(weights)[0]
    patch = _patch(height) * _patch(width) * channels
    operators, patches = _gathering(editing, source, height, width, columns)
    stored, added = editing.own_values(weights, np.int8), editing.own_values(bias, np.int32)
    assert stored is not None and added is not None
    editing.replace_values(weights, phases(stored), repeats=_PHASES)
    editing.replace_values(bias, np.tile(added, _PHASES), repeats=_PHASES)
    positions = height.pooled * width.pooled
    editing.tensor(result).shape = [1, height.pooled, width.pooled, _PHASES * filters]
    by_phase = editing.add_tensor((1, positions, _PHASES, filters), result, "_phases")
    greatest = editing.add_tensor((1, positions, 1, filters), result, "_greatest")
    convolution.inputs = [patches, weights, bias]
    pooling = found.pooling
    pooling.inputs, pooling.outputs = [by_phase], [greatest]
    pooling.builtinOptions.filterHeight = pooling.builtinOptions.strideH = 1
    pooling.builtinOptions.filterWidth = pooling.builtinOptions.strideW = _PHASES
    place = editing.graph.operators.index(convolution)
    editing.graph.operators[place:place] = operators
    place = editing.graph.operators.index(pooling)
    editing.graph.operators[place : place + 1] = [
        editing.reshape(result, by_phase),
        pooling,
        editing.reshape(greatest, pooled),
    ]
    return {
        "rewrite": "few_channels",
        "operator": editing.name(convolution),
        "kernel": [height.kernel, width.kernel],
        "channels": channels,
        "patch": patch,
        "columns_a_block": columns.group,
    }


def _gathering(editing: Editing, source: int, height: Axis, width: Axis, columns: _Columns) -> tuple[list[Any], int]:
    """Return the operators that turn pixels into patches, and the patches: int8 [1, pooled, pooled, patch]."""
    channels, group = editing.shape(source)[3], columns.group
    patch = _patch(height) * _patch(width) * channels
    operators, blocks = [], source
    if group > 1:
        blocks = editing.add_tensor((1, height.size, width.size // group, group * channels), source, "_blocks")
        operators.append(editing.reshape(source, blocks))
    vertical = _vertical(height)
    assert vertical is not None
    padding, padded = editing.pad(blocks, (vertical[0], columns.before), (vertical[1], columns.after), "_padded")
    copies = _copies(height, width, columns, channels)
    gathered = editing.add_tensor(
        (1, height.pooled, width.pooled // columns.patches, columns.patches * patch), source, "_gathered"
    )
    scale = float(editing.tensor(source).quantization.scale[0])
    inputs = [
        padded,
        editing.add_constant(copies, "edgefm_patches", scale=1.0),
        editing.add_constant(np.zeros(len(copies), np.int32), "edgefm_patches_bias", scale=scale),
    ]
    operators += [*padding, editing.convolution(inputs, gathered, strides=(2, 2 if group == 1 else 1))]
    if columns.patches == 1:
        return operators, gathered
    patches = editing.add_tensor((1, height.pooled, width.pooled, patch), source, "_patches")
    return [*operators, editing.reshape(gathered, patches)], patches


def _copies(height: Axis, width: Axis, columns: _Columns, channels: int) -> NDArray[np.int8]:
    """Return the kernel that copies patches: int8 [patches * patch, rows, blocks, columns of a block * channels]."""
    rows, wide, group = _patch(height), _patch(width), columns.group
    kernel = np.zeros((columns.patches, rows, wide, channels, rows, columns.reach * group, channels), np.int8)
    start = columns.before * group - width.before if group > 1 else 0
    for patch, row, column, channel in np.ndindex(columns.patches, rows, wide, channels):
        kernel[patch, row, column, channel, row, start + 2 * patch + column, channel] = 1
    return kernel.reshape(columns.patches * rows * wide * channels, rows, columns.reach, group * channels)


def phases(kernel: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the kernel that gives the four positions under a 2 x 2 maximum from one patch.

    Args:
      kernel: int8 [filters, height, width, channels].
    Returns:
      int8 [4 * filters, 1, 1, (height + 1) * (width + 1) * channels]: all filters of the position above left, then
      above right, below left, below right.

    >>> phases(np.array([[[[5]]]], np.int8)).reshape(4, 4).tolist()
    [[5, 0, 0, 0], [0, 5, 0, 0], [0, 0, 5, 0], [0, 0, 0, 5]]
    """
    filters, height, width, channels = kernel.shape
    moved = np.zeros((2, 2, filters, height + 1, width + 1, channels), np.int8)
    for down, right in np.ndindex(2, 2):
        moved[down, right, :, down : down + height, right : right + width] = kernel
    return moved.reshape(_PHASES * filters, 1, 1, -1)
