"""Tables of embeddings in a float32 .tflite file, made int8 or float16: they are weights like any others.

Keras's Embedding becomes a GATHER from a constant, which litert-quantizer leaves alone where only weights are
compressed. int8 is symmetric with one scale a table, because GATHER gives what it takes: the rows that are taken stay
int8, and one DEQUANTIZE makes them numbers. float16 is unpacked once, when the file is loaded.

    table [[0.5, -1.0], [0.25, 0.0]], scale 1 / 127:    q [[64, -127], [32, 0]]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefm.tflite import flatbuffer

_LEVELS = 127


def with_int8_tables(content: bytes) -> bytes:
    """Return a .tflite file whose tables of embeddings are int8; the same content where it has none."""
    return _with_tables(content, _quantise)


def with_float16_tables(content: bytes) -> bytes:
    """Return a .tflite file whose tables of embeddings are float16; the same content where it has none."""
    return _with_tables(content, _halve)


def _with_tables(content: bytes, change: Any) -> bytes:
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    tables = _tables(model, graph)
    if not tables:
        return content
    for index, gathers in tables.items():
        change(model, graph, index, gathers)
    return flatbuffer.write(model)


def _tables(model: Any, graph: Any) -> dict[int, list[Any]]:
    """Return the float32 constants that only GATHER takes, by the tensor, with the operators that take them."""
    takers: dict[int, list[Any]] = {}
    for operator in graph.operators:
        for place, index in enumerate(operator.inputs):
            takers.setdefault(int(index), []).append((place, operator))
    found = {}
    for index, uses in takers.items():
        if index < 0 or index in list(graph.outputs):
            continue
        tensor = graph.tensors[index]
        data = model.buffers[tensor.buffer].data
        stored = data is not None and len(data) > 0
        rows = all(place == 0 and flatbuffer.operator_name(model, op) == "GATHER" for place, op in uses)
        shared = sum(other.buffer == tensor.buffer for other in graph.tensors) > 1
        if stored and rows and not shared and flatbuffer.dtype(tensor) == "float32" and len(tensor.shape) > 1:
            found[index] = [operator for _, operator in uses]
    return found


def _quantise(model: Any, graph: Any, index: int, gathers: list[Any]) -> None:
    table = graph.tensors[index]
    values = _values(model, table)
    scale = float(np.abs(values).max()) / _LEVELS or 1.0
    levels = np.clip(np.round(values / scale), -_LEVELS, _LEVELS).astype(np.int8)
    model.buffers[table.buffer].data = levels.reshape(-1).view(np.uint8)
    table.type = schema.TensorType.INT8
    table.quantization = _parameters(scale)
    for gather in gathers:
        real = int(gather.outputs[0])
        inner = flatbuffer.tensor_like(graph, graph.tensors[real], schema.TensorType.INT8, b"_int8")
        graph.tensors[inner].quantization = _parameters(scale)
        gather.outputs = [inner]
        graph.operators.insert(_place(graph, gather) + 1, flatbuffer.dequantize(model, inner, real))


def _halve(model: Any, graph: Any, index: int, gathers: list[Any]) -> None:
    table = graph.tensors[index]
    halves = _values(model, table).astype(np.float16)
    if not np.isfinite(halves).all():
        return  # out of range: it stays as it is
    model.buffers[table.buffer].data = halves.reshape(-1).view(np.uint8)
    whole = flatbuffer.tensor_like(graph, table, schema.TensorType.FLOAT32, b"_float32")
    table.type = schema.TensorType.FLOAT16
    for gather in gathers:
        gather.inputs = [whole, *list(gather.inputs)[1:]]
    graph.operators.insert(min(_place(graph, gather) for gather in gathers), flatbuffer.dequantize(model, index, whole))


def _place(graph: Any, operator: Any) -> int:
    return next(place for place, other in enumerate(graph.operators) if other is operator)


def _values(model: Any, tensor: Any) -> Any:
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
    return np.frombuffer(data.tobytes(), np.float32).reshape(tuple(int(length) for length in tensor.shape))


def _parameters(scale: float) -> Any:
    return schema.QuantizationParametersT(scale=[scale], zeroPoint=[0])
