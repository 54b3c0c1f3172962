"""The tensors and operators of the main graph of a .tflite file: quantisation, multiply-accumulates and bytes.

The main graph is the first subgraph. Bodies of control flow are not counted: nothing in the file says how often they
run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_NUMBER = re.compile(r"[a-z]+(\d+)")


@dataclass(frozen=True, kw_only=True)
class TensorQuantization:
    """How the values of a tensor are quantised: real = scale * (q - zero_point).

    Attributes:
      scales: number of scales, 1 for a tensor quantised as a whole.
      axis: dimension along which they differ; None where there is one scale.
      scale_range: least and greatest scale.
      zero_point_range: least and greatest zero point.
    """

    scales: int
    axis: int | None
    scale_range: tuple[float, float]
    zero_point_range: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A tensor of the graph.

    Attributes:
      index: in the subgraph.
      name: as the converter called it.
      dtype: in lower case, e.g. 'int8', 'int4', 'float32'.
      shape: lengths; -1 where it is dynamic.
      constant: its values lie in the file.
      size_bytes: in the file for a constant; in memory, from dtype and shape, for others.
      quantization: None where it has none.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool
    size_bytes: int
    quantization: TensorQuantization | None


@dataclass(frozen=True, kw_only=True)
class OperatorInfo:
    """An operator of the graph.

    Attributes:
      index: place in the order of execution.
      opcode: number of the built-in operator; 32 (CUSTOM) for others.
      name: e.g. 'CONV_2D', or 'CUSTOM:<its name>'.
      inputs: indices of tensors; absent optional ones are left out.
      outputs: indices of tensors.
      macs: multiply-accumulates of one inference; 0 for an operator that does none or is not known.
      weight_bytes: of its constants in the file, also of those that come through DEQUANTIZE or DENSIFY.
      activation_bytes: of its results.
    """

    index: int
    opcode: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int
    weight_bytes: int
    activation_bytes: int


def macs_of(name: str, inputs: Sequence[Sequence[int]], output: Sequence[int], *, adjoint_x: bool = False) -> int:
    """Return the multiply-accumulates of one operator from the shapes of its tensors.

    A bias and an activation function are not counted. With n images, an output of height x width x c_out, and a
    filter of k_h x k_w:

      CONV_2D            n * height * width * c_out * k_h * k_w * c_in   (filter [c_out, k_h, k_w, c_in a group])
      DEPTHWISE_CONV_2D  n * height * width * c_out * k_h * k_w          (filter [1, k_h, k_w, c_out])
      FULLY_CONNECTED    outputs * c_in                                  (weights [c_out, c_in])
      TRANSPOSE_CONV     inputs * c_out * k_h * k_w                      (filter [c_out, k_h, k_w, c_in])
      CONV_3D            outputs * k_d * k_h * k_w * c_in                (filter [k_d, k_h, k_w, c_in, c_out])
      BATCH_MATMUL       outputs * the length that is summed over
      UNIDIRECTIONAL_SEQUENCE_LSTM   n * steps * the values of its kernels [units, c_in] and [units, units]
      any other          0

    >>> macs_of("CONV_2D", [[1, 28, 28, 1], [32, 3, 3, 1]], [1, 28, 28, 32])
    225792

    Args:
      name: of the operator.
      inputs: shapes of its inputs, in the file's order.
      output: shape of its first output.
      adjoint_x: BATCH_MATMUL's first input is transposed.
    """
    if name == "CONV_2D":
        return math.prod(output) * math.prod(inputs[1][1:])
    if name == "DEPTHWISE_CONV_2D":
        return math.prod(output) * math.prod(inputs[1][1:3])
    if name == "FULLY_CONNECTED":
        return math.prod(output) * inputs[1][-1]
    if name == "TRANSPOSE_CONV":
        return math.prod(inputs[2]) * math.prod(inputs[1][:3])
    if name == "CONV_3D":
        return math.prod(output) * math.prod(inputs[1][:4])
    if name == "UNIDIRECTIONAL_SEQUENCE_LSTM":  # six or eight kernels stand behind the input, vectors behind them
        return math.prod(output[:-1]) * sum(math.prod(shape) for shape in inputs[1:9] if len(shape) == 2)
    if name == "BATCH_MATMUL":
        return math.prod(output) * inputs[0][-2 if adjoint_x else -1]
    return 0


def tensors(model: Any) -> tuple[TensorInfo, ...]:
    """Return the tensors of the main graph of a `ModelT`."""
    return tuple(_tensor(index, tensor, model.buffers) for index, tensor in enumerate(model.subgraphs[0].tensors))


def _tensor(index: int, tensor: Any, buffers: Sequence[Any]) -> TensorInfo:
    from edgefm.tflite.flatbuffer import dtype, elements, indices, text

    shape = indices(tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature)
    data = buffers[tensor.buffer].data
    stored = 0 if data is None else len(data)
    return TensorInfo(
        index=index,
        name=text(tensor.name),
        dtype=dtype(tensor),
        shape=shape,
        constant=stored > 0,
        size_bytes=stored or math.ceil(elements(tensor) * _bits(dtype(tensor)) / 8),
        quantization=_quantization(tensor.quantization),
    )


def _bits(dtype: str) -> int:
    """Return the bits of an element; 0 for strings and the like.

    >>> [_bits(dtype) for dtype in ("int4", "bool", "string")]
    [4, 8, 0]
    """
    number = _NUMBER.fullmatch(dtype)
    return int(number[1]) if number else 8 * (dtype == "bool")


def _quantization(parameters: Any) -> TensorQuantization | None:
    if parameters is None or parameters.scale is None or len(parameters.scale) == 0:
        return None
    scales = np.asarray(parameters.scale)
    zeros = np.zeros(1, np.int64) if parameters.zeroPoint is None else np.asarray(parameters.zeroPoint)
    return TensorQuantization(
        scales=len(scales),
        axis=int(parameters.quantizedDimension) if len(scales) > 1 else None,
        scale_range=(float(scales.min()), float(scales.max())),
        zero_point_range=(int(zeros.min()), int(zeros.max())),
    )


def operators(model: Any, tensors: Sequence[TensorInfo]) -> tuple[OperatorInfo, ...]:
    """Return the operators of the main graph of a `ModelT`, in the order of execution."""
    from edgefm.tflite.flatbuffer import indices, operator_name, operator_number

    graph = model.subgraphs[0]
    # The constants that each tensor is made of: itself, or what an operator on constants alone unpacks.
    constants: dict[int, frozenset[int]] = {t.index: frozenset([t.index]) for t in tensors if t.constant}
    described = []
    for index, operator in enumerate(graph.operators or []):
        name = operator_name(model, operator)
        inputs = tuple(i for i in indices(operator.inputs) if i >= 0)
        outputs = indices(operator.outputs)
        weights = frozenset().union(*(constants.get(i, frozenset()) for i in inputs))
        unpacks = bool(inputs) and all(i in constants for i in inputs)
        if unpacks:
            constants.update(dict.fromkeys(outputs, weights))
        # `shape` holds a 1 where the signature, which is shown, has a dynamic -1.
        shapes = [indices(graph.tensors[i].shape) for i in inputs]
        output = indices(graph.tensors[outputs[0]].shape) if outputs else ()
        adjoint = bool(getattr(operator.builtinOptions, "adjX", False)) if name == "BATCH_MATMUL" else False
        described.append(
            OperatorInfo(
                index=index,
                opcode=operator_number(model, operator),
                name=name,
                inputs=inputs,
                outputs=outputs,
                macs=macs_of(name, shapes, output, adjoint_x=adjoint),
                weight_bytes=0 if unpacks else sum(tensors[i].size_bytes for i in weights),
                activation_bytes=0 if unpacks else sum(tensors[i].size_bytes for i in outputs),
            )
        )
    return tuple(described)


def largest_working_set(operators: Sequence[OperatorInfo], tensors: Sequence[TensorInfo]) -> int:
    """Return the most bytes that the activations and results of one operator take together, 0 without operators."""
    unpacked = {i for operator in operators if operator.activation_bytes == 0 for i in operator.outputs}
    return max(
        (
            operator.activation_bytes
            + sum(tensors[i].size_bytes for i in {*operator.inputs} - unpacked if not tensors[i].constant)
            for operator in operators
            if operator.activation_bytes
        ),
        default=0,
    )
