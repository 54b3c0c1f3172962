"""The search for the first differing layer, on prefixes that are really cut; what runs them is a stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgefm.agreement import arithmetic
from edgefm.agreement.cells import AgreementCell
from edgefm.agreement.layers import FirstDifference, FirstDifferenceSearch
from edgefm.core.errors import ModelError
from edgefm.profiling.cutting import prefix
from edgefm.tflite.inspection import inspect
from tests.fixtures import agreement_models

RIGHT, WRONG = AgreementCell(runtime="right", target="host"), AgreementCell(runtime="wrong", target="host")
INPUTS = np.zeros((3, 4), np.int8)


def _search(
    folder: Path, deviations: list[int], *, refuses: Callable[[int], bool] = lambda place: False, most: int = 64
) -> tuple[FirstDifference | str, list[int]]:
    """Search a chain of RELU whose results are off by `deviations`; also return which prefixes were run."""
    path = folder / "steps.tflite"
    path.write_bytes(agreement_models.steps(len(deviations)))
    inspection = inspect(path)
    calls = []

    def ask(cell: AgreementCell, model: Path, inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        last = len(inspect(model).operators) - 1
        if refuses(last):
            raise ModelError("the kernel said no")
        if cell == WRONG:
            calls.append(last)
        return (inputs + np.int8(deviations[last] if cell == WRONG else 0),)

    search = FirstDifferenceSearch(
        path, inspection=inspection, ends=arithmetic.ends(inspection), ask=ask, prefix=prefix, most_prefixes=most
    )
    return search.find(WRONG, RIGHT, inputs=INPUTS, sample=1, limit=1), calls


@given(st.lists(st.sampled_from([0, 1, 2, 5]), min_size=0, max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_first_operator_beyond_the_tolerance_is_found_though_differences_vanish_and_return(
    tmp_path: Path, before: list[int]
) -> None:
    deviations = [*before, 3]
    difference, calls = _search(tmp_path, deviations)
    assert isinstance(difference, FirstDifference)
    assert difference.operator == next(place for place, deviation in enumerate(deviations) if deviation > 1)
    assert difference.name == "RELU"
    assert difference.tensor == f"step{difference.operator + 1}"
    assert difference.comparison.largest == deviations[difference.operator]
    assert difference.sample == 1
    assert difference.verified
    assert difference.reason is None
    assert len(calls) == len(set(calls)) == difference.prefixes


def test_search_of_a_deep_model_says_what_it_did_not_look_at(tmp_path: Path) -> None:
    difference, calls = _search(tmp_path, [0] * 40 + [5] * 20, most=10)
    assert isinstance(difference, FirstDifference)
    assert difference.operator == 40
    assert not difference.verified
    assert difference.reason == "the limit of 10 prefixes was reached"
    assert len(calls) == 10


def test_prefix_that_a_runtime_refuses_is_passed_over_and_told(tmp_path: Path) -> None:
    difference, _ = _search(tmp_path, [0, 0, 0, 4, 4, 4], refuses=lambda place: place in (2, 3))
    assert isinstance(difference, FirstDifference)
    assert difference.operator == 4
    assert not difference.verified
    assert difference.reason == "the kernel said no"


def test_model_that_runs_in_no_part_is_told(tmp_path: Path) -> None:
    difference, _ = _search(tmp_path, [4, 4], refuses=lambda place: True)
    assert difference == "the model cannot be cut or run in parts: the kernel said no"


def test_difference_that_cutting_takes_away_is_told(tmp_path: Path) -> None:
    difference, _ = _search(tmp_path, [0, 0, 0])
    assert isinstance(difference, str)
    assert "appears only in the whole model" in difference


def test_answers_are_kept_for_the_next_search(tmp_path: Path) -> None:
    path = tmp_path / "steps.tflite"
    path.write_bytes(agreement_models.steps(4))
    inspection = inspect(path)
    calls = []

    def ask(cell: AgreementCell, model: Path, inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        calls.append(cell)
        return (inputs + np.int8(0 if cell == RIGHT else 9),)

    search = FirstDifferenceSearch(
        path, inspection=inspection, ends=arithmetic.ends(inspection), ask=ask, prefix=prefix
    )
    other = AgreementCell(runtime="other", target="host")
    for cell in (WRONG, other):
        assert isinstance(search.find(cell, RIGHT, inputs=INPUTS, sample=0, limit=0), FirstDifference)
    assert calls.count(RIGHT) < calls.count(WRONG) + calls.count(other)


@pytest.mark.parametrize("limit", [0, 3])
def test_limit_decides_which_operator_is_the_first(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "steps.tflite"
    path.write_bytes(agreement_models.steps(3))
    inspection = inspect(path)

    def ask(cell: AgreementCell, model: Path, inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        last = len(inspect(model).operators) - 1
        return (inputs + np.int8(0 if cell == RIGHT else [0, 2, 4][last]),)

    search = FirstDifferenceSearch(
        path, inspection=inspection, ends=arithmetic.ends(inspection), ask=ask, prefix=prefix
    )
    difference = search.find(WRONG, RIGHT, inputs=INPUTS, sample=0, limit=limit)
    assert isinstance(difference, FirstDifference)
    assert difference.operator == {0: 1, 3: 2}[limit]


def test_search_ends_when_its_time_is_up_and_tells_what_it_knows(tmp_path: Path) -> None:
    path = tmp_path / "steps.tflite"
    path.write_bytes(agreement_models.steps(16))
    inspection = inspect(path)

    def ask(cell: AgreementCell, model: Path, inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        if cell != RIGHT:
            time.sleep(0.2)
        return (inputs + np.int8(0 if cell == RIGHT else 9),)

    search = FirstDifferenceSearch(
        path, inspection=inspection, ends=arithmetic.ends(inspection), ask=ask, prefix=prefix, seconds=0.3
    )
    difference = search.find(WRONG, RIGHT, inputs=INPUTS, sample=0, limit=0)
    assert isinstance(difference, FirstDifference) and not difference.verified
    assert difference.reason == "the limit of 0.3 s was reached" and difference.prefixes < 5
    assert search.find(WRONG, RIGHT, inputs=INPUTS, sample=1, limit=0) == "not searched: the limit of 0.3 s was reached"
