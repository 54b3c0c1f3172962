"""Reads a TFLite file into objects that can be changed and writes it back, weights inside the FlatBuffer and aligned.

litert-quantizer puts the weights of larger models behind the FlatBuffer, which older runtimes and microcontrollers
do not follow. Here they are always inside; see `edgefm.flatbuffer`.
"""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from edgefm.flatbuffer import ALIGNMENT_BYTES, dtype, write

__all__ = ["ALIGNMENT_BYTES", "dtype", "operator_code", "operator_name", "read", "write"]


def read(content: bytes) -> Any:
    """Return a TFLite file as a `ModelT` of its own: vectors as lists, its buffers' data as arrays or bytes."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


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
