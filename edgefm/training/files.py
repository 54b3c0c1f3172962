"""The files of a training step."""

from __future__ import annotations

from pathlib import Path

from edgefm.core.runs import RunDirectory

MODEL_FILE = "model.keras"
HISTORY_FILE = "history.json"
CSV_FILE = "history.csv"
CONFUSION_FILE = "confusion.csv"


def model_of(run: RunDirectory) -> Path:
    """Return the path of the newest trained model of a run."""
    return run.folder(run.require("train")) / MODEL_FILE
