"""A .tflite graph that is being rewritten: new tensors, constants and operators."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgefm.tflite import flatbuffer

# PAD of int8 came with its second version.
_VERSIONS = {schema.BuiltinOperator.PAD: 2}
_TYPES = {np.dtype(np.int8): schema.TensorType.INT8, np.dtype(np.int32): schema.TensorType.INT32}
VALID = schema.Padding.VALID


@dataclass(frozen=True)
class Editing:
    """The only graph of a model, open for changes.

    Attributes:
      model: `ModelT` of `flatbuffer.editable`.
    """

    model: Any

    @property
    def graph(self) -> Any:
        """The graph."""
        return self.model.subgraphs[0]

    def name(self, operator: Any) -> str:
        """Return an operator's name, e.g. 'CONV_2D'."""
        return flatbuffer.operator_name(self.model, operator)

    def tensor(self, index: int) -> Any:
        """Return a tensor."""
        return self.graph.tensors[index]

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return flatbuffer.indices(self.tensor(index).shape)

    def only_reader(self, index: int) -> Any | None:
        """Return the operator that takes a tensor, or None unless it is the only one and the tensor is no output."""
        readers = [operator for operator in self.graph.operators if index in flatbuffer.indices(operator.inputs)]
        signed = [entry.tensorIndex for signature in self.model.signatureDefs or [] for entry in signature.outputs]
        if len(readers) != 1 or index in flatbuffer.indices(self.graph.outputs) or index in signed:
            return None
        return readers[0]

    def own_values(self, index: int, dtype: type[np.generic]) -> NDArray[Any] | None:
        """Return a constant that one operator alone takes and whose buffer no other tensor has; None for all else."""
        tensor = self.tensor(index)
        data = self.model.buffers[tensor.buffer].data
        sharing = [other for other in self.graph.tensors if other.buffer == tensor.buffer]
        if data is None or len(sharing) != 1 or self.only_reader(index) is None or tensor.sparsity is not None:
            return None
        if tensor.type != _TYPES[np.dtype(dtype)]:
            return None
        return np.frombuffer(bytes(data), dtype).reshape(self.shape(index))

    def same_scale(self, first: int, second: int) -> bool:
        """Return whether two tensors hold the same real numbers at the same levels."""
        one, other = (self.tensor(index).quantization for index in (first, second))
        return np.array_equal(one.scale, other.scale) and np.array_equal(one.zeroPoint, other.zeroPoint)

    def replace_values(self, index: int, values: NDArray[Any], *, repeats: int = 1) -> None:
        """Give a constant other values, and where it has a scale for each channel, the scales `repeats` times."""
        tensor = self.tensor(index)
        tensor.shape = list(values.shape)
        self.model.buffers[tensor.buffer].data = _bytes_of(values)
        parameters = tensor.quantization
        if parameters is not None and parameters.scale is not None and len(parameters.scale) > 1:
            parameters.scale = np.tile(np.asarray(parameters.scale, np.float32), repeats)
            parameters.zeroPoint = np.tile(np.asarray(parameters.zeroPoint, np.int64), repeats)
            parameters.min = parameters.max = None
            parameters.quantizedDimension = 0

    def add_tensor(self, shape: tuple[int, ...], like: int, ending: str) -> int:
        """Return a new tensor of another shape with the dtype and scale of a tensor."""
        before = self.tensor(like)
        index = flatbuffer.tensor_like(self.graph, before, before.type, ending.encode())
        self.tensor(index).shape = list(shape)
        self.tensor(index).quantization = copy.deepcopy(before.quantization)
        return index

    def add_constant(self, values: NDArray[Any], name: str, *, scale: float | None = None) -> int:
        """Return a new constant, with one scale where it has any."""
        parameters = None
        if scale is not None:
            parameters = schema.QuantizationParametersT(scale=[scale], zeroPoint=[0])
        self.model.buffers.append(schema.BufferT(data=_bytes_of(values)))
        self.graph.tensors.append(
            schema.TensorT(
                shape=list(values.shape),
                type=_TYPES[values.dtype],
                buffer=len(self.model.buffers) - 1,
                name=name.encode(),
                quantization=parameters,
            )
        )
        return len(self.graph.tensors) - 1

    def pad(self, source: int, before: tuple[int, int], after: tuple[int, int], ending: str) -> tuple[list[Any], int]:
        """Return a PAD of height and width by the zero point, and its result; nothing and the source for no padding."""
        if not any((*before, *after)):
            return [], source
        batch, height, width, channels = self.shape(source)
        shape = (batch, before[0] + height + after[0], before[1] + width + after[1], channels)
        sink = self.add_tensor(shape, source, ending)
        amounts = np.array([[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]], np.int32)
        inputs = [source, self.add_constant(amounts, f"{self._text(sink)}_amounts")]
        kind, options = schema.BuiltinOptions.PadOptions, schema.PadOptionsT()
        return [self._operator(schema.BuiltinOperator.PAD, inputs, sink, kind, options)], sink

    def reshape(self, source: int, sink: int) -> Any:
        """Return a RESHAPE."""
        shape = np.array(self.shape(sink), np.int32)
        inputs = [source, self.add_constant(shape, f"{self._text(sink)}_from_{self._text(source)}_shape")]
        options = schema.ReshapeOptionsT(newShape=shape.tolist())
        return self._operator(
            schema.BuiltinOperator.RESHAPE, inputs, sink, schema.BuiltinOptions.ReshapeOptions, options
        )

    def convolution(self, inputs: list[int], sink: int, *, strides: tuple[int, int]) -> Any:
        """Return a CONV_2D without padding and activation."""
        options = schema.Conv2DOptionsT(
            padding=VALID, strideH=strides[0], strideW=strides[1], dilationHFactor=1, dilationWFactor=1
        )
        kind = schema.BuiltinOptions.Conv2DOptions
        return self._operator(schema.BuiltinOperator.CONV_2D, inputs, sink, kind, options)

    def _operator(self, builtin: int, inputs: list[int], sink: int, kind: int, options: Any) -> Any:
        known = len(self.model.operatorCodes)
        code = flatbuffer.operator_code(self.model, builtin)
        if code == known:
            self.model.operatorCodes[code].version = _VERSIONS.get(builtin, 1)
        return schema.OperatorT(code, inputs, [sink], builtinOptionsType=kind, builtinOptions=options)

    def _text(self, index: int) -> str:
        return flatbuffer.text(self.tensor(index).name)


def _bytes_of(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
