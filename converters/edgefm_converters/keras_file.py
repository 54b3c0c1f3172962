"""Reads `.keras` files: refuses what is none, and what cannot become a TFLite image classifier, before it costs."""

from __future__ import annotations

import importlib.util
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.errors import ModelError, missing_extra
from edgefm.silence import silenced

_PARTS = ("config.json", "metadata.json", "model.weights.h5")
_GRAPHS = ("Sequential", "Functional")
_HOW_TO_SAVE = "Save a model with Keras 3: model.save('model.keras')."


def load_keras(path: Path) -> Any:
    """Return the keras.Model in a `.keras` file, in float32, checked to be an image classifier.

    The file is read in Keras' safe mode: code in it is never run. Keras runs on TensorFlow from then on.

    Returns:
      a Functional or Sequential model: float [n, height, width, channels] to [n, classes].
    Raises:
      ModelError: no such file, no `.keras` file, damaged, a subclassed model, a Lambda or unknown layer, weights
        that are not finite, or other inputs and outputs.
      RuntimeUnavailableError: Keras or TensorFlow is not installed, or Keras runs on another backend already.
    """
    check_file(path)
    for library in ("keras", "tensorflow"):
        if importlib.util.find_spec(library) is None:
            raise missing_extra(library, "compress")
    from edgefm.training.backend import use_backend

    with silenced():
        use_backend("tensorflow", "float32")
        model = _load(path)
    check_classifier(model, source=str(path))
    _check_finite(model, source=str(path))
    return _in_float32(model)


def check_file(path: Path) -> None:
    """Raise a ModelError where a path cannot be a `.keras` file that edgefm can convert; imports no Keras."""
    if path.is_dir():
        raise ModelError(f"{path} is a folder, not a .keras file", hint=_HOW_TO_SAVE)
    if not path.is_file():
        raise ModelError(f"no model file at {path}")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty", hint=_HOW_TO_SAVE)
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [part for part in _PARTS if part not in archive.namelist()]
            if missing:
                raise ModelError(
                    f"{path} is a zip archive, but no .keras file: {', '.join(missing)} is missing", hint=_HOW_TO_SAVE
                )
            damaged = archive.testzip()
            if damaged:
                raise ModelError(f"{path} is damaged: the content of {damaged} fails its checksum")
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise ModelError(f"{path} is not a .keras file, or is cut off ({error})", hint=_HOW_TO_SAVE) from error
    kind = config.get("class_name") if isinstance(config, dict) else None
    if kind not in _GRAPHS:
        raise ModelError(
            f"{path} holds a subclassed model ({kind}): its graph is known to its own Python code only",
            hint="Build it as keras.Sequential or as keras.Model(inputs, outputs).",
        )


def check_classifier(model: Any, *, source: str) -> None:
    """Raise a ModelError unless a model takes one picture of fixed size and gives one score a class."""
    from edgefm.compression.graph import functional

    functional(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"{source} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; one of each is expected"
        )
    shape, scores = tuple(model.inputs[0].shape), tuple(model.outputs[0].shape)
    if len(shape) != 4:
        raise ModelError(f"the input of {source} has shape {shape}; pictures [n, height, width, channels] are expected")
    if None in shape[1:]:
        raise ModelError(
            f"the input of {source} has the dynamic size {shape}; LiteRT needs a fixed one",
            hint="Build the model with keras.Input((height, width, channels)), all numbers, and load the weights.",
        )
    if len(scores) != 2 or scores[1] is None:
        raise ModelError(f"the output of {source} has shape {scores}; [n, classes] is expected")


def _load(path: Path) -> Any:
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers' code raises
        message = " ".join(str(error).split())
        if "Lambda" in message or "safe_mode" in message or "lambda" in message:
            raise ModelError(
                f"{path} holds a Lambda layer: Python code that safe mode does not run",
                hint="Replace it with layers of Keras or keras.ops, and save the model again.",
            ) from error
        unknown = re.search(r"Could not locate class '([^']+)'", message)
        if unknown:
            raise ModelError(
                f"{path} uses the class '{unknown.group(1)}', which Keras does not know here",
                hint="Only layers that come with Keras can be converted.",
            ) from error
        raise ModelError(f"Keras cannot load {path}: {message[:300]}", hint=_HOW_TO_SAVE) from error


def _check_finite(model: Any, *, source: str) -> None:
    for weight in model.weights:
        values = np.asarray(weight)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise ModelError(
                f"the weights '{weight.path}' of {source} hold {count} values that are NaN or infinite",
                hint="The training diverged: train again with a lower learning rate.",
            )


def _in_float32(model: Any) -> Any:
    """Return a model that computes in float32 on float32 input; the same one where it does already."""
    import keras

    from edgefm.compression.graph import Graph, call_copy

    def deviates(layer: Any) -> bool:
        return isinstance(layer, keras.Layer) and layer.compute_dtype != "float32"

    graph = Graph(model)
    if model.inputs[0].dtype == "float32" and not any(deviates(call.layer) for call in graph.calls):
        return model
    copies: dict[int, Any] = {}
    changed = {"dtype": "float32"}
    return graph.rebuild(
        lambda call, _, args, kwargs: call_copy(call, args, kwargs, copies=copies, config=changed),
        input_dtype="float32",
    )
