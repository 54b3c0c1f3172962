"""Which files a bundle is written from: the one that is meant, or several by the name of their folder in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgefm.core import manifest
from edgefm.core.arguments import PathLike, as_path, check_type
from edgefm.core.errors import ArgumentError, ModelError, RunError, unknown_name
from edgefm.core.runs import RunDirectory
from edgefm.jobs.inspect import tflite_in
from edgefm.jobs.quantize import TfliteFile

MICROCONTROLLER = ("c",)
SEVERAL = ("android",)
Given: TypeAlias = "PathLike | TfliteFile | tuple[PathLike, str]"
_NAME = re.compile("[a-z][a-z0-9_-]{0,39}")
# What a bundle has folders for.
_TAKEN = ("build", "demo", "golden", "gradle", "pictures", "src")


@dataclass(frozen=True, kw_only=True)
class MeantModel:
    """A model that a bundle is written from.

    Attributes:
      path: of its .tflite file.
      run: that it is of; None for a file.
      variant: of the run; None for a file.
      advice: what the verdict on the run's newest benchmark says of it; '' without one.
    """

    path: Path
    run: RunDirectory | None = None
    variant: str | None = None
    advice: str = ""


def models_meant(model: Given | Mapping[str, Given], kind: str, variant: str | None) -> dict[str, MeantModel]:
    """Return the models of a bundle by the name of their folder in it; a single one, under '', lies at the top.

    Raises:
      ArgumentError: an argument of another type, or a name that is no folder's.
      ModelError: this kind of bundle holds one model.
    """
    if not isinstance(model, Mapping):
        return {"": _meant(model, kind, variant)}
    if not model:
        raise ArgumentError("model is empty; at least one model is expected, by the name of its folder")
    if variant is not None:
        raise ArgumentError("variant goes with a single model; of several, one is expected as (run, variant)")
    if kind not in SEVERAL:
        raise ModelError(
            f"a bundle for {kind} holds one model; {len(model)} were given by name",
            hint=f"Write a bundle of each; only one for {', '.join(SEVERAL)} holds several.",
        )
    for name in model:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
            raise ArgumentError(
                f"{name!r} cannot be the folder of a model: a small letter, then up to 39 small letters, digits, '-' "
                f"and '_' are expected, and none of {', '.join(_TAKEN)}"
            )
    return {name: _meant(given, kind, None) for name, given in model.items()}


def is_bundle(path: Path) -> bool:
    """Return whether a folder's manifest says that it is a bundle; a run has one of the same name."""
    from edgefm_converters.bundles.manifest import FILE_NAME

    try:
        value = json.loads((path / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("kind") == "bundle"


def _meant(model: Given, kind: str, variant: str | None) -> MeantModel:
    from edgefm.comparison.shipping.of_run import DEFAULT_VARIANT, run_verdict
    from edgefm.comparison.shipping.sentences import on_file
    from edgefm.comparison.shipping.verdict import MICROCONTROLLERS, PHONES
    from edgefm.core.documents import inside

    if isinstance(model, tuple):
        if len(model) != 2:
            raise ArgumentError(f"model is a tuple of {len(model)}; (run, variant) is expected")
        model, variant = model
        check_type(variant, "variant", str, "the name of a variant")
    path = model.path if isinstance(model, TfliteFile) else as_path(model, "model")
    if isinstance(model, TfliteFile) or not (path / manifest.FILE_NAME).is_file() or is_bundle(path):
        if variant is not None:
            raise unknown_name("variant of a single file", variant, ())
        return MeantModel(path=tflite_in(path))
    run = RunDirectory.open(path)
    folder = run.folder(run.require("quantize"))
    known = sorted(file.parent.name for file in folder.glob("*/model.tflite"))
    verdict = run_verdict(run)
    if variant is None:
        need = MICROCONTROLLERS if kind in MICROCONTROLLER else PHONES
        choice = None if verdict is None else next(one for one in verdict.choices if one.target == need)
        fallback = DEFAULT_VARIANT if verdict is None or kind in MICROCONTROLLER else verdict.fallback
        variant = choice.file if choice is not None and choice.file is not None else fallback or DEFAULT_VARIANT
    if variant not in known:
        raise unknown_name("variant of this run", variant, known)
    return MeantModel(
        path=inside(folder, f"{variant}/model.tflite", where=run.path, error=RunError),
        run=run,
        variant=variant,
        advice="" if verdict is None else on_file(verdict, variant),
    )
