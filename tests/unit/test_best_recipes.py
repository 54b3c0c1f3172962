"""Preset 'best', recipe files of trainings, and trainings that learn the validation images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm import zoo
from edgefm.cli.main import cli
from edgefm.cli.main import run as run_command
from edgefm.core.errors import ArgumentError, RecipeError
from edgefm.core.runs import Step
from edgefm.data.dataset import Dataset, Split, shared_images
from edgefm.jobs.train import training_recipe
from edgefm.recipes import Training, load_training, preset
from edgefm.recipes.presets import PRESETS, best_files, training_names
from edgefm.report.text import reproduce
from edgefm.training.all_images import judged, learnt_by
from edgefm.training.verdict import FitVerdict


def call(*args: object) -> int:
    return run_command(lambda: cli.main([str(arg) for arg in args], standalone_mode=False))


@pytest.mark.parametrize("model", list(best_files()))
def test_best_recipe_states_every_hyper_parameter_and_its_model_takes_its_options(model: str) -> None:
    stated = json.loads(best_files()[model].read_text(encoding="utf-8"))["params"]
    recipe = preset("best", model)
    assert recipe.model == model and recipe.batch_size == 512 and recipe.erasing > 0
    zoo.check_options(model, recipe.model_options)
    for name in (
        "optimizer",
        "learning_rate",
        "schedule",
        "warmup_fraction",
        "weight_decay",
        "epochs",
        "label_smoothing",
    ):
        assert stated[name] == getattr(recipe, name)
    assert {"flip", "shift_pixels", "erasing", "mixup", "cutmix", "seed", "with_validation"} <= stated.keys()
    assert load_training(f"best_{model}") == recipe


def test_best_recipe_of_the_enhanced_cnn_is_the_one_that_folds() -> None:
    assert preset("best") == preset("best", "enhanced_cnn")
    assert preset("best").model_options["batch_norm"] == "before_relu"


@pytest.mark.parametrize("model", ["basic_cnn", "mine:network", "folder/model.keras"])
def test_model_without_a_best_recipe_is_told_which_have_one(model: str) -> None:
    with pytest.raises(RecipeError, match="no best recipe for model") as caught:
        preset("best", model)
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in best_files()) and "--preset standard" in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--preset", "best", "--model", "basic_cnn"), "no best recipe for model 'basic_cnn'"),
        (("--preset", "bets"), "did you mean 'best'"),
        (("--recipe", "best_small_residul"), "did you mean 'best_small_residual'"),
        (("--recipe", "nowhere.json"), "nowhere.json"),
        (("--recipe", "quantize.json"), "of kind 'quantize', not 'train'"),
        (("--recipe", "list.json"), "holds no recipe"),
        (("--recipe", "newer.json"), "newer than 1"),
        (("--recipe", "typed.json"), "did you mean 'epochs'"),
        (("--recipe", "late.json", "--with-validation"), "patience needs validation images"),
    ],
)
def test_train_refuses_recipes_that_are_none(
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "quantize": {"kind": "quantize", "params": {"variants": ["float32"]}},
        "list": [],
        "newer": {"kind": "train", "version": 2},
        "typed": {"kind": "train", "params": {"epoch": 3}},
        "late": {"kind": "train", "params": {"patience": 3}},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    assert call("train", *arguments) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert not list(tmp_path.glob("runs/*"))


def test_train_takes_a_preset_or_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--preset", "best", "--recipe", "best_enhanced_cnn") == 2
    assert "--preset and --recipe" in capsys.readouterr().err


def test_recipe_is_named_by_preset_file_or_path(tmp_path: Path) -> None:
    recipe = dataclasses.replace(preset("best", "small_residual"), epochs=3)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(recipe.to_json()))
    assert training_recipe(path) == training_recipe(str(path)) == recipe
    assert training_recipe("best", model="resnet14") == preset("best", "resnet14")
    assert training_recipe("paper", model="resnet14", seed=2) == dataclasses.replace(
        preset("paper"), model="resnet14", seed=2
    )
    with pytest.raises(ArgumentError, match="a Training, a file, or the name of a preset"):
        training_recipe(3)  # type: ignore[arg-type]


def test_options_of_a_model_are_added_to_the_recipes_and_left_out_for_another_model() -> None:
    changed = training_recipe("best", model_options={"dropout": "0.4"})
    assert changed.model_options == {"batch_norm": "before_relu", "dropout": "0.4"}
    assert training_recipe(preset("best"), model="basic_cnn").model_options == {}
    assert training_recipe(preset("best")).model_options == preset("best").model_options


def test_training_recipes_are_listed_shown_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recipes", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(training_names()) <= set(listed)
    assert listed["best_resnet14"]["model"] == "resnet14" and "80 epochs" in listed["best_resnet14"]["description"]
    assert call("recipes", "list") == 0
    assert "best_resnet14" in capsys.readouterr().out
    assert call("recipes", "show", "best_resnet14") == 0
    shown = json.loads(capsys.readouterr().out)
    assert {field.name for field in dataclasses.fields(Training)} == set(shown["params"])
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**shown, "params": {**shown["params"], "epochs": 7}}))
    assert call("recipes", "validate", path) == 0
    assert "trains resnet14: 7 epochs" in capsys.readouterr().out
    assert load_training(path) == dataclasses.replace(preset("best", "resnet14"), epochs=7)


@pytest.mark.parametrize("model", ["enhanced_cnn", "separable_tiny"])
def test_report_names_the_preset_of_a_best_training(model: str) -> None:
    recipe = dataclasses.replace(preset("best", model), seed=2, with_validation=True)
    step = Step(name="00-train", kind="train", key="", created="", seconds=1, recipe=recipe.to_json(), inputs={})
    (line,) = reproduce.commands([step])
    assert line.startswith("edgefm train --preset best") and "--seed 2 " in line and "no option" not in line
    assert "--with-validation" in line
    assert ("--model separable_tiny" in line) == (model == "separable_tiny")


def test_recipe_without_the_field_keeps_the_key_that_it_had() -> None:
    for recipe in PRESETS.values():
        assert "with_validation" not in recipe.to_json()["params"]
    assert Training(with_validation=True).to_json()["params"]["with_validation"] is True


def _dataset(*, side: int = 8, classes: int = 2) -> Dataset:
    generator = np.random.default_rng(0)

    def split(name: str, count: int) -> Split:
        images = generator.integers(0, 256, (count, side, side, 1), np.uint8)
        return Split(name=name, images=images, labels=np.arange(count) % classes)

    return Dataset(
        name="made",
        labels=tuple("abcdefghij"[:classes]),
        train=split("train", 60),
        validation=split("validation", 20),
        test=split("test", 30),
        sha256="1" * 64,
    )


def test_training_with_validation_learns_each_image_once_and_no_test_image() -> None:
    data = _dataset()
    assert learnt_by(Training(), data) is data
    learnt = learnt_by(Training(with_validation=True), data)
    assert len(learnt.train) == 80 and shared_images(data.validation, learnt.train) == 20
    assert shared_images(data.train, learnt.train) == 60 and shared_images(data.test, learnt.train) == 0
    np.testing.assert_array_equal(learnt.train.labels[60:], data.validation.labels)
    assert learnt.validation is data.validation and learnt.test is data.test


def test_verdict_on_learnt_validation_images_is_none() -> None:
    verdict = FitVerdict(name="good fit", reason="gap 0.0", train_accuracy=0.9, validation_accuracy=0.95)
    assert judged(Training(), verdict) is verdict
    unknown = judged(Training(with_validation=True), verdict)
    assert unknown.name == "not judged" and "95.0 %, says nothing about new pictures" in unknown.reason


def test_final_training_in_memory_and_in_a_run_says_that_validation_was_learnt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, data = tmp_path / "final.json", tmp_path / "data.npz"
    final = Training(model="separable_tiny", epochs=1, batch_size=16, with_validation=True)
    recipe.write_text(json.dumps(final.to_json()))
    splits = _dataset(side=28, classes=10).splits
    arrays: dict[str, Any] = {f"x_{split.name}": split.images for split in splits}
    np.savez(data, **arrays, **{f"y_{split.name}": split.labels for split in splits})
    result = edgefm.train(data=data, recipe=recipe, backend="tensorflow", progress=False)
    assert result.verdict["name"] == "not judged" and result.recipe.with_validation
    assert call("train", "--recipe", recipe, "--data", data, "--backend", "tensorflow", "--run", tmp_path / "run") == 0
    assert "trained: not judged" in capsys.readouterr().out
    (step,) = edgefm.Run(tmp_path / "run").steps
    assert step.summary["validation_seen"] is True and step.summary["verdict"] == "not judged"
    sizes = {split.name: len(split.labels) for split in splits}
    assert step.summary["dataset"] == {"name": "data.npz", "classes": 10, **sizes}
