"""Where NaN or infinity first appears in a .tflite file, and weights that float16 cannot hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import NonFiniteError
from edgefm.runtimes import apart, litert
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite.operator_layers import traced_operators
from edgefm_converters.tflite.surgery import input_names

# Operators whose weights the float16 scheme stores as float16, with the inputs that hold them.
_STORED = {
    "FULLY_CONNECTED": {1: "kernel", 2: "bias"},
    "CONV_2D": {1: "kernel", 2: "bias"},
    "DEPTHWISE_CONV_2D": {1: "kernel", 2: "bias"},
    "TRANSPOSE_CONV": {1: "kernel", 3: "bias"},
}


def first_non_finite_operator(content: bytes, sample: NDArray[np.float32]) -> tuple[str, str] | None:
    """Return layer (or tensor) and kind of the first operator whose float output is not finite, None where all are.

    Args:
      content: of a .tflite file with inputs of floats or tokens.
      sample: float32 [1, ...], finite; a structured array [1] of several inputs, by their names.
    """
    doing = "looking for the first operator whose output is not finite"
    return apart.call(_first_non_finite, content, sample, size_bytes=len(content), doing=doing, runs=content)


def _first_non_finite(content: bytes, sample: NDArray[np.float32]) -> tuple[str, str] | None:
    """Called in the process apart."""
    interpreter = litert.with_all_tensors(content)
    sources, by_name = interpreter.get_input_details(), joined.split(sample)
    values = [by_name[name] for name in input_names(content)] if by_name else [sample]
    for source, array in zip(sources, values, strict=True):
        interpreter.set_tensor(source["index"], array.astype(source["dtype"]))
    interpreter.invoke()
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    for operator in traced_operators(content):
        for index in graph.operators[operator.index].outputs:
            if flatbuffer.dtype(graph.tensors[index]) != "float32":
                continue
            if not np.isfinite(interpreter.get_tensor(int(index))).all():
                name = operator.layers[0] if operator.layers else flatbuffer.text(graph.tensors[index].name)
                return name, operator.name
    return None


def check_stored(float32: bytes, *, source: str) -> None:
    """Raise a NonFiniteError where a weight of a .tflite file is NaN or infinite; PADV2 may pad with infinity.

    Args:
      float32: content of the file.
      source: where it comes from, for the message.
    """
    model = flatbuffer.editable(float32)
    graph = model.subgraphs[0]
    for operator in traced_operators(float32):
        for slot, variable in _STORED.get(operator.name, {}).items():
            values = _values(model, graph, graph.operators[operator.index], slot)
            bad = 0 if values is None else int((~np.isfinite(values)).sum())
            if bad:
                layer = operator.layers[0] if operator.layers else operator.scope.rstrip(";")
                raise NonFiniteError(
                    f"the {variable} of '{layer}' in {source} holds {bad} values that are NaN or infinite",
                    hint="The training diverged: train again with a lower learning rate.",
                    layer=layer,
                    variable=variable,
                )


def _values(model: Any, graph: Any, operator: Any, slot: int) -> NDArray[np.float32] | None:
    """Return the stored floats of an operator's input, None where it has none."""
    inputs = list(operator.inputs)
    if slot >= len(inputs) or inputs[slot] < 0:
        return None
    tensor = graph.tensors[inputs[slot]]
    stored = model.buffers[tensor.buffer].data
    if stored is None or flatbuffer.dtype(tensor) != "float32":
        return None
    values: NDArray[np.float32] = np.asarray(stored, np.uint8).view("<f4")
    return values


def check_float16(float32: bytes, layer_names: tuple[str, ...] = ()) -> None:
    """Raise a NonFiniteError where a weight would become infinite as float16; the greatest float16 is 65,504.

    Args:
      float32: as `float_file` gives it.
      layer_names: see `operator_layers`.
    """
    model = flatbuffer.editable(float32)
    graph = model.subgraphs[0]
    for operator in traced_operators(float32, layer_names):
        for slot, variable in _STORED.get(operator.name, {}).items():
            values = _values(model, graph, graph.operators[operator.index], slot)
            if values is None:
                continue
            with np.errstate(over="ignore"):
                too_great = int(np.isinf(values.astype(np.float16)).sum())
            if too_great:
                layer = operator.layers[0] if operator.layers else operator.scope.rstrip(";")
                greatest = float(np.abs(values).max())
                raise NonFiniteError(
                    f"float16 cannot hold the {variable} of '{layer}': {too_great} of its {values.size:,} values are "
                    f"beyond 65,504, the greatest is {greatest:.4g}",
                    hint="Choose drq_w8 or an int8 variant, whose weights have a scale, or train with weight decay.",
                    layer=layer,
                    variable=variable,
                )
