"""A pytest plugin: the fixture `tflite_benchmark` measures model files in a project's own test suite.

It is loaded with every pytest run where edgefm is installed, so it imports nothing until a test asks for it.
The fixture stands on pytest-benchmark's `benchmark`; without that plugin, tests that use it are skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgefm.comparison.suite_fixture import Replay, TfliteBenchmark

_FIXTURE = "tflite_benchmark"
_REPLAY: pytest.StashKey[Replay] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Bring the fixture, in the form that fits what is installed."""
    plugin = _OnPytestBenchmark() if config.pluginmanager.hasplugin("benchmark") else _Without()
    config.pluginmanager.register(plugin, f"edgefm-{_FIXTURE}")


class _OnPytestBenchmark:
    """The fixture and its timer."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let pytest-benchmark take its times from what workers measured, not from a clock."""
        for item in items:
            if _FIXTURE in getattr(item, "fixturenames", ()):
                from edgefm.comparison.suite_fixture import Replay

                own = item.get_closest_marker("benchmark")
                replay = item.stash[_REPLAY] = Replay()
                options = {**(dict(own.kwargs) if own is not None else {}), "timer": replay.timer}
                item.add_marker(pytest.mark.benchmark(**options), append=False)

    @pytest.fixture
    def tflite_benchmark(self, benchmark: object, request: pytest.FixtureRequest) -> TfliteBenchmark:
        """Measure a .tflite file in worker processes and hand its rounds to pytest-benchmark; see docs/ci.md."""
        from edgefm.comparison.suite_fixture import TfliteBenchmark

        return TfliteBenchmark(benchmark, request.node.stash[_REPLAY])


class _Without:
    """The fixture where pytest-benchmark is missing."""

    @pytest.fixture
    def tflite_benchmark(self) -> None:
        """Skip: there is nothing to hand times to."""
        pytest.skip("tflite_benchmark needs pytest-benchmark: pip install pytest-benchmark")
