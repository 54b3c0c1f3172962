"""Loads Keras models from `.keras` and HDF5 files and SavedModel folders, of Keras 2 and 3, as Keras 3 models.

Refuses what is none, what holds code, and what cannot become a TFLite file, before it costs.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core import joined, scratch
from edgefm.core.errors import ModelError, missing_extra
from edgefm.core.given import damage, limits, memory
from edgefm.core.silence import silenced
from edgefm_converters.readers.declared import counted
from edgefm_converters.readers.saved_model import check_finite, check_graph, has_keras_model, read_keras_metadata
from edgefm_converters.readers.stored_config import HOW_TO_SAVE, Stored, check_stored, entries, read_stored
from edgefm_converters.readers.trial import check_loads

_TRIALS = 4
_UNKNOWN = re.compile(r"(?:Could not locate class|Unknown layer:) '?\"?([\w>.]+)")


def load_model(path: Path, *, trust: bool = False) -> Any:
    """Return the Keras 3 model in a file or folder, in float32; see `load_given`."""
    return in_float32(load_given(path, trust=trust))


def load_given(path: Path, *, trust: bool = False) -> Any:
    """Return the Keras 3 model in a file or folder as it is, with inputs of fixed size.

    Keras runs on TensorFlow from then on. A file of Keras 2 is read by Keras 3 where that computes the same as
    tf_keras does, else by tf_keras, and carried over layer by layer.

    Args:
      path: `.keras`, `.h5`, `.hdf5`, or a SavedModel folder that Keras 2 wrote.
      trust: run code that the file holds (Lambda layers).
    Returns:
      a Functional or Sequential keras.Model, not compiled.
    Raises:
      ModelError: no such file, damaged, a subclassed model, code or an unknown layer in it, weights that are not
        finite, a model that is compressed already, or a size that is not fixed.
      RuntimeUnavailableError: a library is not installed, or Keras runs on another backend already.
    """
    check_file(path, trust=trust)
    for library in ("keras", "tensorflow"):
        if importlib.util.find_spec(library) is None:
            raise missing_extra(library, "compress")
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow", "float32")
    if not trust:  # code that is trusted may do something when it runs: it runs once
        check_loads(path, load_given, size_bytes=_size_bytes(path))
    return _read(path, read_stored(path), trust=trust)


def load_to_train(path: Path, *, trust: bool = False) -> Any:
    """Return the Keras 3 model in a file or folder, to be trained on the backend that Keras runs on already.

    It is checked as `load_given` checks it.

    Args:
      path: of the file or folder.
      trust: run code that it holds (Lambda layers).
    Raises:
      ModelError: see `load_given`; or a file of Keras 2, which only TensorFlow can read.
    """
    import keras

    check_file(path, trust=trust)
    if keras.config.backend() == "tensorflow" and not trust:
        check_loads(path, load_given, size_bytes=_size_bytes(path))
    stored = read_stored(path)
    if stored.of_keras_2 and keras.config.backend() != "tensorflow":
        raise ModelError(
            f"{path} was saved by Keras 2, which needs TensorFlow; Keras runs on {keras.config.backend()}",
            hint="Train it on the backend tensorflow, or save it with Keras 3: model.save('mine.keras').",
        )
    return _read(path, stored, trust=trust)


def _read(path: Path, stored: Stored, *, trust: bool) -> Any:
    """Return the model in a file that was checked."""
    if stored.kind == "saved_model":
        model = _of_saved_model(path, trust=trust)
    elif stored.of_keras_2:
        model = _of_keras_2(path, stored, trust=trust)
    else:
        model = _by_keras_3(path, stored, trust=trust)
    _check_model(model, source=str(path))
    _check_sizes(model, path)
    return model


def check_file(path: Path, *, trust: bool = False) -> None:
    """Raise a ModelError where a path cannot be a model that `load_model` loads; imports no Keras.

    Args:
      path: file or folder.
      trust: let code in it pass.
    """
    stored = read_stored(path)
    if stored.configs:
        check_stored(stored, path, trust=trust)


def in_memory(model: Any, *, source: str) -> Any:
    """Return a keras.Model that is in memory already, in float32, checked as `load_model` checks a file's.

    Raises:
      ModelError, RuntimeUnavailableError: see `load_model`.
    """
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow", "float32")
    _check_model(model, source=source)
    return in_float32(model)


def _check_model(model: Any, *, source: str) -> None:
    from edgefm.keras_graph.ends import check_model_ends

    check_model_ends(model, source=source)
    _check_float(model, source=source)
    check_finite(((weight.path, weight) for weight in model.weights), source=source)


def _check_sizes(model: Any, path: Path) -> None:
    """Raise a ModelError where an input or a layer's result for one sample would take more than the file may."""
    from edgefm.keras_graph.graph import Graph

    size_bytes = _size_bytes(path)
    results = [(f"the input '{tensor.name}'", tensor.shape) for tensor in model.inputs]
    results += [
        (f"the result of the layer '{call.name}'", shape) for call in Graph(model).calls for shape in call.output_shapes
    ]
    for what, shape in results:
        wanted = 4 * math.prod(length or 1 for length in shape)
        limits.check(wanted, ModelError, size_bytes=size_bytes, what=f"{what} of {path}, {tuple(shape)},")


