"""From an operator of a .tflite file to a call of a C kernel of edgefm_kernels.h, with all its numbers.

Each function below takes an operator and returns the steps that do its work; one that only names its input anew
(RESHAPE) returns an `Alias`. What the kernels cannot do is refused with the operator's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgefm.core.errors import ModelError
from edgefm.targets.cortex_m.arithmetic import (
    activation_range,
    mean_multiplier,
    quantize_multiplier,
    softmax_scaling,
)
from edgefm.targets.cortex_m.filter_kernels import convolution, fully_connected, pool
from edgefm.targets.cortex_m.graph import FirmwareOperator
from edgefm.targets.cortex_m.kernel_calls import (
    RANGES,
    Alias,
    Field,
    KernelCall,
    TensorPlace,
    call,
    clamp_fields,
    constant,
    four_in_front,
    four_lengths,
    int8,
    need,
    refuse,
    require_fit,
    strides_of,
)


def steps_of(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    """Return what does an operator's work.

    Raises:
      ModelError: no kernel does it.
    """
    if operator.name not in _KERNELS:
        raise ModelError(
            f"edgefm's C kernels have no {operator.name} (operator {operator.index})",
            hint=f"They have: {', '.join(sorted(_KERNELS))}. Or run your own firmware: cortex-m:m4,firmware=PATH.",
        )
    return _KERNELS[operator.name](operator)


def _mean(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source, output = int8(operator, operator.input(0)), int8(operator, operator.outputs[0])
    _, height, width, channels = four_lengths(operator, source)
    axes = sorted({int(axis) % 4 for axis in np.ravel(constant(operator, operator.input(1), "int32"))})
    if axes != [1, 2]:
        raise refuse(operator, f"it reduces the dimensions {axes}, not height and width")
    require_fit(operator, output.elements == channels, source, output)
    count = height * width
    multiplier, shift = mean_multiplier(source.scale / output.scale, count=count)
    return call(
        operator,
        "mean",
        {
            "input": TensorPlace(tensor=source),
            "output": TensorPlace(tensor=output),
            "count": count,
            "channels": channels,
            "multiplier": multiplier,
            "shift": shift,
            "input_zero_point": source.zero_point,
            "output_zero_point": output.zero_point,
        },
    )


def _elementwise(operator: FirmwareOperator, function: str) -> list[KernelCall | Alias]:
    first, second = int8(operator, operator.input(0)), int8(operator, operator.input(1))
    output = int8(operator, operator.outputs[0])
    shape = four_in_front(operator, output)
    for tensor in (first, second):
        lengths = zip(four_in_front(operator, tensor), shape, strict=True)
        require_fit(operator, all(length in (1, other) for length, other in lengths), tensor, output)
    fields: dict[str, Field] = {
        "input_1": TensorPlace(tensor=first),
        "input_2": TensorPlace(tensor=second),
        "output": TensorPlace(tensor=output),
        "shape": shape,
        "stride_1": strides_of(four_in_front(operator, first), shape),
        "stride_2": strides_of(four_in_front(operator, second), shape),
        "offset_1": -first.zero_point,
        "offset_2": -second.zero_point,
        "output_offset": output.zero_point,
        **clamp_fields(operator, output),
    }
    if function == "multiply":
        real = np.float32(first.scale) * np.float32(second.scale) / np.float32(output.scale)
        multiplier, shift = quantize_multiplier(float(real))
    else:
        both = 2 * max(first.scale, second.scale)
        fields["multiplier_1"], fields["shift_1"] = quantize_multiplier(first.scale / both)
        fields["multiplier_2"], fields["shift_2"] = quantize_multiplier(second.scale / both)
        multiplier, shift = quantize_multiplier(both / ((1 << 20) * output.scale))
    fields |= {"output_multiplier": multiplier, "output_shift": shift}
    return call(operator, function, fields, struct="elementwise")


def _rescaled(operator: FirmwareOperator, real: float, least: int, most: int) -> list[KernelCall | Alias]:
    source, output = operator.input(0), operator.outputs[0]
    require_fit(operator, source.elements == output.elements, source, output)
    multiplier, shift = quantize_multiplier(real)
    return call(
        operator,
        "requantize",
        {
            "input": TensorPlace(tensor=source),
            "output": TensorPlace(tensor=output),
            "count": source.elements,
            "input_unsigned": int(source.dtype == "uint8"),
            "output_unsigned": int(output.dtype == "uint8"),
            "input_zero_point": source.zero_point,
            "output_zero_point": output.zero_point,
            "multiplier": multiplier,
            "shift": shift,
            "least": least,
            "most": most,
        },
    )


def _quantize(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source = need(operator, operator.input(0), "int8", "uint8", "float32")
    output = need(operator, operator.outputs[0], "int8", "uint8")
    if source.dtype != "float32":
        return _rescaled(operator, source.scale / output.scale, *RANGES[output.dtype])
    require_fit(operator, source.elements == output.elements, source, output)
    return call(
        operator,
        "quantize_float",
        {
            "input": TensorPlace(tensor=source),
            "output": TensorPlace(tensor=output),
            "count": source.elements,
            "output_unsigned": int(output.dtype == "uint8"),
            "zero_point": output.zero_point,
            "scale": output.scale,
        },
    )


def _dequantize(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source = need(operator, operator.input(0), "int8", "uint8")
    output = need(operator, operator.outputs[0], "float32")
    require_fit(operator, source.elements == output.elements, source, output)
    return call(
        operator,
        "dequantize",
        {
            "input": TensorPlace(tensor=source),
            "output": TensorPlace(tensor=output),
            "count": source.elements,
            "input_unsigned": int(source.dtype == "uint8"),
            "zero_point": source.zero_point,
            "scale": source.scale,
        },
    )


def _relu(operator: FirmwareOperator, activation: str) -> list[KernelCall | Alias]:
    source, output = int8(operator, operator.input(0)), int8(operator, operator.outputs[0])
    least, most = activation_range(activation, scale=output.scale, zero_point=output.zero_point)
    real = float(np.float32(source.scale) / np.float32(output.scale))
    return _rescaled(operator, real, least, most)


def _softmax(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source, output = int8(operator, operator.input(0)), int8(operator, operator.outputs[0])
    if output.scale != 1 / 256 or output.zero_point != -128:
        raise refuse(operator, "its output does not have the scale 1/256 and the zero point -128")
    require_fit(operator, source.elements > 0 and source.shape == output.shape, source, output)
    depth = source.shape[-1]
    multiplier, left_shift, least = softmax_scaling(beta=float(operator.options.beta), input_scale=source.scale)
    return call(
        operator,
        "softmax",
        {
            "input": TensorPlace(tensor=source),
            "output": TensorPlace(tensor=output),
            "rows": source.elements // depth,
            "depth": depth,
            "multiplier": multiplier,
            "left_shift": left_shift,
            "least_difference": least,
        },
    )


def _pad(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source, output = int8(operator, operator.input(0)), int8(operator, operator.outputs[0])
    places = constant(operator, operator.input(1), "int32").reshape(-1, 2)
    padded = tuple(int(length) for length in np.array(source.shape) + places.sum(1)) if len(places) <= 4 else ()
    require_fit(operator, padded == output.shape and places.min() >= 0, source, output)
    before = places[:, 0].tolist()
    return call(
        operator,
        "pad",
        {
            "input": TensorPlace(tensor=source),
            "output": TensorPlace(tensor=output),
            "shape": four_in_front(operator, source),
            "output_shape": four_in_front(operator, output),
            "before": [0] * (4 - len(before)) + before,
            "value": output.zero_point,
        },
    )


def _concatenation(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    output = int8(operator, operator.outputs[0])
    axis = int(operator.options.axis) % len(output.shape)
    inner = int(np.prod(output.shape[axis:], dtype=np.int64))
    if operator.activation != "NONE":
        raise refuse(operator, f"it has the fused activation {operator.activation}")
    steps: list[KernelCall | Alias] = []
    start = 0
    for tensor in operator.inputs:
        if tensor is None:
            continue
        source = int8(operator, tensor)
        if (source.scale, source.zero_point) != (output.scale, output.zero_point):
            raise refuse(operator, f"'{source.name}' has a different scale from the output")
        row = int(np.prod(source.shape[axis:], dtype=np.int64))
        fits = source.shape[:axis] == output.shape[:axis] and row > 0 and start + row <= inner
        require_fit(operator, fits, source, output)
        fields: dict[str, Field] = {
            "input": TensorPlace(tensor=source),
            "output": TensorPlace(tensor=output, offset_bytes=start),
            "rows": source.elements // row,
            "row_bytes": row,
            "output_row_bytes": inner,
        }
        steps += call(operator, "copy_rows", fields)
        start += row
    return steps


def _alias(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source, output = operator.input(0), operator.outputs[0]
    if source.dtype != output.dtype or source.elements != output.elements:
        raise refuse(operator, f"'{source.name}' and '{output.name}' differ in size or type")
    return [Alias(of=source, name=output)]


_KERNELS: Mapping[str, Callable[[FirmwareOperator], list[KernelCall | Alias]]] = {
    "ADD": lambda operator: _elementwise(operator, "add"),
    "AVERAGE_POOL_2D": lambda operator: pool(operator, "average_pool_2d"),
    "CONCATENATION": _concatenation,
    "CONV_2D": lambda operator: convolution(operator, depthwise=False),
    "DEPTHWISE_CONV_2D": lambda operator: convolution(operator, depthwise=True),
    "DEQUANTIZE": _dequantize,
    "EXPAND_DIMS": _alias,
    "FULLY_CONNECTED": fully_connected,
    "MAX_POOL_2D": lambda operator: pool(operator, "max_pool_2d"),
    "MEAN": _mean,
    "MUL": lambda operator: _elementwise(operator, "multiply"),
    "PAD": _pad,
    "QUANTIZE": _quantize,
    "RELU": lambda operator: _relu(operator, "RELU"),
    "RELU6": lambda operator: _relu(operator, "RELU6"),
    "RESHAPE": _alias,
    "SOFTMAX": _softmax,
    "SQUEEZE": _alias,
    "SUB": lambda operator: _elementwise(operator, "subtract"),
}
