"""What the first output of a .tflite file comes from, as its last operators tell."""

from __future__ import annotations

from typing import Any

from edgefm.tflite import flatbuffer

_PASSES_ON = ("CAST", "DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "TRANSPOSE", "EXPAND_DIMS")
_OPERATORS = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid", "LOG_SOFTMAX": "log_softmax"}
_AFFINE = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_MATMUL")


def output_activation(content: bytes) -> str:
    """Return 'softmax', 'sigmoid', 'log_softmax', 'linear' (an operator with weights) or 'other'.

    Args:
      content: of a .tflite file, of any dtype.
    Raises:
      ModelError: it is no TFLite file.
    """
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    tensor = int(graph.outputs[0])
    by_output: dict[int, Any] = {int(index): operator for operator in graph.operators for index in operator.outputs}
    while tensor in by_output:
        operator = by_output[tensor]
        name = flatbuffer.operator_name(model, operator)
        if name in _OPERATORS:
            return _OPERATORS[name]
        if name in _AFFINE:
            return "other" if getattr(operator.builtinOptions, "fusedActivationFunction", 0) else "linear"
        if name not in _PASSES_ON:
            return "other"
        tensor = int(operator.inputs[0])
    return "other"
