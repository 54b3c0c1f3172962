"""Whether the graph of a .tflite file is whole: its numbers point into it, and it says no more than the file can hold.

A FlatBuffer whose tables can all be read may still hold a wrong graph: an operator that takes a tensor which is not
there, weights with fewer bytes than their shape, a tensor of a terabyte, or one vector that a million tables share.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from edgefm.core.errors import ModelError
from edgefm.core.given import limits
from edgefm.tflite import schema_fields as fields
from edgefm.tflite.tables import Table

# Files of converters hold each vector once; one that is referred to again and again would be unpacked as often.
_TIMES_SHARED, _SHARED_BYTES = 8, 1 << 20
_DAMAGED = "Copy or write the file again."


def check_spread(content: bytes | bytearray | memoryview | mmap.mmap) -> None:
    """Raise a ValueError where the vectors of a file, taken together, are far longer than the file.

    Args:
      content: of the file, whose first bytes were looked at.
    """
    whole = content if isinstance(content, bytes | mmap.mmap) else bytes(content)
    left = _TIMES_SHARED * len(whole) + _SHARED_BYTES
    for length in _lengths(Table.root(whole)):
        left -= length
        if left < 0:
            raise ValueError("its tables refer to each other so often that they would not fit into the file")


def _lengths(model: Table) -> Iterator[int]:
    """Yield the length of each vector that becomes objects or numbers."""
    for number in (fields.MODEL_CODES, fields.MODEL_BUFFERS):
        yield len(model.tables(number))
    for entry in _each(model, fields.MODEL_METADATA):
        yield _extent(entry, fields.METADATA_NAME)
    for signature in _each(model, fields.MODEL_SIGNATURES):
        yield _extent(signature, fields.SIGNATURE_KEY)
        for end in chain(_each(signature, fields.SIGNATURE_INPUTS), _each(signature, fields.SIGNATURE_OUTPUTS)):
            yield 1 + _extent(end, fields.SIGNATURE_TENSOR_NAME)
    for graph in _each(model, fields.MODEL_SUBGRAPHS):
        yield _extent(graph, fields.GRAPH_INPUTS) + _extent(graph, fields.GRAPH_OUTPUTS)
        for tensor in _each(graph, fields.GRAPH_TENSORS):
            yield 1 + sum(_extent(tensor, number) for number in fields.TENSOR_VECTORS)
            quantization = tensor.table(fields.TENSOR_QUANTIZATION)
            if quantization is not None:
                yield sum(_extent(quantization, number) for number in fields.QUANTIZATION_VECTORS)
        for operator in _each(graph, fields.GRAPH_OPERATORS):
            yield 1 + sum(_extent(operator, number) for number in fields.OPERATOR_VECTORS)


def _each(table: Table, number: int) -> Iterator[Table]:
    yield from table.tables(number)


def _extent(table: Table, number: int) -> int:
    extent = table.extent(number)
    return 0 if extent is None else extent[1]


def check_graph(model: Any) -> None:
    """Raise a ValueError where a number in a `ModelT` points at nothing; vectors that are absent become empty.

    Args:
      model: as the generated parser gives it.
    """
    if not model.subgraphs:
        raise ValueError("it has no graph")
    buffers, codes = len(model.buffers or ()), len(model.operatorCodes or ())
    for graph in model.subgraphs:
        for name in ("tensors", "operators", "inputs", "outputs"):
            if getattr(graph, name) is None:
                setattr(graph, name, [])
        tensors = len(graph.tensors)
        for index, tensor in enumerate(graph.tensors):
            _within(tensor.buffer, buffers, f"the buffer of tensor {index}")
        for place, operator in enumerate(graph.operators):
            _within(operator.opcodeIndex, codes, f"the kind of operator {place}")
            for name in ("inputs", "outputs"):
                if getattr(operator, name) is None:
                    setattr(operator, name, [])
            _all_within(operator.inputs, tensors, f"an input of operator {place}", least=-1)  # -1: it is left out
            _all_within(operator.outputs, tensors, f"an output of operator {place}")
        _all_within(graph.inputs, tensors, "an input of the graph")
        _all_within(graph.outputs, tensors, "an output of the graph")
    for signature in model.signatureDefs or ():
        _within(signature.subgraphIndex, len(model.subgraphs), "the graph of a signature")
        tensors = len(model.subgraphs[signature.subgraphIndex].tensors)
        for end in chain(signature.inputs or (), signature.outputs or ()):
            _within(end.tensorIndex, tensors, "an end of a signature")
    for entry in model.metadata or ():
        _within(entry.buffer, buffers, "the buffer of the metadata")


def check_tensors(model: Any, *, size_bytes: int, source: str) -> None:
    """Raise a ModelError where a tensor of a `ModelT` has other bytes than its shape says, or takes too many.

    Args:
      model: with a graph that `check_graph` found whole.
      size_bytes: of the file.
      source: of the model, for messages.
    """
    for graph in model.subgraphs:
        made = {*map(int, graph.inputs), *(int(index) for operator in graph.operators for index in operator.outputs)}
        for index, tensor in enumerate(graph.tensors):
            name = _name(tensor, index, source)
            shape = tuple(int(length) for length in (() if tensor.shape is None else tensor.shape))
            if min(shape, default=0) < -1:
                raise ModelError(f"{name} has the shape {shape}", hint=_DAMAGED)
            dtype = fields.DTYPES.get(tensor.type)
            width = np.dtype(dtype).itemsize if dtype else 1
            wanted = width * math.prod(max(length, 1) if index in made else length for length in shape)
            limits.check(wanted, ModelError, size_bytes=size_bytes, what=f"{name}, {shape},")
            data = model.buffers[tensor.buffer].data
            stored = 0 if data is None else len(data)
            if dtype and stored and tensor.sparsity is None and stored != wanted:
                raise ModelError(f"{name} has the shape {shape} and {stored:,} bytes", hint=_DAMAGED)
        _check_order(graph, model, source)


def _check_order(graph: Any, model: Any, source: str) -> None:
    """Raise a ModelError where an operator takes a result that no operator before it gives."""
    last = {int(index): place for place, operator in enumerate(graph.operators) for index in operator.outputs}
    for place, operator in enumerate(graph.operators):
        late = next((int(index) for index in operator.inputs if last.get(int(index), -1) >= place), None)
        if late is not None:
            raise ModelError(
                f"operator {place} takes {_name(graph.tensors[late], late, source)}, which is not there yet",
                hint=_DAMAGED,
            )


def _name(tensor: Any, index: int, source: str) -> str:
    try:
        name = (tensor.name or b"").decode()
    except UnicodeDecodeError:
        raise ModelError(f"the name of tensor {index} of {source} is no UTF-8", hint=_DAMAGED) from None
    return f"the tensor '{name[:100]}' of {source}"


def _within(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise ValueError(f"{what} is {index}; there are {count}")


def _all_within(indices: Any, count: int, what: str, *, least: int = 0) -> None:
    for index in indices:
        if not least <= index < count:
            raise ValueError(f"{what} is tensor {index}; there are {count}")
