"""A pytest plugin: the fixture `tflite_benchmark` measures model files in a project's own test suite.

It is loaded with every pytest run where edgefm is installed, so it imports nothing until a test asks for it, and takes
nothing of pytest that older versions lack.
The fixture stands on pytest-benchmark's `benchmark`; without that plugin, tests that use it are skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgefm.comparison.suite_fixture import Replay, TfliteBenchmark

_FIXTURE = "tflite_benchmark"


def pytest_configure(config: pytest.Config) -> None:
    """Bring the fixture, in the form that fits what is installed."""
    plugin = _OnPytestBenchmark() if config.pluginmanager.hasplugin("benchmark") else _Without()
    config.pluginmanager.register(plugin, f"edgefm-{_FIXTURE}")


class _OnPytestBenchmark:
    """The fixture and its timer."""

    def __init__(self) -> None:
        self._replays: dict[str, Replay] = {}  # by the test's id

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let pytest-benchmark take its times from what workers measured, not from a clock."""
        for item in items:
            if _FIXTURE in getattr(item, "fixturenames", ()):
                from edgefm.comparison.suite_fixture import Replay

                own = item.get_closest_marker("benchmark")
                replay = self._replays.setdefault(item.nodeid, Replay())
                options = {**(dict(own.kwargs) if own is not None else {}), "timer": replay.timer}
                item.add_marker(pytest.mark.benchmark(**options), append=False)

    @pytest.fixture
    def tflite_benchmark(self, benchmark: object, request: pytest.FixtureRequest) -> TfliteBenchmark:
        """Measure a .tflite file in worker processes and hand its rounds to pytest-benchmark; see docs/ci.md."""
        from edgefm.comparison.suite_fixture import TfliteBenchmark

        replay = self._replays.get(request.node.nodeid)
        if replay is None:
            # pytest-benchmark has its clock by now: times of this machine's idling would be told as the model's.
            pytest.fail(
                f"{_FIXTURE} must be an argument of the test or of one of its fixtures; "
                f"request.getfixturevalue('{_FIXTURE}') asks for it too late",
                pytrace=False,
            )
        return TfliteBenchmark(benchmark, replay)


class _Without:
    """The fixture where pytest-benchmark is missing."""

    @pytest.fixture
    def tflite_benchmark(self) -> None:
        """Skip: there is nothing to hand times to."""
        pytest.skip("tflite_benchmark needs pytest-benchmark: pip install pytest-benchmark")
