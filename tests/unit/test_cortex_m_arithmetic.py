"""Fixed-point numbers of the C kernels against real numbers."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from edgefm.targets.cortex_m import arithmetic
from edgefm.targets.cortex_m.arithmetic import (
    activation_range,
    mean_multiplier,
    padding,
    quantize_multiplier,
    softmax_scaling,
)


def test_docstrings_say_what_is_returned() -> None:
    assert doctest.testmod(arithmetic) == doctest.TestResults(failed=0, attempted=2)


@given(some.floats(2.0**-30, 2.0**20))
def test_quantize_multiplier_is_the_real_number_to_31_bits(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert math.ldexp(multiplier, shift - 31) == pytest.approx(real, rel=2.0**-31)


def test_quantize_multiplier_rounds_up_to_the_next_power() -> None:
    assert quantize_multiplier(1.0 - 2.0**-40) == (2**30, 1)


@pytest.mark.parametrize("real", [0.0, 2.0**-40])
def test_quantize_multiplier_of_what_is_too_small_is_zero(real: float) -> None:
    assert quantize_multiplier(real) == (0, 0)


@given(some.floats(2.0**-10, 2.0**6), some.integers(1, 5000))
def test_mean_multiplier_is_the_quotient(real: float, count: int) -> None:
    multiplier, shift = mean_multiplier(real, count=count)
    assert 0 <= multiplier < 2**31
    assert math.ldexp(multiplier, shift - 31) == pytest.approx(real / count, rel=2.0**-28)


@given(some.floats(1e-4, 10.0))
def test_softmax_scaling_keeps_the_least_difference_within_five_bits(scale: float) -> None:
    multiplier, shift, least = softmax_scaling(beta=1.0, input_scale=scale)
    assert least < 0
    # What is multiplied fits 32 bits, and the least difference is about -32 in real numbers, or as far as it gets.
    assert -least * 2**shift <= 2**31
    real = least * math.ldexp(multiplier, shift - 31) / 2**26
    assert real >= -32.0


@given(some.integers(1, 40), some.integers(1, 7), some.integers(1, 4), some.integers(1, 3))
def test_padding_of_same_puts_every_window_in_reach(size: int, window: int, stride: int, dilation: int) -> None:
    output = -(-size // stride)
    before = padding(same=True, size=size, window=window, stride=stride, dilation=dilation, output=output)
    reach = (window - 1) * dilation + 1
    total = max((output - 1) * stride + reach - size, 0)
    assert 2 * before in (total, total - 1)
    assert padding(same=False, size=size, window=window, stride=stride, dilation=dilation, output=output) == 0


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("NONE", (-128, 127)), ("RELU", (-28, 127)), ("RELU6", (-28, 92)), ("RELU_N1_TO_1", (-48, -8))],
)
def test_activation_range_is_where_the_real_limits_lie(name: str, wanted: tuple[int, int]) -> None:
    assert activation_range(name, scale=0.05, zero_point=-28) == wanted
