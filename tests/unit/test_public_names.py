"""The public surface: light to import, documented, typed for its users, and the same in commands and functions."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import edgefm
from edgefm.cli.main import COMMANDS, cli
from edgefm.cli.training_options import LOOP_FIELDS
from edgefm.core.errors import ArgumentError, EdgefmError, RecipeError
from edgefm.jobs.run import Run

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "keras", "tensorflow", "tf_keras", "matplotlib", "jax", "torch", "jinja2", "PIL", "click", "tqdm")
# Options of the command line that say how a result is shown, or where files lie that a Python user holds in memory.
SHOWN = {"as_json", "json_", "open_", "out"}
DATA = {"where", "spec", "task", "labels", "data_dir", "latency_only"}
MEASURING = {"target", "runtime", "threads", "rounds", "rounds_at_most", "budget_seconds"}
BRINGING = {*DATA, "quality", "value_range", "head", "trust", "calibration_data", "run_folder"}
# Command -> the public function behind it, the names that differ, and what only one side has.
SIGNATURES: dict[str, tuple[Callable[..., Any], dict[str, str], set[str], set[str]]] = {
    "train": (
        Run.train,
        {"preset_name": "recipe", "recipe_name": "recipe"},
        # Parts of the recipe; in Python `Training(...)` holds them.
        {"model_options", "epochs", "batch_size", "learning_rate", "seed", "teachers", "distillation_weight"}
        | {"temperature", "with_validation", "run", "not_flippable", *LOOP_FIELDS},
        {"data", "changes", "callbacks"},
    ),
    "quantize": (
        Run.quantize,
        {"recipe_name": "recipe", "no_fold": "fold"},
        {"source", "strict", *BRINGING},
        {"data_dir"},
    ),
    "forecast": (Run.forecast, {}, {"source", *BRINGING}, {"data_dir"}),
    "cost-model": (edgefm.cost_model, {}, set(), set()),
    "benchmark": (edgefm.benchmark, {"what": "models"}, DATA, {"data", "protocol"}),
    "trust": (Run.trust, {}, {"run"}, set()),
    "zoo reproduce": (edgefm.reproduce, {}, set(), set()),
    "report": (Run.report, {}, {"run"}, set()),
    "search": (edgefm.search, {"source": "model"}, {"run_folder"}, {"data", "protocol"}),
    "explain": (Run.explain, {}, {"source", *BRINGING}, {"data_dir"}),
    "compare": (edgefm.compare, {"no_latency": "latency"}, MEASURING | DATA, {"data", "protocol", "baseline"}),
    "gate": (edgefm.gate, {}, MEASURING | DATA, {"data", "protocol"}),
    "profile": (edgefm.profile, {}, set(), set()),
    "agree": (edgefm.agree, {"no_first_difference": "first_difference"}, DATA | {"chance"}, {"data", "reason"}),
    "predict": (edgefm.predict, {}, {"run"}, set()),
    "export": (edgefm.export, {}, {"where"}, {"data"}),
    "verify": (edgefm.verify, {"no_run": "run"}, set(), set()),
    "trace": (edgefm.trace, {}, set(), set()),
    "inspect": (edgefm.inspect, {}, set(), set()),
    "doctor": (edgefm.doctor, {}, set(), set()),
}
# Commands that show or fetch what is there, or examine a run: no function of their own among the public ones.
WITHOUT_FUNCTION = {"data", "recipes", "calibration", "sensitivity", "leaderboard", "demo"}


def test_import_of_edgefm_is_light() -> None:
    """How long it takes is measured by benchmarks/test_startup.py."""
    code = f"import sys, edgefm\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.mark.parametrize("name", [name for name in edgefm.__all__ if name != "__version__"])
def test_public_name_is_documented(name: str) -> None:
    value = getattr(edgefm, name)
    assert inspect.getdoc(value), name
    if inspect.isfunction(value):
        text = inspect.getdoc(value) or ""
        parameters = [p for p in inspect.signature(value).parameters if p not in ("self",)]
        described = [p for p in parameters if re.search(rf"^\s*{p}: ", text, re.MULTILINE)]
        assert described == parameters, set(parameters) - set(described)
        assert inspect.signature(value).return_annotation not in (inspect.Signature.empty, "Any"), name


RUN_METHODS = [name for name in dir(Run) if not name.startswith("_") and callable(getattr(Run, name))]


def _described(function: Callable[..., Any]) -> dict[str, str]:
    """Return what a docstring says of each argument."""
    arguments = (inspect.getdoc(function) or "").partition("Args:\n")[2].partition("\nRaises:")[0]
    entries = re.findall(r"^  (\w+): (.+(?:\n    .+)*)", arguments, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


@pytest.mark.parametrize("name", RUN_METHODS)
def test_method_of_a_run_describes_its_own_arguments_and_errors(name: str) -> None:
    method = getattr(Run, name)
    described = _described(method)
    assert list(described) == [parameter for parameter in inspect.signature(method).parameters if parameter != "self"]
    for text in described.values():
        assert len(text.split()) >= 3 and not re.match(r"see `edgefm\.", text), text
    assert not described or "\nRaises:\n  ArgumentError: " in str(inspect.getdoc(method))


@pytest.mark.parametrize("name", ["quantize", "forecast", "benchmark", "train", "explain"])
def test_method_of_a_run_says_of_an_argument_what_its_function_says(name: str) -> None:
    of_method, of_function = _described(getattr(Run, name)), _described(getattr(edgefm, name))
    # The run remembers its data, and a stopped training its recipe and precision.
    own = {"train": {"data", "recipe", "precision"}, "explain": {"out"}}.get(name, set())
    shared = of_method.keys() & of_function.keys() - own
    assert shared and {key: of_method[key] for key in shared} == {key: of_function[key] for key in shared}


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_command_takes_what_its_function_takes(name: str) -> None:
    function, renamed, only_command, only_function = SIGNATURES[name]
    command = _command(name)
    options = {renamed.get(str(option.name), str(option.name)) for option in command.params}
    options -= only_command | (SHOWN - set(inspect.signature(function).parameters))
    parameters = set(inspect.signature(function).parameters) - {"self", "progress"} - only_function
    assert options - DATA == parameters - DATA


def _command(name: str) -> click.Command:
    """Return a command or a subcommand by its words."""
    command: Any = cli
    for word in name.split():
        command = command.get_command(None, word)  # the context is not looked at
    assert isinstance(command, click.Command)
    return command


def test_options_of_an_own_model_are_those_of_bring() -> None:
    command = cli.get_command(None, "quantize")  # type: ignore[arg-type]  # the context is not looked at
    assert isinstance(command, click.Command)
    options = {str(option.name) for option in command.params} & BRINGING
    # A data source holds these; the folder of Fashion-MNIST's files is no property of a model.
    options -= {"where", "spec", "task", "quality", "data_dir"}
    names = {"run_folder": "path"}
    parameters = set(inspect.signature(Run.bring).parameters) - {"model", "data", "progress"}
    assert {names.get(option, option) for option in options} == parameters


def test_each_command_has_a_function_or_says_why_not() -> None:
    assert set(COMMANDS) == {name.split()[0] for name in SIGNATURES} | WITHOUT_FUNCTION


WRONG_TYPES: list[tuple[str, Callable[[], object], str]] = [
    ("train", lambda: edgefm.train(3, data="fashion-mnist"), "model is 3"),  # type: ignore[arg-type]
    ("train data", lambda: edgefm.train("enhanced_cnn"), "data is None"),
    ("train recipe", lambda: edgefm.train(data="x.npz", recipe=3), "recipe is 3"),  # type: ignore[arg-type]
    ("compress", lambda: edgefm.compress("m.keras", "prune", data="x.npz"), "passes is the text"),  # type: ignore[arg-type]
    ("compress item", lambda: edgefm.compress("m.keras", [3], data="x.npz"), r"passes\[0\] is 3"),  # type: ignore[list-item]
    ("compress empty", lambda: edgefm.compress("m.keras", [], data="x.npz"), "passes is empty"),
    ("prune", lambda: edgefm.prune("m.keras", data=None, recipe=None), "data is None"),  # type: ignore[arg-type]
    ("cluster", lambda: edgefm.cluster("m.keras", data="x", recipe=3), r"passes\[0\] is 3"),  # type: ignore[arg-type]
    ("slim", lambda: edgefm.slim("m.keras", data="x", recipe="half"), r"passes\[0\]"),  # type: ignore[arg-type]
    ("qat", lambda: edgefm.qat("m.keras", data="x", recipe=True), r"passes\[0\]"),  # type: ignore[arg-type]
    ("quantize", lambda: edgefm.quantize(3.5), "model is 3.5"),
    ("quantize variants", lambda: edgefm.quantize("m.keras", 3), "variants is 3"),  # type: ignore[arg-type]
    ("quantize item", lambda: edgefm.quantize("m.keras", [3]), r"variants\[0\] is 3"),  # type: ignore[list-item]
    ("quantize recipe", lambda: edgefm.quantize("m.keras", recipe=3), "recipe is 3"),  # type: ignore[arg-type]
    ("benchmark", lambda: edgefm.benchmark(3), "models is 3"),  # type: ignore[arg-type]
    ("benchmark item", lambda: edgefm.benchmark([3]), r"models\[0\] is 3"),  # type: ignore[list-item]
    ("benchmark protocol", lambda: edgefm.benchmark("m.tflite", protocol=3), "protocol is 3"),  # type: ignore[arg-type]
    ("compare", lambda: edgefm.compare(3, 4), "first is 3"),  # type: ignore[arg-type]
    ("gate", lambda: edgefm.gate("runs/x", 3), "budget is 3"),  # type: ignore[arg-type]
    ("profile", lambda: edgefm.profile(3), "model is 3"),  # type: ignore[arg-type]
    ("agree", lambda: edgefm.agree(None), "model is None"),  # type: ignore[arg-type]
    ("inspect", lambda: edgefm.inspect(3), "model is 3"),
    ("predict", lambda: edgefm.predict(3), "pictures is 3"),  # type: ignore[arg-type]
    ("predict model", lambda: edgefm.predict("x.png", model=3), "model is 3"),  # type: ignore[arg-type]
    ("search", lambda: edgefm.search("m.keras", 3, data="x.npz"), "budget is 3"),  # type: ignore[arg-type]
    ("search data", lambda: edgefm.search("m.keras", {"a": {"max_macs": 1}}), "data is None"),
    ("number trials", lambda: edgefm.search("m", {}, trials="9"), "trials is '9'"),  # type: ignore[arg-type]
    ("doctor", lambda: edgefm.doctor(data_dir=3), "data_dir is 3"),  # type: ignore[arg-type]
    ("explain", lambda: edgefm.explain(3, data="x.npz"), "model is 3"),
    ("explain data", lambda: edgefm.explain("m.keras"), "data is None"),
    ("explain variants", lambda: edgefm.explain("m.keras", data="x", variants=3), "variants is 3"),  # type: ignore[arg-type]
    ("number folds", lambda: edgefm.explain("m.keras", data="x", folds="5"), "folds is '5'"),  # type: ignore[arg-type]
    ("Run", lambda: edgefm.Run(3), "path is 3"),  # type: ignore[arg-type]
    ("data.load", lambda: edgefm.data.load(3), "where is 3"),  # type: ignore[arg-type]
    ("data.from_arrays", lambda: edgefm.data.from_arrays([[1.0]], [0], test=3), "test is 3"),  # type: ignore[arg-type]
    ("recipes.load", lambda: edgefm.recipes.load(3), "name_or_path is 3"),  # type: ignore[arg-type]
    ("number", lambda: edgefm.benchmark("m.tflite", threads="x"), "threads is 'x'"),  # type: ignore[arg-type]
    ("number rounds", lambda: edgefm.profile("m.tflite", rounds="x"), "rounds is 'x'"),  # type: ignore[arg-type]
    ("number top", lambda: edgefm.predict("x.png", model="m.tflite", top="3"), "top is '3'"),  # type: ignore[arg-type]
    ("number epochs", lambda: edgefm.train(data="x", epochs=1.5), "epochs is 1.5"),  # type: ignore[arg-type]
    ("text for a list", lambda: edgefm.agree("m.tflite", runtime="litert"), "runtime is the text 'litert'"),
    ("no variants", lambda: edgefm.quantize("m.keras", []), "variants is empty"),
    ("progress", lambda: edgefm.benchmark("m.tflite", progress="yes"), "progress is 'yes'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "message"), [case[1:] for case in WRONG_TYPES], ids=[case[0] for case in WRONG_TYPES])
def test_wrong_type_is_an_error_that_says_what_is_allowed(
    call: Callable[[], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=message) as caught:
        call()
    assert isinstance(caught.value, EdgefmError) and isinstance(caught.value, TypeError)
    assert "expected" in str(caught.value) or "needed" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_script_that_uses_every_public_name_type_checks(tmp_path: Path) -> None:
    text = (ROOT / "tests" / "fixtures" / "uses_every_public_name.py").read_text(encoding="utf-8")
    assert not [name for name in edgefm.__all__ if not re.search(rf"edgefm\.{name}\b", text)]
    (tmp_path / "mypy.ini").write_text("[mypy]\n", encoding="utf-8")
    (tmp_path / "right.py").write_text(text, encoding="utf-8")
    wrong = text.replace("trained.validation_accuracy", "trained.validation_acuracy")
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
    # From outside the project, with a configuration of its own: as a user's project is checked.
    finished = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-incremental",
            "--follow-imports=silent",
            "right.py",
            "wrong.py",
        ],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": f"{ROOT}:{ROOT / 'converters'}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    errors = [line for line in finished.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1 and errors[0].startswith("wrong.py:") and "validation_acuracy" in errors[0], finished.stdout


def test_protocol_and_what_it_says_are_not_given_together() -> None:
    with pytest.raises(RecipeError, match="a protocol was given together with target"):
        edgefm.benchmark("m.tflite", protocol=edgefm.BenchmarkProtocol(), target="adb")


def test_architecture_of_a_recipe_stays_where_no_other_is_named() -> None:
    from edgefm.jobs.train import training_recipe

    recipe = edgefm.Training(model="basic_cnn")
    assert training_recipe(recipe, model=None).model == "basic_cnn"
    assert training_recipe(recipe, model="enhanced_cnn").model == "enhanced_cnn"
    assert inspect.signature(edgefm.train).parameters["model"].default is None
