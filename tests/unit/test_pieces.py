"""How many samples go into one request."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefm.targets import raw_outputs as answers
from edgefm.targets.host import Host
from edgefm.targets.pieces import MOST, pieces
from edgefm.targets.worker_process import WorkerError


def _worked_off(count: int, *, sample_seconds: float, journey_seconds: float = 0.0, first: int = 1) -> list[list[int]]:
    """Work off `count` samples; each piece takes a journey and the time of its samples."""
    spent = [0.0]
    found = []
    for start, stop in pieces(count, limit_seconds=60, first=first, clock=lambda: spent[0]):
        found.append([start, stop])
        spent[0] += journey_seconds + (stop - start) * sample_seconds
    return found


@given(st.integers(0, 3000), st.floats(0, 100), st.floats(0, 100), st.integers(1, 2000))
def test_pieces_are_all_samples_in_order(count: int, sample_seconds: float, journey: float, first: int) -> None:
    found = _worked_off(count, sample_seconds=sample_seconds, journey_seconds=journey, first=first)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert sum(stop - start for start, stop in found) == count
    assert all(1 <= stop - start <= max(MOST, first) for start, stop in found)
    assert not found or (found[0][0], found[-1][1]) == (0, count)


@pytest.mark.parametrize("sample_seconds", [0.0001, 0.074, 0.7, 3.0, 50.0])
def test_no_piece_comes_near_the_limit_however_slow_the_model_is(sample_seconds: float) -> None:
    found = _worked_off(2000, sample_seconds=sample_seconds)
    assert found[0] == [0, 1]
    assert all((stop - start) * sample_seconds <= max(3.0, sample_seconds) + 1e-6 for start, stop in found)


def test_fast_model_is_asked_in_few_pieces() -> None:
    assert _worked_off(2001, sample_seconds=0.0001) == [[0, 1], [1, 1001], [1001, 2001]]


def test_long_journey_is_made_up_for_by_larger_pieces() -> None:
    """A phone: a second there and back for each piece, whatever its size."""
    assert len(_worked_off(1000, sample_seconds=0.001, journey_seconds=1.0)) < 12


class _SlowWorker:
    """Answers with what it is given, 4 ms a sample, and is killed where that takes longer than allowed."""

    def request(self, command: str, *, doing: str, seconds: float, **fields: Any) -> None:
        given = np.load(fields["inputs"])[fields["start"] : fields["stop"]]
        if 0.004 * len(given) > seconds:
            raise WorkerError(f"no answer for {seconds:g} s while {doing}; the process was killed")
        time.sleep(0.004 * len(given))
        np.savez(fields["out"], **{"0": given})


def test_slow_model_answers_in_pieces_that_keep_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at once would take 0.4 s of the allowed 0.2 s."""

    @contextmanager
    def loaded(model: Path, **_: Any) -> Iterator[tuple[_SlowWorker, Mapping[str, Any]]]:
        yield _SlowWorker(), {"version": "2.3.0"}

    monkeypatch.setattr(answers, "loaded", loaded)
    told: list[Mapping[str, Any]] = []
    inputs = np.arange(100, dtype=np.int8).reshape(50, 2)
    inputs = np.concatenate([inputs, inputs])
    (found,) = answers.raw_outputs(
        tmp_path / "m.tflite", inputs, runtime="litert", target=Host(), seconds=0.2, on_loaded=told.append
    )
    np.testing.assert_array_equal(found, inputs)
    assert told == [{"version": "2.3.0"}]