def _limited(path: Path) -> AbstractContextManager[None]:
    return memory.limited(limits.working(_size_bytes(path)))


def _size_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def _by_keras_3(path: Path, stored: Stored, *, trust: bool) -> Any:
    """Return the model as Keras 3 reads it."""
    import keras

    with counted(keras.Layer, held=stored.elements, source=str(path)) as declared:
        try:
            suffix = ".h5" if stored.kind == "h5" else ".keras"
            with _limited(path), silenced(), _without_bytecode(trust), _with_suffix(path, suffix) as named:
                return keras.saving.load_model(named, compile=False, safe_mode=not trust)
        except Exception as error:  # Keras raises whatever its layers' code raises
            raise (declared.refused or _cannot_load(path, error, trust=trust)) from error


def _of_keras_2(path: Path, stored: Stored, *, trust: bool) -> Any:
    """Return the model in a file of Keras 2, proved to compute what tf_keras computes."""
    from edgefm_converters.bridge.bridge import import_tf_keras
    from edgefm_converters.bridge.reverse_operations import check_functions

    model, refused = None, None
    try:
        model = _by_keras_3(path, stored, trust=trust)
    except ModelError as error:
        refused = error
    tf_keras = import_tf_keras()
    check_functions(entries(stored.configs), source=str(path))
    with counted(tf_keras.layers.Layer, held=stored.elements, source=str(path)) as declared:
        try:
            suffix = ".h5" if stored.kind == "h5" else ".keras"
            with _limited(path), silenced(), _without_bytecode(trust), _with_suffix(path, suffix) as named:
                tf_model = tf_keras.models.load_model(named, compile=False, safe_mode=not trust)
        except Exception as error:  # as above
            raise (declared.refused or refused or _cannot_load(path, error, trust=trust)) from error
    if model is not None:
        _check_model(model, source=str(path))
        if _same(model, tf_model):
            return model
    return _carried_over(path, tf_model)


def _of_saved_model(path: Path, *, trust: bool) -> Any:
    from edgefm_converters.bridge.bridge import import_tf_keras
    from edgefm_converters.bridge.reverse_operations import check_functions

    if not has_keras_model(path):
        raise ModelError(
            f"{path} is a SavedModel without a Keras model in it: a graph of operations, no layers",
            hint="It can be quantised after training, but not pruned, clustered or trained on. For that, save the "
            "model that it came from with Keras: model.save('model.keras').",
        )
    tf_keras = import_tf_keras()
    stored = read_keras_metadata(path)
    check_stored(stored, path, trust=trust)
    check_functions(entries(stored.configs), source=str(path))
    if not trust:
        check_graph(path)
    try:
        with _limited(path), silenced(), _without_bytecode(trust):
            tf_model = tf_keras.models.load_model(str(path), compile=False)
    except Exception as error:  # as above
        raise _cannot_load(path, error, trust=trust) from error
    return _carried_over(path, tf_model)


def _carried_over(path: Path, tf_model: Any) -> Any:
    """Return a tf_keras model as a Keras 3 model, proved to compute the same."""
    from edgefm_converters.bridge.bridge import check_parity
    from edgefm_converters.bridge.reverse_bridge import keras_from_tf

    model = keras_from_tf(tf_model)
    _check_model(model, source=str(path))
    check_parity(model, tf_model, _trials(model))
    return model


