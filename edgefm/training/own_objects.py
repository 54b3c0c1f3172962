"""Layers and functions of a user's own in a model that edgefm trained: found again when the model is loaded.

A model file names them, by the name they are registered under in Keras or by their module; their code stays where it
is. It is imported only with the function that built the model, where this user trusts both (docs/adr/0023).
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefm.core import manifest, scratch, trust
from edgefm.core.errors import EdgefmError, ModelError
from edgefm.core.named_function import function_named, imports_from
from edgefm.core.runs import RunDirectory, Step
from edgefm.core.silence import silenced
from edgefm.core.text import command, few
from edgefm.recipes import Training
from edgefm_converters.readers import model_file
from edgefm_converters.readers.stored_config import entries, read_stored

_THEIRS = ("keras", "tf_keras", "edgefm", "edgefm_converters")
_HINT = (
    "Define it at the top of its module, take **kwargs in __init__ and hand them to super().__init__, and give it a "
    "get_config that returns the arguments of __init__."
)


@dataclass(frozen=True)
class OwnObject:
    """A class or function that a configuration names and Keras does not bring.

    Attributes:
      name: by which the configuration names it.
      module: that it is defined in; '' of a function, of which Keras writes none.
    """

    name: str
    module: str

    def __str__(self) -> str:
        plain = self.name.rpartition(">")[2]
        return f"{self.module}.{plain}" if self.module else plain


def own_objects(config: Any) -> tuple[OwnObject, ...]:
    """Return what a model's configuration names and Keras does not bring, each once.

    Args:
      config: JSON, of one model or several.
    """
    found: dict[OwnObject, None] = {}
    for entry in entries(config):
        kind, module, registered = entry["class_name"], entry.get("module"), entry.get("registered_name")
        if kind == "function" and isinstance(entry.get("config"), str):  # Keras's own are plain names
            found[OwnObject(entry["config"], "")] = None
        elif isinstance(registered, str) and kind != "function":
            module = module if isinstance(module, str) else ""
            if module.partition(".")[0] not in _THEIRS:
                found[OwnObject(registered, module)] = None
    return tuple(found)


def check_found_again(model: Any, *, where: str) -> None:
    """Raise a ModelError where a model with layers of the user's own would not come back from its file as it is.

    Args:
      model: keras.Model with a graph.
      where: 'module:function' that built it.
    """
    import keras
    import numpy as np

    try:
        own = own_objects(json.loads(model.to_json()))
        if not own:
            return
        with scratch.folder("own-layers") as folder, silenced():
            path = folder / "model.keras"
            model.save(path)
            _make_known(own, where=where, folder=None)
            again = keras.saving.load_model(path, compile=False, safe_mode=False)
    except EdgefmError:
        raise
    except Exception as error:  # whatever the user's layers raise
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"a layer of your own in the model of {where} cannot be saved and loaded again: "
            f"{type(error).__name__}: {reason}",
            hint=_HINT,
        ) from error
    shape = tuple(int(length) for length in model.inputs[0].shape[1:])
    tried = np.random.default_rng(0).integers(0, 256, (4, *shape)).astype(np.float32)
    first, second = (np.asarray(one.predict_on_batch(tried), np.float64) for one in (model, again))
    if not np.allclose(first, second, rtol=1e-3, atol=1e-3, equal_nan=True):
        raise ModelError(
            f"the model of {where} answers otherwise when it is saved and loaded again: a layer of your own "
            f"({few([str(entry) for entry in own])}) does not keep all that it computes with",
            hint=_HINT,
        )


def files_of_own_code(model: Any, *, where: str) -> tuple[Path, ...]:
    """Return the files of the modules that layers of the user's own in a model come from; () where all are Keras's.

    Args:
      model: keras.Model with a graph.
      where: 'module:function' that built it; its module counts where the model names anything of the user's own.
    """
    modules = {type(layer).__module__ for layer in model._flatten_layers()}
    names = {name for name in modules if name.partition(".")[0] not in _THEIRS}
    try:
        own = own_objects(json.loads(model.to_json()))
    except Exception:  # a layer of the user's own without get_config
        own = ()
    names |= {entry.module for entry in own if entry.module}
    if not names and not own:
        return ()
    files = (getattr(sys.modules.get(name), "__file__", None) for name in {*names, where.partition(":")[0]})
    return tuple(sorted(Path(file) for file in files if file))


def trust_trained(path: Path, where: str) -> None:
    """Let later commands of this user load a model that was just trained, where it holds code of its own.

    Args:
      path: of the model's file.
      where: function or file that it comes from, whose code this user let run.
    """
    if code_in(path) is not None:
        trust.remember(model_file.sha256(path), f"model {path}, of {where}")


def code_in(path: Path) -> str | None:
    """Return which code a trained model holds or needs, as a sentence; None where it needs none."""
    code = model_file.code_in(path)
    own = () if code is not None else own_objects(read_stored(path).configs)
    return code or (f"{path} holds layers of its maker's own ({few([str(entry) for entry in own])})" if own else None)


def prepare(run: RunDirectory, step: Step, path: Path) -> bool:
    """Make Keras know what a trained model needs, and return whether code in its file may run.

    Args:
      run: that the model lies in.
      step: its training.
      path: of its file.
    Raises:
      ModelError: it needs code that this user has not trusted, or that is no longer there.
      DataError: the function that built it is not trusted, has changed, or cannot be imported.
    """
    where = Training.from_json(step.recipe).model
    built = ":" in where and not Path(where).exists()
    code = code_in(path) if built else model_file.code_in(path)
    if code is None:
        return False
    if not trust.is_trusted(model_file.sha256(path)):
        raise ModelError(
            f"{code}; you have not trusted this run",
            hint=f"If you know where it comes from: {command('edgefm', 'trust', run.path)}",
        )
    own = own_objects(read_stored(path).configs) if built else ()
    if own:
        _, folder = function_named(where, named_in=run.path / manifest.FILE_NAME)
        _make_known(own, where=where, folder=folder)
    return True


def _make_known(own: Collection[OwnObject], *, where: str, folder: str | None) -> None:
    """Register objects of a user's own with Keras, under the names that the file has for them."""
    import keras

    builder = where.partition(":")[0]
    for entry in own:
        plain = entry.name.rpartition(">")[2]
        value = getattr(_module(entry.module or builder, folder), plain, None)
        if value is None:
            value = keras.saving.get_registered_object(entry.name)
        if value is None and not entry.module:
            value = _in_modules_beside(builder, plain) or getattr(keras.ops, plain, None)
        if not callable(value):
            raise ModelError(f"{entry} in the model of {where} is not found at the top of a module", hint=_HINT)
        keras.saving.get_custom_objects()[entry.name] = value


def _module(name: str, folder: str | None) -> Any:
    """Return a module; of those that a trusted function's folder holds, only as they were trusted."""
    known = sys.modules.get(name)
    if known is not None:
        return known
    try:
        if folder is None:
            return importlib.import_module(name)
        with imports_from(folder):
            return importlib.import_module(name)
    except EdgefmError:
        raise
    except Exception as error:  # whatever the user's module raises
        raise ModelError(f"the module '{name}' of a layer cannot be imported: {error}") from error


def _in_modules_beside(builder: str, name: str) -> Any:
    """Return a function that the builder's module names, or one that lies beside it does; None where none does."""
    file = getattr(sys.modules.get(builder), "__file__", None)
    if file is None:
        return None
    beside = Path(file).resolve().parent
    for module in list(sys.modules.values()):
        value = vars(module).get(name) if hasattr(module, "__dict__") else None
        origin = getattr(module, "__file__", None)
        if inspect.isfunction(value) and origin and Path(origin).resolve().is_relative_to(beside):
            return value
    return None
