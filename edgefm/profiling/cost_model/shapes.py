"""The operators of a .tflite file as what decides their time: kind, dtypes and lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.core.errors import ModelError
from edgefm.core.given.damage import reason
from edgefm.profiling.submodel import is_stored
from edgefm.tflite import flatbuffer
from edgefm.tflite.flatbuffer import indices

_WINDOWED = frozenset({"MAX_POOL_2D", "AVERAGE_POOL_2D"})
_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D"})
_CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE"})
_BYTES = {"float32": 4, "int32": 4, "float16": 2, "int16": 2, "int64": 8}


@dataclass(frozen=True, order=True)
class OperatorShape:
    """What decides an operator's time.

    Attributes:
      kind: e.g. 'CONV_2D'.
      dtypes: of its activations, a star and the weights' where it has weights of another dtype ('float32*int8'); an
        arrow and the result's where that is another one ('float32>int8').
      source: height, width and channels of its first activation; (1, rows, values) where it is no picture.
      sink: of its result.
      window: height and width of a filter or a pool, (1, 1) elsewhere.
      strides: vertical and horizontal.
      groups: of a convolution.
    """

    kind: str
    dtypes: str
    source: tuple[int, int, int]
    sink: tuple[int, int, int]
    window: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def group(self) -> str:
        """Kind and dtypes: what shares kernels."""
        return f"{self.kind} {self.dtypes}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        pixels, taps = math.prod(self.sink), math.prod(self.window)
        if self.kind in ("CONV_2D", "CONV_3D"):
            return pixels * taps * self.source[2] // self.groups
        if self.kind == "DEPTHWISE_CONV_2D":
            return pixels * taps
        if self.kind == "TRANSPOSE_CONV":
            return math.prod(self.source) * taps * self.sink[2]
        if self.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM":  # four gates, each of the input and of the state
            return 4 * pixels * (self.source[2] + self.sink[2])
        return pixels * self.source[2] if self.kind in ("FULLY_CONNECTED", "BATCH_MATMUL") else 0

    @property
    def weights(self) -> int:
        """Number of weights, without the bias."""
        if self.kind == "DEPTHWISE_CONV_2D":
            return self.sink[2] * math.prod(self.window)
        if self.kind in _WEIGHTED:
            return self.source[2] * self.sink[2] * math.prod(self.window) // self.groups
        return 0

    @property
    def whole(self) -> bool:
        """Whether the shape says what is done: not that of a loop or a branch, nor of an operator of others."""
        return self.kind not in _CONTROL_FLOW and not self.kind.startswith("CUSTOM")

    def __str__(self) -> str:
        """Return the shape for people.

        >>> str(OperatorShape("CONV_2D", "int8", (28, 28, 1), (28, 28, 32), (3, 3)))
        'CONV_2D int8 28x28x1 -> 28x28x32, 3x3'
        """
        what = f"{self.group} {_by(self.source)} -> {_by(self.sink)}"
        what += f", {_by(self.window)}" if self.window != (1, 1) else ""
        what += f", strides {_by(self.strides)}" if self.strides != (1, 1) else ""
        return what + (f", {self.groups} groups" if self.groups != 1 else "")


def operators_of(content: flatbuffer.FileContent) -> list[OperatorShape]:
    """Return the operators of a .tflite file that run at each inference, in their order, at a batch of 1.

    An operator on constants alone, such as DEQUANTIZE of float16 weights, runs once when the file is loaded.

    Raises:
      ModelError: it is no TFLite file, or a damaged one.
    """
    model = flatbuffer.read(content)
    try:
        return _operators(model)
    except Exception as error:  # whatever a wrong number in a table leads to
        raise ModelError(f"the model is damaged: its operators cannot be read ({reason(error)})") from error


def _operators(model: Any) -> list[OperatorShape]:
    graph = model.subgraphs[0]
    constant = [is_stored(model, tensor) for tensor in graph.tensors]
    shapes = []
    for operator in graph.operators or ():
        inputs = [index for index in indices(operator.inputs) if index >= 0]
        outputs = indices(operator.outputs)
        name = flatbuffer.operator_name(model, operator)
        if inputs and all(constant[index] for index in inputs) and name not in _CONTROL_FLOW:
            for index in outputs:
                constant[index] = True
        elif outputs:
            shapes.append(_shape(name, operator, graph, [i for i in inputs if not constant[i]], outputs[0]))
    return shapes


def _shape(name: str, operator: Any, graph: Any, activations: Sequence[int], output: int) -> OperatorShape:
    first = graph.tensors[activations[0]] if activations else graph.tensors[output]
    if name == "TRANSPOSE_CONV":  # its first input is the shape of its result, which need not be stored
        first = graph.tensors[operator.inputs[2]]
    result, options = graph.tensors[output], operator.builtinOptions
    dtypes, window, strides, groups = flatbuffer.dtype(first), (1, 1), (1, 1), 1
    if name in _WEIGHTED:
        weights = graph.tensors[operator.inputs[1]]
        if flatbuffer.dtype(weights) != dtypes:
            dtypes = f"{dtypes}*{flatbuffer.dtype(weights)}"
    if flatbuffer.dtype(result) != flatbuffer.dtype(first):
        dtypes = f"{dtypes}>{flatbuffer.dtype(result)}"
    source, sink = _lengths(first), _lengths(result)
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        kernel = indices(weights.shape)
        window = (kernel[1], kernel[2])
        strides = (int(options.strideH), int(options.strideW))
        groups = max(1, source[2] // max(1, kernel[3])) if name == "CONV_2D" else 1
    elif name == "TRANSPOSE_CONV":
        kernel = indices(weights.shape)
        window, strides = (kernel[1], kernel[2]), (int(options.strideH), int(options.strideW))
    elif name == "CONV_3D":
        kernel = indices(weights.shape)
        window, strides = (kernel[0] * kernel[1], kernel[2]), (int(options.strideH), int(options.strideW))
    elif name == "BATCH_MATMUL" and options is not None and options.adjX:  # columns are summed over, not rows
        summed = max(1, indices(first.shape)[-2])
        source = (1, math.prod(source) // summed, summed)
    elif name in _WINDOWED:
        window = (int(options.filterHeight), int(options.filterWidth))
        strides = (int(options.strideH), int(options.strideW))
    elif name == "FULLY_CONNECTED":
        values, units = indices(weights.shape)[-1], indices(weights.shape)[0]
        rows = flatbuffer.elements(result) // max(1, units)
        source, sink = (rows, 1, values), (rows, 1, units)
    return OperatorShape(name, dtypes, source, sink, window, strides, groups)


def _lengths(tensor: Any) -> tuple[int, int, int]:
    shape = [max(1, length) for length in indices(tensor.shape)]
    if len(shape) == 4:
        return shape[0] * shape[1], shape[2], shape[3]
    return 1, math.prod(shape[:-1]), (shape[-1] if shape else 1)


def value_bytes(dtype: str) -> int:
    """Return the bytes of a value of a dtype.

    >>> value_bytes("float32"), value_bytes("int8")
    (4, 1)
    """
    return _BYTES.get(dtype, 1)


def _by(lengths: Sequence[int]) -> str:
    return "x".join(map(str, lengths))
