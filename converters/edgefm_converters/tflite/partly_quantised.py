"""A float32 TFLite file in which single operators imitate the int8 file: its weights, or its activations, rounded.

What is imitated is read from the int8 file itself: its scales, zero points and levels. Everything else computes in
float32, so that what changes in the outputs comes from that one thing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.tflite import flatbuffer

_BETWEEN = ("QUANTIZE", "DEQUANTIZE")
_LEVELS = ("int8", "int16")


class OperatorPairs:
    """A float32 file and the int8 file that was made from it, operator by operator."""

    def __init__(self, float32: bytes, int8: bytes) -> None:
        """Read both files.

        Args:
          float32: as `float_file` gives it.
          int8: the same graph quantised, with int8 ends.
        Raises:
          ModelError: their operators do not correspond.
        """
        self._float32 = float32
        self._int8 = flatbuffer.editable(int8)
        model = flatbuffer.editable(float32)
        operators = self._int8.subgraphs[0].operators
        self._quantised = [op for op in operators if flatbuffer.operator_name(self._int8, op) not in _BETWEEN]
        ours = [flatbuffer.operator_name(model, operator) for operator in model.subgraphs[0].operators]
        theirs = [flatbuffer.operator_name(self._int8, operator) for operator in self._quantised]
        if ours != theirs:
            raise ModelError(f"the quantised file has other operators than the float one: {theirs}, not {ours}")

    def weights(self, operator: int) -> int:
        """Return how many values of an operator's weights are int8 in the int8 file."""
        rounded = self._rounded(flatbuffer.editable(self._float32), operator)
        return sum(int(values.size) for values in rounded.values())

    def rounds(self, operator: int) -> bool:
        """Return whether an operator rounds its outputs anew; one that only moves values keeps its input's levels."""
        quantised, tensors = self._quantised[operator], self._int8.subgraphs[0].tensors
        input_steps = {_steps(tensors[index]) for index in quantised.inputs if index >= 0}
        return any(_steps(tensors[index]) not in input_steps for index in quantised.outputs)

    def ranges(self) -> dict[int, tuple[float, float]]:
        """Return the least and greatest real value that each computed tensor can hold in the int8 file, by index."""
        ranges = {}
        for ours, theirs in zip(
            flatbuffer.editable(self._float32).subgraphs[0].operators, self._quantised, strict=True
        ):
            for index, other in zip(ours.outputs, theirs.outputs, strict=True):
                inner = self._int8.subgraphs[0].tensors[other]
                if flatbuffer.dtype(inner) == "int8" and inner.quantization.scale is not None:
                    scale, zero_point = float(inner.quantization.scale[0]), int(inner.quantization.zeroPoint[0])
                    ranges[int(index)] = (-128 - zero_point) * scale, (127 - zero_point) * scale
        return ranges

    def with_weights(self, operators: Collection[int]) -> bytes:
        """Return the float32 file with the weights of some operators rounded as in the int8 file."""
        model = flatbuffer.editable(self._float32)
        graph = model.subgraphs[0]
        for operator in operators:
            taking = graph.operators[operator]
            slots = list(taking.inputs)
            for slot, values in self._rounded(model, operator).items():
                # A new buffer: the weights may be another operator's too.
                slots[slot] = _constant(model, graph, graph.tensors[slots[slot]], values)
            taking.inputs = slots
        return flatbuffer.write(model)

    def with_activations(self, operators: Collection[int]) -> bytes:
        """Return the float32 file with the outputs of some operators rounded as in the int8 file."""
        model = flatbuffer.editable(self._float32)
        graph = model.subgraphs[0]
        after: dict[int, list[Any]] = {}
        for operator in operators:
            pairs = zip(graph.operators[operator].outputs, self._quantised[operator].outputs, strict=True)
            for ours, theirs in list(pairs):
                inner = self._int8.subgraphs[0].tensors[theirs]
                if flatbuffer.dtype(graph.tensors[ours]) == "float32" and flatbuffer.dtype(inner) in _LEVELS:
                    after.setdefault(operator, []).extend(_round_trip(model, graph, ours, inner))
        graph.operators = [
            step for place, operator in enumerate(graph.operators) for step in (operator, *after.get(place, ()))
        ]
        return flatbuffer.write(model)

    def _rounded(self, model: Any, operator: int) -> dict[int, NDArray[np.float32]]:
        """Return the rounded weights of an operator by input slot."""
        graph, other = model.subgraphs[0], self._int8.subgraphs[0]
        rounded: dict[int, NDArray[np.float32]] = {}
        pairs = zip(graph.operators[operator].inputs, self._quantised[operator].inputs, strict=True)
        for slot, (ours, theirs) in enumerate(pairs):
            if ours < 0 or theirs < 0:
                continue
            tensor, inner = graph.tensors[ours], other.tensors[theirs]
            stored = self._int8.buffers[inner.buffer].data
            if flatbuffer.dtype(tensor) == "float32" and flatbuffer.dtype(inner) == "int8" and stored is not None:
                rounded[slot] = _real(np.asarray(stored, np.uint8).view(np.int8), inner)
        return rounded


