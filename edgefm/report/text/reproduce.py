"""The commands that make a run again, from the recipes of its steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from edgefm.core.errors import RecipeError
from edgefm.core.runs import Step
from edgefm.core.text import command, quoted
from edgefm.recipes import PRESETS, BenchmarkProtocol, Quantization, Training, variant_named
from edgefm.recipes.class_weights import written
from edgefm.recipes.files import load, shipped
from edgefm.recipes.presets import BEST, best, best_files

_RUN = "runs/again"
# Written beside the page where no name says the same.
RECIPE_FILE = "recipe.json"
_DEFAULT, _QUICK = "default", "quick"
# Options of `edgefm train` that take the value of a recipe's parameter as it is, by its name.
TRAIN_OPTIONS = {
    name: "--rotation" if name == "rotation_degrees" else f"--{name.replace('_', '-')}"
    for name in (
        *("model", "image_size", "channels", "pretrained", "frozen_epochs", "epochs", "batch_size", "optimizer"),
        *("momentum", "learning_rate", "schedule", "weight_decay", "shift_pixels", "rotation_degrees", "zoom"),
        *("erasing", "mixup", "cutmix", "loss", "label_smoothing", "class_weights", "patience", "seed"),
    )
}


def commands(steps: Sequence[Step]) -> list[str]:
    """Return one command a step with the options that differ from the defaults.

    A model that was brought is brought by the command that quantises it. What no option can say is said as a comment
    behind the command.
    """
    brought = next((step.recipe.get("params", {}) for step in steps if step.kind == "import"), None)
    lines = []
    for step in steps:
        params = step.recipe.get("params", {})
        if step.kind == "train":
            lines.append(_train(params, step.summary.get("data"), callbacks=step.inputs.get("callbacks")))
        elif step.kind == "quantize":
            lines.append(_quantize(step.recipe, brought))
        elif step.kind == "benchmark":
            lines.append(_benchmark(params))
    if brought is not None and all(step.kind != "quantize" for step in steps):
        lines.insert(0, _bring(brought, []))
    return lines


def recipe_file(steps: Sequence[Step]) -> dict[str, Any] | None:
    """Return the quantisation recipe that a command names as a file, or None where a name says the same."""
    step = next((step for step in steps if step.kind == "quantize"), None)
    if step is None:
        return None
    recipe = _recipe(step.recipe)
    return dict(step.recipe) if recipe is not None and _named(recipe) is None else None


def _train(params: dict[str, Any], data: Mapping[str, Any] | None = None, *, callbacks: str | None = None) -> str:
    params = {**dataclasses.asdict(Training()), **params}  # a recipe leaves out what older versions had not
    presets = dict(PRESETS)
    if params["model"] in best_files():
        presets[BEST] = best(params["model"])

    def differing(preset: str) -> list[str]:
        known = dataclasses.asdict(presets[preset])
        if preset == BEST and params["model"] != Training.model:
            known["model"] = None  # it is the preset of the model that is named beside it
        return [name for name in params if name in known and _plain(params[name]) != _plain(known[name])]

    for name in ("model", "pretrained"):  # files are named without their folders
        if params.get(name) and PurePath(str(params[name])).is_absolute():
            params = {**params, name: PurePath(str(params[name])).name}
    preset = min(presets, key=lambda name: len(differing(name)))
    different = [name for name in differing(preset) if params[name] is not None]
    params = {**params, "class_weights": written(params["class_weights"])}
    options = [part for name in different if name in TRAIN_OPTIONS for part in (TRAIN_OPTIONS[name], str(params[name]))]
    if "flip" in different:
        options += ["--flip" if params["flip"] else "--no-flip"]
    options += _teachers(params["distillation"]) if "distillation" in different else []
    for name, value in params.get("model_options", {}).items():
        options += ["--model-option", f"{name}={value}"]
    options += ["--with-validation"] if params["with_validation"] else []
    options += _data(data) if data else []
    options += ["--not-flippable"] if data and data.get("flippable") is False else []
    said = {*TRAIN_OPTIONS, "model_options", "with_validation", "flip", "distillation"}
    rest = [f"{name} {quoted(params[name])}" for name in differing(preset) if name not in said or params[name] is None]
    rest += [f"callbacks {quoted(callbacks)}"] if callbacks else []
    line = command("edgefm", "train", "--preset", preset, *options, "--run", _RUN)
    return f"{line}  # with {', '.join(rest)}, for which there is no option" if rest else line


def _teachers(distillation: Mapping[str, Any]) -> list[str]:
    named = [part for teacher in distillation["teachers"] for part in ("--teacher", PurePath(str(teacher)).name)]
    weight, temperature = str(distillation["weight"]), str(distillation["temperature"])
    return [*named, "--distillation-weight", weight, "--temperature", temperature]


def _quantize(value: Mapping[str, Any], brought: Mapping[str, Any] | None) -> str:
    recipe = _recipe(value)
    if recipe is None:
        return command("edgefm", "quantize", _RUN) + "  # with a recipe that this edgefm does not know"
    named = _named(recipe)
    # A file holds the other options, too.
    options = ["--recipe", RECIPE_FILE] if named is None else [*named, *_beside(recipe)]
    return _bring(brought, options) if brought is not None else command("edgefm", "quantize", _RUN, *options)


def _recipe(value: Mapping[str, Any]) -> Quantization | None:
    try:
        return Quantization.from_json(value)
    except RecipeError:
        return None


def _named(recipe: Quantization) -> list[str] | None:
    """Return the options that name a recipe's variants, or None where only a file can."""
    for name in (_DEFAULT, _QUICK, *shipped()):
        if load(name).variants == recipe.variants:
            return [] if name == _DEFAULT else ["--quick"] if name == _QUICK else ["--recipe", name]
    try:
        usual = tuple(variant_named(name) for name in recipe.names)
    except RecipeError:
        return None
    if usual != recipe.variants:
        return None
    return [part for name in recipe.names for part in ("--variant", name)]


