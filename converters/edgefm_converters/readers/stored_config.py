"""What a model file says of its layers, read as JSON before anything in it is run.

Old formats run code while they load: a Lambda layer is Python bytecode, and Keras' safe mode has had gaps for
HDF5 files. So configurations are searched first, in all formats alike.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgefm.core.documents import parse_json
from edgefm.core.errors import ModelError, missing_extra
from edgefm.core.given import damage, links, regular
from edgefm_converters.readers import hdf5, packed

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
KERAS_METADATA = "keras_metadata.pb"
HOW_TO_SAVE = "Save a model with Keras 3: model.save('model.keras')."
_SHOWN = 100
# Keras takes time with the square of a Sequential's layers.
_MOST_IN_A_ROW, _MOST_ENTRIES = 250, 20_000
_WEIGHTS = "model.weights.h5"
_GRAPHS = ("Sequential", "Functional", "Model")

_CODE = {
    "Lambda": "a Lambda layer: Python code",
    "__lambda__": "a Lambda layer: Python code",
    "TorchModuleWrapper": "a TorchModuleWrapper: a pickle",
    "TFSMLayer": "a TFSMLayer: a graph from another file",
    "FlaxLayer": "a FlaxLayer: Python code",
    "JaxLayer": "a JaxLayer: Python code",
}
_WITHOUT_CODE = "Replace it with layers of Keras or keras.ops and save the model again, or trust the file."
_WRAPPERS = {
    "PruneLowMagnitude": (
        "has pruning wrappers (PruneLowMagnitude)",
        "Strip them first, with tfmot.sparsity.keras.strip_pruning(model), and save again.",
    ),
    "ClusterWeights": (
        "has clustering wrappers (ClusterWeights)",
        "Strip them first, with tfmot.clustering.keras.strip_clustering(model), and save again.",
    ),
    "QuantizeWrapper": (
        "is quantised already (QuantizeWrapper)",
        "Start from the float model before quantize_apply().",
    ),
    "QuantizedDTypePolicy": ("is quantised already", "Start from the float model before quantize()."),
}
_WRAPPERS |= dict.fromkeys(
    ("QuantizeWrapperV2", "QuantizeLayer", "QuantizeAnnotate", "ClusterWeightsMHA"), _WRAPPERS["QuantizeWrapper"]
)
_WRAPPERS |= dict.fromkeys(("QuantizedFloat8DTypePolicy", "GPTQDTypePolicy"), _WRAPPERS["QuantizedDTypePolicy"])
# Modules whose functions a configuration may name: they compute. Keras finds its own, and classes too, under any module
# of it that a file names.
_COMPUTING = ("activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers")
_KERAS = re.compile(r"(?:tf_)?keras(?:\.src)?(?:\.|$)")
_FUNCTION = re.compile(r"[a-z_][a-z0-9_]*")
_LOADING = ("get", "serialize", "deserialize")  # of objects by their configurations; every module has them


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a file says of itself.

    Attributes:
      kind: its format.
      configs: configurations of the model, or of its nodes (SavedModel), as JSON.
      keras: version of Keras that saved it, '' where it does not say.
      compiled: how the model was compiled, as JSON that is never run; None where it does not say.
      elements: numbers in the arrays of the file; None where they were not counted.
    """

    kind: Literal["keras", "h5", "saved_model"]
    configs: tuple[Any, ...]
    keras: str
    compiled: Any = None
    elements: int | None = None

    @property
    def of_keras_2(self) -> bool:
        """Whether Keras 2 saved it: some defaults and names meant something else."""
        return self.kind == "saved_model" or self.keras.startswith(("2.", "1."))


def read_stored(path: Path) -> Stored:
    """Return what a model file says of its layers; nothing in it is run. Imports neither Keras nor TensorFlow.

    Raises:
      ModelError: no such file, or one that is no model, is empty, cut off or damaged.
      RuntimeUnavailableError: an HDF5 file, and no h5py here.
    """
    if path.is_dir():
        return _of_saved_model(path)
    with regular.open_file(path, ModelError, missing=f"no model file at {path}") as file:
        magic = file.read(len(HDF5_MAGIC))
    if not magic:
        raise ModelError(f"{path} is empty", hint=HOW_TO_SAVE)
    if magic == HDF5_MAGIC:
        return _of_hdf5(path)
    if path.suffix in (".h5", ".hdf5"):
        raise ModelError(f"{path} is not an HDF5 file", hint=HOW_TO_SAVE)
    return _of_keras_zip(path)


def check_stored(stored: Stored, path: Path, *, trust: bool) -> None:
    """Raise a ModelError where a model holds code, is no graph of layers, or is compressed already.

    Args:
      stored: what the file says.
      path: of it.
      trust: let code pass.
    """
    if stored.kind != "saved_model":
        kind = stored.configs[0].get("class_name") if isinstance(stored.configs[0], dict) else None
        if kind not in _GRAPHS:
            shown = str(kind)[:_SHOWN]
            raise ModelError(
                f"{path} holds a subclassed model ({shown}): its graph is known to its own Python code only",
                hint="Build it as keras.Sequential or as keras.Model(inputs, outputs).",
            )
    for count, entry in enumerate(entries(stored.configs)):
        if count >= _MOST_ENTRIES or len(_layers(entry)) > _MOST_IN_A_ROW:
            raise ModelError(
                f"{path} holds more layers than Keras can load in a reasonable time: {_MOST_IN_A_ROW} in a Sequential "
                f"and {_MOST_ENTRIES:,} objects together are allowed"
            )
        kind = str(entry["class_name"]).split(">")[-1]
        if kind in _WRAPPERS:
            what, hint = _WRAPPERS[kind]
            raise ModelError(f"{path} {what}", hint=hint)
        if trust:
            continue
        if kind in _CODE:
            raise ModelError(f"{path} holds {_CODE[kind]} that safe mode does not run", hint=_WITHOUT_CODE)
        if _calls(entry, kind):
            named = f"{entry.get('module')}.{entry.get('config') if kind == 'function' else kind}"[:_SHOWN]
            raise ModelError(
                f"{path} names the function {named}, which safe mode does not run",
                hint=_WITHOUT_CODE,
            )
    if not trust and any(isinstance(node.get("vocabulary"), str) for node in _objects(stored.configs)):
        raise ModelError(
            f"{path} names a file of words outside itself, which is not read",
            hint="Give the layer its vocabulary as a list, and save the model again.",
        )
    if not trust and _has_bytecode(stored.configs):
        raise ModelError(f"{path} holds a lambda: Python code that safe mode does not run", hint=_WITHOUT_CODE)


