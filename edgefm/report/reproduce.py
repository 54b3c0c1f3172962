"""The commands that make a run again, from the recipes of its steps."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

from edgefm.recipes import PRESETS, VARIANTS, BenchmarkProtocol
from edgefm.runs import Step

_RUN = "runs/again"


def commands(steps: Sequence[Step]) -> list[str]:
    """Return one command a step, the options of which differ from the defaults."""
    writers = {"train": _train, "quantize": _quantize, "benchmark": _benchmark}
    return [shlex.join(writers[step.kind](step.recipe.get("params", {}))) for step in steps]


def _train(params: dict[str, Any]) -> list[str]:
    names = {"model": "--model", "epochs": "--epochs", "batch_size": "--batch-size", "seed": "--seed"}

    def differing(preset: str) -> list[str]:
        known = dataclasses.asdict(PRESETS[preset])
        return [name for name in params if name in known and _plain(params[name]) != _plain(known[name])]

    preset = min(PRESETS, key=lambda name: len(differing(name)))
    options = [part for name in differing(preset) if name in names for part in (names[name], str(params[name]))]
    return ["edgefm", "train", "--preset", preset, *options, "--run", _RUN]


def _quantize(params: dict[str, Any]) -> list[str]:
    variants = list(params.get("variants", VARIANTS))
    named = [] if variants == list(VARIANTS) else [part for name in variants for part in ("--variant", name)]
    return ["edgefm", "quantize", _RUN, *named]


def _benchmark(params: dict[str, Any]) -> list[str]:
    usual = dataclasses.asdict(BenchmarkProtocol())
    options = []
    for name in ("runtime", "threads", "rounds"):
        if name in params and params[name] != usual[name]:
            options += [f"--{name}", str(params[name])]
    return ["edgefm", "benchmark", _RUN, *options]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
