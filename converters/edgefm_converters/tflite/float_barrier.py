"""Keeps TensorFlow's converter from quantising a layer that shall stay float32 between int8 neighbours.

The converter quantises every operator that it finds ranges around, its constants included, and has no list of
exceptions for fake-quantised graphs. A sine that only the converter is shown parts the layer's output from the range
behind it: TFLite has no int8 sine. It is taken out of the file again.

Where such a layer is a product with a constant (EinsumDense), the converter makes a FULLY_CONNECTED of it last and
forgets to dequantise its input; that is done here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgefm.tflite import flatbuffer

_NAME = "edgefm_float_barrier"
_PRODUCTS = ("FULLY_CONNECTED", "BATCH_MATMUL")
_shown = False


def barrier(tensor: Any) -> Any:
    """Return the tensor; while barriers are shown, its sine."""
    if not _shown:
        return tensor
    import tensorflow as tf

    return tf.math.sin(tensor, name=_NAME)


@contextmanager
def shown() -> Iterator[None]:
    """Show barriers to what is traced within."""
    global _shown
    _shown = True
    try:
        yield
    finally:
        _shown = False


def removed(content: bytes) -> bytes:
    """Return a .tflite file without its barriers: what took a barrier's output takes its input.

    A product of floats whose input is int8 all the same gets a DEQUANTIZE before it.
    """
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    _dequantise_inputs(model, graph)
    kept, instead = [], {}
    for operator in graph.operators:
        output = operator.outputs[0]
        if flatbuffer.operator_name(model, operator) == "SIN" and _NAME.encode() in graph.tensors[output].name:
            instead[int(output)] = int(operator.inputs[0])
        else:
            kept.append(operator)
    for operator in kept:
        operator.inputs = [instead.get(int(index), int(index)) for index in operator.inputs]
    graph.operators = kept
    graph.outputs = [instead.get(int(index), int(index)) for index in graph.outputs]
    for signature in model.signatureDefs or []:
        for entry in signature.outputs:
            entry.tensorIndex = instead.get(int(entry.tensorIndex), int(entry.tensorIndex))
    return flatbuffer.write(model)


def _dequantise_inputs(model: Any, graph: Any) -> None:
    real: dict[int, int] = {}
    for operator in list(graph.operators):
        if flatbuffer.operator_name(model, operator) not in _PRODUCTS:
            continue
        source, weights, result = int(operator.inputs[0]), int(operator.inputs[1]), int(operator.outputs[0])
        dtypes = tuple(flatbuffer.dtype(graph.tensors[index]) for index in (source, weights, result))
        if dtypes != ("int8", "float32", "float32"):
            continue
        if source not in real:
            real[source] = flatbuffer.tensor_like(graph, graph.tensors[source], schema.TensorType.FLOAT32, b"_real")
            graph.operators.insert(graph.operators.index(operator), flatbuffer.dequantize(model, source, real[source]))
        operator.inputs = [real[source], *list(operator.inputs)[1:]]
