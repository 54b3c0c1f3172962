"""Brings a user's own model into a run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefm import zoo
from edgefm.core import artefacts, manifest, runs
from edgefm.core import trust as users_list
from edgefm.core.errors import DataError, RunError
from edgefm.core.progress import SILENT, Progress, stated
from edgefm.core.runs import RunDirectory
from edgefm.data import source as data_source
from edgefm.data.preprocessing import preprocessing
from edgefm.data.source import DataSource
from edgefm.quantization.heads import check_name
from edgefm.quantization.source import CALIBRATION_FILE, IMPORT
from edgefm_converters.readers.model_file import check_model, head_of, input_shape, load, sha256
from edgefm_converters.readers.stored_config import entries, read_stored


def bring_model(
    folder: Path,
    model: Path,
    *,
    data: DataSource | None = None,
    labels: tuple[str, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    calibration_data: Path | None = None,
    head: str = "auto",
    trust: bool = False,
    progress: Progress = SILENT,
) -> RunDirectory:
    """Return a run whose step `00-import` holds a copy of a user's own model.

    Args:
      folder: of the run; made now, or one that the same model was brought into.
      model: `.keras`, `.h5`, a SavedModel folder, or a float `.tflite`.
      data: where its data come from; None: only post-training variants can be made, and quality is not measured.
      labels: class names; by default those of the data, numbers without.
      value_range: least and greatest input for pixels 0 to 255; by default (0, 255).
      calibration_data: .npz with `images`, for a model without `data`.
      head: what the outputs become, one of `edgefm.core.task_names.HEADS`.
      trust: run code that the model file holds.
      progress: receives progress.
    Raises:
      ModelError: no such model, or one that cannot be loaded.
      DataError: the data cannot be read, or do not fit the model.
      RunError: the run holds another model, or is in use.
    """
    if value_range is not None:
        preprocessing(value_range)
    check_name(head)
    if calibration_data is not None and not calibration_data.is_file():
        raise DataError(f"no calibration data at {calibration_data}", hint="numpy.savez(path, images=array)")
    check_model(model, trust=trust)
    if data is None and calibration_data is None and _is_of_zoo(model):
        progress.note(f"{model.name} is a model of the zoo: Fashion-MNIST is taken as its data; give data for others")
        data = DataSource()
    content = sha256(model)
    if data is not None:
        data.trust_code()  # later commands find it in the run, where it would not be the user who names it
    if trust:
        users_list.remember(content, f"model {model.name}")
    about = {
        "model": model.name,
        "sha256": content,
        "data": None if data is None else data.to_json(),
        "labels": list(labels) if labels else None,
        "value_range": list(value_range) if value_range else None,
        "calibration_data": artefacts.sha256_file(calibration_data) if calibration_data else None,
        "trust": trust,
        **({"head": head} if head != "auto" else {}),
    }
    key = runs.step_key(IMPORT, recipe=about, inputs={"model": content}, versions={})
    if folder.is_file():
        raise RunError(f"{folder} is a file, not a folder", hint="Give another path for the run.")
    known = (folder / manifest.FILE_NAME).exists()
    run = RunDirectory.open(folder) if known else RunDirectory.create_at(folder)
    with run.lock():  # without it the folder may be another process's by now
        try:
            if run.find(key) is None:
                _import(run, model, about, key=key, calibration_data=calibration_data, progress=progress)
        except BaseException:
            if not known and not run.steps():
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return run


def _import(
    run: RunDirectory,
    model: Path,
    about: Mapping[str, Any],
    *,
    key: str,
    calibration_data: Path | None,
    progress: Progress,
) -> None:
    if run.steps():
        raise RunError(
            f"run {run.path} holds another model, or the same one with other data or options",
            hint="Give a new folder for the run.",
        )
    started = time.perf_counter()
    folder = run.begin(IMPORT)
    try:
        copy = folder / model.name
        if model.is_dir():
            shutil.copytree(model, copy)
        else:
            shutil.copyfile(model, copy)
        if calibration_data is not None:
            shutil.copyfile(calibration_data, folder / CALIBRATION_FILE)
        artefacts.write_json(folder / data_source.FILE_NAME, about)
        with stated(progress, f"loading {model.name}"):
            loaded = load(model, trust=about["trust"])  # messages name the user's file, not the copy
        run.finish(
            folder,
            key=key,
            seconds=time.perf_counter() - started,
            recipe={"kind": IMPORT, "version": 1, "params": about},
            inputs={"model": about["sha256"]},
            summary={
                "model": model.name,
                "input_shape": list(input_shape(loaded)),
                "head": head_of(loaded).to_json(),
            },
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _is_of_zoo(model: Path) -> bool:
    """Return whether a file holds a model of the zoo as it is trained on Fashion-MNIST, by its name and its shapes."""
    if model.suffix != ".keras" or model.is_dir():
        return False
    described = read_stored(model).configs[0].get("config")
    if not isinstance(described, dict) or described.get("name") not in zoo.names():
        return False
    known = zoo.architecture(str(described["name"]))
    shapes = [entry["config"].get("batch_shape") for entry in entries(described) if entry["class_name"] == "InputLayer"]
    return known.classes == 10 and shapes == [[None, *known.input_shape]] and known.input_shape == (28, 28, 1)
