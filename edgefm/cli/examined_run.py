"""The run whose model an examination looks at: one that is there, or a new one that a user's model is brought into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.cli.given_run import given_run
from edgefm.core.progress import Bars
from edgefm.core.runs import RunDirectory

if TYPE_CHECKING:
    from edgefm.quantization.analysis.examined import Examined
    from edgefm.recipes import Quantization


def examined(
    source: Path | None,
    *,
    run_folder: Path | None,
    data_dir: Path | None,
    recipe: Quantization,
    data: dict[str, Any],
    bars: Bars,
) -> tuple[RunDirectory, Examined]:
    """Return the run of a model, and the model with its data."""
    from edgefm.data.source import dataset_of
    from edgefm.quantization.analysis.examined import examine

    run = RunDirectory.open(given_run(source, run_folder=run_folder, data=data, bars=bars).path)
    dataset = dataset_of(run, data_dir=data_dir, anew=True, progress=bars)
    return run, examine(run, dataset, recipe=recipe, progress=bars)
