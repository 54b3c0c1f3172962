"""The run whose model an examination looks at: one that is there, or a new one that a user's model is brought into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.own_data import given_data, labels_of, value_range_of
from edgefm.runs import RunDirectory

if TYPE_CHECKING:
    from edgefm.recipes import Quantization
    from edgefm_converters.examined import Examined

_FILES = (".keras", ".h5", ".hdf5", ".tflite")


def examined(
    source: Path | None,
    *,
    run_folder: Path | None,
    data_dir: Path | None,
    recipe: Quantization,
    data: dict[str, Any],
    bars: render.Bars,
) -> tuple[RunDirectory, Examined]:
    """Return the run of a model, and the model with its data."""
    from edgefm.data.source import dataset_of
    from edgefm_converters.examined import examine

    run = _run(source, run_folder, data, bars)
    dataset = dataset_of(run, data_dir=data_dir, progress=bars)
    return run, examine(run, dataset, recipe=recipe, progress=bars)


def _run(source: Path | None, run_folder: Path | None, data: dict[str, Any], bars: render.Bars) -> RunDirectory:
    if source is not None and _is_model(source):
        from edgefm.pipeline import bring_model

        return bring_model(
            source,
            run=run_folder,
            data=given_data(data),
            labels=labels_of(data["labels"]),
            value_range=value_range_of(data["value_range"]),
            trust=data["trust"],
            progress=bars,
        )
    names = {"--run": run_folder}
    names |= {"--data" if name == "where" else f"--{name.replace('_', '-')}": value for name, value in data.items()}
    given = [name for name, value in names.items() if value]
    if given:
        raise click.UsageError(f"{', '.join(given)} goes with a MODEL; a run knows its own")
    return RunDirectory.latest() if source is None else RunDirectory.open(source)


def _is_model(source: Path) -> bool:
    if source.is_dir():
        return (source / "saved_model.pb").exists() or (source / "keras_metadata.pb").exists()
    return source.is_file() or source.suffix in _FILES
