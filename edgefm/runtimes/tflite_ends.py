"""The ends of a .tflite file, read from its bytes in pure Python, for runtimes that do not tell them all.

TFLite Micro tells no names and no dynamic shapes, OpenVINO and ONNX Runtime no scales. The answers of all runtimes
are compared by these details, so that they come from the file itself.

Source: the field numbers of tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgefm.core.errors import ModelError
from edgefm.runtimes.base import TensorDetails
from edgefm.runtimes.model_ends import End, Ends
from edgefm.tflite import tflite_file
from edgefm.tflite.tflite_file import field, reference, u32, unpack

_MODEL_SUBGRAPHS, _MODEL_BUFFERS = 2, 4
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS = 0, 1, 2
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_NAME, _TENSOR_QUANTIZATION, _TENSOR_SIGNATURE = 0, 1, 2, 3, 4, 7
_BUFFER_DATA, _BUFFER_SIZE = 0, 2
_QUANTIZATION_SCALE, _QUANTIZATION_ZERO_POINT = 2, 3
# TensorType -> numpy's name; the others cannot be an end of a model that edgefm feeds.
_DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    8: "complex64",
    9: "int8",
    10: "float64",
    11: "complex128",
    12: "uint64",
    15: "uint32",
    16: "uint16",
}
_WIDEST = 16

_T = TypeVar("_T")


def read(path: Path) -> Ends:
    """Return the inputs and outputs of a .tflite file's main graph.

    Raises:
      ModelError: missing, no TFLite file, cut off or damaged; an end of a type that numpy does not have.
    """
    return _read(path, _ends)


def computed_bytes(path: Path) -> int:
    """Return the bytes that all tensors take which are computed, in all graphs, as if none shared its place.

    Raises:
      ModelError: missing, no TFLite file, cut off or damaged.
    """
    return _read(path, _computed_bytes)


def _read(path: Path, of: Callable[[mmap.mmap, Path], _T]) -> _T:
    tflite_file.check(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            return of(content, path)
        except (struct.error, UnicodeDecodeError, IndexError) as error:
            raise ModelError(
                f"{path} is damaged: its inputs and outputs cannot be read", hint="Copy or write the file again."
            ) from error


def _ends(content: mmap.mmap, path: Path) -> Ends:
    subgraphs = reference(content, u32(content, 0), _MODEL_SUBGRAPHS)
    assert subgraphs is not None, "tflite_file.check lets no file without a graph pass"
    graph = _table(content, subgraphs, 0)
    tensors = reference(content, graph, _GRAPH_TENSORS)

    def ends(number: int) -> list[End]:
        indices = _integers(content, graph, number, "<i", 4) or ()
        if indices and tensors is None:
            raise IndexError("a graph without tensors has an end")
        return [_end(content, _table(content, tensors or 0, index), path) for index in indices]

    return Ends(inputs=ends(_GRAPH_INPUTS), outputs=ends(_GRAPH_OUTPUTS))


def _computed_bytes(content: mmap.mmap, path: Path) -> int:
    model = u32(content, 0)
    subgraphs, buffers = reference(content, model, _MODEL_SUBGRAPHS), reference(content, model, _MODEL_BUFFERS)
    assert subgraphs is not None and buffers is not None, "tflite_file.check lets no such file pass"
    total = 0
    for number in range(u32(content, subgraphs)):
        tensors = reference(content, _table(content, subgraphs, number), _GRAPH_TENSORS)
        for index in range(0 if tensors is None else u32(content, tensors)):
            tensor = _table(content, tensors or 0, index)
            place = field(content, tensor, _TENSOR_BUFFER)
            buffer = _table(content, buffers, 0 if place is None else u32(content, place))
            data = reference(content, buffer, _BUFFER_DATA)
            if field(content, buffer, _BUFFER_SIZE) is not None or (data is not None and u32(content, data)):
                continue  # a constant
            place = field(content, tensor, _TENSOR_TYPE)
            kind = 0 if place is None else unpack("<b", content, place)
            width = np.dtype(_DTYPES[kind]).itemsize if kind in _DTYPES else _WIDEST
            total += width * math.prod(
                max(length, 1) for length in _integers(content, tensor, _TENSOR_SHAPE, "<i", 4) or ()
            )
    return total


def _end(content: mmap.mmap, tensor: int, path: Path) -> End:
    name = reference(content, tensor, _TENSOR_NAME)
    text = "" if name is None else content[name + 4 : name + 4 + u32(content, name)].decode("utf-8")
    place = field(content, tensor, _TENSOR_TYPE)
    kind = 0 if place is None else unpack("<b", content, place)
    if kind not in _DTYPES:
        raise ModelError(f"'{text}' of {path} is of the tensor type {kind}, which no array of numpy holds")
    shape = _integers(content, tensor, _TENSOR_SHAPE, "<i", 4) or ()
    scale, zero_point = _quantization(content, tensor) if _DTYPES[kind].lstrip("u").startswith("int") else (None, None)
    return End(
        details=TensorDetails(name=text, dtype=_DTYPES[kind], shape=shape, scale=scale, zero_point=zero_point),
        signature=_integers(content, tensor, _TENSOR_SIGNATURE, "<i", 4) or shape,
    )


def _quantization(content: mmap.mmap, tensor: int) -> tuple[float | None, int | None]:
    """Return scale and zero point of a tensor that is quantised as a whole, (None, None) of another."""
    table = reference(content, tensor, _TENSOR_QUANTIZATION)
    scales = None if table is None else reference(content, table, _QUANTIZATION_SCALE)
    if table is None or scales is None or u32(content, scales) != 1:
        return None, None
    zero_points = _integers(content, table, _QUANTIZATION_ZERO_POINT, "<q", 8)
    return float(unpack("<f", content, scales + 4)), zero_points[0] if zero_points else 0


def _table(content: mmap.mmap, vector: int, index: int) -> int:
    """Return the place of a table in a vector of tables."""
    if not 0 <= index < u32(content, vector):
        raise IndexError(f"table {index} is not in its vector")
    place = vector + 4 + 4 * index
    return place + u32(content, place)


def _integers(content: mmap.mmap, table: int, number: int, form: str, width: int) -> tuple[int, ...] | None:
    """Return a table's vector of integers, or None where it is absent."""
    vector = reference(content, table, number)
    if vector is None:
        return None
    count = u32(content, vector)
    if vector + 4 + count * width > len(content):
        raise struct.error("a vector reaches beyond the end of the file")
    return tuple(unpack(form, content, vector + 4 + width * index) for index in range(count))
