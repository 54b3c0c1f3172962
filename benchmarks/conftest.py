"""Benchmarks are timed or they are not run: with --benchmark-disable, nothing must be recorded."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def timed(request: pytest.FixtureRequest) -> None:
    """Skip what pytest-benchmark would run once without timing it."""
    if "benchmark" in request.fixturenames and not request.getfixturevalue("benchmark").enabled:
        pytest.skip("nothing would be timed: give --benchmark-enable")