def _beside(recipe: Quantization) -> list[str]:
    usual = Quantization()
    options = []
    if recipe.calibration_images != usual.calibration_images:
        options += ["--calibration-images", str(recipe.calibration_images)]
    if recipe.seed != usual.seed:
        options += ["--seed", str(recipe.seed)]
    return options if recipe.fold_batch_norm else [*options, "--no-fold"]


def _bring(brought: Mapping[str, Any], options: Sequence[str]) -> str:
    """Return the command that brings a user's own model; files are named without their folders."""
    words: list[object] = ["edgefm", "quantize", PurePath(str(brought["model"]))]
    data = brought.get("data")
    comments = []
    if data and data["where"] == "fashion-mnist":
        pass  # a model of the zoo: its data are known
    elif data:
        words += _data(data)
        words += [part for name in ("task", "quality") if data.get(name) for part in (f"--{name}", str(data[name]))]
    labels = brought.get("labels") or (data or {}).get("labels")
    if labels:
        words += ["--labels", "labels.txt"]
        comments.append(f"labels.txt holds the {len(labels)} class names, one a line")
    if brought.get("value_range"):
        low, high = brought["value_range"]
        words += ["--value-range", f"{low:g},{high:g}"]
    if brought.get("head"):
        words += ["--head", str(brought["head"])]
    if brought.get("calibration_data"):
        words += ["--calibration-data", "calibration.npz"]
        comments.append("calibration.npz is kept in the run's import step")
    if brought.get("trust"):
        words.append("--trust")
    line = command(*words, *options, "--run", _RUN)
    return f"{line}  # {'; '.join(comments)}" if comments else line


def _data(data: Mapping[str, Any]) -> list[str]:
    """Return the options that say where data come from, files without their folders."""
    where = PurePath(data["where"])
    options = ["--data", where.name if where.is_absolute() else data["where"]]
    return [*options, "--spec", PurePath(data["spec"]).name] if data.get("spec") else options


def _benchmark(params: dict[str, Any]) -> str:
    usual = dataclasses.asdict(BenchmarkProtocol())
    options = []
    for name in ("runtime", "threads", "rounds"):
        if name in params and params[name] != usual[name]:
            options += [f"--{name}", str(params[name])]
    return command("edgefm", "benchmark", _RUN, *options)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
