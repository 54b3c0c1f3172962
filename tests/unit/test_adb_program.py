"""The command line of benchmark_model."""

from __future__ import annotations

import shlex

import pytest

from edgefm.core.errors import RecipeError
from edgefm.runtimes.android_benchmark import program
from edgefm.runtimes.android_benchmark.adb import AdbError
from edgefm.runtimes.android_benchmark.program import Program
from edgefm.targets import target


def test_command_asks_for_exactly_what_is_wanted() -> None:
    line = program.command(
        Program(path="/data/local/tmp/bench mark", sha256=""),
        graph="/data/m.tflite",
        inputs="/data/in",
        shape=(1, 28, 28, 1),
        threads=4,
        xnnpack=False,
        runs=2,
        warmup_runs=20,
        warmup_seconds=0.1,
        most_seconds=30,
        output="/data/out",
    )
    named, *options = shlex.split(line)
    assert named == "/data/local/tmp/bench mark"
    assert dict(option.split("=", 1) for option in options) == {
        "--graph": "/data/m.tflite",
        "--num_threads": "4",
        "--num_runs": "2",
        "--min_secs": "0",
        "--max_secs": "30.000",
        "--warmup_runs": "20",
        "--warmup_min_secs": "0.100",
        "--use_xnnpack": "false",
        "--input_layer": "input",
        "--input_layer_shape": "1,28,28,1",
        "--input_layer_value_files": "input:/data/in",
        "--output_filepath": "/data/out",
    }


def test_program_that_lacks_an_option_is_refused() -> None:
    program.check_known(["--output_filepath"])  # only outputs are lost
    with pytest.raises(AdbError, match="lacks --use_xnnpack, --input_layer"):
        program.check_known(["--input_layer", "--use_xnnpack", "--output_filepath"])


@pytest.mark.parametrize("address", ["adb:-s x", "adb:a b", "adb:-H"])
def test_serial_that_would_be_an_option_is_refused(address: str) -> None:
    with pytest.raises(RecipeError, match="is not understood"):
        target(address)
