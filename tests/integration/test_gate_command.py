"""`edgefm gate` on files that are measured, on runs and on records."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from junitparser import JUnitXml

from edgefm.cli.main import cli, run
from edgefm.core.runs import RunDirectory
from tests.fixtures import tiny_models
from tests.fixtures.benchmark_records import benchmark_record, row, write

BUDGET = 'baseline = "base"\n[models.m]\nsize_bytes = 500_000\np50_ratio = 0.6\naccuracy = 0.85\n'


def _command(*arguments: str) -> int:
    return run(lambda: cli.main(["gate", *arguments], standalone_mode=False))


@pytest.fixture
def budget(tmp_path: Path) -> Path:
    path = tmp_path / "budget.toml"
    path.write_text(BUDGET)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "record", benchmark_record([row("base"), row("m", us=50)]))


def test_gate_command_held_prints_a_table_and_writes_junit(
    path: Path, budget: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ci" / "junit.xml"
    assert _command(str(path), "--budget", str(budget), "--junit", str(out)) == 0
    printed = capsys.readouterr().out
    assert "3 of 3 limits held" in printed
    [suite] = JUnitXml.fromfile(str(out))
    assert (suite.tests, suite.failures, suite.errors) == (3, 0, 0)


@pytest.mark.parametrize(
    ("line", "code", "state"),
    [("size_bytes = 1", 1, "broken"), ("arena_bytes = 1", 2, "not checked"), ("p50_ratio = 0.5", 0, "undecided")],
)
def test_gate_command_exit_codes(
    path: Path, budget: Path, capsys: pytest.CaptureFixture[str], line: str, code: int, state: str
) -> None:
    budget.write_text(f'baseline = "base"\n[models.m]\n{line}\n')
    assert _command(str(path), "--budget", str(budget), "--json") == code
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code and found["checks"][0]["state"] == state


def test_gate_command_measures_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for name, width in (("m", 10), ("base", 1500)):
        weights = np.random.default_rng(0).normal(0, 1, (width, 784)).astype(np.float32)
        paths.append(tmp_path / f"{name}.tflite")
        paths[-1].write_bytes(tiny_models.dense(weights, picture=(28, 28, 1)))
    budget = tmp_path / "budget.toml"
    budget.write_text('baseline = "base"\n[models.m]\np50_ratio = 0.9\nsize_bytes = 100_000\n')
    options = ("--budget", str(budget), "--latency-only", "--rounds-at-most", "6", "--json")
    assert _command(*(str(path) for path in paths), *options) == 0
    checks = {check["key"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    # A busy machine may take rounds away, and leave too few to decide.
    assert checks["p50_ratio"]["state"] in ("held", "undecided") and checks["p50_ratio"]["value"] < 0.9
    assert checks["size_bytes"]["value"] == paths[0].stat().st_size


def test_gate_command_without_argument_takes_the_latest_run(
    tmp_path: Path, budget: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory.create_at(tmp_path / "runs" / "one")
    folder = directory.begin("benchmark")
    write(folder, benchmark_record([row("base"), row("m", us=50)]))
    directory.finish(folder, key="k", seconds=0, recipe={}, inputs={}, summary={})
    monkeypatch.chdir(tmp_path)
    assert _command() == 0
    assert "runs/one, baseline base" in capsys.readouterr().out


def test_gate_command_holds_a_baseline_record(path: Path, budget: Path, tmp_path: Path) -> None:
    budget.write_text("[models.m]\np50_ratio = 1.05\n")
    faster = write(tmp_path / "old", benchmark_record([row("m", us=40)]))
    same = write(tmp_path / "same", benchmark_record([row("m", us=50)]))
    other = write(tmp_path / "other", benchmark_record([row("m", us=50)], environment={"cores": 64}))
    codes = [_command(str(path), "--budget", str(budget), "--baseline", str(base)) for base in (faster, same, other)]
    assert codes == [1, 0, 2]
    assert _command(str(path), "--budget", str(budget), "--baseline", str(other), "--force") == 0


def _with(text: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / "budget.toml").write_text(text)
        return [str(folder / "record"), "--budget", str(folder / "budget.toml")]

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(_with("[models.m]\naccuraccy = 1"), "did you mean 'accuracy'", id="unknown-key"),
        pytest.param(_with("[models.m"), "is not valid TOML", id="broken-toml"),
        pytest.param(_with("[models.m]\naccuracy = 'high'"), "must be a number", id="wrong-type"),
        pytest.param(_with(""), "sets no limit", id="empty"),
        pytest.param(lambda folder: [str(folder / "record"), "--budget", "nowhere.toml"], "no budget at", id="missing"),
        pytest.param(lambda folder: [str(folder), "--budget", str(folder / "budget.toml")], "not a run", id="folder"),
        pytest.param(
            lambda folder: [*_with(BUDGET)(folder), "--rounds", "3"], "--rounds applies to model files", id="rounds"
        ),
        pytest.param(
            lambda folder: [*_with(BUDGET)(folder), "--baseline", "x.tflite"],
            "--baseline takes a run or record",
            id="baseline",
        ),
        pytest.param(lambda folder: [*_with(BUDGET)(folder), "x.tflite"], "both a run or record", id="both"),
        pytest.param(lambda folder: [*_with(BUDGET)(folder), "other"], "2 runs or records", id="two-records"),
    ],
)
def test_gate_command_bad_input_is_exit_code_2(
    path: Path, budget: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], list[str]], words: str,
) -> None:  # fmt: skip
    assert _command(*make(tmp_path)) == 2
    assert words in capsys.readouterr().err


EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_example_budget_is_held_by_models_that_keep_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row("float32", accuracy=0.93, size=1_700_000), row("int8_w8a8", us=40, accuracy=0.928, size=440_000)]
    path = write(tmp_path, benchmark_record(rows))
    assert _command(str(path), "--budget", str(EXAMPLES / "budget.toml")) == 0
    assert "6 of 6 limits held" in capsys.readouterr().out


def _of_the_workflow() -> str:
    """Return the command of the workflow's step; a folded block of YAML is one line."""
    found = re.search(r"- run: >-\n((?: {10}.*\n)+)", (EXAMPLES / "edgefm-gate.yml").read_text())
    assert found is not None
    return " ".join(found[1].split())


