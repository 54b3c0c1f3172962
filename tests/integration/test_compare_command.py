"""`edgefm compare` on files that are measured, on runs and on records."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edgefm.benchmarking import record
from edgefm.cli.main import cli, run
from edgefm.core.runs import RunDirectory
from tests.fixtures import tiny_models
from tests.fixtures.benchmark_records import answers, benchmark_record, failed, row, write


def _command(*arguments: str) -> int:
    return run(lambda: cli.main(["compare", *arguments], standalone_mode=False))


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Two dense models of one input, the second 150 times as wide."""
    paths = []
    for name, width in (("small", 10), ("large", 1500)):
        weights = np.random.default_rng(0).normal(0, 1, (width, 784)).astype(np.float32)
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(tiny_models.dense(weights, picture=(28, 28, 1)))
        paths.append(str(path))
    return paths[0], paths[1]


def test_compare_command_measures_two_files_and_finds_the_slower(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    # The larger file is worse whatever the machine does; on a busy one, rounds may be too few to decide latency.
    assert _command(*files, "--latency-only", "--rounds-at-most", "6", "--json", "--out", str(out)) == 1
    found = json.loads(capsys.readouterr().out)
    schema = json.loads((Path(record.__file__).parents[1] / "schemas" / "comparison-1.schema.json").read_text())
    Draft202012Validator(schema).validate(found)
    aspects = {one["name"]: one for one in found["pairs"][0]["aspects"]}
    assert aspects["size_bytes"]["verdict"] == "worse"
    assert aspects["latency"]["difference"]["value"] > 2 and "signed-rank" in aspects["latency"]["method"]
    assert (found["first"], found["second"]) == files
    # The record that was written tells the same, the other way round.
    assert _command(f"{out}::large", f"{out}::small") == (0 if aspects["latency"]["verdict"] == "worse" else 2)
    told = capsys.readouterr().out
    assert "B is not worse than A in any metric" in told or "B is not worse than A in any compared metric" in told


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
@pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="onnx is not installed")
def test_compare_and_gate_commands_measure_onnx_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx import TensorProto, helper

    for name, length in (("a", 4), ("b", 400)):
        ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, length]) for end in ("x", "y")]
        graph = helper.make_graph(
            [helper.make_node("Abs", ["x"], ["y"], doc_string=length * "x")], "g", ends[:1], ends[1:]
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (tmp_path / f"{name}.onnx").write_bytes(made.SerializeToString())
    files = [str(tmp_path / f"{name}.onnx") for name in "ab"]
    how = ("--runtime", "onnxruntime", "--latency-only", "--rounds-at-most", "1", "--json")
    assert _command(*files, *how) == 1
    [pair] = json.loads(capsys.readouterr().out)["pairs"]
    aspects = {one["name"]: one for one in pair["aspects"]}
    assert pair["failure"] is None and aspects["size_bytes"]["verdict"] == "worse"
    assert aspects["latency"]["first"] > 0 and aspects["latency"]["second"] > 0
    (tmp_path / "budget.toml").write_text("[models.a]\nsize_bytes = 300\n")
    arguments = ["gate", *files, *how, "--budget", str(tmp_path / "budget.toml")]
    assert run(lambda: cli.main(arguments, standalone_mode=False)) == 0


def test_compare_command_of_a_file_that_cannot_be_measured_is_exit_code_2(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(Path(files[0]).read_bytes()[:1000])
    assert _command(files[0], str(cut), "--latency-only", "--rounds-at-most", "1") == 2
    assert "could not be compared: cut: " in capsys.readouterr().out


def test_compare_command_takes_the_newest_benchmark_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory.create_at(tmp_path / "run")
    for us in (100.0, 200.0):
        folder = directory.begin("benchmark")
        write(folder, benchmark_record([row("m", us=us)]))
        directory.finish(folder, key=str(us), seconds=0, recipe={}, inputs={}, summary={})
    base = write(tmp_path / "base", benchmark_record([row("m", us=100)]))
    assert _command(str(base), str(directory.path), "--json") == 1
    [pair] = json.loads(capsys.readouterr().out)["pairs"]
    assert pair["aspects"][0]["difference"]["value"] == pytest.approx(2, rel=0.01)


def test_compare_command_refuses_other_machines_and_names_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write(tmp_path / "a", benchmark_record([row("m")]))
    second = write(tmp_path / "b", benchmark_record([row("m", us=300)], environment={"cpu": "Other CPU"}))
    assert _command(str(first), str(second)) == 2
    printed = capsys.readouterr().out
    assert "processor: A Made-up CPU, B Other CPU. Measure both on the same machine" in printed and "--force" in printed
    assert _command(str(first), str(second), "--no-latency") == 0
    assert _command(str(first), str(second), "--force") == 1


def test_compare_command_margins_are_percent_and_points(tmp_path: Path) -> None:
    value = benchmark_record([row("a", accuracy=0.9), row("b", accuracy=0.88, us=104, size=408_000)])
    path = write(tmp_path, value, predictions={"a": answers(0.9), "b": answers(0.88)})
    pair = (f"{path}::a", f"{path}::b")
    generous = ("--margin-latency", "10", "--margin-accuracy", "5", "--margin-size", "3")
    assert _command(*pair, *generous) == 0
    for place in (1, 3, 5):
        assert _command(*pair, *(given if i != place else "0.1" for i, given in enumerate(generous))) == 1


def _newer(folder: Path) -> Path:
    path = write(folder / "newer", benchmark_record([row("m")]))
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    return path


def _damaged(folder: Path) -> Path:
    path = write(folder / "damaged", benchmark_record([row("m")]))
    path.write_text(path.read_text()[:700])
    return path


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def _run_without_benchmark(folder: Path) -> Path:
    return RunDirectory.create_at(folder / "run").path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(_newer, "schema version 99", id="newer-record"),
        pytest.param(_damaged, "is damaged", id="damaged-record"),
        pytest.param(_empty, "is not a run and has no record.json", id="empty-folder"),
        pytest.param(_run_without_benchmark, "no finished 'benchmark' step", id="run-without-benchmark"),
        pytest.param(lambda folder: folder / "nowhere", "does not exist", id="nothing"),
        pytest.param(lambda folder: folder / "x.tflite", "are a model file and a record", id="file"),
        pytest.param(
            lambda folder: write(folder / "other", benchmark_record([row("x"), row("y")])), "no model in common",
            id="no-common-model",
        ),
    ],
)  # fmt: skip
def test_compare_command_bad_input_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], Path], words: str
) -> None:
    good = write(tmp_path / "good", benchmark_record([row("m"), row("n")]))
    assert _command(str(good), str(make(tmp_path))) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["{a}", "{a}", "--rounds", "3"], "--rounds applies to model files", id="rounds"),
        pytest.param(["{a}", "{a}", "--mean", "0"], "--mean applies to model files", id="mean-of-0"),
        pytest.param(["{a}", "{a}", "--data", "x"], "--data applies to model files", id="data"),
        pytest.param(["{a}::m", "{a}", "--model", "m"], "names its model already", id="model-twice"),
        pytest.param(["{a}", "{a}", "--model", "k"], "unknown model", id="unknown-model"),
        pytest.param(["{a}", "{a}", "--margin-latency", "-1"], "margin of latency", id="negative-margin"),
        pytest.param(["{a}"], "Missing argument 'B'", id="one-alone"),
        pytest.param(["x.tflite", "y.tflite", "--model", "m"], "--model applies to runs", id="model-of-files"),
        pytest.param(["x.tflite", "y.tflite", "--latency-only"], "no model file at x.tflite", id="missing-file"),
    ],
)
def test_compare_command_bad_options_are_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    path = write(tmp_path / "a", benchmark_record([row("m"), row("n")]))
    assert _command(*(argument.format(a=path) for argument in arguments)) == 2
    assert words in capsys.readouterr().err


def test_compare_command_failed_row_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [row("m"), failed("n")]
    paths = [write(tmp_path / name, benchmark_record(rows)) for name in "ab"]
    assert _command(*(str(path) for path in paths)) == 2
    printed = capsys.readouterr().out
    assert "n: could not be compared: n: the runtime crashed with SIGSEGV" in printed
    assert "in latency, accuracy, size and gzipped size beyond the margins; not compared: n" in printed


def test_compare_command_too_few_rounds_are_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = benchmark_record([row("a", rounds=3), row("b", rounds=3, us=300)])
    path = write(tmp_path, value)
    assert _command(f"{path}::a", f"{path}::b") == 2
    assert "3 rounds are too few to compare: take 6 or more" in capsys.readouterr().out
