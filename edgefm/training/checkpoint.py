"""Everything that training needs to go on after the last finished epoch, in one file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core import artefacts
from edgefm.core.documents import parse_json
from edgefm.core.errors import RunError
from edgefm.core.given import npz
from edgefm.core.given.damage import reason

FILE_NAME = "checkpoint.npz"


def save(path: Path, model: Any, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Write the state of a compiled keras.Model and the history so far, atomically.

    Weights, moving statistics, the state of dropout and of the optimiser are all held; nothing is pickled.
    """
    arrays = {f"{index:04d}": _to_numpy(variable) for index, variable in enumerate(_variables(model))}
    history = np.frombuffer(json.dumps(list(epochs)).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, history=history, **arrays)
    artefacts.write_bytes(path, buffer.getvalue())


def epochs_in(path: Path) -> int:
    """Return the number of finished epochs that a saved state holds.

    Raises:
      RunError: the file is damaged.
    """
    return len(_read(path)[0])


def restore(path: Path, model: Any) -> list[dict[str, Any]]:
    """Set a compiled keras.Model to a saved state and return the history up to it.

    Raises:
      RunError: the file is damaged, or was written for another model or optimiser.
    """
    epochs, arrays = _read(path)
    variables = _variables(model)
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [array.shape for array in arrays]:
        raise RunError(
            f"the checkpoint {path} was written for another model or optimiser",
            hint="Remove its folder and train again.",
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    return epochs


def _read(path: Path) -> tuple[list[dict[str, Any]], list[np.ndarray[Any, Any]]]:
    try:
        saved = npz.read(path, RunError, missing=f"no file at {path}")
        told = b'{"epochs": ' + saved["history"].tobytes() + b"}"
        value = parse_json(told, where=f"the history in {path}", error=RunError, schema="epochs-1")
        epochs: list[dict[str, Any]] = value["epochs"]
        return epochs, [saved[name] for name in sorted(saved) if name != "history"]
    except (ValueError, KeyError, RunError) as error:
        raise RunError(
            f"the checkpoint {path} is damaged: {reason(error)}", hint="Remove its folder and train again."
        ) from error


def _variables(model: Any) -> list[Any]:
    """Return all state but the metrics', which start anew each epoch."""
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    return own + list(model.optimizer.variables)


def _to_numpy(variable: Any) -> np.ndarray[Any, Any]:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable.value))
