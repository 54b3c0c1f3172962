"""The integers that TensorFlow Lite's int8 kernels compute with, from the scales of a model.

Scales are float32 in the file. Where TensorFlow Lite multiplies them in float32 before it goes on in float64, so does
this: one bit more or less would now and then move an output by a level.
"""

from __future__ import annotations

import math

import numpy as np

_Q31 = 1 << 31


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return (multiplier, shift) with real = multiplier / 2^31 * 2^shift; (0, 0) for what is too small.

    >>> quantize_multiplier(0.75)
    (1610612736, 0)
    >>> quantize_multiplier(3.0)
    (1610612736, 2)
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = _round(fraction * _Q31)
    if multiplier == _Q31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def mean_multiplier(real: float, *, count: int) -> tuple[int, int]:
    """Return (multiplier, shift) of real / count, the division done on the integer multiplier as the kernel does it."""
    multiplier, shift = quantize_multiplier(real)
    more = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << more) // count, shift - more


def softmax_scaling(*, beta: float, input_scale: float) -> tuple[int, int, int]:
    """Return (multiplier, left shift, least difference) of int8 softmax.

    The difference of a score to the greatest one, times the scale and beta, is held with 5 bits before the point; a
    smaller one than the least would overflow and counts as probability 0.
    """
    integer_bits = 5
    real = min(beta * input_scale * (1 << (31 - integer_bits)), _Q31 - 1.0)
    multiplier, shift = quantize_multiplier(real)
    shift = max(shift, 0)
    radius = math.floor(((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) / (1 << shift))
    return multiplier, shift, -radius


def activation_range(
    name: str, *, scale: float, zero_point: int, least: int = -128, most: int = 127
) -> tuple[int, int]:
    """Return the least and greatest quantised output under a fused activation.

    Args:
      name: 'NONE', 'RELU', 'RELU6' or 'RELU_N1_TO_1'.
      scale: of the output.
      zero_point: of the output.
      least: of its type.
      most: of its type.
    """

    def quantised(value: float) -> int:
        # In float32, as the kernels do it.
        return zero_point + _round(float(np.float32(value) / np.float32(scale)))

    if name == "RELU":
        return max(least, quantised(0.0)), most
    if name == "RELU6":
        return max(least, quantised(0.0)), min(most, quantised(6.0))
    if name == "RELU_N1_TO_1":
        return max(least, quantised(-1.0)), min(most, quantised(1.0))
    assert name == "NONE", name
    return least, most


def padding(*, same: bool, size: int, window: int, stride: int, dilation: int, output: int) -> int:
    """Return how many places of padding stand before the input along one dimension."""
    if not same:
        return 0
    reach = (window - 1) * dilation + 1
    return max((output - 1) * stride + reach - size, 0) // 2


def _round(value: float) -> int:
    """Round halves away from zero."""
    return math.floor(value + 0.5) if value >= 0 else math.ceil(value - 0.5)