def _steps(tensor: Any) -> tuple[str, tuple[float, ...], tuple[int, ...]]:
    """Return what decides a tensor's levels."""
    parameters = tensor.quantization
    if parameters is None or parameters.scale is None or flatbuffer.dtype(tensor) not in _LEVELS:
        return flatbuffer.dtype(tensor), (), ()
    scale, zero_point = list(parameters.scale), list(parameters.zeroPoint)
    return flatbuffer.dtype(tensor), tuple(map(float, scale)), tuple(map(int, zero_point))


def _real(levels: NDArray[np.int8], tensor: Any) -> NDArray[np.float32]:
    """Return the real values of stored levels, in the tensor's shape."""
    shape = [int(length) for length in tensor.shape]
    parameters = tensor.quantization
    scale, zero_point = (np.asarray(values, np.float64) for values in (parameters.scale, parameters.zeroPoint))
    if scale.size > 1:
        along = [1] * len(shape)
        along[int(parameters.quantizedDimension)] = scale.size
        scale, zero_point = scale.reshape(along), zero_point.reshape(along)
    return ((levels.reshape(shape).astype(np.float64) - zero_point) * scale).astype(np.float32)


def _constant(model: Any, graph: Any, like: Any, values: NDArray[np.float32]) -> int:
    """Add a constant, and return the index of its tensor."""
    model.buffers.append(schema.BufferT(data=np.frombuffer(values.astype("<f4").tobytes(), np.uint8)))
    graph.tensors.append(
        schema.TensorT(
            shape=list(like.shape),
            type=schema.TensorType.FLOAT32,
            buffer=len(model.buffers) - 1,
            name=like.name + b"_rounded",
        )
    )
    return len(graph.tensors) - 1


def _round_trip(model: Any, graph: Any, index: int, inner: Any) -> list[Any]:
    """Put QUANTIZE and DEQUANTIZE behind a tensor: whoever took it takes the rounded one; return both operators."""
    tensor = graph.tensors[index]
    parameters = schema.QuantizationParametersT(
        scale=[float(inner.quantization.scale[0])], zeroPoint=[int(inner.quantization.zeroPoint[0])]
    )
    levels = flatbuffer.tensor_like(graph, tensor, inner.type, b"_levels")
    graph.tensors[levels].quantization = parameters
    new = flatbuffer.tensor_like(graph, tensor, schema.TensorType.FLOAT32, b"_real")

    def moved(indices: Any) -> list[int]:
        return [new if taken == index else int(taken) for taken in indices]

    for operator in graph.operators:
        operator.inputs = moved(operator.inputs)
    graph.outputs = moved(graph.outputs)
    for signature in model.signatureDefs or []:
        for entry in signature.outputs:
            entry.tensorIndex = new if entry.tensorIndex == index else entry.tensorIndex
    return [flatbuffer.quantize(model, index, levels), flatbuffer.dequantize(model, levels, new)]