def _of_the_guide() -> str:
    """Return the first command of the guide."""
    return (EXAMPLES.parent / "ci.md").read_text().split("```bash\n")[1].splitlines()[0]


@pytest.mark.parametrize("command", [_of_the_workflow(), _of_the_guide()], ids=["workflow", "guide"])
def test_example_command_checks_every_limit_of_the_example_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    words = shlex.split(command)
    assert words[:2] == ["edgefm", "gate"]
    monkeypatch.chdir(tmp_path)
    # Class k is bright in the k-th of ten stripes; both models sum up each stripe of pixel / 255.
    stripes = np.kron(np.eye(10), np.ones(78))
    weights = np.pad(stripes, ((0, 0), (0, 4)))
    models = {
        "float32": tiny_models.dense(weights.astype(np.float32), picture=(28, 28, 1)),
        "int8_w8a8": tiny_models.quantized_dense(
            weights.astype(np.int8), picture=(28, 28, 1), input_scale=1 / 255, output_scale=1.0
        ),
    }
    for given in words:
        Path(given).parent.mkdir(exist_ok=True)
        if given.endswith(".tflite"):
            Path(given).write_bytes(models[Path(given).stem])
        elif given.endswith(".npz"):
            labels = np.arange(40) % 10
            pictures = (weights[labels] * 255).astype(np.uint8).reshape(-1, 28, 28, 1)
            np.savez(given, x_train=pictures, y_train=labels, x_test=pictures, y_test=labels)
    shutil.copy(EXAMPLES / "budget.toml", "budget.toml")
    # A round is enough: ratios are undecided then, which passes.
    assert _command(*words[2:], "--rounds-at-most", "1") == 0
    assert "could not be checked" not in capsys.readouterr().out
    [suite] = JUnitXml.fromfile("gate.xml")
    assert (suite.tests, suite.failures, suite.errors) == (6, 0, 0)
