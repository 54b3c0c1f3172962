"""From an operator of a .tflite file to a call of a C kernel of edgefm_kernels.h, with all its numbers.

Each function below takes an operator and returns the steps that do its work; one that only names its input anew
(RESHAPE) returns an `Alias`. What the kernels cannot do is refused with the operator's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.targets.cortex_m.arithmetic import (
    activation_range,
    mean_multiplier,
    padding,
    quantize_multiplier,
    softmax_scaling,
)
from edgefm.targets.cortex_m.graph import FirmwareOperator, FirmwareTensor

_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorPlace:
    """The values of a tensor, from some byte on: a field of a kernel's struct."""

    tensor: FirmwareTensor
    offset_bytes: int = 0


# A number, several, a struct in the struct, a tensor, a table of constants, or NULL.
Field = int | float | Sequence[int] | Mapping[str, int] | TensorPlace | NDArray[Any] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelCall:
    """One call of a kernel.

    Attributes:
      operator: that it does the work of.
      function: of the kernel.
      struct: that it takes.
      fields: of the struct, by name.
    """

    operator: FirmwareOperator
    function: str
    struct: str
    fields: Mapping[str, Field]


@dataclass(frozen=True, kw_only=True, eq=False)
class Alias:
    """Two names of the same values."""

    of: FirmwareTensor
    name: FirmwareTensor


