"""Which operators TensorFlow Lite Micro has kernels for, and for which types.

The table was measured: a file of one operator and one type each was loaded and run by the Python package tflite-micro
0.dev20261023182759, whose resolver (`python_ops_resolver.cc`) registers what `AllOpsResolver` of firmware does. Its
kernels look at types, never at an operator's version. A type is that of the operator's data: its first input, or the
one named in `_DATA`. What else a kernel may ask for (constant axes, scales) shows only where the file is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgefm.tflite.graph import OperatorInfo
from edgefm.tflite.inspection import Inspection

SOURCE = "the table of tflite-micro 0.dev20261023182759"
_FLOAT, _BOOL = frozenset({"float32"}), frozenset({"bool"})
_INT8 = _FLOAT | {"int8"}
_INT16 = _INT8 | {"int16"}
_INT32 = _INT16 | {"int32"}
_ALL = _INT32 | _BOOL | {"int64", "uint8"}
# Operators by the types that they take; None: not looked at.
_OPERATORS: Mapping[frozenset[str] | None, str] = {
    None: "ASSIGN_VARIABLE BROADCAST_ARGS CALL_ONCE IF READ_VARIABLE VAR_HANDLE WHILE",
    _FLOAT: "CEIL COS EXP FLOOR FLOOR_DIV FLOOR_MOD L2_POOL_2D LOG NEG ROUND SIN SQRT SQUARE",
    _BOOL: "LOGICAL_NOT REDUCE_ALL",
    _INT8: "ADD_N ARG_MAX ARG_MIN BATCH_TO_SPACE_ND CUMSUM DEPTH_TO_SPACE ELU EMBEDDING_LOOKUP GATHER GATHER_ND "
    "HARD_SWISH L2_NORMALIZATION LOG_SOFTMAX MIRROR_PAD PRELU REDUCE_MAX REDUCE_MIN RESIZE_BILINEAR SPACE_TO_BATCH_ND "
    "SPACE_TO_DEPTH SVDF",
    _INT16: "ABS AVERAGE_POOL_2D BATCH_MATMUL CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED LEAKY_RELU "
    "LOGISTIC MAX_POOL_2D MEAN RELU RELU6 RESIZE_NEAREST_NEIGHBOR RSQRT SELECT_V2 SOFTMAX SUM TANH TRANSPOSE "
    "TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM",
    frozenset({"int8", "int16", "uint8"}): "DEQUANTIZE",
    _INT8 | {"int32"}: "DIV FILL",
    _INT32: "ADD DYNAMIC_UPDATE_SLICE MUL PAD PADV2 SPLIT SPLIT_V SQUARED_DIFFERENCE SUB UNPACK",
    _INT8 | {"int32", "int64"}: "GREATER_EQUAL LESS LESS_EQUAL ZEROS_LIKE",
    _INT32 | _BOOL: "CAST SLICE STRIDED_SLICE",
    _INT8 | _BOOL | {"int32", "int64"}: "EQUAL NOT_EQUAL",
    _INT32 | {"int64"}: "GREATER MAXIMUM MINIMUM PACK",
    _INT32 | {"uint8"}: "QUANTIZE",
    _INT32 | _BOOL | {"int64"}: "CONCATENATION",
    _ALL: "BROADCAST_TO LOGICAL_AND LOGICAL_OR RESHAPE REVERSE_V2 SHAPE SQUEEZE",
}
_TYPES: Mapping[str, frozenset[str] | None] = {
    name: types for types, names in _OPERATORS.items() for name in names.split()
}
_DATA = {"EMBEDDING_LOOKUP": 1, "FILL": 1, "SELECT_V2": 1, "SPLIT": 1, "TRANSPOSE_CONV": 2}
_PLACES_IN = {"GATHER": 1, "GATHER_ND": 1}
_CAST_TO = _INT32 | _BOOL


def refused(inspection: Inspection) -> str | None:
    """Return which operator TensorFlow Lite Micro has no kernel for, in a sentence; None where it has all."""
    return next((reason for operator in inspection.operators if (reason := _lack(operator, inspection))), None)


def _lack(operator: OperatorInfo, inspection: Inspection) -> str | None:
    def dtype(places: tuple[int, ...], index: int) -> str | None:
        known = index < len(places) and places[index] >= 0
        return inspection.tensors[places[index]].dtype if known else None

    name, where = operator.name, f"(operator {operator.index})"
    if name not in _TYPES:
        return f"TensorFlow Lite Micro has no kernel for {name} {where}"
    allowed, found = _TYPES[name], dtype(operator.inputs, _DATA.get(name, 0))
    if allowed is not None and found is not None and found not in allowed:
        return f"TensorFlow Lite Micro has no kernel for {name} of {found} {where}; it takes {_list(allowed)}"
    if name in _PLACES_IN and (places := dtype(operator.inputs, _PLACES_IN[name])) not in (None, "int32"):
        return f"TensorFlow Lite Micro has no kernel for {name} with places of {places} {where}; it takes int32"
    result = dtype(operator.outputs, 0)
    if name == "CAST" and result not in _CAST_TO:
        return f"TensorFlow Lite Micro has no kernel for CAST to {result} {where}; it gives {_list(_CAST_TO)}"
    if name == "QUANTIZE" and result == "uint8" and found != "int8":
        return f"TensorFlow Lite Micro has no kernel for QUANTIZE of {found} to uint8 {where}; it takes int8"
    return None


def _list(types: frozenset[str]) -> str:
    return ", ".join(sorted(types))
