"""What a training began with or was taught by, and the runs that these come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgefm.core import manifest
from edgefm.core.errors import EdgefmError
from edgefm.core.runs import RunDirectory, Step
from edgefm.data.source import FASHION_MNIST
from edgefm.jobs.to_learn import is_file
from edgefm.recipes import Training

_TEACHER, _WEIGHTS, START_MODEL = "teacher", "pretrained weights", "start model"
# From a run's folder to its files: 00-train/model.keras, passes/prune-1a2b/model.keras.
_FOLDERS_OF_A_RUN = 3


def taken_over(recipe: Training) -> Iterator[tuple[str, str]]:
    """Yield the kind and the path of each trained model that a training learns from."""
    if recipe.distillation is not None:
        for name in recipe.distillation.teachers:
            yield _TEACHER, name
    if recipe.pretrained is not None:
        yield _WEIGHTS, recipe.pretrained
    if is_file(recipe.model):
        yield START_MODEL, recipe.model


def trainings(run: RunDirectory, path: Path) -> list[Step]:
    """Return the trainings of a run that the model at a path is of: the run itself stands for its newest."""
    steps = [step for step in run.steps() if step.kind == "train"]
    if path == run.path:
        return steps[-1:]
    folder = path.relative_to(run.path).parts[0]
    return [step for step in steps if step.name == folder] or steps


def place_of(step: Step) -> str:
    """Return where the data of a training lie; see `edgefm.data.source.DataSource`."""
    return str((step.summary.get("data") or {}).get("where", FASHION_MNIST))


def run_of(path: Path) -> RunDirectory | None:
    """Return the run at a path, or that a file lies in; None where there is none that can be read."""
    for folder in (path, *path.parents[:_FOLDERS_OF_A_RUN]):
        if (folder / manifest.FILE_NAME).is_file():
            try:
                return RunDirectory.open(folder)
            except EdgefmError:
                return None  # another program's manifest, or a damaged one
    return None
