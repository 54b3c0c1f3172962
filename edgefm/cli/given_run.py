"""The run that a command works on: one that is there, or a new one that a user's own model is brought into."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgefm.cli.own_data import given_data, labels_of, value_range_of
from edgefm.core.progress import Bars
from edgefm.jobs.run import Run

_FILES = (".keras", ".h5", ".hdf5", ".tflite")


def given_run(
    source: Path | None,
    *,
    run_folder: Path | None,
    data: Mapping[str, Any],
    calibration_data: Path | None = None,
    bars: Bars,
) -> Run:
    """Return the run that SOURCE names: the latest for none, a run folder, or a new run with the model in it.

    Args:
      source: as given on the command line.
      run_folder: of the new run.
      data: the options of `edgefm.cli.own_data.data_options`.
      calibration_data: of the new run.
      bars: receive progress.
    Raises:
      click.UsageError: options of a model of one's own, and SOURCE is a run.
    """
    if source is not None and is_model(source):
        return Run.bring(
            source,
            run_folder,
            data=given_data(data),
            labels=labels_of(data["labels"]),
            value_range=value_range_of(data["value_range"]),
            calibration_data=calibration_data,
            head=data["head"],
            trust=data["trust"],
            progress=bars,
        )
    names: dict[str, Any] = {"--calibration-data": calibration_data, "--run": run_folder}
    names |= {"--data" if name == "where" else f"--{name.replace('_', '-')}": value for name, value in data.items()}
    given = [name for name, value in names.items() if value and (name, value) != ("--head", "auto")]
    if given:
        trust = "; the code that a run holds is allowed by edgefm trust RUN" if "--trust" in given else ""
        raise click.UsageError(f"{', '.join(given)} goes with a MODEL; a run has its own{trust}")
    return named_run(source)


def named_run(path: Path | None) -> Run:
    """Return the run at a path, or the latest one below `runs/` for none.

    Raises:
      RunError: there is none.
    """
    run = Run.latest() if path is None else Run(path)
    _ = run.steps  # its manifest is read
    return run


def is_model(source: Path) -> bool:
    """Return whether a path is a model of the user's own and no run."""
    if source.is_dir():
        return (source / "saved_model.pb").exists() or (source / "keras_metadata.pb").exists()
    return source.is_file() or source.suffix in _FILES
