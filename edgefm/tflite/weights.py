"""What a TFLite file holds, read back from it: zeros and levels of its kernels, operators that are not integer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.tflite import flatbuffer

# Operator -> axis of its kernel that its outputs lie along.
_OUTPUT_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One kernel of a file.

    Attributes:
      tensor: its name in the file.
      operator: that takes it, e.g. 'CONV_2D'.
      dtype: 'int8' or 'float32'.
      shape: as TFLite stores it.
      scales: how many: 1 for the tensor, else one a channel; 0 where it is not quantised.
      sparsity: share of its weights that are exactly 0.
      levels: how many different numbers it holds as they are stored.
      levels_per_channel: the most that one output channel holds.
      values: how many different real numbers it holds; with scales by channel one level is as many as channels.
    """

    tensor: str
    operator: str
    dtype: str
    shape: tuple[int, ...]
    scales: int
    sparsity: float
    levels: int
    levels_per_channel: int
    values: int

    def to_json(self) -> dict[str, Any]:
        """Return the kernel as a JSON object."""
        return {**asdict(self), "shape": list(self.shape)}


def kernels(content: bytes) -> tuple[Kernel, ...]:
    """Return the int8 and float32 kernels of a .tflite file's convolutions and dense layers, in order of running."""
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    collected = []
    for operator in graph.operators:
        name = flatbuffer.operator_name(model, operator)
        if name not in _OUTPUT_AXIS:
            continue
        tensor = graph.tensors[operator.inputs[1]]
        data = model.buffers[tensor.buffer].data
        kind = flatbuffer.dtype(tensor)
        if data is None or kind not in ("int8", "float32"):
            continue
        stored = np.frombuffer(np.asarray(data, np.uint8).tobytes(), kind).reshape([int(n) for n in tensor.shape])
        collected.append(_kernel(name, tensor, stored))
    return tuple(collected)


def float32_operators(content: bytes) -> tuple[str, ...]:
    """Return the operators of a .tflite file that compute in float32, in order of running."""
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    names = [
        flatbuffer.operator_name(model, operator)
        for operator in graph.operators
        if any(flatbuffer.dtype(graph.tensors[index]) == "float32" for index in operator.outputs)
    ]
    return tuple(name for name in names if name != "DEQUANTIZE")


def _kernel(operator: str, tensor: Any, stored: NDArray[Any]) -> Kernel:
    axis = _OUTPUT_AXIS[operator]
    parameters = tensor.quantization
    scales = np.asarray(parameters.scale if parameters is not None and parameters.scale is not None else [], np.float32)
    real = stored.astype(np.float32)
    if len(scales) > 1:
        shape = [1] * stored.ndim
        shape[int(parameters.quantizedDimension)] = len(scales)
        real = real * scales.reshape(shape)
    channels = np.moveaxis(stored, axis, 0).reshape(stored.shape[axis], -1)
    return Kernel(
        tensor=tensor.name.decode(),
        operator=operator,
        dtype=stored.dtype.name,
        shape=stored.shape,
        scales=len(scales),
        sparsity=float((stored == 0).mean()),
        levels=len(np.unique(stored)),
        levels_per_channel=max(len(np.unique(channel)) for channel in channels),
        values=len(np.unique(real)),
    )
