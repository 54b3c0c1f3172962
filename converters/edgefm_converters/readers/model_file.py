"""A model file of any kind: Keras where it holds a Keras model, TFLite where not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core import artefacts
from edgefm.core.errors import ModelError
from edgefm.data.head import ModelHead
from edgefm.tflite import flatbuffer, sound, tflite_file
from edgefm_converters.tflite.finite import check_stored
from edgefm_converters.tflite.float_file import float_file
from edgefm_converters.tflite.surgery import input_names

LITE = ".tflite"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model: either of the two is None.

    Attributes:
      keras: keras.Model, in float32.
      float32: content of a .tflite file with float32 weights and ends.
      given: the Keras model as it was given where it computes in another precision, e.g. mixed_float16; else None.
      loss: that the model was compiled with, and whether it takes logits; ('', False) where nothing says so.
    """

    keras: Any = None
    float32: bytes | None = None
    given: Any = None
    loss: tuple[str, bool] = ("", False)


def check_model(path: Path, *, trust: bool = False) -> None:
    """Raise a ModelError where a path cannot be a model; imports neither Keras nor TensorFlow."""
    if path.suffix == LITE:
        _float_file(path)
        return
    from edgefm_converters.readers.keras_file import check_file

    check_file(path, trust=trust)


def code_in(path: Path) -> str | None:
    """Return which code a model holds, as a sentence; None where it holds none.

    Raises:
      ModelError: it cannot be a model, whatever code may run.
    """
    from edgefm.core.errors import ModelError

    try:
        check_model(path)
    except ModelError as error:
        check_model(path, trust=True)
        return error.message
    return None


def load(path: Path, *, trust: bool = False) -> Loaded:
    """Return the model in a file or SavedModel folder.

    Raises:
      ModelError: it cannot be loaded, or takes an input of no fixed size.
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
    return Loaded(keras=model, given=None if model is given else given, loss=stored_loss_of(path, model))


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input of a model.

    Attributes:
      name: by which it is given; '' of a single input.
      shape: of one sample, without the batch.
      tokens: how many whole numbers it takes, from 0 on, where it takes no floats: the size of the model's smallest
        table of embeddings, 2 where it has none. None where it takes floats.
    """

    name: str
    shape: tuple[int, ...]
    tokens: int | None


def inputs_of(model: Loaded) -> tuple[Input, ...]:
    """Return the inputs of a model, in its order."""
    if model.keras is not None:
        return _inputs_of_keras(model.keras)
    assert model.float32 is not None, "a model is either Keras or TFLite"
    return _inputs_of_file(model.float32)


def input_shape(model: Loaded) -> tuple[int, ...]:
    """Return the shape of one sample, without the batch; () where it is a record of several inputs."""
    (first, *others) = inputs_of(model)
    return () if others else first.shape


def output_shape(model: Loaded) -> tuple[int, ...]:
    """Return the shape of the first output for one sample, without the batch."""
    if model.keras is not None:
        return _fixed(model.keras.outputs[0].shape)
    assert model.float32 is not None, "a model is either Keras or TFLite"
    graph = flatbuffer.editable(model.float32).subgraphs[0]
    return _fixed(graph.tensors[graph.outputs[0]].shape)


def head_of(model: Loaded) -> ModelHead:
    """Return what the first output of a model is, as the model alone tells."""
    name, from_logits = model.loss
    if model.keras is not None:
        from edgefm.keras_graph.output_activation import output_activation

        activation = output_activation(model.keras.outputs[0])
    else:
        from edgefm.tflite.output_activation import output_activation as of_file

        assert model.float32 is not None, "a model is either Keras or TFLite"
        activation = of_file(model.float32)
    return ModelHead(shape=output_shape(model), activation=activation, loss=name, from_logits=from_logits)


def tokens(model: Loaded) -> int | None:
    """Return `Input.tokens` of the single input of a model; None where it has several."""
    (first, *others) = inputs_of(model)
    return None if others else first.tokens


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


def stored_loss_of(path: Path, model: Any) -> tuple[str, bool]:
    """Return the name of the loss that a file's model was compiled with, see `stored_loss`; nothing of it is run."""
    from edgefm_converters.readers.saved_model import read_keras_metadata
    from edgefm_converters.readers.stored_config import read_stored
    from edgefm_converters.readers.stored_loss import stored_loss

    stored = read_keras_metadata(path) if path.is_dir() else read_stored(path)
    return stored_loss(stored.compiled, output=next(iter(getattr(model, "output_names", ())), ""))


def _float_file(path: Path) -> bytes:
    given = tflite_file.content_of(path)
    try:
        model = flatbuffer.editable(given)
    except ModelError as error:
        raise ModelError(error.message.replace("the model", str(path), 1), hint=error.hint) from error
    sound.check_tensors(model, size_bytes=len(given), source=str(path))
    content = float_file(given)
    check_stored(content, source=str(path))
    return content


def _inputs_of_keras(model: Any) -> tuple[Input, ...]:
    from edgefm.keras_graph.ends import input_names

    layers = model._flatten_layers(include_self=False)
    table = min((int(layer.input_dim) for layer in layers if type(layer).__name__ == "Embedding"), default=2)
    return tuple(
        Input(name=name, shape=_fixed(tensor.shape), tokens=table if str(tensor.dtype).startswith("int") else None)
        for name, tensor in zip(input_names(model) or ("",), model.inputs, strict=True)
    )


def _inputs_of_file(content: bytes) -> tuple[Input, ...]:
    parsed = flatbuffer.editable(content)
    graph = parsed.subgraphs[0]
    names = input_names(content) if len(graph.inputs) > 1 else ("",)
    tables = [op.inputs[0] for op in graph.operators if flatbuffer.operator_name(parsed, op) == "GATHER"]
    sizes = [int(graph.tensors[index].shape[0]) for index in tables if len(graph.tensors[index].shape)]
    inputs = []
    for name, index in zip(names, graph.inputs, strict=True):
        tensor = graph.tensors[index]
        whole = flatbuffer.dtype(tensor).startswith("int")
        inputs.append(Input(name=name, shape=_fixed(tensor.shape), tokens=min(sizes, default=2) if whole else None))
    return tuple(inputs)


def _fixed(shape: Any) -> tuple[int, ...]:
    """Return a shape without the batch."""
    return tuple(int(length or 1) for length in shape[1:])
