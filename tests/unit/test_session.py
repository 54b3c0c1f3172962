"""What the sessions of all runtimes share, and the random inputs that models are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgefm.core.errors import RecipeError
from edgefm.runtimes.base import RuntimeSession, TensorDetails
from edgefm.runtimes.random_inputs import random_input
from edgefm.runtimes.session import BaseSession, check_input, check_threads


def _end(dtype: str = "float32", shape: tuple[int, ...] = (1, 4)) -> TensorDetails:
    return TensorDetails(name="x", dtype=dtype, shape=shape, scale=None, zero_point=None)


class _Doubles(BaseSession):
    """Answers twice its input, then thrice."""

    def __init__(self) -> None:
        super().__init__(_end(), [_end(), _end()], self._invoke)
        self._answers: tuple[NDArray[Any], ...] = ()

    def set_input(self, array: NDArray[Any]) -> None:
        check_input(self.input, array)
        self._given = array

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        return self._answers

    def _invoke(self) -> None:
        self._answers = (2 * self._given, 3 * self._given)


def test_session_runs_until_it_is_closed() -> None:
    one = np.ones((1, 4), np.float32)
    with _Doubles() as session:
        typed: RuntimeSession = session
        np.testing.assert_array_equal(typed.run(one), 2 * one)
        assert session.output == session.outputs[0]
    with pytest.raises(RuntimeError, match="the session is closed"):
        session.invoke()
    with pytest.raises(RuntimeError, match="the session is closed"):
        session.run(one)


@pytest.mark.parametrize("array", [np.ones((1, 4), np.uint8), np.ones((4,), np.float32), np.ones((1, 4), ">f8")])
def test_input_of_another_kind_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"float32 \(1, 4\) is expected"):
        check_input(_end(), array)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(threads: int) -> None:
    with pytest.raises(RecipeError, match=f"threads {threads} is not allowed"):
        check_threads(threads)


@given(
    dtype=st.sampled_from(["float16", "float32", "float64", "bool", "int8", "uint8", "int16", "int32", "int64"]),
    shape=st.lists(st.integers(1, 5), max_size=4).map(tuple),
)
def test_random_input_fits_and_repeats(dtype: str, shape: tuple[int, ...]) -> None:
    tensor = _end(dtype, shape)
    found = random_input(tensor, np.random.default_rng(0))
    check_input(tensor, found)
    np.testing.assert_array_equal(found, random_input(tensor, np.random.default_rng(0)))
    assert found.min() >= (-128 if np.dtype(dtype).kind == "i" else 0)
    assert found.max() <= (255 if np.dtype(dtype).kind in "iu" else 1)