def _calls(entry: Mapping[str, Any], kind: str) -> bool:
    """Return whether an object is a function that may do more than compute, or names one as if it were a class."""
    module = str(entry.get("module") or "builtins")
    own = _KERAS.match(module)
    if kind != "function":
        return own is not None and _FUNCTION.fullmatch(kind) is not None and not kind.startswith("__")
    name = str(entry.get("config"))
    if ">" in name or (own is None and module != "builtins"):  # only a program that has registered it has it
        return not (">" in name or entry.get("registered_name"))
    computes = own is None or module[own.end() :].split(".")[0] in _COMPUTING
    return not computes or _FUNCTION.fullmatch(name) is None or name in _LOADING


def _layers(entry: Mapping[str, Any]) -> Sequence[Any]:
    """Return the layers of a Sequential, which Keras builds anew with each; () of others."""
    config = entry.get("config")
    layers = config.get("layers") if entry["class_name"] == "Sequential" and isinstance(config, dict) else None
    return layers if isinstance(layers, list) else ()


def entries(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in JSON that names a class."""
    return (node for node in _objects(value) if "class_name" in node)


def _has_bytecode(value: Any) -> bool:
    """Return whether a layer names the kind of a function as Keras 2 does, 'lambda': its bytecode stands beside."""
    return any(
        str(name).endswith("_type") and kind == "lambda" for node in _objects(value) for name, kind in node.items()
    )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, (list, tuple)):
            waiting += node


def _of_keras_zip(path: Path) -> Stored:
    parts = ("config.json", "metadata.json", _WEIGHTS)
    with (
        damage.told(ModelError, f"{path} is not a .keras file, or is cut off", hint=HOW_TO_SAVE),
        packed.opened(path) as archive,
    ):
        missing = [part for part in parts if part not in archive.namelist()]
        if missing:
            raise ModelError(
                f"{path} is a zip archive, but no .keras file: {', '.join(missing)} is missing", hint=HOW_TO_SAVE
            )
        packed.check_archive(archive, source=str(path), size_bytes=path.stat().st_size)
        damaged = archive.testzip()
        if damaged:
            raise ModelError(f"{path} is damaged: the content of {damaged} fails its checksum")
        config = _parsed(archive.read("config.json"), where=f"config.json in {path}")
        metadata = _parsed(archive.read("metadata.json"), where=f"metadata.json in {path}")
    # What a model was compiled with is not loaded.
    wanted = {key: value for key, value in config.items() if key != "compile_config"} if _is_object(config) else config
    compiled = config.get("compile_config") if _is_object(config) else None
    keras = str(metadata.get("keras_version", "")) if _is_object(metadata) else ""
    # Without h5py Keras loads nothing either.
    elements = hdf5.read(path, member=_WEIGHTS).elements if importlib.util.find_spec("h5py") is not None else None
    return Stored(kind="keras", configs=(wanted,), keras=keras, compiled=compiled, elements=elements)


def _of_hdf5(path: Path) -> Stored:
    if importlib.util.find_spec("h5py") is None:
        raise missing_extra("h5py", "compress")
    held = hdf5.read(path)
    if "model_config" not in held.attributes:
        raise ModelError(
            f"{path} holds weights, but no model",
            hint="Build the model, model.load_weights(...), and save all of it: model.save('model.keras').",
        )
    if "model_weights" not in held.groups:
        raise ModelError(f"{path} holds a model, but no weights", hint=HOW_TO_SAVE)
    loaded, compiled = (
        _parsed(held.attributes.get(name, "null").encode("utf-8", "surrogatepass"), where=f"{name} in {path}")
        for name in ("model_config", "training_config")
    )
    version = held.attributes.get("keras_version", "")
    return Stored(kind="h5", configs=(loaded,), keras=version, compiled=compiled, elements=held.elements)


def _of_saved_model(path: Path) -> Stored:
    graph = path / "saved_model.pb"
    regular.check(
        graph,
        ModelError,
        missing=f"{path} is a folder, but no SavedModel: saved_model.pb is missing",
        hint="Give a .keras or .h5 file, or the folder that model.export() or tf.saved_model.save() wrote.",
    )
    if graph.stat().st_size == 0:
        raise ModelError(f"{graph} is empty")
    links.check(path, ModelError, what="model")  # all of it is copied into a run
    for part in path.rglob("*"):
        if not part.is_dir():
            regular.check(part, ModelError, missing=f"{part} does not exist")
    return Stored(kind="saved_model", configs=(), keras="")


def _parsed(content: bytes, *, where: str) -> Any:
    """Return what JSON of Keras means, which knows NaN and infinity."""
    return parse_json(content, where=where, error=ModelError, hint=HOW_TO_SAVE, finite=False)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
