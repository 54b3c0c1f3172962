"""The weights in a file of Keras, layer by layer: `.weights.h5`, `.keras`, and `.h5` of Keras 2 or 3."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core.errors import ModelError, NonFiniteError, missing_extra
from edgefm.core.given import regular
from edgefm.keras_graph.pretrained import StoredLayer
from edgefm_converters.readers import hdf5
from edgefm_converters.readers.stored_config import HDF5_MAGIC, read_stored

_WEIGHTS = "model.weights.h5"
_HINT = "Save weights with Keras: model.save_weights('mine.weights.h5'), or the whole model: model.save('mine.keras')."


def read_weights(path: Path) -> tuple[StoredLayer, ...]:
    """Return the weights of each layer in a file; nothing in it is run.

    Raises:
      ModelError: no such file, it is damaged or cut off, holds no weights of Keras, or some that are not finite.
      RuntimeUnavailableError: no h5py here.
    """
    try:
        import h5py  # type: ignore[import-untyped]  # it has no stubs
    except ImportError:
        raise missing_extra("h5py", "train") from None
    with regular.open_file(path, ModelError, missing=f"no weights at {path}", hint=_HINT) as opened:
        magic = opened.read(len(HDF5_MAGIC))
    source: Any = path
    if magic == HDF5_MAGIC:
        hdf5.read(path)  # apart, where damaged bytes do no harm
    elif path.suffix == ".keras":
        read_stored(path)  # it reads the weights apart, too
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read(_WEIGHTS))
    else:
        raise ModelError(f"{path} holds no weights of Keras", hint=_HINT)
    with h5py.File(source, "r") as file:
        layers = tuple(_of_keras_3(file) if _is_keras_3(file) else _of_keras_2(file))
    if not layers:
        raise ModelError(f"{path} holds no weights of layers that have names", hint=_HINT)
    for layer in layers:
        for array in layer.arrays:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise NonFiniteError(
                    f"the weights of the layer '{layer.names[0]}' in {path} hold NaN or infinite values",
                    hint="Give weights of another training.",
                    layer=layer.names[0],
                )
    return layers


def _is_keras_3(file: Any) -> bool:
    return "layer_names" not in file.attrs and "layer_names0" not in file.attrs and "model_weights" not in file


def _of_keras_3(group: Any) -> Iterator[StoredLayer]:
    """Yield the layers below a group: each has a group 'vars' that bears the layer's name and numbers its weights."""
    import h5py

    for key, entry in group.items():
        if not isinstance(entry, h5py.Group):
            continue
        if key != "vars":
            yield from _of_keras_3(entry)
        elif "name" in entry.attrs and len(entry):
            arrays = [np.asarray(entry[number]) for number in sorted(entry, key=int)]
            yield StoredLayer(names=(_text(entry.attrs["name"]),), arrays=tuple(arrays))


def _of_keras_2(file: Any) -> Iterator[StoredLayer]:
    """Yield the layers of a file that lists their names, as Keras 2 wrote it; of nested models those within."""
    root = file.get("model_weights", file)
    for group_name in _listed(root, "layer_names"):
        group = root[group_name]
        by_layer: dict[str, list[Any]] = {}
        for weight in _listed(group, "weight_names"):
            by_layer.setdefault(weight.rpartition("/")[0], []).append(np.asarray(group[weight]))
        for inner, arrays in by_layer.items():
            names = (group_name, inner) if len(by_layer) == 1 else (inner,)
            yield StoredLayer(names=tuple(dict.fromkeys(name for name in names if name)), arrays=tuple(arrays))


def _listed(group: Any, name: str) -> list[str]:
    """Return a list of texts that HDF5 may have stored in several attributes, since one holds 64 KB."""
    parts = [name] if name in group.attrs else [f"{name}{place}" for place in range(len(group.attrs))]
    return [_text(text) for part in parts if part in group.attrs for text in group.attrs[part]]


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
