"""Reads a TFLite file into objects and writes it back, weights inside the FlatBuffer and aligned.

litert-quantizer puts the weights of larger models behind the FlatBuffer, which older runtimes and microcontrollers
do not follow. Here they are always inside, at multiples of 16 bytes, as the schema's `force_align: 16` asks;
the generated Python code ignores that.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

ALIGNMENT_BYTES = 16


class _AlignedBuffer(schema.BufferT):
    """A buffer of weights that is written at a multiple of 16 bytes."""

    def Pack(self, builder: Any) -> int:  # noqa: N802  # the generated code's name
        data = None
        if self.data is not None:
            content = np.asarray(memoryview(self.data), np.uint8).tobytes()
            builder.StartVector(1, len(content), ALIGNMENT_BYTES)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


def read(content: bytes) -> Any:
    """Return a TFLite file as a `ModelT`, its buffers' data as arrays or bytes."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def write(model: Any) -> bytes:
    """Return a `ModelT` as the content of a TFLite file; equal objects give equal bytes."""
    model.buffers = [_aligned(buffer) for buffer in model.buffers]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """Return the name of an operator of a `ModelT`, e.g. 'CONV_2D'."""
    code = model.operatorCodes[operator.opcodeIndex]
    value = flatbuffer_utils.get_builtin_code_from_operator_code(code)
    return str(flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) or value)


def operator_code(model: Any, builtin: int) -> int:
    """Return the index of a built-in operator's code in a `ModelT`, added if it is missing."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=builtin, builtinCode=builtin, version=1))
    return len(model.operatorCodes) - 1


def dtype(tensor: Any) -> str:
    """Return the dtype of a `TensorT`, e.g. 'float32'."""
    names = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    return names.get(tensor.type, str(tensor.type)).lower()


def _aligned(buffer: Any) -> _AlignedBuffer:
    aligned = _AlignedBuffer()
    data = buffer.data
    aligned.data = np.asarray(data, np.uint8) if isinstance(data, list) else data
    return aligned
