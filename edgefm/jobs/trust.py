"""Letting the code that a run holds run: its model's, its data's, its measure of quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgefm.core import trust
from edgefm.core.errors import DataError
from edgefm.core.runs import RunDirectory

if TYPE_CHECKING:
    from edgefm.data.source import DataSource


def trust_run(run: RunDirectory) -> tuple[str, ...]:
    """Put the code that a run holds on the user's list, and return what that is; () where it holds none.

    Nothing of it runs, and functions are looked for in the working folder first, then on Python's path.

    Raises:
      RunError: the run is damaged.
      DataError: a function that the run names is nowhere to be found.
    """
    from edgefm.data.source import data_source_of
    from edgefm.quantization.source import model_file_of
    from edgefm_converters.readers import model_file

    found = []
    if run.last("import") is not None:
        path = model_file_of(run)
        code = model_file.code_in(path)
        if code is not None:
            trust.remember(model_file.sha256(path), f"model {path.name}")
            found.append(code)
    found += _of_training(run)
    source = data_source_of(run)
    found += () if source is None else _of_data(source, run)
    return tuple(dict.fromkeys((*found, *_of_stopped(run))))


def _of_data(source: DataSource, run: RunDirectory) -> tuple[str, ...]:
    """Trust what runs code when data are read; return what that is."""
    for function in source.functions():
        _trust_function(function, run)
    return source.trust_code()


def _trust_function(where: str, run: RunDirectory) -> None:
    from edgefm.core.named_function import trust_function

    if not trust_function(where):
        raise DataError(
            f"the run {run.path} names the function {where}, whose module is nowhere to be found",
            hint="Go to the folder that it lies in: it is looked for there, then on Python's path.",
        )


def _of_stopped(run: RunDirectory) -> list[str]:
    """Trust what a stopped training calls when it is gone on with; return what that is."""
    from edgefm.training.stopped import RECIPE_FILE, stopped_training

    if not (run.partial("train") / RECIPE_FILE).exists():
        return []
    stopped = stopped_training(run)
    where, found = stopped.recipe.model, []
    if ":" in where and not Path(where).exists():
        _trust_function(where, run)
        found.append(where)
    return [*found, *_of_data(stopped.source, run)]


def _of_training(run: RunDirectory) -> list[str]:
    """Trust the function that built the model of a run, and what of its code the model needs; return what that is."""
    from edgefm.recipes import Training
    from edgefm.training import own_objects
    from edgefm.training.files import MODEL_FILE
    from edgefm_converters.readers import model_file

    trained = run.last("train")
    if trained is None:
        return []
    where, found = Training.from_json(trained.recipe).model, []
    if ":" in where and not Path(where).exists():
        _trust_function(where, run)
        found.append(where)
    path = run.folder(trained) / MODEL_FILE
    code = own_objects.code_in(path) if found else model_file.code_in(path)
    if code is not None:
        trust.remember(model_file.sha256(path), f"model {path.name}, of {where}")
        found.append(code)
    return found
