"""A .tflite file as the schema's objects, and objects as a file: the weights are views, not copies.

Written files hold their weights inside the FlatBuffer at multiples of 16 bytes, as the schema's `force_align: 16`
asks; the generated Python code ignores that.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefm.core.errors import ModelError
from edgefm.core.given.damage import reason
from edgefm.tflite import sound

ALIGNMENT_BYTES = 16
IDENTIFIER = b"TFL3"
# What a model needs beside its weights; the builder grows where it is not enough.
_GRAPH_BYTES = 1 << 16
# PLACEHOLDER_FOR_GREATER_OP_CODES: newer operators stand in `builtin_code` alone.
_LAST_OLD_CODE = 127

FileContent = bytes | bytearray | memoryview | mmap.mmap


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the generated code is untyped
    """A buffer of weights that is written at a multiple of 16 bytes."""

    def Pack(self, builder: Any) -> int:  # noqa: N802  # the generated code's name
        data = None
        if self.data is not None:
            content = np.ascontiguousarray(memoryview(self.data), np.uint8)
            builder.StartVector(1, len(content), ALIGNMENT_BYTES)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content.data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


def read(content: FileContent) -> Any:
    """Return a TFLite file as a `ModelT` whose buffers are views of `content`.

    Weights and custom options that lie behind the FlatBuffer (at an offset from the start of the file) are followed.

    Args:
      content: of the file; a memory map costs memory only for what is looked at.
    Raises:
      ModelError: it is no TFLite file, or its tables are damaged.
    """
    if len(content) < 8 or bytes(content[4:8]) != IDENTIFIER:
        raise ModelError("the model is not a TFLite file: its bytes 4 to 7 are not 'TFL3'")
    whole = np.frombuffer(content, np.uint8)
    with _as_damage():
        sound.check_spread(content)
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        sound.check_graph(model)
        for buffer in model.buffers:
            if buffer.offset > 1:  # 0 and 1: not used
                buffer.data = _behind(whole, buffer.offset, buffer.size)
            buffer.offset = buffer.size = 0
        for graph in model.subgraphs:
            for operator in graph.operators if graph.operators is not None else []:
                if operator.largeCustomOptionsOffset > 1:
                    place, size = operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
                    operator.customOptions = _behind(whole, place, size)
                operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
    return model


def editable(content: bytes) -> Any:
    """Return a TFLite file as a `ModelT` of its own that can be changed: vectors as lists, no empty buffers to spare.

    Raises:
      ModelError: see `read`.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    with _as_damage():
        sound.check_spread(content)
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        sound.check_graph(model)
    return model


def write(model: Any) -> bytes:
    """Return a `ModelT` as the content of a TFLite file; equal objects give equal bytes.

    Old readers, OpenVINO's and tf2onnx's among them, know an operator by the deprecated field alone: it is filled in
    where a converter left it at 0, which is ADD.
    """
    for code in model.operatorCodes:
        code.deprecatedBuiltinCode = min(max(code.builtinCode, code.deprecatedBuiltinCode), _LAST_OLD_CODE)
    model.buffers = [_aligned(buffer) for buffer in model.buffers]
    stored = sum(len(buffer.data) + ALIGNMENT_BYTES for buffer in model.buffers if buffer.data is not None)
    # Large enough from the start: a builder that grows holds two copies of the weights.
    builder = flatbuffers.Builder(stored + _GRAPH_BYTES)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.head :])


def operator_name(model: Any, operator: Any) -> str:
    """Return the name of an operator of a `ModelT`, e.g. 'CONV_2D'; 'CUSTOM:<its name>' for a custom one."""
    number = operator_number(model, operator)
    if number == schema.BuiltinOperator.CUSTOM:
        return f"CUSTOM:{text(model.operatorCodes[operator.opcodeIndex].customCode)}"
    return _names(schema.BuiltinOperator).get(number, f"OPERATOR_{number}")


def operator_number(model: Any, operator: Any) -> int:
    """Return the number of an operator of a `ModelT` in the schema's enumeration."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Old files hold the number in a field of 8 bits; new ones fill both.
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def operator_code(model: Any, builtin: int) -> int:
    """Return the index of a built-in operator's code in a `ModelT`, added if it is missing."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=builtin, builtinCode=builtin, version=1))
    return len(model.operatorCodes) - 1


def tensor_like(graph: Any, tensor: Any, dtype: int, ending: bytes) -> int:
    """Return the index of a new tensor of a graph: another's shape and name with an ending, a dtype of the schema."""
    graph.tensors.append(
        schema.TensorT(shape=list(tensor.shape), type=dtype, buffer=0, name=(tensor.name or b"tensor") + ending)
    )
    return len(graph.tensors) - 1


def quantize(model: Any, source: int, sink: int) -> Any:
    """Return a new QUANTIZE of a `ModelT`, from one tensor to another."""
    kind, options = schema.BuiltinOptions.QuantizeOptions, schema.QuantizeOptionsT()
    code = operator_code(model, schema.BuiltinOperator.QUANTIZE)
    return schema.OperatorT(code, [source], [sink], builtinOptionsType=kind, builtinOptions=options)


def dequantize(model: Any, source: int, sink: int) -> Any:
    """Return a new DEQUANTIZE of a `ModelT`, from one tensor to another."""
    kind, options = schema.BuiltinOptions.DequantizeOptions, schema.DequantizeOptionsT()
    code = operator_code(model, schema.BuiltinOperator.DEQUANTIZE)
    return schema.OperatorT(code, [source], [sink], builtinOptionsType=kind, builtinOptions=options)


def dtype(tensor: Any) -> str:
    """Return the dtype of a `TensorT`, e.g. 'float32'."""
    return _names(schema.TensorType).get(tensor.type, f"TYPE_{tensor.type}").lower()


def elements(tensor: Any) -> int:
    """Return the number of elements of a `TensorT`, 1 for a scalar."""
    return math.prod(int(length) for length in indices(tensor.shape))


def indices(values: Any) -> tuple[int, ...]:
    """Return a vector of whole numbers of the schema's objects, () where it is absent."""
    return () if values is None else tuple(int(value) for value in values)


def text(value: bytes | str | None) -> str:
    """Return a string of the schema's objects, '' where it is absent."""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value or ""


@contextmanager
def _as_damage() -> Iterator[None]:
    """Raise a ModelError for whatever the generated parser raises where an offset is wrong."""
    try:
        yield
    except Exception as error:
        raise ModelError(
            f"the model is damaged: its graph cannot be read ({reason(error)})",
            hint="Copy or write the file again.",
        ) from error


def _behind(whole: Any, offset: int, size: int) -> Any:
    if offset + size > len(whole):
        raise ValueError(f"values at byte {offset:,} reach beyond the end of the file")
    return whole[offset : offset + size]


@cache
def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _aligned(buffer: Any) -> _AlignedBuffer:
    aligned = _AlignedBuffer()
    data = buffer.data
    aligned.data = np.asarray(data, np.uint8) if isinstance(data, list) else data
    return aligned
