"""One cross-validation of a reproduction: a training for each fold, in a folder that goes on after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.documents import read_json
from edgefm.core.errors import RunError, TrainingDivergedError
from edgefm.core.progress import Progress
from edgefm.data.dataset import Dataset
from edgefm.jobs.reproduce.one_training import Learning, folder_of, seeded
from edgefm.jobs.reproduce.plan import PlannedTraining

FILE_NAME = "cross_validation.json"
_PERCENT = 100


def is_finished(out: Path, row: PlannedTraining, seed: int) -> bool:
    """Return whether all folds of this recipe are there."""
    return _document(out, row, seed) is not None


def train_seed(
    out: Path, row: PlannedTraining, seed: int, learning: Learning, dataset: Dataset, *, progress: Progress
) -> str | None:
    """Train a model for each fold of the training and validation images, going on where an earlier attempt was stopped.

    Args:
      out: folder of the reproduction.
      row: what is trained, with its number of folds.
      seed: of the folds and of each training.
      learning: what it has in common with the others.
      dataset: that is learnt; its test images are not touched.
      progress: receives progress.
    Returns:
      None; the message where the loss became infinite, so that there are no figures.
    """
    from edgefm.jobs.explain.cross_validation import cross_validate
    from edgefm.jobs.explain.leakage import FoldRecipe
    from edgefm.keras_graph.backend import use_backend

    assert row.folds is not None, "the row is a cross-validation"
    folder = folder_of(out, row, seed)
    device = use_backend(learning.backend, learning.precision)
    try:
        found = cross_validate(
            folder,
            FoldRecipe(training=seeded(row, seed)),
            dataset,
            folds=row.folds,
            seed=seed,
            device=device,
            named_in=None,
            inputs={},
            progress=progress,
        )
    except TrainingDivergedError as error:
        return error.message
    finally:
        use_backend(device.backend.split()[0], "float32")
    artefacts.write_json(
        folder / FILE_NAME, {"recipe": seeded(row, seed).to_json(), "device": device.name, **found.to_json()}
    )
    return None


def figures_of(out: Path, row: PlannedTraining, seed: int) -> dict[str, Any]:
    """Return what one finished cross-validation gave, in percent; the spread is the standard deviation of the folds."""
    found = _document(out, row, seed)
    assert found is not None, "it is finished"
    return {
        "seed": seed,
        "accuracies": [_PERCENT * value for value in found["accuracies"]],
        "mean": _PERCENT * found["mean"],
        "spread": _PERCENT * found["spread"],
        "n": found["n"],
        "epochs": found["epochs"],
        "device": found["device"],
    }


def _document(out: Path, row: PlannedTraining, seed: int) -> dict[str, Any] | None:
    """Return the content of the file of a cross-validation; None where there is none of this recipe and these folds.

    Raises:
      RunError: the file is damaged.
    """
    path = folder_of(out, row, seed) / FILE_NAME
    if not path.is_file():
        return None
    found = read_json(path, what="cross-validation", error=RunError, hint="Remove it: finished folds are kept.")
    if not isinstance(found, dict) or not {"recipe", "accuracies", "mean", "spread", "n", "epochs", "device"} <= set(
        found
    ):
        raise RunError(f"{path} is damaged: it describes no cross-validation", hint="Remove it; the folds are kept.")
    same = found["recipe"] == seeded(row, seed).to_json() and len(found["accuracies"]) == row.folds
    return found if same else None
