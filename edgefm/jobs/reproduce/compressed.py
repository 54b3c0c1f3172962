"""What compression makes of a reproduced system: further variants of one of its trainings, each tried on its own.

Every variant is a step of the training's run, with the float32 file beside it, and a benchmark behind it; what is there
is not made or tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgefm.core import manifest
from edgefm.core.arguments import check_items
from edgefm.core.progress import Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.jobs.benchmark import BenchmarkRecord
from edgefm.jobs.quantize import QuantizationResult
from edgefm.jobs.reproduce import one_training
from edgefm.jobs.reproduce.one_training import ANSWERS, VARIANTS, Learning, folder_of, since_training
from edgefm.jobs.reproduce.plan import PlannedTraining
from edgefm.jobs.run import Run
from edgefm.recipes import Variant, variant_named

_REFERENCE, _INT8 = VARIANTS
_PERCENT = 100


def checked(given: str | Sequence[str] | None, *, epochs: int | None) -> tuple[Variant, ...]:
    """Return the variants that are made of each system beside `VARIANTS`, each once.

    Args:
      given: names of variants; None for no more.
      epochs: at most so many of each pass's fine-tuning.
    Raises:
      ArgumentError: of another type.
      RecipeError: one is unknown.
    """
    names = (given,) if isinstance(given, str) else given or ()
    check_items(names, "variants", str, "the name of a variant, e.g. slim50_int8_w8a8")
    variants = [variant_named(name) for name in dict.fromkeys(names) if name not in VARIANTS]
    return tuple(_short(variant, epochs) for variant in variants)


def is_finished(out: Path, row: PlannedTraining, seed: int, name: str) -> bool:
    """Return whether a variant was made and tried, or could not be made."""
    directory = _opened(out, row, seed)
    made = None if directory is None else _made(directory, name)
    if directory is None or made is None:
        return False
    return name in _result(directory, made).skipped or _tried(directory, made, name) is not None


def compress(
    out: Path, row: PlannedTraining, seed: int, variant: Variant, learning: Learning, *, progress: Progress
) -> None:
    """Make a variant of a finished training and try it on the test images, going on after a stop.

    Args:
      out: folder of the reproduction.
      row: whose training it is.
      seed: of the training.
      variant: what is made.
      learning: what it has in common with the others.
      progress: receives progress.
    """
    run = Run(folder_of(out, row, seed))
    directory = RunDirectory.open(run.path)
    if run.steps[-1].kind == "quantize" and _needs_answers(directory, directory.steps()[-1]):
        run.benchmark(protocol=ANSWERS, data_dir=learning.data_dir, progress=progress)  # an earlier call was stopped
    if is_finished(out, row, seed, variant.name):
        return
    made = run.quantize([_REFERENCE, variant], data_dir=learning.data_dir, progress=progress)
    if variant.name in made:
        run.benchmark(protocol=ANSWERS, data_dir=learning.data_dir, progress=progress)


def figures_of(out: Path, row: PlannedTraining) -> list[dict[str, Any]]:
    """Return what was made of the first finished training of a row: test accuracy in percent, bytes, MACs, by variant.

    A variant that could not be made has the reason instead. `int8_test` is the accuracy of int8 of the same training.
    """
    finished = one_training.finished_seeds(out, row)
    directory = _opened(out, row, finished[0]) if finished else None
    if directory is None:
        return []
    found: dict[str, dict[str, Any]] = {}
    for step in since_training(directory):
        names = _names(step)
        if step.kind == "quantize" and len(names) == len(VARIANTS) and names[0] == _REFERENCE and names != VARIANTS:
            figures = _figures(out, directory, step, names[1], seed=finished[0])
            if figures is not None:
                int8 = one_training.figures_of(out, row, finished[0])["test"][_INT8]
                found[names[1]] = {**figures, "int8_test": int8}
    return list(found.values())


def _figures(out: Path, directory: RunDirectory, made: Step, name: str, *, seed: int) -> dict[str, Any] | None:
    """Return the figures of one variant; None until it is tried."""
    result = _result(directory, made)
    if name in result.skipped:
        return {"variant": name, "seed": seed, "left_out": one_training.inside(result.skipped[name], out)}
    tried = _tried(directory, made, name)
    if tried is None:
        return None
    rows = {row["name"]: row for row in BenchmarkRecord.open(directory.folder(tried)).record["models"]}
    quality = rows[name]["quality"]
    file = result[name]
    return {
        "variant": name,
        "seed": seed,
        "left_out": None,
        "description": file.report["description"],
        "test": None if quality is None else _PERCENT * quality["value"],
        "size_bytes": file.size_bytes,
        "gzip_bytes": file.report["gzip_bytes"],
        "macs": file.report["macs"],
        "path": file.path.relative_to(out).as_posix(),
    }


def _short(variant: Variant, epochs: int | None) -> Variant:
    if epochs is None:
        return variant
    passes = [
        replace(recipe, fine_tuning=replace(recipe.fine_tuning, epochs=min(epochs, recipe.fine_tuning.epochs)))
        for recipe in variant.passes
    ]
    return replace(variant, passes=tuple(passes))


def _opened(out: Path, row: PlannedTraining, seed: int) -> RunDirectory | None:
    path = folder_of(out, row, seed)
    return RunDirectory.open(path) if (path / manifest.FILE_NAME).is_file() else None


def _names(step: Step) -> tuple[str, ...]:
    return tuple(variant["name"] for variant in step.recipe.get("params", {}).get("variants", ()))


def _made(directory: RunDirectory, name: str) -> Step | None:
    """Return the newest step that made, or could not make, a variant of the newest training; None without one."""
    steps = [
        step for step in since_training(directory) if step.kind == "quantize" and _names(step) == (_REFERENCE, name)
    ]
    return steps[-1] if steps else None


def _tried(directory: RunDirectory, made: Step, name: str) -> Step | None:
    """Return the benchmark of the very file that a step made; None without one."""
    sha256 = _result(directory, made)[name].report["sha256"]
    return next(
        (
            step
            for step in reversed(since_training(directory))
            if step.kind == "benchmark" and step.inputs.get(name) == sha256
        ),
        None,
    )


def _needs_answers(directory: RunDirectory, made: Step) -> bool:
    names = _names(made)
    result = _result(directory, made)
    return any(name in result and _tried(directory, made, name) is None for name in names if name not in VARIANTS)


def _result(directory: RunDirectory, step: Step) -> QuantizationResult:
    return QuantizationResult.open(directory.folder(step))
