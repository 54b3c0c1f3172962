"""The commands that make a run again, from the recipes of its steps."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

from edgefm.recipes import PRESETS, VARIANTS, BenchmarkProtocol, Quantization
from edgefm.runs import Step

_RUN = "runs/again"


def commands(steps: Sequence[Step]) -> list[str]:
    """Return one command a step with the options that differ from the defaults.

    What no option can say is said as a comment behind the command.
    """
    writers = {"train": _train, "quantize": _quantize, "benchmark": _benchmark}
    return [writers[step.kind](step.recipe.get("params", {})) for step in steps]


def _train(params: dict[str, Any]) -> str:
    names = {
        "model": "--model",
        "epochs": "--epochs",
        "batch_size": "--batch-size",
        "learning_rate": "--learning-rate",
        "seed": "--seed",
    }

    def differing(preset: str) -> list[str]:
        known = dataclasses.asdict(PRESETS[preset])
        return [name for name in params if name in known and _plain(params[name]) != _plain(known[name])]

    preset = min(PRESETS, key=lambda name: len(differing(name)))
    options = [part for name in differing(preset) if name in names for part in (names[name], str(params[name]))]
    for name, value in params.get("model_options", {}).items():
        options += ["--model-option", f"{name}={value}"]
    rest = [f"{name} {params[name]}" for name in differing(preset) if name not in names and name != "model_options"]
    command = shlex.join(["edgefm", "train", "--preset", preset, *options, "--run", _RUN])
    return f"{command}  # with {', '.join(rest)}, for which there is no option" if rest else command


def _quantize(params: dict[str, Any]) -> str:
    variants = list(params.get("variants", VARIANTS))
    named = [] if variants == list(VARIANTS) else [part for name in variants for part in ("--variant", name)]
    usual = dataclasses.asdict(Quantization())
    for name, option in (("calibration_images", "--calibration-images"), ("seed", "--seed")):
        if params.get(name, usual[name]) != usual[name]:
            named += [option, str(params[name])]
    if not params.get("fold_batch_norm", True):
        named.append("--no-fold")
    return shlex.join(["edgefm", "quantize", _RUN, *named])


def _benchmark(params: dict[str, Any]) -> str:
    usual = dataclasses.asdict(BenchmarkProtocol())
    options = []
    for name in ("runtime", "threads", "rounds"):
        if name in params and params[name] != usual[name]:
            options += [f"--{name}", str(params[name])]
    return shlex.join(["edgefm", "benchmark", _RUN, *options])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
