"""SavedModel folders: what Keras wrote into them, and their conversion where Keras wrote nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core.documents import parse_json, shown
from edgefm.core.errors import ModelError
from edgefm.core.given import limits, memory, regular
from edgefm.core.silence import silenced
from edgefm_converters.readers.saved_model_operations import check_operations
from edgefm_converters.readers.stored_config import KERAS_METADATA, Stored, read_stored

SIGNATURE = "serving_default"


def has_keras_model(folder: Path) -> bool:
    """Return whether Keras 2 described its layers in a SavedModel; without that it is a graph of operations."""
    return (folder / KERAS_METADATA).is_file()


def read_keras_metadata(folder: Path) -> Stored:
    """Return what Keras 2 wrote of its layers into a SavedModel; nothing in it is run.

    Raises:
      ModelError: the description is damaged, or is one of a subclassed model.
    """
    from tf_keras.protobuf import saved_metadata_pb2

    metadata = _parsed(folder / KERAS_METADATA, saved_metadata_pb2.SavedMetadata())
    where = f"the description of {folder} in {KERAS_METADATA}"
    nodes = [(node.node_path, node.identifier, _described(node.metadata, where)) for node in metadata.nodes]
    root = next((node for node in nodes if node[0] == "root"), None)
    if root is None or root[1] not in ("_tf_keras_network", "_tf_keras_sequential"):
        kind = root[2].get("class_name") if root is not None else None
        raise ModelError(
            f"{folder} holds a subclassed model ({kind}): its graph is known to its own Python code only",
            hint=_as_a_graph(folder),
        )
    compiled = root[2].get("training_config")
    return Stored(kind="saved_model", configs=tuple(node[2] for node in nodes), keras="2.", compiled=compiled)


def _described(metadata: str, where: str) -> dict[str, Any]:
    value = parse_json(metadata.encode(), where=where, error=ModelError, finite=False)
    if not isinstance(value, dict):
        raise ModelError(f"{where} is damaged: it is {shown(value)}; an object is expected")
    return value


def check_graph(folder: Path) -> None:
    """Raise a ModelError where the graph of a SavedModel may do more than compute; see `saved_model_operations`."""
    from tensorflow.core.protobuf import saved_model_pb2

    check_operations(folder, _parsed(folder / "saved_model.pb", saved_model_pb2.SavedModel()))


def check_finite(weights: Iterable[tuple[str, Any]], *, source: str) -> None:
    """Raise a ModelError where named weights of a model hold NaN or infinite values."""
    for name, weight in weights:
        values = np.asarray(weight)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise ModelError(
                f"the weights '{name}' of {source} hold {count} values that are NaN or infinite",
                hint="The training diverged: train again with a lower learning rate.",
            )


def float32_tflite_of_saved_model(folder: Path, *, trust: bool = False) -> bytes:
    """Return the function `serving_default` of a SavedModel as a float32 TFLite file with batch 1.

    Args:
      folder: of a SavedModel, written by Keras, by TensorFlow, or through JAX or PyTorch converters.
      trust: run graphs that read files or call Python.
    Returns:
      content of a .tflite file; its signature takes `image`, or several inputs by their own names, and gives the
      outputs by theirs.
    Raises:
      ModelError: no SavedModel, no such signature, a size that is not fixed, inputs of neither floats nor tokens,
        weights that are not finite, or an operator that TFLite does not have.
    """
    from edgefm_converters.tflite.keras_to_tflite import INPUT, Given, tflite_of_function

    read_stored(folder)
    if not trust:
        check_graph(folder)
    function = _served(folder)
    specs = _inputs(function, folder)
    check_finite(((variable.name, variable.numpy()) for variable in function.variables), source=str(folder))
    inputs = {
        INPUT if len(specs) == 1 else name: Given((1, *spec.shape[1:]), spec.dtype.name) for name, spec in specs.items()
    }
    outputs = {key if key not in inputs else f"{key}_1": key for key in function.structured_outputs}

    def serve(*tensors: Any) -> dict[str, Any]:
        outputs_by_name = function(**dict(zip(specs, tensors, strict=True)))
        return {new: outputs_by_name[key] for new, key in outputs.items()}

    return tflite_of_function(
        serve,
        inputs=inputs,
        holds=list(function.variables),
        outputs=tuple(outputs),
        source=f"the SavedModel {folder}",
    )


def _parsed(path: Path, message: Any) -> Any:
    """Return a protocol buffer message, filled from a file."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it has no stubs

    with regular.open_file(path, ModelError, missing=f"no file at {path}") as file:
        try:
            message.ParseFromString(file.read())
        except DecodeError as error:
            raise ModelError(f"{path} is damaged or cut off: {error}") from error
    return message


def _served(folder: Path) -> Any:
    import tensorflow as tf

    try:
        with memory.limited(limits.working(sum(file.stat().st_size for file in folder.rglob("*")))), silenced():
            loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises whatever the graph's parts raise
        raise ModelError(f"TensorFlow cannot load {folder}: {' '.join(str(error).split())[:300]}") from error
    if SIGNATURE not in loaded.signatures:
        raise ModelError(
            f"{folder} has no signature '{SIGNATURE}'; it has: {', '.join(loaded.signatures) or 'none'}",
            hint=f"tf.saved_model.save(model, folder, signatures={{'{SIGNATURE}': function}})",
        )
    function = loaded.signatures[SIGNATURE]
    function.loaded = loaded  # its variables live as long as this
    return function


def _inputs(function: Any, folder: Path) -> dict[str, Any]:
    """Return the specification of each input of a signature by name."""
    import tensorflow as tf

    specs: dict[str, Any] = function.structured_input_signature[1]
    if not specs:
        raise ModelError(f"'{SIGNATURE}' of {folder} takes no input")
    for name, spec in specs.items():
        shape = spec.shape.as_list() if spec.shape.rank is not None else None
        if not shape or len(shape) < 2 or None in shape[1:] or shape[0] not in (None, 1):
            raise ModelError(
                f"the input '{name}' of {folder} has the shape {'unknown' if shape is None else tuple(shape)}; a batch "
                "of 1 or any, and fixed sizes behind it are expected",
                hint="Save it with a signature whose tf.TensorSpec gives all sizes.",
            )
        if spec.dtype not in (tf.float32, tf.int32, tf.int64):
            raise ModelError(
                f"the input '{name}' of {folder} is {spec.dtype.name}; float32, or int32 or int64 for tokens, is "
                "expected",
                hint="Save it with a signature that takes float32.",
            )
    return specs


def _as_a_graph(folder: Path) -> str:
    return (
        "Build it as keras.Sequential or as keras.Model(inputs, outputs); or remove "
        f"{KERAS_METADATA} from a copy of {folder.name}: its graph is then "
        "converted as it is, without passes that train."
    )
