"""The calls of the C kernels that move a filter or a window over their input, or multiply it by weights."""

from __future__ import annotations

import numpy as np

from edgefm.targets.cortex_m.graph import FirmwareOperator
from edgefm.targets.cortex_m.kernel_calls import (
    Alias,
    Field,
    KernelCall,
    TensorPlace,
    bias_of,
    call,
    channel_multipliers,
    check_filters,
    clamp_fields,
    four_lengths,
    int8,
    multiplier_tables,
    refuse,
    require_fit,
    window_of,
)


def convolution(operator: FirmwareOperator, *, depthwise: bool) -> list[KernelCall | Alias]:
    """Return the call for CONV_2D or DEPTHWISE_CONV_2D."""
    source, filters = int8(operator, operator.input(0)), operator.input(1)
    output = int8(operator, operator.outputs[0])
    four_lengths(operator, source)
    _, _, _, channels = four_lengths(operator, output)
    require_fit(operator, len(filters.shape) == 4 and min(filters.shape) > 0, filters)
    if depthwise:
        fits = filters.shape[0] == 1 and filters.shape[3] == channels and channels % source.shape[3] == 0
    else:
        groups, rest = divmod(source.shape[3], filters.shape[3])
        fits = filters.shape[0] == channels and rest == 0 and channels % groups == 0
    require_fit(operator, fits, source, filters, output)
    weights = check_filters(operator, filters, channels)
    if np.any(filters.zero_points):
        raise refuse(operator, f"the zero point of '{filters.name}' is not 0")
    window = window_of(
        operator, height=filters.shape[1], width=filters.shape[2], source=source, output=output, dilated=True
    )
    fields: dict[str, Field] = {
        "window": window,
        "input": TensorPlace(tensor=source),
        "filter": weights,
        "output": TensorPlace(tensor=output),
        "bias": bias_of(operator, channels),
        **multiplier_tables(channel_multipliers(source, filters, output, channels)),
        "filter_channels": 1 if depthwise else filters.shape[3],
        "input_offset": -source.zero_point,
        "output_offset": output.zero_point,
        **clamp_fields(operator, output),
    }
    return call(operator, "depthwise_conv_2d" if depthwise else "conv_2d", fields, struct="conv_2d")


def fully_connected(operator: FirmwareOperator) -> list[KernelCall | Alias]:
    """Return the call for FULLY_CONNECTED."""
    source, filters = int8(operator, operator.input(0)), operator.input(1)
    output = int8(operator, operator.outputs[0])
    require_fit(operator, len(filters.shape) == 2 and min(filters.shape) > 0, filters)
    units, depth = filters.shape
    fits = source.elements % depth == 0 and source.elements // depth * units == output.elements
    require_fit(operator, fits, source, filters, output)
    weights = check_filters(operator, filters, units)
    if len(filters.scales) > 1:
        multipliers = channel_multipliers(source, filters, output, units)
    else:
        # With one scale the kernel multiplies in float32 first.
        product = float(np.float32(source.scale) * np.float32(filters.scale))
        multipliers = [product / output.scale] * units
    return call(
        operator,
        "fully_connected",
        {
            "input": TensorPlace(tensor=source),
            "filter": weights,
            "output": TensorPlace(tensor=output),
            "bias": bias_of(operator, units),
            **multiplier_tables(multipliers),
            "rows": source.elements // depth,
            "depth": depth,
            "units": units,
            "input_offset": -source.zero_point,
            "filter_offset": -int(filters.zero_points[0]),
            "output_offset": output.zero_point,
            **clamp_fields(operator, output),
        },
    )


def pool(operator: FirmwareOperator, function: str) -> list[KernelCall | Alias]:
    """Return the call for AVERAGE_POOL_2D or MAX_POOL_2D."""
    source, output = int8(operator, operator.input(0)), int8(operator, operator.outputs[0])
    height, width = int(operator.options.filterHeight), int(operator.options.filterWidth)
    require_fit(operator, four_lengths(operator, source)[3] == four_lengths(operator, output)[3], source, output)
    fields: dict[str, Field] = {
        "window": window_of(operator, height=height, width=width, source=source, output=output, dilated=False),
        "input": TensorPlace(tensor=source),
        "output": TensorPlace(tensor=output),
        **clamp_fields(operator, output),
    }
    return call(operator, function, fields, struct="pool_2d")
