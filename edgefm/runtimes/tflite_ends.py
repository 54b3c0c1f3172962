"""The ends of a .tflite file, read from its bytes in pure Python, for runtimes that do not tell them all.

TFLite Micro tells no names and no dynamic shapes, OpenVINO and ONNX Runtime no scales. The answers of all runtimes
are compared by these details, so that they come from the file itself.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgefm.core.errors import ModelError
from edgefm.runtimes import model_ends
from edgefm.runtimes.base import TensorDetails
from edgefm.runtimes.model_ends import End, ModelEnds
from edgefm.tflite import schema_fields as fields
from edgefm.tflite import tflite_file
from edgefm.tflite.tables import DAMAGES, Table

_WIDEST = 16

_T = TypeVar("_T")


def read(path: Path) -> ModelEnds:
    """Return the inputs and outputs of a .tflite file's main graph.

    Raises:
      ModelError: missing, no TFLite file, cut off or damaged; an end of a type that numpy does not have.
    """
    return read_root(path, lambda model: _ends(model, path))


def input_names(path: Path) -> dict[int, str]:
    """Return the names by which several inputs of a .tflite file are given, by tensor; {} of a single input.

    Raises:
      ModelError: see `read`.
    """
    return read_root(path, _input_names)


def file_note(path: Path, *, name: str) -> str | None:
    """Return what is measured of a file that leaves it open: a batch of 1, the first of several signatures.

    None where nothing is left open, and of a file that cannot be read: others say that.
    """
    try:
        notes = [model_ends.batch_note(name, read(path)), read_root(path, lambda model: _signature_note(name, model))]
    except ModelError:
        return None
    return "; ".join(note for note in notes if note) or None


def computed_bytes(path: Path) -> int:
    """Return the bytes that all tensors take which are computed, in all graphs, as if none shared its place.

    Raises:
      ModelError: missing, no TFLite file, cut off or damaged.
    """
    return read_root(path, _computed_bytes)


def read_root(path: Path, of: Callable[[Table], _T]) -> _T:
    """Return what a function finds in the outermost table of a .tflite file.

    Raises:
      ModelError: missing, no TFLite file, cut off or damaged.
    """
    tflite_file.check(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            return of(Table.root(content))
        except DAMAGES as error:
            raise ModelError(
                f"{path} is damaged: its inputs and outputs cannot be read", hint="Copy or write the file again."
            ) from error


def _ends(model: Table, path: Path) -> ModelEnds:
    graph = model.tables(fields.MODEL_SUBGRAPHS)[0]
    tensors = graph.tables(fields.GRAPH_TENSORS)

    names = _input_names(model)

    def ends(number: int) -> list[End]:
        return [
            _end(tensors[index], path, named=names.get(index) if number == fields.GRAPH_INPUTS else None)
            for index in graph.numbers(number, "<i") or ()
        ]

    return ModelEnds(inputs=ends(fields.GRAPH_INPUTS), outputs=ends(fields.GRAPH_OUTPUTS))


def _input_names(model: Table) -> dict[int, str]:
    """Return the names by which several inputs of the main graph are given: those of its signature, else the tensors'.

    {} of a single input, which goes without a name.
    """
    graph = model.tables(fields.MODEL_SUBGRAPHS)[0]
    indices = graph.numbers(fields.GRAPH_INPUTS, "<i") or ()
    if len(indices) < 2:
        return {}
    tensors = graph.tables(fields.GRAPH_TENSORS)
    names = {index: tensors[index].text(fields.TENSOR_NAME) for index in indices}
    for signature in model.tables(fields.MODEL_SIGNATURES):
        if not signature.number(fields.SIGNATURE_GRAPH, "<I"):
            return names | {
                entry.number(fields.SIGNATURE_TENSOR_INDEX, "<I") or 0: entry.text(fields.SIGNATURE_TENSOR_NAME)
                for entry in signature.tables(fields.SIGNATURE_INPUTS)
            }
    return names


def _signature_note(name: str, model: Table) -> str | None:
    keys = {
        signature.text(fields.SIGNATURE_KEY): signature.number(fields.SIGNATURE_GRAPH, "<I") or 0
        for signature in model.tables(fields.MODEL_SIGNATURES)
    }
    if len(keys) < 2:
        return None
    main = next((key for key, graph in keys.items() if not graph), "")
    others = ", ".join(f"'{key}'" for key in keys if key != main)
    which = f" ('{main}')" if main else ""
    return f"{name} has {len(keys)} signatures: its main graph{which} is run, not {others}"


def _computed_bytes(model: Table) -> int:
    buffers = model.tables(fields.MODEL_BUFFERS)
    total = 0
    for graph in model.tables(fields.MODEL_SUBGRAPHS):
        for tensor in graph.tables(fields.GRAPH_TENSORS):
            buffer = buffers[tensor.number(fields.TENSOR_BUFFER, "<I") or 0]
            _, stored = buffer.extent(fields.BUFFER_DATA) or (0, 0)
            if buffer.field(fields.BUFFER_SIZE) is not None or stored:
                continue  # a constant
            dtype = fields.DTYPES.get(tensor.number(fields.TENSOR_TYPE, "<b") or 0)
            width = _WIDEST if dtype is None else np.dtype(dtype).itemsize
            total += width * math.prod(max(length, 1) for length in tensor.numbers(fields.TENSOR_SHAPE, "<i") or ())
    return total


def _end(tensor: Table, path: Path, *, named: str | None = None) -> End:
    name = named or tensor.text(fields.TENSOR_NAME)
    kind = tensor.number(fields.TENSOR_TYPE, "<b") or 0
    if kind not in fields.DTYPES:
        raise ModelError(f"'{name}' of {path} has the tensor type {kind}, which numpy does not support")
    dtype = fields.DTYPES[kind]
    shape = tensor.numbers(fields.TENSOR_SHAPE, "<i") or ()
    scale, zero_point = _quantization(tensor) if dtype.lstrip("u").startswith("int") else (None, None)
    return End(
        details=TensorDetails(name=name, dtype=dtype, shape=shape, scale=scale, zero_point=zero_point),
        signature=tensor.numbers(fields.TENSOR_SIGNATURE, "<i") or shape,
    )


def _quantization(tensor: Table) -> tuple[float | None, int | None]:
    """Return scale and zero point of a tensor that is quantised as a whole, (None, None) of another."""
    parameters = tensor.table(fields.TENSOR_QUANTIZATION)
    scales = () if parameters is None else parameters.floats(fields.QUANTIZATION_SCALE)
    if parameters is None or len(scales) != 1:
        return None, None
    zero_points = parameters.numbers(fields.QUANTIZATION_ZERO_POINT, "<q")
    return scales[0], zero_points[0] if zero_points else 0
