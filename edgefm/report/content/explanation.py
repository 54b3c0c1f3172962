"""explanation.json and the files beside it: their names, and how they are read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefm.core.documents import read_versioned
from edgefm.core.errors import RunError
from edgefm.core.given import regular

KIND = "explanation"
VERSION = 1
FILE_NAME = "explanation.json"
PAGE = "index.html"
FOLDER = "explain"
_AGAIN = "Make it again with: edgefm explain"
_SCHEMA = "explanation-1"
_PNG_BYTES = 16 << 20

# In the order of the page. The first are drawn from explanation.json, the others from the samples.
FIGURES = ("confusion", "calibration", "features")
SHEETS = ("most-wrong", "most-uncertain", "class-maps", "label-noise")
PARTS = ("fit", "confusion", "images", "calibration", "class_maps", "features", "label_noise", "folds")
ALL_FILES = (FILE_NAME, PAGE, *(f"{name}.png" for name in (*FIGURES, *SHEETS)))


def read(folder: Path) -> dict[str, Any]:
    """Return the explanation in a folder.

    Raises:
      RunError: it is missing, damaged, or a newer edgefm wrote it.
    """
    document = read_versioned(
        folder / FILE_NAME, what="explanation", newest=VERSION, schema=_SCHEMA, error=RunError, hint=_AGAIN
    )
    wrong = _inconsistency(document)
    if wrong is not None:
        raise RunError(f"{folder / FILE_NAME} is damaged: {wrong}", hint=_AGAIN)
    return document


def _inconsistency(document: Mapping[str, Any]) -> str | None:
    """Return what in an explanation contradicts itself, so that no picture could be drawn; None where nothing does."""
    classes = len(document["data"]["labels"])
    matrix = document["confusion"]["matrix"]
    if len(matrix) != classes or any(len(row) != classes for row in matrix):
        return f"the confusion matrix is not {classes} x {classes}"
    for model in document["calibration"]["models"]:
        for entry in model["bins"]:
            if entry["count"] and (entry["confidence"] is None or entry["accuracy"] is None):
                return f"a bin of {model['name']} has samples and no figures"
    features = document["features"]
    if features["reason"] is None:
        points = features["points"]
        lengths = {len(values) for values in points.values() if values is not None}
        if lengths != {features["n"]}:
            return "the points of the features are not as many as it says"
        if max(*points["true"], *points["predicted"]) >= classes:
            return f"a point of the features is of a class beyond the {classes}"
        if points["t_sne"] is None and features["t_sne_reason"] is None:
            return "there is no t-SNE and no reason"
    return None


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the pictures and the page in a folder, by name; those that are not there are left out.

    Raises:
      RunError: one is no file, or longer than 16 MB.
    """
    return {name: content for name in ALL_FILES[1:] if (content := read_file(folder / name)) is not None}


def read_file(path: Path) -> bytes | None:
    """Return a picture's or the page's content, None where there is none; see `read_files`."""
    if not path.exists():
        return None
    with regular.open_file(path, RunError, missing=f"no file at {path}") as file:
        content: bytes = file.read(_PNG_BYTES + 1)
    if len(content) > _PNG_BYTES:
        raise RunError(f"{path} is longer than {_PNG_BYTES:,} bytes", hint=_AGAIN)
    return content
