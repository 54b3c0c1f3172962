"""Biases of quantised files: each layer has one where its kernel needs it, and none is clipped.

LiteRT's fully connected kernel sums int16 x int8 products in 64 bits where the operator has an int64 bias, and in 32
bits where it has none: 520 products of 32,767 x 127 are enough to overflow, and the answer is wrong without a word.
TensorFlow's converter drops a bias that is missing or zero. So a zero bias is put back. LiteRT's reference kernels are
right either way. (ai-edge-litert 2.3.0; Dense of 147,456 inputs near their greatest value: wrong by 99 % of the output
without a bias, by 0.003 % with one.)

A bias has the scale of its sums, input scale x weight scale, and 32 bits. litert-quantizer 0.11 clips what does not
fit, in int16x8 files too, where the kernels take 64 bits. In a channel of zero or tiny weights (pruned, or behind a
batch normalisation with a small gamma) nearly all of the bias is lost so, and the channel answers about 0. There the
weights get a coarser scale, as TensorFlow's converter gives them: what they add is below what the output can show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgefm.tflite import flatbuffer

_BIAS = 2
# Operators with weights in their second input -> input that holds the bias, input that holds the activations.
_SLOTS = {"FULLY_CONNECTED": (2, 0), "CONV_2D": (2, 0), "DEPTHWISE_CONV_2D": (2, 0), "TRANSPOSE_CONV": (3, 2)}
_BETWEEN = ("QUANTIZE", "DEQUANTIZE")
# The greatest level that a bias may have: half of what 32 bits hold, since sums are added to it; of 64 bits what
# LiteRT's multiplier, which shifts by 31 bits at most, can bring to 16.
_GREATEST = {"int32": 2**30, "int64": 2**40}
# XNNPACK's sums of int4 weights are 16 times as great.
_GREATEST_INT4 = 2**25
_WEIGHTS = {"int8": 127, "int4": 7}


def with_biases(float32: bytes) -> bytes:
    """Return a float file whose dense layers all have a bias, zeros where there was none; equal outputs."""
    model = flatbuffer.editable(float32)
    graph = model.subgraphs[0]
    changed = False
    for operator in graph.operators:
        inputs = [int(index) for index in operator.inputs]
        if flatbuffer.operator_name(model, operator) != "FULLY_CONNECTED" or (
            len(inputs) > _BIAS and inputs[_BIAS] >= 0
        ):
            continue
        weights = graph.tensors[inputs[1]]
        if flatbuffer.dtype(weights) != "float32":
            continue
        values = np.zeros(int(weights.shape[0]), "<f4")
        model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
        graph.tensors.append(
            schema.TensorT(
                shape=[len(values)],
                type=schema.TensorType.FLOAT32,
                buffer=len(model.buffers) - 1,
                name=graph.tensors[int(operator.outputs[0])].name + b"_zero_bias",
            )
        )
        operator.inputs = [*inputs[:_BIAS], len(graph.tensors) - 1]
        changed = True
    return flatbuffer.write(model) if changed else float32


def with_whole_biases(float32: bytes, quantised: bytes) -> bytes:
    """Return a quantised file whose biases are those of the float file, rounded and not clipped.

    q = bias / (input scale x weight scale); where that would not fit, the weight scale of the channel grows until it
    does, and its weights are rounded anew.

    Args:
      float32: the file that it was made from; the operators of both correspond.
      quantised: content of the file.
    """
    source, model = flatbuffer.editable(float32), flatbuffer.editable(quantised)
    graph, given = model.subgraphs[0], source.subgraphs[0]
    ours = [op for op in graph.operators if flatbuffer.operator_name(model, op) not in _BETWEEN]
    theirs = [op for op in given.operators if flatbuffer.operator_name(source, op) not in _BETWEEN]
    users = [int(index) for operator in graph.operators for index in operator.inputs]
    changed = False
    for operator, original in zip(ours, theirs, strict=True):
        slot, activation = _SLOTS.get(flatbuffer.operator_name(model, operator), (len(operator.inputs), 0))
        if slot >= len(operator.inputs) or operator.inputs[slot] < 0:
            continue
        bias, kernel = graph.tensors[operator.inputs[slot]], graph.tensors[operator.inputs[1]]
        real = _floats(source, given.tensors[original.inputs[slot]])
        weights = _floats(source, given.tensors[original.inputs[1]])
        shared = users.count(int(operator.inputs[slot])) > 1 or users.count(int(operator.inputs[1])) > 1
        if flatbuffer.dtype(bias) not in _GREATEST or flatbuffer.dtype(kernel) not in _WEIGHTS or shared:
            continue
        if real is None or weights is None:
            continue
        step = float(graph.tensors[operator.inputs[activation]].quantization.scale[0])
        changed = _fit(model, bias, kernel, real=real, weights=weights, step=step) or changed
    return flatbuffer.write(model) if changed else quantised


def _fit(
    model: Any, bias: Any, kernel: Any, *, real: NDArray[np.float32], weights: NDArray[np.float32], step: float
) -> bool:
    """Store a bias whole, with coarser weights where it must be, and return whether anything changed."""
    greatest = _GREATEST_INT4 if flatbuffer.dtype(kernel) == "int4" else _GREATEST[flatbuffer.dtype(bias)]
    scales = np.asarray(kernel.quantization.scale, np.float64)
    wanted = np.abs(real.astype(np.float64)) / (step * greatest)
    needed = wanted if scales.size > 1 else np.full(1, wanted.max())
    grown = np.asarray(np.where(needed > scales, needed, scales), np.float32)
    levels = np.round(real.astype(np.float64) / (step * grown.astype(np.float64)))
    stored = model.buffers[bias.buffer].data
    kind = "<i4" if flatbuffer.dtype(bias) == "int32" else "<i8"
    coarser = needed > scales
    clipped = bool(stored is not None and (np.asarray(stored, np.uint8).view(kind) != levels).any())
    if not coarser.any() and not (clipped and kind == "<i8"):
        return False
    _store(model, bias, levels.astype(kind).tobytes())
    if coarser.any():
        kernel.quantization.scale = bias_scales = [float(scale) for scale in grown]
        bias.quantization.scale = [step * scale for scale in bias_scales]
        _store(model, kernel, _rounded(kernel, weights, grown))
    return True


def _rounded(kernel: Any, weights: NDArray[np.float32], scales: NDArray[np.float32]) -> bytes:
    """Return weights as levels of their scales, as the file stores them."""
    shape = [int(length) for length in kernel.shape]
    along = [1] * len(shape)
    if scales.size > 1:
        along[int(kernel.quantization.quantizedDimension)] = scales.size
    most = _WEIGHTS[flatbuffer.dtype(kernel)]
    real = weights.reshape(shape).astype(np.float64)
    levels = np.clip(np.round(real / scales.reshape(along)), -most, most).astype(np.int8).reshape(-1)
    if flatbuffer.dtype(kernel) == "int8":
        return levels.tobytes()
    halves = np.append(levels, np.zeros(levels.size % 2, np.int8)).view(np.uint8).reshape(-1, 2) & 0x0F
    return bytes((halves[:, 0] | halves[:, 1] << 4).astype(np.uint8).tobytes())


def _floats(model: Any, tensor: Any) -> NDArray[np.float32] | None:
    stored = model.buffers[tensor.buffer].data
    if stored is None or flatbuffer.dtype(tensor) != "float32":
        return None
    values: NDArray[np.float32] = np.asarray(stored, np.uint8).view("<f4")
    return values


def _store(model: Any, tensor: Any, content: bytes) -> None:
    """Give a tensor other content, in its own buffer where no other tensor has that: none is left that nobody reads."""
    sharing = sum(other.buffer == tensor.buffer for graph in model.subgraphs for other in graph.tensors)
    if tensor.buffer == 0 or sharing > 1:
        model.buffers.append(schema.BufferT())
        tensor.buffer = len(model.buffers) - 1
    model.buffers[tensor.buffer].data = np.frombuffer(content, np.uint8)
