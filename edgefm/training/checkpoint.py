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
from edgefm.core.given import damage, npz

FILE_NAME = "checkpoint.npz"
# The weights of the epoch with the least validation loss so far.
BEST_NAME = "best-weights.npz"
_ON_CPU, _ON_GPU = "chance_on_cpu", "chance_on_gpu"
_HINT = "Remove its folder and train again."


def save(path: Path, model: Any, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Write the state of a compiled keras.Model and the history so far, atomically.

    Weights, moving statistics, the state of dropout and of the optimiser are all held; nothing is pickled.
    """
    told = np.frombuffer(json.dumps(list(epochs)).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, history=told, **_torch_chance(), **_numbered(_variables(model)))
    artefacts.write_bytes(path, buffer.getvalue())


def restore(path: Path, model: Any) -> list[dict[str, Any]]:
    """Set a compiled keras.Model, and PyTorch's own chance, to a saved state and return the history up to it.

    Raises:
      RunError: the file is damaged, or was written for another model or optimiser.
    """
    epochs, saved = _read(path)
    _assign(path, _variables(model), [saved[name] for name in sorted(saved) if name.isdecimal()])
    for name in _torch_chance().keys() & saved.keys():
        import torch

        chance = torch.cuda if name == _ON_GPU else torch
        with damage.told(RunError, f"the checkpoint {path} is damaged", hint=_HINT):
            chance.set_rng_state(torch.from_numpy(saved[name]))
    return epochs


def history(path: Path) -> list[dict[str, Any]]:
    """Return the history up to a saved state.

    Raises:
      RunError: the file is damaged.
    """
    return _read(path)[0]


def save_weights(path: Path, model: Any) -> None:
    """Write the weights and moving statistics of a keras.Model, atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **_numbered(model.weights))
    artefacts.write_bytes(path, buffer.getvalue())


def restore_weights(path: Path, model: Any) -> None:
    """Set a keras.Model to weights that `save_weights` wrote.

    Raises:
      RunError: the file is damaged, or was written for another model.
    """
    saved = npz.read(path, RunError, missing=f"no file at {path}")
    _assign(path, model.weights, [saved[name] for name in sorted(saved)])


def _read(path: Path) -> tuple[list[dict[str, Any]], dict[str, np.ndarray[Any, Any]]]:
    try:
        saved = npz.read(path, RunError, missing=f"no file at {path}")
        told = b'{"epochs": ' + saved["history"].tobytes() + b"}"
        value = parse_json(told, where=f"the history in {path}", error=RunError, schema="epochs-1")
    except (ValueError, KeyError, RunError) as error:
        raise RunError(f"the checkpoint {path} is damaged: {damage.reason(error)}", hint=_HINT) from error
    return value["epochs"], saved


def _assign(path: Path, variables: Sequence[Any], arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in arrays]:
        raise RunError(f"the checkpoint {path} was written for another model or optimiser", hint=_HINT)
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _numbered(variables: Sequence[Any]) -> dict[str, np.ndarray[Any, Any]]:
    return {f"{index:04d}": _to_numpy(variable) for index, variable in enumerate(variables)}


def _variables(model: Any) -> list[Any]:
    """Return all state but the metrics', which start anew each epoch."""
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    return own + list(model.optimizer.variables)


def _torch_chance() -> dict[str, np.ndarray[Any, Any]]:
    """Return the state of PyTorch's own generators, which Keras's Dropout draws from there; {} on other backends."""
    import keras

    if keras.config.backend() != "torch":
        return {}
    import torch

    states = {_ON_CPU: torch.get_rng_state()}
    if torch.cuda.is_available():
        states[_ON_GPU] = torch.cuda.get_rng_state()
    return {name: state.numpy() for name, state in states.items()}


def _to_numpy(variable: Any) -> np.ndarray[Any, Any]:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable.value))
