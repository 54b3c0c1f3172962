"""What a call of a C kernel takes: places of tensors, tables of constants, and the checks that they fit the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.targets.cortex_m.arithmetic import activation_range, padding, quantize_multiplier
from edgefm.targets.cortex_m.graph import FirmwareOperator, FirmwareTensor

RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


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


def call(
    operator: FirmwareOperator, function: str, fields: Mapping[str, Field], *, struct: str | None = None
) -> list[KernelCall | Alias]:
    """Return one call of a kernel; its struct has the function's name where no other is given."""
    return [KernelCall(operator=operator, function=function, struct=struct or function, fields=fields)]


def refuse(operator: FirmwareOperator, why: str) -> ModelError:
    """Return the error for an operator that no kernel runs."""
    return ModelError(
        f"edgefm's C kernels cannot run operator {operator.index} ({operator.name}): {why}",
        hint="They take int8 tensors with int8 weights, as in int8_w8a8. Or run your own firmware: "
        "cortex-m:m4,firmware=PATH.",
    )


def require_fit(operator: FirmwareOperator, fits: bool, *tensors: FirmwareTensor) -> None:
    """Refuse tensors whose shapes are incompatible: a damaged file."""
    if not fits:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise ModelError(f"the shapes {shapes} of operator {operator.index} ({operator.name}) are incompatible")


def need(operator: FirmwareOperator, tensor: FirmwareTensor, *dtypes: str) -> FirmwareTensor:
    """Return a tensor that has one of these types and, where they are quantised ones, one scale."""
    if tensor.dtype not in dtypes:
        raise refuse(operator, f"'{tensor.name}' is {tensor.dtype}, not {' or '.join(dtypes)}")
    if tensor.dtype in RANGES and len(tensor.scales) != 1:
        raise refuse(operator, f"'{tensor.name}' has {len(tensor.scales)} scales")
    return tensor


def int8(operator: FirmwareOperator, tensor: FirmwareTensor) -> FirmwareTensor:
    """Return a tensor that is int8 with one scale; see `need`."""
    return need(operator, tensor, "int8")


def constant(operator: FirmwareOperator, tensor: FirmwareTensor, dtype: str) -> NDArray[Any]:
    """Return the values of a tensor that is a constant of this type."""
    if tensor.dtype != dtype:
        raise refuse(operator, f"'{tensor.name}' is {tensor.dtype}, not {dtype}")
    if tensor.data is None:
        raise refuse(operator, f"'{tensor.name}' is not a constant")
    return tensor.data


def clamp_fields(operator: FirmwareOperator, output: FirmwareTensor) -> dict[str, Field]:
    """Return the least and the greatest output by the operator's fused activation."""
    least, most = activation_range(operator.activation, scale=output.scale, zero_point=output.zero_point)
    return {"least": least, "most": most}


def four_lengths(operator: FirmwareOperator, tensor: FirmwareTensor) -> tuple[int, int, int, int]:
    """Return a shape with batch 1 as four lengths."""
    if len(tensor.shape) != 4 or tensor.shape[0] != 1 or min(tensor.shape) < 1:
        raise refuse(operator, f"'{tensor.name}' has the shape {tensor.shape}, not [1, height, width, channels]")
    batch, height, width, channels = tensor.shape
    return batch, height, width, channels


def window_of(
    operator: FirmwareOperator,
    *,
    height: int,
    width: int,
    source: FirmwareTensor,
    output: FirmwareTensor,
    dilated: bool,
) -> dict[str, int]:
    """Return the window that a convolution or a pool of height x width moves over its input."""
    options = operator.options
    _, input_height, input_width, input_channels = four_lengths(operator, source)
    _, output_height, output_width, output_channels = four_lengths(operator, output)
    require_fit(operator, min(int(options.strideH), int(options.strideW), height, width) > 0, source, output)
    strides = int(options.strideH), int(options.strideW)
    dilations = (int(options.dilationHFactor), int(options.dilationWFactor)) if dilated else (1, 1)
    pads = [
        padding(same=operator.same_padding, size=size, window=window, stride=stride, dilation=dilation, output=length)
        for size, window, stride, dilation, length in zip(
            (input_height, input_width), (height, width), strides, dilations, (output_height, output_width), strict=True
        )
    ]
    return {
        "input_height": input_height,
        "input_width": input_width,
        "input_channels": input_channels,
        "output_height": output_height,
        "output_width": output_width,
        "output_channels": output_channels,
        "height": height,
        "width": width,
        "stride_y": strides[0],
        "stride_x": strides[1],
        "dilation_y": dilations[0],
        "dilation_x": dilations[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
    }


def multiplier_tables(multipliers: Sequence[float]) -> dict[str, Field]:
    """Return the fixed-point multipliers and shifts of all channels."""
    pairs = [quantize_multiplier(real) for real in multipliers]
    return {
        "multiplier": np.array([pair[0] for pair in pairs], np.int32),
        "shift": np.array([pair[1] for pair in pairs], np.int32),
    }


def channel_multipliers(
    source: FirmwareTensor, filters: FirmwareTensor, output: FirmwareTensor, channels: int
) -> list[float]:
    """Return the real multiplier of each output channel: scales of input and filter over that of the output."""
    scales = np.broadcast_to(filters.scales, (channels,))
    return [source.scale * float(scale) / output.scale for scale in scales]


def bias_of(operator: FirmwareOperator, channels: int) -> Field:
    """Return the int32 bias of all channels, None where there is none."""
    tensor = operator.optional(2)
    if tensor is None:
        return None
    require_fit(operator, tensor.elements == channels, tensor)
    return constant(operator, tensor, "int32")


def check_filters(operator: FirmwareOperator, filters: FirmwareTensor, channels: int) -> NDArray[Any]:
    """Return the int8 weights of filters that have one scale, or one a channel."""
    if len(filters.scales) not in (1, channels):
        raise refuse(operator, f"'{filters.name}' has {len(filters.scales)} scales for {channels} channels")
    return constant(operator, filters, "int8")


def four_in_front(operator: FirmwareOperator, tensor: FirmwareTensor) -> list[int]:
    """Return a shape as four lengths, ones in front."""
    if len(tensor.shape) > 4:
        raise refuse(operator, f"'{tensor.name}' has {len(tensor.shape)} dimensions; 4 are the most")
    return [1] * (4 - len(tensor.shape)) + list(tensor.shape)


def strides_of(shape: Sequence[int], output: Sequence[int]) -> list[int]:
    """Return the strides in elements, 0 along a dimension that is repeated."""
    strides, step = [0] * 4, 1
    for place in (3, 2, 1, 0):
        strides[place] = step if shape[place] == output[place] else 0
        step *= shape[place]
    return strides
