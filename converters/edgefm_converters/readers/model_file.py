"""A model file of any kind: Keras where it holds a Keras model, TFLite where not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core import artefacts
from edgefm.tflite import flatbuffer, tflite_file
from edgefm_converters.tflite.finite import check_stored
from edgefm_converters.tflite.float_file import float_file

LITE = ".tflite"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model: either of the two is None.

    Attributes:
      keras: keras.Model, in float32.
      float32: content of a .tflite file with float32 weights and ends.
      given: the Keras model as it was given where it computes in another precision, e.g. mixed_float16; else None.
    """

    keras: Any = None
    float32: bytes | None = None
    given: Any = None


def check_model(path: Path, *, trust: bool = False) -> None:
    """Raise a ModelError where a path cannot be a model; imports neither Keras nor TensorFlow."""
    if path.suffix == LITE:
        _float_file(path)
        return
    from edgefm_converters.readers.keras_file import check_file

    check_file(path, trust=trust)


def load(path: Path, *, trust: bool = False) -> Loaded:
    """Return the model in a file or SavedModel folder.

    Raises:
      ModelError: it cannot be loaded, or takes more than one input, or an input of no fixed size.
      RuntimeUnavailableError: a Keras model, and no Keras or TensorFlow here.
    """
    if path.suffix == LITE:
        return Loaded(float32=_float_file(path))
    from edgefm_converters.readers.keras_file import in_float32, load_given

    if path.is_dir():
        from edgefm_converters.readers.saved_model import float32_tflite_of_saved_model, has_keras_model

        if not has_keras_model(path):
            return Loaded(float32=float32_tflite_of_saved_model(path, trust=trust))
    given = load_given(path, trust=trust)
    model = in_float32(given)
    return Loaded(keras=model, given=None if model is given else given)


def input_shape(model: Loaded) -> tuple[int, ...]:
    """Return the shape of one sample, without the batch."""
    return _end(model, "inputs")


def output_shape(model: Loaded) -> tuple[int, ...]:
    """Return the shape of the first output for one sample, without the batch."""
    return _end(model, "outputs")


def sha256(path: Path) -> str:
    """Return the sha256 of a model file, or of all files of a folder with their names."""
    if path.is_file():
        return artefacts.sha256_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return artefacts.sha256_json({file.relative_to(path).as_posix(): artefacts.sha256_file(file) for file in files})


def content_sha256(model: Loaded) -> str:
    """Return a sha256 of what a model in memory computes: its layers and weights, or its file."""
    if model.keras is None:
        assert model.float32 is not None, "a model is either Keras or TFLite"
        return artefacts.sha256_bytes(model.float32)
    total = hashlib.sha256(model.keras.to_json().encode())
    for weight in model.keras.get_weights():
        total.update(np.ascontiguousarray(weight).data)
    return total.hexdigest()


def _float_file(path: Path) -> bytes:
    tflite_file.check(path)
    content = float_file(path.read_bytes())
    check_stored(content, source=str(path))
    return content


def _end(model: Loaded, end: str) -> tuple[int, ...]:
    if model.keras is not None:
        return tuple(int(length or 1) for length in getattr(model.keras, end)[0].shape[1:])
    assert model.float32 is not None, "a model is either Keras or TFLite"
    graph = flatbuffer.editable(model.float32).subgraphs[0]
    return tuple(int(length) for length in graph.tensors[getattr(graph, end)[0]].shape[1:])
