"""The fixture `tflite_benchmark` in pytest runs of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures import tiny_models

pytest_plugins = ["pytester"]
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "test_my_model.py"
# Where edgefm's entry points are installed, pytest loads the plugin by itself.
PLUGIN = () if entry_points(group="pytest11", name="edgefm") else ("-p", "edgefm.pytest_plugin")
QUICK = "BenchmarkProtocol(rounds=6, rounds_at_most=6, repeats_at_most=0, round_seconds=0.0, round_invokes=20)"
# A busy machine may disturb rounds: which of the six are used is the harness's business, at least three are.
TEST = f"""
from pathlib import Path

from edgefm.recipes import BenchmarkProtocol

def test_model(tflite_benchmark):
    found = tflite_benchmark("small.tflite", baseline="large.tflite", protocol={QUICK})
    assert found.size_bytes > 0 and found.accuracy is None
    if found.enabled:
        assert found.p50_us > 0 and found.p50_ns.low <= found.p50_ns.value <= found.p50_ns.high
        assert found.p50_ratio.value < 1 and 3 <= found.comparison.rounds <= 6
        Path("kept").write_text(str(sum(turn["used"] for turn in found.row["rounds"])))
"""


def _model(path: Path, width: int) -> None:
    generator = np.random.default_rng(0)
    path.write_bytes(tiny_models.dense(generator.normal(0, 1, (width, 784)).astype(np.float32), picture=(28, 28, 1)))


def _data(folder: Path) -> None:
    generator = np.random.default_rng(0)
    np.savez(
        folder / "data.npz",
        x_train=generator.integers(0, 255, (40, 28, 28, 1)).astype(np.uint8),
        y_train=np.arange(40) % 10,
        x_test=generator.integers(0, 255, (50, 28, 28, 1)).astype(np.uint8),
        y_test=np.arange(50) % 10,
    )


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    _model(pytester.path / "small.tflite", 10)
    _model(pytester.path / "large.tflite", 1500)
    pytester.makepyfile(TEST)
    return pytester


def test_fixture_hands_its_rounds_to_pytest_benchmark(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess(*PLUGIN, "--benchmark-json=out.json", "--benchmark-autosave", "-q")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["Name (time in*"])
    [found] = json.loads((suite.path / "out.json").read_text())["benchmarks"]
    stats, extra = found["stats"], found["extra_info"]
    kept = int((suite.path / "kept").read_text())
    assert 3 <= kept <= 6 and stats["rounds"] == kept and stats["iterations"] == 1
    # The median of the rounds' medians, and the median of all samples, of one and the same measurement.
    assert 0.1 < 1e6 * stats["median"] / extra["p50_us"] < 10
    assert 0 < stats["min"] <= stats["median"] <= stats["max"]
    assert extra["p50_ratio"]["value"] < 1 and extra["model"] == "small"
    assert found["options"]["timer"] == "edgefm_worker"
    again = suite.runpytest_subprocess(*PLUGIN, "--benchmark-compare", "--benchmark-compare-fail=median:100000%", "-q")
    again.assert_outcomes(passed=1)
    again.stdout.fnmatch_lines(["*test_model (0001*"])


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        pytest.param(("--benchmark-skip",), {"skipped": 1}, id="skip"),
        pytest.param(("-p", "no:benchmark"), {"skipped": 1}, id="without-pytest-benchmark"),
    ],
)
def test_fixture_without_benchmarking_is_inert(
    suite: pytest.Pytester, options: tuple[str, ...], outcome: dict[str, int]
) -> None:
    result = suite.runpytest_subprocess(*PLUGIN, *options, "-rs")
    result.assert_outcomes(**outcome)
    if "no:benchmark" in options:
        result.stdout.fnmatch_lines(["*pip install pytest-benchmark*"])


def test_fixture_with_benchmark_only_runs_and_keeps_the_test_s_own_marks(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        f"""
        import pytest
        from edgefm.recipes import BenchmarkProtocol

        @pytest.mark.benchmark(group="mine")
        def test_grouped(tflite_benchmark):
            found = tflite_benchmark("small.tflite", protocol={QUICK}, each_invoke=True)
            assert found.comparison is None

        def test_other():
            pass
        """
    )
    result = suite.runpytest_subprocess(*PLUGIN, "--benchmark-only", "--benchmark-json=out.json", "-q")
    result.assert_outcomes(passed=1, skipped=1)
    [found] = json.loads((suite.path / "out.json").read_text())["benchmarks"]
    assert found["group"] == "mine" and found["stats"]["rounds"] >= 3 * 20


def test_fixture_measures_accuracy_where_data_are_given(suite: pytest.Pytester) -> None:
    _data(suite.path)
    suite.makepyfile(
        """
        def test_accuracy(tflite_benchmark):
            found = tflite_benchmark("small.tflite", data="data.npz", mean=0.0, std=255.0)
            assert not found.enabled and found.p50_us is None and found.p50_ratio is None
            assert 0 <= found.accuracy <= 1 and found.quality == found.accuracy
        """
    )
    suite.runpytest_subprocess(*PLUGIN, "--benchmark-disable").assert_outcomes(passed=1)


FAKE_TARGET = """
from edgefm.runtimes.base import Available
from edgefm.targets.base import Figure

