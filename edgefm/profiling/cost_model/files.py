"""Writes .tflite files of operators one after the other, with random weights: what a cost model is measured on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefm.profiling.cost_model.shapes import OperatorShape
from edgefm.profiling.graph_writer import GraphWriter

_CODE, _OPTIONS, _RELU = schema.BuiltinOperator, schema.BuiltinOptions, schema.ActivationFunctionType.RELU
_TYPES = {name: getattr(schema.TensorType, name.upper()) for name in ("float32", "int8", "uint8", "int32")}
# All activations have this scale; with these weights' no accumulator leaves the range that a runtime can rescale.
_SCALE, _WEIGHT_SCALE = 0.05, 0.01
# Of results between 0 and 1 the scale and the zero point are fixed by the runtime.
_SHARES = frozenset({"SOFTMAX", "LOGISTIC"})
_SAME_SCALE = frozenset({"RESHAPE", "CONCATENATION", "QUANTIZE", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "RELU"})
# name: (version in float32, version in int8, name of the options' class)
_PLAIN = {
    "ADD": (1, 2, "AddOptions"),
    "MUL": (1, 2, "MulOptions"),
    "CONCATENATION": (1, 2, "ConcatenationOptions"),
    "RELU": (1, 2, ""),
    "RELU6": (1, 2, ""),
    "LOGISTIC": (1, 2, ""),
    "HARD_SWISH": (1, 1, "HardSwishOptions"),
    "SOFTMAX": (1, 2, "SoftmaxOptions"),
    "QUANTIZE": (1, 2, "QuantizeOptions"),
    "DEQUANTIZE": (1, 2, "DequantizeOptions"),
}


def model_of(shapes: Sequence[OperatorShape], *, seed: int = 0) -> bytes:
    """Return the content of a file that runs operators one after the other.

    ADD, MUL and CONCATENATION take, beside the result before, the latest earlier tensor of the same shape that is not
    that one; where there is none, the same twice.

    Args:
      shapes: of the operators, each one's source as large as the sink before it.
      seed: of the weights.
    """
    return _Chain(shapes[0], seed).write(shapes)


class _Chain:
    """A file in the making: the last tensor, and those before it."""

    def __init__(self, first: OperatorShape, seed: int) -> None:
        self._graph, self._random = GraphWriter(), np.random.default_rng(seed)
        shape = _rows(first.source) if first.kind == "FULLY_CONNECTED" else (1, *first.source)
        self._dtype = first.dtypes.split("*")[0].split(">")[0]
        self._tensors: list[tuple[int, tuple[int, ...], str]] = []
        self._take(shape, self._dtype)
        self._source = self._tensors[0][0]

    def write(self, shapes: Sequence[OperatorShape]) -> bytes:
        for shape in shapes:
            self._add(shape)
        return self._graph.write(self._source, self._tensors[-1][0])

    def _take(self, shape: tuple[int, ...], dtype: str, *, kind: str = "") -> int:
        """Add a tensor of activations and make it the last."""
        scale, zero = (1 / 256, -128) if kind in _SHARES else (_SCALE, 128 if dtype == "uint8" else 0)
        if self._tensors and kind in _SAME_SCALE and "float32" not in (dtype, self._tensors[-1][2]):
            scale, zero = self._graph.quantization(self._tensors[-1][0])
            # The same numbers as int8 and as uint8 differ by 128.
            zero += {("int8", "uint8"): 128, ("uint8", "int8"): -128}.get((self._tensors[-1][2], dtype), 0)
        scales = None if dtype == "float32" else [scale]
        index = self._graph.tensor(f"x{len(self._tensors)}", shape, _TYPES[dtype], scales=scales, zero_point=zero)
        self._tensors.append((index, shape, dtype))
        return index

    def _add(self, shape: OperatorShape) -> None:
        kind, (before, lengths, dtype) = shape.kind, self._tensors[-1]
        result = shape.dtypes.split(">")[1] if ">" in shape.dtypes else dtype
        inputs: list[int] = [before]
        sink: tuple[int, ...] = (1, *shape.sink)
        quantized = dtype != "float32"
        options: Any = None
        named, version = "", 1
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            inputs += self._weights(shape)
            padding, strides = _padding(shape), {"strideH": shape.strides[0], "strideW": shape.strides[1]}
            named = "Conv2DOptions" if kind == "CONV_2D" else "DepthwiseConv2DOptions"
            more = {} if kind == "CONV_2D" else {"depthMultiplier": 1}
            options = getattr(schema, f"{named}T")(
                **strides, **more, padding=padding, fusedActivationFunction=_RELU, dilationHFactor=1, dilationWFactor=1
            )
            version = 3 if quantized else 5 if "*" in shape.dtypes else 1
        elif kind == "FULLY_CONNECTED":
            inputs += self._weights(shape)
            named, sink = "FullyConnectedOptions", _rows(shape.sink)
            options = schema.FullyConnectedOptionsT(fusedActivationFunction=_RELU, keepNumDims=len(sink) > 2)
            version = 4 if quantized else 9 if "*" in shape.dtypes else 1
        elif kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
            named, version = "Pool2DOptions", 2 if quantized else 1
            options = schema.Pool2DOptionsT(
                padding=_padding(shape),
                strideH=shape.strides[0],
                strideW=shape.strides[1],
                filterHeight=shape.window[0],
                filterWidth=shape.window[1],
            )
        elif kind == "MEAN":
            inputs.append(self._whole_numbers([1, 2]))
            named, version, sink = "ReducerOptions", 2 if quantized else 1, (1, shape.sink[2])
            options = schema.ReducerOptionsT(keepDims=False)
        elif kind == "PAD":
            more_rows, more_columns = (shape.sink[axis] - shape.source[axis] for axis in (0, 1))
            rows, columns = more_rows // 2, more_columns // 2
            around = [[0, 0], [rows, more_rows - rows], [columns, more_columns - columns], [0, 0]]
            inputs.append(self._whole_numbers(around))
            named, version, options = "PadOptions", 2 if quantized else 1, schema.PadOptionsT()
        elif kind == "RESHAPE":
            sink = (1, math.prod(shape.sink))
            inputs.append(self._whole_numbers(sink))
            named, options = "ReshapeOptions", schema.ReshapeOptionsT(newShape=list(sink))
        else:
            floating, integer, named = _PLAIN[kind]
            version = integer if quantized else floating
            options = getattr(schema, f"{named}T")() if named else None
            sink = lengths
            if kind in ("ADD", "MUL", "CONCATENATION"):
                inputs.append(self._other(lengths))
            if kind == "CONCATENATION":
                options.axis, sink = 3, (*lengths[:-1], 2 * lengths[-1])
            if kind == "SOFTMAX":
                options.beta = 1.0
        self._graph.operator(
            getattr(_CODE, kind),
            inputs,
            self._take(sink, result, kind=kind),
            options=options,
            options_type=getattr(_OPTIONS, named) if named else 0,
            version=version,
        )

    def _other(self, lengths: tuple[int, ...]) -> int:
        same = [index for index, shape, _ in self._tensors[:-1] if shape == lengths]
        return same[-1] if same else self._tensors[-1][0]

    def _weights(self, shape: OperatorShape) -> list[int]:
        """Add weights and a bias of zeros and return their indices."""
        c_out, depthwise = shape.sink[2], shape.kind == "DEPTHWISE_CONV_2D"
        kernel: tuple[int, ...] = (c_out, *shape.window, shape.source[2] // shape.groups)
        if depthwise:
            kernel = (1, *shape.window, c_out)
        elif shape.kind == "FULLY_CONNECTED":
            kernel = (c_out, shape.source[2])
        whole = shape.dtypes.split("*")[-1].split(">")[0] == "int8"
        if not whole:
            values = (self._random.standard_normal(kernel, np.float32) / math.sqrt(shape.weights / c_out)).astype("<f4")
            weights = self._graph.tensor("weights", kernel, _TYPES["float32"], data=values)
            return [weights, self._graph.tensor("bias", (c_out,), _TYPES["float32"], data=np.zeros(c_out, np.float32))]
        values = self._random.integers(-127, 127, kernel, np.int8, endpoint=True)
        scales = np.full(c_out, _WEIGHT_SCALE, np.float32)
        axis = 3 if depthwise else 0
        weights = self._graph.tensor("weights", kernel, _TYPES["int8"], data=values, scales=scales, axis=axis)
        if "*" in shape.dtypes:
            return [weights, self._graph.tensor("bias", (c_out,), _TYPES["float32"], data=np.zeros(c_out, np.float32))]
        zeros, of_bias = np.zeros(c_out, np.int32), scales * np.float32(_SCALE)
        return [weights, self._graph.tensor("bias", (c_out,), _TYPES["int32"], data=zeros, scales=of_bias)]

    def _whole_numbers(self, values: Any) -> int:
        array = np.array(values, np.int32)
        return self._graph.tensor("numbers", array.shape, _TYPES["int32"], data=array)


def _rows(lengths: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the shape of what a dense layer takes or gives: its batch is 1."""
    return (1, lengths[2]) if lengths[0] == 1 else (1, lengths[0], lengths[2])


def _padding(shape: OperatorShape) -> int:
    """Return the padding that gives the sink's height: SAME keeps the source's over the stride."""
    same = -(-shape.source[0] // shape.strides[0]) == shape.sink[0]
    return int(schema.Padding.SAME if same else schema.Padding.VALID)
