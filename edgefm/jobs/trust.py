"""Letting the code that a run holds run: its model's, its data's, its measure of quality."""

from __future__ import annotations

from pathlib import Path

from edgefm.core import trust
from edgefm.core.errors import DataError
from edgefm.core.runs import RunDirectory


def trust_run(run: RunDirectory) -> tuple[str, ...]:
    """Put the code that a run holds on the user's list, and return what that is; () where it holds none.

    Nothing of it runs, and functions are looked for in the working folder first, then on Python's path.

    Raises:
      RunError: the run is damaged.
      DataError: a function that the run names is nowhere to be found.
    """
    from edgefm.core.named_function import trust_function
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
    for function in () if source is None else source.functions():
        if not trust_function(function):
            raise DataError(
                f"the run {run.path} names the function {function}, whose module is nowhere to be found",
                hint="Go to the folder that it lies in: it is looked for there, then on Python's path.",
            )
    return (*found, *(() if source is None else source.trust_code()))


def _of_training(run: RunDirectory) -> list[str]:
    """Trust the function that built the model of a run, and what of its code the model needs; return what that is."""
    from edgefm.core.named_function import trust_function
    from edgefm.recipes import Training
    from edgefm.training import own_objects
    from edgefm.training.files import MODEL_FILE
    from edgefm_converters.readers import model_file

    trained = run.last("train")
    if trained is None:
        return []
    where, found = Training.from_json(trained.recipe).model, []
    if ":" in where and not Path(where).exists():
        if not trust_function(where):
            raise DataError(
                f"the run {run.path} names the function {where}, whose module is nowhere to be found",
                hint="Go to the folder that it lies in: it is looked for there, then on Python's path.",
            )
        found.append(where)
    path = run.folder(trained) / MODEL_FILE
    code = own_objects.code_in(path) if found else model_file.code_in(path)
    if code is not None:
        trust.remember(model_file.sha256(path), f"model {path.name}, of {where}")
        found.append(code)
    return found
