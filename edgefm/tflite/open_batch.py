"""A batch that a .tflite file leaves open, made 1 in its bytes: the size and every other byte stay.

The stock converter writes each tensor twice: `shape` at a batch of 1, and `shape_signature` with -1 for what depends on
the batch. TFLite takes `shape` unless it is told otherwise; LiteRT.js and tf2onnx take the signature.
"""

from __future__ import annotations

import mmap
import struct

from edgefm.tflite import schema_fields as fields
from edgefm.tflite.tables import DAMAGES, Table


def fixed_batch(content: bytes) -> bytes:
    """Return a .tflite file with the batch of 1 of its shapes in its signatures; as it is where that would be wrong.

    Args:
      content: of the file. It is returned unchanged where the inputs leave open nothing, more than the batch, or a
        batch whose tensors are not laid out for 1.
    """
    if not leaves_batch_open(content):
        return content
    patched = bytearray(content)
    graphs = Table.root(content).tables(fields.MODEL_SUBGRAPHS)
    try:
        for tensor in (tensor for graph in graphs for tensor in graph.tables(fields.GRAPH_TENSORS)):
            shape, extent = _shape(tensor), tensor.extent(fields.TENSOR_SIGNATURE)
            if extent is not None and len(shape) == len(_signature(tensor)):
                struct.pack_into(f"<{len(shape)}i", patched, extent[0], *shape)
    except DAMAGES:
        return content
    return bytes(patched)


def leaves_batch_open(content: bytes | mmap.mmap) -> bool:
    """Return whether the inputs of a .tflite file leave their batch open, and nothing else.

    False of a damaged file too: who reads it says so.
    """
    try:
        graphs = Table.root(content).tables(fields.MODEL_SUBGRAPHS)
        return bool(graphs) and _only_batch(graphs[0])
    except DAMAGES:
        return False


def _only_batch(graph: Table) -> bool:
    tensors = graph.tables(fields.GRAPH_TENSORS)
    ends = [tensors[index] for index in graph.numbers(fields.GRAPH_INPUTS, "<i") or ()]
    open_ends = [end for end in ends if -1 in _signature(end)]
    return bool(open_ends) and all(
        -1 not in _signature(end)[1:] and (_signature(end)[0] != -1 or _shape(end)[0] == 1) for end in open_ends
    )


def _shape(tensor: Table) -> tuple[int, ...]:
    return tensor.numbers(fields.TENSOR_SHAPE, "<i") or ()


def _signature(tensor: Table) -> tuple[int, ...]:
    return tensor.numbers(fields.TENSOR_SIGNATURE, "<i") or _shape(tensor)