def steps_of(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    """Return what does an operator's work.

    Raises:
      ModelError: no kernel does it.
    """
    if operator.name not in _KERNELS:
        raise ModelError(
            f"edgefm's C kernels have no {operator.name} (operator {operator.index})",
            hint=f"They have: {', '.join(sorted(_KERNELS))}. A firmware of your own can be run too.",
        )
    return _KERNELS[operator.name](operator)


def _refuse(operator: FirmwareOperator, why: str) -> ModelError:
    return ModelError(
        f"edgefm's C kernels cannot run operator {operator.index} ({operator.name}): {why}",
        hint="They take int8 tensors with int8 weights, as int8_w8a8 has them. A firmware of your own can be run too.",
    )


def _require_fit(operator: FirmwareOperator, fits: bool, *tensors: FirmwareTensor) -> None:
    """Refuse tensors whose shapes do not go together: a damaged file."""
    if not fits:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise ModelError(f"the shapes {shapes} of operator {operator.index} ({operator.name}) do not go together")


def _need(operator: FirmwareOperator, tensor: FirmwareTensor, *dtypes: str) -> FirmwareTensor:
    """Return a tensor that has one of these types and, where they are quantised ones, one scale."""
    if tensor.dtype not in dtypes:
        raise _refuse(operator, f"'{tensor.name}' is {tensor.dtype}, not {' or '.join(dtypes)}")
    if tensor.dtype in _RANGES and len(tensor.scales) != 1:
        raise _refuse(operator, f"'{tensor.name}' has {len(tensor.scales)} scales")
    return tensor


def _int8(operator: FirmwareOperator, tensor: FirmwareTensor) -> FirmwareTensor:
    return _need(operator, tensor, "int8")


def _constant(operator: FirmwareOperator, tensor: FirmwareTensor, dtype: str) -> NDArray[Any]:
    if tensor.dtype != dtype:
        raise _refuse(operator, f"'{tensor.name}' is {tensor.dtype}, not {dtype}")
    if tensor.data is None:
        raise _refuse(operator, f"'{tensor.name}' is not a constant")
    return tensor.data


def _clamped(operator: FirmwareOperator, output: FirmwareTensor) -> dict[str, Field]:
    least, most = activation_range(operator.activation, scale=output.scale, zero_point=output.zero_point)
    return {"least": least, "most": most}


def _four(operator: FirmwareOperator, tensor: FirmwareTensor) -> tuple[int, int, int, int]:
    """Return a shape with batch 1 as four lengths."""
    if len(tensor.shape) != 4 or tensor.shape[0] != 1 or min(tensor.shape) < 1:
        raise _refuse(operator, f"'{tensor.name}' has the shape {tensor.shape}, not [1, height, width, channels]")
    batch, height, width, channels = tensor.shape
    return batch, height, width, channels


def _window(
    operator: FirmwareOperator,
    *,
    height: int,
    width: int,
    source: FirmwareTensor,
    output: FirmwareTensor,
    dilated: bool,
) -> dict[str, int]:
    options = operator.options
    _, input_height, input_width, input_channels = _four(operator, source)
    _, output_height, output_width, output_channels = _four(operator, output)
    _require_fit(operator, min(int(options.strideH), int(options.strideW), height, width) > 0, source, output)
    dilation_y = int(options.dilationHFactor) if dilated else 1
    dilation_x = int(options.dilationWFactor) if dilated else 1
    same = operator.same_padding
    return {
        "input_height": input_height,
        "input_width": input_width,
        "input_channels": input_channels,
        "output_height": output_height,
        "output_width": output_width,
        "output_channels": output_channels,
        "height": height,
        "width": width,
        "stride_y": int(options.strideH),
        "stride_x": int(options.strideW),
        "dilation_y": dilation_y,
        "dilation_x": dilation_x,
        "pad_top": padding(
            same=same,
            size=input_height,
            window=height,
            stride=int(options.strideH),
            dilation=dilation_y,
            output=output_height,
        ),
        "pad_left": padding(
            same=same,
            size=input_width,
            window=width,
            stride=int(options.strideW),
            dilation=dilation_x,
            output=output_width,
        ),
    }


def _tables(multipliers: Sequence[float]) -> dict[str, Field]:
    """Return the fixed-point multipliers and shifts of all channels."""
    pairs = [quantize_multiplier(real) for real in multipliers]
    return {
        "multiplier": np.array([pair[0] for pair in pairs], np.int32),
        "shift": np.array([pair[1] for pair in pairs], np.int32),
    }


def _channel_multipliers(
    source: FirmwareTensor, filters: FirmwareTensor, output: FirmwareTensor, channels: int
) -> list[float]:
    scales = np.broadcast_to(filters.scales, (channels,))
    return [source.scale * float(scale) / output.scale for scale in scales]


def _bias(operator: FirmwareOperator, channels: int) -> Field:
    tensor = operator.optional(2)
    if tensor is None:
        return None
    _require_fit(operator, tensor.elements == channels, tensor)
    return _constant(operator, tensor, "int32")


def _check_filters(operator: FirmwareOperator, filters: FirmwareTensor, channels: int) -> NDArray[Any]:
    if len(filters.scales) not in (1, channels):
        raise _refuse(operator, f"'{filters.name}' has {len(filters.scales)} scales for {channels} channels")
    return _constant(operator, filters, "int8")


def _convolution(operator: FirmwareOperator, *, depthwise: bool) -> list[KernelCall | Alias]:
    source, filters = _int8(operator, operator.input(0)), operator.input(1)
    output = _int8(operator, operator.outputs[0])
    _four(operator, source)
    _, _, _, channels = _four(operator, output)
    _require_fit(operator, len(filters.shape) == 4 and min(filters.shape) > 0, filters)
    if depthwise:
        fits = filters.shape[0] == 1 and filters.shape[3] == channels and channels % source.shape[3] == 0
    else:
        groups, rest = divmod(source.shape[3], filters.shape[3])
        fits = filters.shape[0] == channels and rest == 0 and channels % groups == 0
    _require_fit(operator, fits, source, filters, output)
    weights = _check_filters(operator, filters, channels)
    if np.any(filters.zero_points):
        raise _refuse(operator, f"the zero point of '{filters.name}' is not 0")
    window = _window(
        operator, height=filters.shape[1], width=filters.shape[2], source=source, output=output, dilated=True
    )
    fields: dict[str, Field] = {
        "window": window,
        "input": TensorPlace(tensor=source),
        "filter": weights,
        "output": TensorPlace(tensor=output),
        "bias": _bias(operator, channels),
        **_tables(_channel_multipliers(source, filters, output, channels)),
        "filter_channels": 1 if depthwise else filters.shape[3],
        "input_offset": -source.zero_point,
        "output_offset": output.zero_point,
        **_clamped(operator, output),
    }
    function = "depthwise_conv_2d" if depthwise else "conv_2d"
    return [KernelCall(operator=operator, function=function, struct="conv_2d", fields=fields)]


def _fully_connected(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source, filters = _int8(operator, operator.input(0)), operator.input(1)
    output = _int8(operator, operator.outputs[0])
    _require_fit(operator, len(filters.shape) == 2 and min(filters.shape) > 0, filters)
    units, depth = filters.shape
    fits = source.elements % depth == 0 and source.elements // depth * units == output.elements
    _require_fit(operator, fits, source, filters, output)
    weights = _check_filters(operator, filters, units)
    if len(filters.scales) > 1:
        multipliers = _channel_multipliers(source, filters, output, units)
    else:
        # With one scale the kernel multiplies in float32 first.
        product = float(np.float32(source.scale) * np.float32(filters.scale))
        multipliers = [product / output.scale] * units
    fields: dict[str, Field] = {
        "input": TensorPlace(tensor=source),
        "filter": weights,
        "output": TensorPlace(tensor=output),
        "bias": _bias(operator, units),
        **_tables(multipliers),
        "rows": source.elements // depth,
        "depth": depth,
        "units": units,
        "input_offset": -source.zero_point,
        "filter_offset": -int(filters.zero_points[0]),
        "output_offset": output.zero_point,
        **_clamped(operator, output),
    }
    return [KernelCall(operator=operator, function="fully_connected", struct="fully_connected", fields=fields)]


def _pool(operator: FirmwareOperator, function: str) -> list[KernelCall | Alias]:
    source, output = _int8(operator, operator.input(0)), _int8(operator, operator.outputs[0])
    height, width = int(operator.options.filterHeight), int(operator.options.filterWidth)
    _require_fit(operator, _four(operator, source)[3] == _four(operator, output)[3], source, output)
    fields: dict[str, Field] = {
        "window": _window(operator, height=height, width=width, source=source, output=output, dilated=False),
        "input": TensorPlace(tensor=source),
        "output": TensorPlace(tensor=output),
        **_clamped(operator, output),
    }
    return [KernelCall(operator=operator, function=function, struct="pool_2d", fields=fields)]


def _mean(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source, output = _int8(operator, operator.input(0)), _int8(operator, operator.outputs[0])
    _, height, width, channels = _four(operator, source)
    axes = sorted({int(axis) % 4 for axis in np.ravel(_constant(operator, operator.input(1), "int32"))})
    if axes != [1, 2]:
        raise _refuse(operator, f"it reduces the dimensions {axes}, not height and width")
    _require_fit(operator, output.elements == channels, source, output)
    count = height * width
    multiplier, shift = mean_multiplier(source.scale / output.scale, count=count)
    fields: dict[str, Field] = {
        "input": TensorPlace(tensor=source),
        "output": TensorPlace(tensor=output),
        "count": count,
        "channels": channels,
        "multiplier": multiplier,
        "shift": shift,
        "input_zero_point": source.zero_point,
        "output_zero_point": output.zero_point,
    }
    return [KernelCall(operator=operator, function="mean", struct="mean", fields=fields)]


def _padded_shape(operator: FirmwareOperator, tensor: FirmwareTensor) -> list[int]:
    """Return a shape as four lengths, ones in front."""
    if len(tensor.shape) > 4:
        raise _refuse(operator, f"'{tensor.name}' has {len(tensor.shape)} dimensions; 4 are the most")
    return [1] * (4 - len(tensor.shape)) + list(tensor.shape)


def _strides(shape: Sequence[int], output: Sequence[int]) -> list[int]:
    """Return the strides in elements, 0 along a dimension that is repeated."""
    strides, step = [0] * 4, 1
    for place in (3, 2, 1, 0):
        strides[place] = step if shape[place] == output[place] else 0
        step *= shape[place]
    return strides


def _elementwise(operator: FirmwareOperator, function: str) -> list[KernelCall | Alias]:
    first, second = _int8(operator, operator.input(0)), _int8(operator, operator.input(1))
    output = _int8(operator, operator.outputs[0])
    shape = _padded_shape(operator, output)
    for tensor in (first, second):
        lengths = zip(_padded_shape(operator, tensor), shape, strict=True)
        _require_fit(operator, all(length in (1, other) for length, other in lengths), tensor, output)
    fields: dict[str, Field] = {
        "input_1": TensorPlace(tensor=first),
        "input_2": TensorPlace(tensor=second),
        "output": TensorPlace(tensor=output),
        "shape": shape,
        "stride_1": _strides(_padded_shape(operator, first), shape),
        "stride_2": _strides(_padded_shape(operator, second), shape),
        "offset_1": -first.zero_point,
        "offset_2": -second.zero_point,
        "output_offset": output.zero_point,
        **_clamped(operator, output),
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
    return [KernelCall(operator=operator, function=function, struct="elementwise", fields=fields)]


def _rescaled(operator: FirmwareOperator, real: float, least: int, most: int) -> list[KernelCall | Alias]:
    source, output = operator.input(0), operator.outputs[0]
    _require_fit(operator, source.elements == output.elements, source, output)
    multiplier, shift = quantize_multiplier(real)
    fields: dict[str, Field] = {
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
    }
    return [KernelCall(operator=operator, function="requantize", struct="requantize", fields=fields)]


def _quantize(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source = _need(operator, operator.input(0), "int8", "uint8", "float32")
    output = _need(operator, operator.outputs[0], "int8", "uint8")
    if source.dtype != "float32":
        return _rescaled(operator, source.scale / output.scale, *_RANGES[output.dtype])
    _require_fit(operator, source.elements == output.elements, source, output)
    fields: dict[str, Field] = {
        "input": TensorPlace(tensor=source),
        "output": TensorPlace(tensor=output),
        "count": source.elements,
        "output_unsigned": int(output.dtype == "uint8"),
        "zero_point": output.zero_point,
        "scale": output.scale,
    }
    return [KernelCall(operator=operator, function="quantize_float", struct="quantize_float", fields=fields)]


def _dequantize(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source = _need(operator, operator.input(0), "int8", "uint8")
    output = _need(operator, operator.outputs[0], "float32")
    _require_fit(operator, source.elements == output.elements, source, output)
    fields: dict[str, Field] = {
        "input": TensorPlace(tensor=source),
        "output": TensorPlace(tensor=output),
        "count": source.elements,
        "input_unsigned": int(source.dtype == "uint8"),
        "zero_point": source.zero_point,
        "scale": source.scale,
    }
    return [KernelCall(operator=operator, function="dequantize", struct="dequantize", fields=fields)]


def _relu(operator: FirmwareOperator, activation: str) -> list[KernelCall | Alias]:
    source, output = _int8(operator, operator.input(0)), _int8(operator, operator.outputs[0])
    least, most = activation_range(activation, scale=output.scale, zero_point=output.zero_point)
    real = float(np.float32(source.scale) / np.float32(output.scale))
    return _rescaled(operator, real, least, most)


def _softmax(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source, output = _int8(operator, operator.input(0)), _int8(operator, operator.outputs[0])
    if output.scale != 1 / 256 or output.zero_point != -128:
        raise _refuse(operator, "its output does not have the scale 1/256 and the zero point -128")
    _require_fit(operator, source.elements > 0 and source.shape == output.shape, source, output)
    depth = source.shape[-1]
    multiplier, left_shift, least = softmax_scaling(beta=float(operator.options.beta), input_scale=source.scale)
    fields: dict[str, Field] = {
        "input": TensorPlace(tensor=source),
        "output": TensorPlace(tensor=output),
        "rows": source.elements // depth,
        "depth": depth,
        "multiplier": multiplier,
        "left_shift": left_shift,
        "least_difference": least,
    }
    return [KernelCall(operator=operator, function="softmax", struct="softmax", fields=fields)]


def _pad(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source, output = _int8(operator, operator.input(0)), _int8(operator, operator.outputs[0])
    places = _constant(operator, operator.input(1), "int32").reshape(-1, 2)
    wanted = tuple(int(length) for length in np.array(source.shape) + places.sum(1)) if len(places) <= 4 else ()
    _require_fit(operator, wanted == output.shape and places.min() >= 0, source, output)
    before = places[:, 0].tolist()
    fields: dict[str, Field] = {
        "input": TensorPlace(tensor=source),
        "output": TensorPlace(tensor=output),
        "shape": _padded_shape(operator, source),
        "output_shape": _padded_shape(operator, output),
        "before": [0] * (4 - len(before)) + before,
        "value": output.zero_point,
    }
    return [KernelCall(operator=operator, function="pad", struct="pad", fields=fields)]


def _concatenation(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    output = _int8(operator, operator.outputs[0])
    axis = int(operator.options.axis) % len(output.shape)
    inner = int(np.prod(output.shape[axis:], dtype=np.int64))
    if operator.activation != "NONE":
        raise _refuse(operator, f"it has the fused activation {operator.activation}")
    steps: list[KernelCall | Alias] = []
    start = 0
    for tensor in operator.inputs:
        if tensor is None:
            continue
        source = _int8(operator, tensor)
        if (source.scale, source.zero_point) != (output.scale, output.zero_point):
            raise _refuse(operator, f"'{source.name}' has another scale than the output")
        row = int(np.prod(source.shape[axis:], dtype=np.int64))
        fits = source.shape[:axis] == output.shape[:axis] and row > 0 and start + row <= inner
        _require_fit(operator, fits, source, output)
        fields: dict[str, Field] = {
            "input": TensorPlace(tensor=source),
            "output": TensorPlace(tensor=output, offset_bytes=start),
            "rows": source.elements // row,
            "row_bytes": row,
            "output_row_bytes": inner,
        }
        steps.append(KernelCall(operator=operator, function="copy_rows", struct="copy_rows", fields=fields))
        start += row
    return steps


def _alias(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    source, output = operator.input(0), operator.outputs[0]
    if source.dtype != output.dtype or source.elements != output.elements:
        raise _refuse(operator, f"'{source.name}' and '{output.name}' do not hold as much")
    return [Alias(of=source, name=output)]


_KERNELS: Mapping[str, Callable[[FirmwareOperator], list[KernelCall | Alias]]] = {
    "ADD": lambda operator: _elementwise(operator, "add"),
    "AVERAGE_POOL_2D": lambda operator: _pool(operator, "average_pool_2d"),
    "CONCATENATION": _concatenation,
    "CONV_2D": lambda operator: _convolution(operator, depthwise=False),
    "DEPTHWISE_CONV_2D": lambda operator: _convolution(operator, depthwise=True),
    "DEQUANTIZE": _dequantize,
    "EXPAND_DIMS": _alias,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": lambda operator: _pool(operator, "max_pool_2d"),
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
