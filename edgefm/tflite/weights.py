"""Kernels of a .tflite file, read back from it: weights as stored and as real numbers, their zeros and levels.

Nothing is run and no TensorFlow is needed: weights are taken from the FlatBuffer and counted in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError

# Operators whose second input is a kernel, with the axis of its output channels in a .tflite file.
_KERNEL_INPUT = 1
_OUTPUT_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0, "CONV_3D": 4}
_ACTIVATION_INPUT = {"TRANSPOSE_CONV": 2}
_DTYPES = {"float32": "<f4", "float16": "<f2", "int8": "i1", "uint8": "u1", "int16": "<i2"}


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredKernel:
    """One kernel of a file.

    Attributes:
      tensor: its name in the file.
      operator: that takes it, e.g. 'CONV_2D'.
      graph: number of the subgraph.
      operator_index: place of the operator in its graph.
      tensor_index: of the tensor in its graph that the file holds; a float16 kernel lies before a DEQUANTIZE.
      buffer: that holds it; kernels that share their weights share it.
      dtype: as stored, e.g. 'int8', 'float32'.
      activation_dtypes: of the operator's input and output.
      shape: as TFLite stores it.
      scales: float32 [1] for the tensor, one a channel, or [0] where it is not quantised.
      scale_axis: that the scales lie along.
      zero_point: stored number that stands for 0.
      content: its bytes.
    """

    tensor: str
    operator: str
    graph: int
    operator_index: int
    tensor_index: int
    buffer: int
    dtype: str
    activation_dtypes: tuple[str, str]
    shape: tuple[int, ...]
    scales: NDArray[np.float32]
    scale_axis: int
    zero_point: int
    content: NDArray[np.uint8]

    @cached_property
    def stored(self) -> NDArray[Any]:
        """Its numbers as stored, in its shape.

        Raises:
          ModelError: the dtype is not known here.
        """
        if self.dtype == "int4":  # two a byte, the first one in the low half
            halves = np.stack([self.content << 4, self.content & 0xF0], axis=-1).reshape(-1)
            return (halves.view(np.int8) >> 4)[: self.weights].reshape(self.shape)
        if self.dtype not in _DTYPES:
            known = ", ".join(_DTYPES)
            raise ModelError(f"weights of dtype {self.dtype} cannot be counted", hint=f"Known: {known}, int4.")
        return self.content.view(_DTYPES[self.dtype]).reshape(self.shape)

    @property
    def real(self) -> NDArray[np.float32]:
        """Its weights: dequantised where they are stored as whole numbers."""
        real = self.stored.astype(np.float32)
        if self.stored.dtype.kind == "f" or not len(self.scales):
            return real
        shape = [1] * real.ndim
        if len(self.scales) > 1:
            shape[self.scale_axis] = len(self.scales)
        return np.asarray((real - self.zero_point) * self.scales.reshape(shape), np.float32)

    @property
    def weights(self) -> int:
        """Number of its weights."""
        return int(np.prod(self.shape))

    @cached_property
    def zeros(self) -> int:
        """Number of its weights that are exactly 0."""
        return int((self.stored == self.zero_point).sum())

    @property
    def sparsity(self) -> float:
        """Share of its weights that are exactly 0."""
        return self.zeros / self.weights

    @property
    def levels(self) -> int:
        """Number of different numbers as they are stored."""
        return len(np.unique(self.stored))

    @property
    def levels_in_a_channel(self) -> int:
        """The most different stored numbers in one output channel."""
        return levels_in_a_channel(self.stored, axis=_OUTPUT_AXIS[self.operator])

    def to_json(self) -> dict[str, Any]:
        """Return what was counted as a JSON object.

        `values` is the number of different real numbers: with scales by channel one level is as many as channels.
        """
        return {
            "tensor": self.tensor,
            "operator": self.operator,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "scales": len(self.scales),
            "sparsity": self.sparsity,
            "levels": self.levels,
            "levels_per_channel": self.levels_in_a_channel,
            "values": len(np.unique(self.real)),
        }


def stored_kernels(content: bytes) -> tuple[StoredKernel, ...]:
    """Return the kernels of a .tflite file's convolutions and dense layers, in the order of running.

    Raises:
      ModelError: no TFLite file, or its tables are damaged.
    """
    from edgefm.tflite import flatbuffer

    model = flatbuffer.read(content)
    kernels = []
    for number, graph in enumerate(model.subgraphs):
        operators = graph.operators or []
        producers = {index: operator for operator in operators for index in flatbuffer.indices(operator.outputs)}
        for place, operator in enumerate(operators):
            name = flatbuffer.operator_name(model, operator)
            if name not in _OUTPUT_AXIS or len(operator.inputs) <= _KERNEL_INPUT:
                continue
            index = int(operator.inputs[_KERNEL_INPUT])
            while index in producers and flatbuffer.operator_name(model, producers[index]) == "DEQUANTIZE":
                index = int(producers[index].inputs[0])
            tensor = graph.tensors[index]
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data):
                continue
            ends = (operator.inputs[_ACTIVATION_INPUT.get(name, 0)], operator.outputs[0])
            activation, result = (flatbuffer.dtype(graph.tensors[int(end)]) for end in ends)
            quantization = tensor.quantization
            scales = quantization.scale if quantization is not None else None
            points = quantization.zeroPoint if quantization is not None else None
            kernels.append(
                StoredKernel(
                    tensor=tensor.name.decode(errors="replace"),
                    operator=name,
                    graph=number,
                    operator_index=place,
                    tensor_index=index,
                    buffer=int(tensor.buffer),
                    dtype=flatbuffer.dtype(tensor),
                    activation_dtypes=(activation, result),
                    shape=flatbuffer.indices(tensor.shape),
                    scales=np.asarray([] if scales is None else scales, np.float32),
                    scale_axis=int(quantization.quantizedDimension) if quantization is not None else 0,
                    zero_point=int(points[0]) if points is not None and len(points) else 0,
                    content=np.ascontiguousarray(data, np.uint8),
                )
            )
    return tuple(kernels)


def levels_in_a_channel(kernel: NDArray[Any], *, axis: int) -> int:
    """Return the greatest number of different values in one channel along `axis`; 0 for an empty kernel."""
    channels = np.sort(np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1), axis=1)
    return int(1 + (np.diff(channels, axis=1) != 0).sum(axis=1).max()) if channels.size else 0


def float32_operators(content: bytes) -> tuple[str, ...]:
    """Return the operators of a .tflite file that compute in float32, in order of running."""
    from edgefm.tflite import flatbuffer

    model = flatbuffer.read(content)
    graph = model.subgraphs[0]
    names = [
        flatbuffer.operator_name(model, operator)
        for operator in graph.operators
        if any(flatbuffer.dtype(graph.tensors[index]) == "float32" for index in operator.outputs)
    ]
    return tuple(name for name in names if name != "DEQUANTIZE")
