from __future__ import annotations

import gc
import time

import pytest

from edgefm.worker.timing import timed_calls

SECOND = 1_000_000_000


def test_timed_calls_makes_the_least_number_of_a_fast_call() -> None:
    calls: list[int] = []
    samples = timed_calls(lambda: calls.append(1), least_calls=30, least_ns=0, most_calls=500, most_ns=SECOND)
    assert len(samples) == len(calls) == 30


def test_timed_calls_goes_on_for_the_least_time() -> None:
    samples = timed_calls(
        lambda: time.sleep(0.001), least_calls=1, least_ns=SECOND // 5, most_calls=500, most_ns=SECOND
    )
    assert 1 < len(samples) <= 200
    assert min(samples) >= 1_000_000


def test_timed_calls_stops_at_the_greatest_number() -> None:
    assert len(timed_calls(lambda: None, least_calls=5, least_ns=SECOND, most_calls=40, most_ns=SECOND)) == 40


def test_timed_calls_of_a_slow_call_stops_at_the_greatest_time() -> None:
    samples = timed_calls(lambda: time.sleep(0.02), least_calls=50, least_ns=1000, most_calls=500, most_ns=50_000_000)
    assert 1 <= len(samples) <= 3


def test_timed_calls_of_none_makes_none() -> None:
    assert timed_calls(lambda: None, least_calls=0, least_ns=0, most_calls=0, most_ns=SECOND) == []


def test_timed_calls_leaves_garbage_collection_as_it_was() -> None:
    def fail() -> None:
        assert not gc.isenabled()
        raise ValueError

    with pytest.raises(ValueError):
        timed_calls(fail, least_calls=1, least_ns=0, most_calls=1, most_ns=SECOND)
    assert gc.isenabled()
