"""`edgefm.inspect`: what is in a .tflite file; which passes apply to the layers of a Keras model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core.arguments import PathLike, as_path
from edgefm.core.errors import ModelError
from edgefm.jobs.quantize import TfliteFile

if TYPE_CHECKING:
    from edgefm.quantization.applicability import Applicability
    from edgefm.tflite.inspection import Inspection

_MODEL = "model.tflite"


def inspect(model: PathLike | TfliteFile | Any, *, trust: bool = False) -> Inspection | Applicability:
    """Return what is in a model.

    Args:
      model: a .tflite file or a folder with a model.tflite; or a Keras model: a .keras or .h5 file, a SavedModel, a
        keras.Model in memory.
      trust: run code that a Keras file contains, e.g. Lambda layers.
    Returns:
      Of a .tflite file an `Inspection`: operators, tensors, quantisation, MACs and bytes. Of a Keras model an
      `Applicability`: which compression passes apply to which layer, and why not.
    Raises:
      ArgumentError: an argument of another type.
      ModelError: no such file, or it cannot be read.
    """
    if isinstance(model, TfliteFile):
        model = model.path
    if isinstance(model, str | os.PathLike) and not is_keras(as_path(model, "model")):
        from edgefm.tflite.inspection import inspect as inspect_file

        return inspect_file(tflite_in(as_path(model, "model")))
    from edgefm.jobs.arguments import keras_model
    from edgefm.quantization.applicability import applicability

    return applicability(keras_model(model, trust=trust))


def is_keras(path: Path) -> bool:
    """Return whether a path is a Keras model by its suffix, or a SavedModel folder."""
    if path.is_dir():
        return (path / "saved_model.pb").exists() or (path / "keras_metadata.pb").exists()
    return path.suffix in (".keras", ".h5", ".hdf5")


def tflite_in(path: Path) -> Path:
    """Return the file that a path means: itself, or the model.tflite in a folder.

    Raises:
      ModelError: a folder without one; those below it that have one are named.
    """
    if not path.is_dir():
        return path
    if (path / _MODEL).is_file():
        return path / _MODEL
    below = sorted(str(file.parent) for file in path.glob(f"**/{_MODEL}"))[:8]
    raise ModelError(
        f"{path} is a folder without {_MODEL}",
        hint=f"Give one of: {', '.join(below)}" if below else "Give a .tflite file, or a folder that holds one.",
    )
