"""Where a convolution's result goes into a pooling and nowhere else: what the rewrites look for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgefm.tflite import flatbuffer
from edgefm_converters.rewriting.editing import VALID, Editing

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_POOLINGS = ("MAX_POOL_2D", "AVERAGE_POOL_2D")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A convolution and the pooling behind it along height or width, in pixels.

    Attributes:
      size: of the input.
      kernel: of the convolution, its dilation counted in.
      stride: of the convolution.
      before: padding at the start.
      computed: length of the convolution's result.
      window, step: of the pooling.
      pooled: length of the pooling's result.
    """

    size: int
    kernel: int
    stride: int
    before: int
    computed: int
    window: int
    step: int
    pooled: int

    @property
    def read(self) -> int:
        """How much of the convolution's result the pooling reads."""
        return min(self.computed, (self.pooled - 1) * self.step + self.window)


@dataclass(frozen=True, kw_only=True)
class PooledConvolution:
    """An int8 convolution and the pooling that alone takes its result, a batch of one.

    Attributes:
      convolution, pooling: operators.
      height, width: the two along an axis.
    """

    convolution: Any
    pooling: Any
    height: Axis
    width: Axis


def pooled_convolutions(editing: Editing) -> Iterator[PooledConvolution]:
    """Yield the int8 convolutions whose result only a pooling takes, in their order."""
    for convolution in list(editing.graph.operators):
        if editing.name(convolution) not in _CONVOLUTIONS:
            continue
        source, result = int(convolution.inputs[0]), int(convolution.outputs[0])
        pooling = editing.only_reader(result)
        if pooling is None or editing.name(pooling) not in _POOLINGS:
            continue
        ends = (source, result, int(pooling.outputs[0]))
        if all(_plain(editing, index) for index in ends):
            axes = [_axis(editing, convolution, pooling, axis) for axis in (1, 2)]
            yield PooledConvolution(convolution=convolution, pooling=pooling, height=axes[0], width=axes[1])


def _plain(editing: Editing, index: int) -> bool:
    """Return whether a tensor is int8 [1, height, width, channels] of known lengths."""
    tensor, shape = editing.tensor(index), editing.shape(index)
    known = len(shape) == 4 and shape[0] == 1 and -1 not in flatbuffer.indices(tensor.shapeSignature)
    return known and tensor.type == schema.TensorType.INT8


def _axis(editing: Editing, convolution: Any, pooling: Any, axis: int) -> Axis:
    options, letter = convolution.builtinOptions, "HW"[axis - 1]
    stride, dilation = getattr(options, f"stride{letter}"), getattr(options, f"dilation{letter}Factor")
    size = editing.shape(int(convolution.inputs[0]))[axis]
    kernel = (editing.shape(int(convolution.inputs[1]))[axis] - 1) * dilation + 1
    computed = editing.shape(int(convolution.outputs[0]))[axis]
    same = options.padding != VALID
    window = pooling.builtinOptions.filterHeight if axis == 1 else pooling.builtinOptions.filterWidth
    return Axis(
        size=size,
        kernel=kernel,
        stride=stride,
        before=max(0, (computed - 1) * stride + kernel - size) // 2 if same else 0,
        computed=computed,
        window=window,
        step=getattr(pooling.builtinOptions, f"stride{letter}"),
        pooled=editing.shape(int(pooling.outputs[0]))[axis],
    )