def _same(model: Any, tf_model: Any) -> bool:
    from edgefm_converters.bridge.bridge import check_parity

    try:
        check_parity(model, tf_model, _trials(model))
    except (ModelError, ValueError):  # they differ, in values or in shapes
        return False
    return True


def _trials(model: Any) -> Any:
    """Return random values for a model's inputs; for tokens 0 and 1, which are in every table."""
    from edgefm.keras_graph.ends import input_names
    from edgefm.keras_graph.graph import TOKENS

    generator = np.random.default_rng(0)
    trials: list[Any] = []
    for tensor in model.inputs:
        shape = (tensor.shape[0] or _TRIALS, *tensor.shape[1:])
        if len(model.inputs) > 1 and tensor.dtype in TOKENS:
            trials.append(generator.integers(0, 2, shape).astype(np.int32))
        else:
            trials.append(generator.normal(size=shape).astype(np.float32) * 3)
    return joined.join(dict(zip(input_names(model), trials, strict=True))) if len(trials) > 1 else trials[0]


def _cannot_load(path: Path, error: Exception, *, trust: bool) -> ModelError:
    if isinstance(error, MemoryError) or "OOM when allocating" in str(error) or "allocate" in str(error):
        allowed = limits.working(_size_bytes(path))
        return ModelError(
            f"{path} describes a model that takes more than the {allowed >> 20:,} MB that a file of its size may",
            hint=limits.how_to_raise(2 * allowed),
        )
    message = " ".join(str(error).split())
    reason = message.rpartition("Exception encountered: ")[2]  # Keras shows whole configurations before it
    if "vocabulary" in message:
        return ModelError(
            f"{path} names a file of words outside itself, which is not read",
            hint="Give the layer its vocabulary as a list, and save the model again.",
        )
    if not trust and ("safe_mode" in message or "lambda" in message.lower()):
        return ModelError(
            f"{path} holds a Lambda layer: Python code that safe mode does not run",
            hint="Replace it with layers of Keras or keras.ops, and save the model again.",
        )
    unknown = _UNKNOWN.search(message)
    if unknown:
        return ModelError(
            f"{path} uses the class '{unknown.group(1).split('>')[-1]}', which Keras does not know here",
            hint="Only layers that come with Keras can be converted.",
        )
    said = reason[:300] or damage.reason(error)
    return ModelError(f"Keras cannot load {path}: {said}", hint=HOW_TO_SAVE)


@contextmanager
def _without_bytecode(trust: bool) -> Iterator[None]:
    """Keep tf_keras from making functions of stored bytecode: its HDF5 and SavedModel readers know no safe mode."""
    from tf_keras.src.utils import generic_utils

    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("a lambda: safe_mode does not run Python code")

    load = generic_utils.func_load
    if not trust:
        generic_utils.func_load = refuse
    try:
        yield
    finally:
        generic_utils.func_load = load


@contextmanager
def _with_suffix(path: Path, suffix: str) -> Iterator[str]:
    """Give the path under a name that ends as its content asks: Keras goes by the ending."""
    if path.suffix == suffix:
        yield str(path)
        return
    with scratch.folder("model") as folder:
        link = folder / f"model{suffix}"
        link.symlink_to(path.resolve())
        yield str(link)


def _check_float(model: Any, *, source: str) -> None:
    for layer in model._flatten_layers(include_self=False):
        mode = layer.dtype_policy.quantization_mode
        if mode:
            raise ModelError(
                f"{source} is quantised already: its layer '{layer.name}' ({type(layer).__name__}) is {mode}",
                hint="Start from the float model before quantize().",
            )


def in_float32(model: Any) -> Any:
    """Return a model that computes in float32 on float32 input (or on tokens); the same one where it does already."""
    import keras

    from edgefm.keras_graph.graph import TOKENS, Graph, call_copy

    def deviates(layer: Any) -> bool:
        return isinstance(layer, keras.Layer) and layer.compute_dtype != "float32"

    graph = Graph(model)
    plain = all(tensor.dtype in (*TOKENS, "float32") for tensor in model.inputs)
    if plain and not any(deviates(call.layer) for call in graph.calls):
        return model
    copies: dict[int, Any] = {}
    changed = {"dtype": "float32"}
    return graph.rebuild(
        lambda call, _, args, kwargs: call_copy(call, args, kwargs, copies=copies, config=changed),
        input_dtype="float32",
    )