class Fake:
    name, mode, latency, runtimes = "fake", "estimated", False, ()

    def availability(self):
        return Available()

    def figures(self, model):
        return (Figure(name="arena_bytes", value=59440.0, mode="estimated"),)

def target(rest):
    return Fake()
"""


@pytest.mark.parametrize("each_invoke", [False, True])
def test_fixture_on_a_target_without_latency_has_figures_and_no_times(
    suite: pytest.Pytester, each_invoke: bool
) -> None:
    suite.makepyfile(fake_target=FAKE_TARGET)
    suite.makeconftest("from edgefm import targets\ntargets.TARGETS['fake'] = 'fake_target'\n")
    suite.makepyfile(
        f"""
        def test_size(tflite_benchmark):
            found = tflite_benchmark(
                "small.tflite", baseline="large.tflite", target="fake", each_invoke={each_invoke}
            )
            assert not found.enabled and found.p50_us is None and found.p50_ratio is None
            assert found.comparison is None and found.arena_bytes == 59440
        """
    )
    # No made-up time is told, and no warning that the fixture was not used.
    result = suite.runpytest_subprocess(*PLUGIN, "-W", "error::pytest.PytestWarning", "-q")
    result.assert_outcomes(passed=1)
    assert "Name (time" not in result.stdout.str()


def test_fixture_that_is_asked_for_too_late_says_so(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_late(request):\n    request.getfixturevalue('tflite_benchmark')\n")
    result = suite.runpytest_subprocess(*PLUGIN, "-q")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tflite_benchmark must be an argument of the test*"])
    assert "KeyError" not in result.stdout.str()


def test_plugin_needs_nothing_that_pytest_6_lacks() -> None:
    code = "import pytest; del pytest.StashKey, pytest.Stash; import edgefm.pytest_plugin"
    subprocess.run([sys.executable, "-c", code], check=True)


_BAD = {
    "damaged": ("'cut.tflite'", "could not be measured"),
    "missing": ("'nowhere.tflite'", "no model file at"),
    "runtime": ("'small.tflite', runtime='litrt'", "did you mean 'litert'"),
    "no_contract": ("'small.tflite', data='data.npz'", "small has no accuracy"),
}


def test_fixture_with_a_bad_model_fails_the_test_with_the_reason(suite: pytest.Pytester) -> None:
    _data(suite.path)
    (suite.path / "cut.tflite").write_bytes((suite.path / "small.tflite").read_bytes()[:1000])
    tests = [f"def test_{name}(tflite_benchmark):\n    tflite_benchmark({call})\n" for name, (call, _) in _BAD.items()]
    suite.makepyfile("\n".join(tests))
    result = suite.runpytest_subprocess(*PLUGIN, "--benchmark-disable")
    result.assert_outcomes(failed=len(_BAD))
    for _, words in _BAD.values():
        result.stdout.fnmatch_lines_random([f"*{words}*"])


def test_plugin_of_a_suite_without_models_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_plain():
            assert "edgefm.comparison" not in sys.modules and "edgefm.benchmarking" not in sys.modules
        """
    )
    pytester.runpytest_subprocess(*PLUGIN, "-q").assert_outcomes(passed=1)
    found = subprocess.run(
        [sys.executable, "-c", "import sys, edgefm.pytest_plugin; print('numpy' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == "False"


def test_example_test_passes_with_models_that_keep_it(pytester: pytest.Pytester) -> None:
    _model(pytester.path / "model.tflite", 10)
    _model(pytester.path / "baseline.tflite", 1500)
    shutil.copy(EXAMPLE, pytester.path)
    pytester.runpytest_subprocess(*PLUGIN, "--benchmark-disable").assert_outcomes(passed=1)
