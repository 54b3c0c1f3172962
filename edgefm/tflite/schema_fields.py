"""The field numbers of TFLite's tables, and the names of its tensor types, for readers in pure Python.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs; a test compares them with the code that is generated of it.
"""

from __future__ import annotations

MODEL_CODES, MODEL_SUBGRAPHS, MODEL_BUFFERS, MODEL_METADATA, MODEL_SIGNATURES = 1, 2, 4, 6, 7
GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS = 0, 1, 2, 3
TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTIZATION, TENSOR_SIGNATURE = 0, 1, 2, 3, 4, 7
# Vectors of numbers and texts: shape, name, shape_signature; inputs, outputs, custom_options,
# mutating_variable_inputs, intermediates; min, max, scale, zero_point.
TENSOR_VECTORS, OPERATOR_VECTORS, QUANTIZATION_VECTORS = (0, 3, 7), (1, 2, 5, 7, 8), (0, 1, 2, 3)
BUFFER_DATA, BUFFER_OFFSET, BUFFER_SIZE = 0, 1, 2
QUANTIZATION_SCALE, QUANTIZATION_ZERO_POINT = 2, 3
METADATA_NAME, METADATA_BUFFER = 0, 1
SIGNATURE_INPUTS, SIGNATURE_OUTPUTS, SIGNATURE_KEY, SIGNATURE_GRAPH = 0, 1, 2, 4
SIGNATURE_TENSOR_NAME, SIGNATURE_TENSOR_INDEX = 0, 1

# TensorType -> numpy's name; the other types cannot be an end of a model that edgefm feeds.
DTYPES = {
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
