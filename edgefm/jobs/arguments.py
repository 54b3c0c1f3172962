"""What the public functions take: models, data and files, each in the forms that people have them in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import scratch
from edgefm.core.arguments import PathLike, as_path, check_items, check_type
from edgefm.core.errors import ArgumentError, DataError, RunError
from edgefm.core.progress import SILENT, Progress
from edgefm.recipes import Quantization

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.head import ModelHead
    from edgefm.data.quality import Quality
    from edgefm.data.source import DataSource
    from edgefm_converters.readers.model_file import Loaded

_MODELS = (
    "a keras.Model, the path of a model (.keras, .h5, SavedModel, .tflite), or the result of edgefm.train or "
    "edgefm.compress"
)
_DATA = (
    "a Dataset (edgefm.data.load, from_arrays, fashion_mnist), a path (.npz, class folders, TFRecord files) or "
    "'module:function'"
)
_SOURCES = "a path (.npz, class folders, TFRecord files), 'module:function', an edgefm.data.DataSource"
_KEPT = "A run finds its data again by where they lie: save arrays with numpy.savez(path, x_train=..., y_train=...)."


@dataclass(frozen=True, kw_only=True)
class FolderResult:
    """A result whose files lie in a folder.

    Attributes:
      folder: where the files lie; a temporary one goes with the last reference to the result.
    """

    folder: Path
    # Removes a temporary folder when the result is no longer used.
    _scratch: Any = field(default=None, repr=False, compare=False)

    def save(self, folder: PathLike) -> Path:
        """Copy all files into a new or empty folder and return it.

        Raises:
          RunError: the folder holds something.
        """
        return Path(shutil.copytree(self.folder, new_folder(folder), dirs_exist_ok=True))


def new_folder(folder: PathLike) -> Path:
    """Return a folder that is empty; it is made where it is not there.

    Raises:
      RunError: it holds something, or is a file.
    """
    path = as_path(folder, "folder")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} exists and is not empty", hint="Give a new folder, or remove this one.")
    path.mkdir(parents=True, exist_ok=True)
    return path


def scratch_folder() -> tuple[Path, Any]:
    """Return a temporary folder, and what removes it when it is no longer referred to."""
    kept = scratch.Kept("results")
    return kept.path, kept


def loaded_model(model: Any, *, trust: bool = False) -> tuple[Loaded, str]:
    """Return a model in memory, and the name of its file.

    Args:
      model: a keras.Model, a path, or a result that has a `model`.
      trust: run code that the file holds.
    Raises:
      ArgumentError: none of these.
      ModelError: the file cannot be loaded.
    """
    from edgefm_converters.readers import model_file
    from edgefm_converters.readers.model_file import Loaded

    if isinstance(model, str | os.PathLike):
        path = as_path(model, "model")
        model_file.check_model(path, trust=trust)
        return model_file.load(path, trust=trust), path.name
    keras_model = _keras_model(model)
    from edgefm_converters.readers.keras_file import in_memory

    name = str(keras_model.name)
    from edgefm_converters.readers.stored_loss import loss_in_memory

    recast = in_memory(keras_model, source=f"the model '{name}'")
    given = None if recast is keras_model else keras_model
    return Loaded(keras=recast, given=given, loss=loss_in_memory(keras_model)), name


def keras_model(model: Any, *, trust: bool = False) -> Any:
    """Return a keras.Model; see `loaded_model`.

    Raises:
      ModelError: a file without a Keras model, which cannot be trained.
    """
    from edgefm.core.errors import ModelError

    loaded, name = loaded_model(model, trust=trust)
    if loaded.keras is None:
        raise ModelError(f"{name} holds no Keras model to train", hint="Give the .keras or .h5 file.")
    return loaded.keras


def dataset_and_quality(
    data: Any,
    *,
    quality: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    head: ModelHead | None = None,
    task: str | None = None,
    progress: Progress = SILENT,
) -> tuple[Dataset | None, Quality | None]:
    """Return a data set and the measure of quality on it; (None, None) for no data.

    Args:
      data: see `_DATA`.
      quality: name of the measure; by default that of the data's task.
      input_shape: that pictures are read at, [height, width, channels].
      head: of the model that they are for; None where it is not known.
      task: of the model, where the data's own is not said.
      progress: receives progress.
    Raises:
      ArgumentError: `data` is of another type.
      DataError: they cannot be read.
    """
    from edgefm.data.dataset import Dataset
    from edgefm.data.quality import DEFAULTS
    from edgefm.data.quality import quality as named
    from edgefm.data.source import DataSource

    if data is None:
        if quality is not None:
            raise DataError(
                f"quality '{quality}' can only be measured on data, and none were given", hint=f"Give data: {_DATA}."
            )
        return None, None
    source = data
    if isinstance(data, str | os.PathLike):
        source = DataSource(where=str(data), quality=quality)
    if isinstance(source, DataSource):
        source = replace(source, task=source.task or task)
        dataset = source.load(input_shape, head=head, progress=progress)
        return dataset, named(quality or source.quality or DEFAULTS[dataset.task], task=dataset.task)
    check_type(data, "data", Dataset, _DATA)
    return data, named(quality or DEFAULTS[data.task], task=data.task)


def source_in_memory(
    model: Any,
    recipe: Quantization,
    *,
    data: Any,
    quality: str | None = None,
    labels: Sequence[str] | None = None,
    value_range: Sequence[float] | None = None,
    calibration_data: PathLike | None = None,
    head: str = "auto",
    trust: bool = False,
    progress: Progress,
) -> Any:
    """Return the `edgefm.quantization.source.Source` of a model that is in no run."""
    from edgefm.core.errors import DataError
    from edgefm.data.preprocessing import preprocessing
    from edgefm.quantization.heads import check_name as check_head
    from edgefm.quantization.source import Origin, source_of
    from edgefm_converters.readers import model_file

    if labels is not None:
        check_items(labels, "labels", str, "the name of a class")
    check_head(head)
    loaded, name = loaded_model(model, trust=trust)
    limits = pair_of_numbers(value_range, "value_range")
    if limits is not None:
        preprocessing(limits)
    calibration = None if calibration_data is None else as_path(calibration_data, "calibration_data")
    if calibration is not None and not calibration.is_file():
        raise DataError(f"no calibration data at {calibration}", hint="numpy.savez(path, images=array)")
    dataset, measure = dataset_and_quality(
        data,
        quality=quality,
        input_shape=model_file.input_shape(loaded),
        head=model_file.head_of(loaded),
        progress=progress,
    )
    origin = Origin(
        name=str(loaded.keras.name) if loaded.keras is not None else "",
        file=name,
        sha256=model_file.content_sha256(loaded),
        value_range=limits,
        labels=None if labels is None else tuple(labels),
        calibration=calibration,
        head=head,
    )
    return source_of(loaded, origin, recipe=recipe, dataset=dataset, measure=measure, progress=progress)


def data_source(data: Any, *, dataset: bool = False) -> DataSource | None:
    """Return where data come from, for a run to remember; an existing path whole, so that it is found from anywhere.

    Args:
      data: a path, 'module:function', a DataSource, or None.
      dataset: a Dataset is allowed too, by the caller; this says so in the error.
    Raises:
      ArgumentError: `data` is of another type.
    """
    from edgefm.data.source import DataSource

    if data is None or isinstance(data, DataSource):
        return data
    allowed = f"{_SOURCES} or a Dataset" if dataset else _SOURCES
    check_type(data, "data", (str, os.PathLike), allowed, hint=None if dataset else _KEPT)
    path = as_path(data, "data")
    return DataSource(where=str(path.resolve()) if path.exists() else str(path))


def optional_path(path: Any, name: str) -> Path | None:
    """Return a path given as `str` or `Path`, or None for None; `name` is the argument's."""
    return None if path is None else as_path(path, name)


def folder_path(path: Any, name: str) -> Path:
    """Return the path of a folder to write into; `name` is the argument's.

    Raises:
      RunError: it is a file, or lies below one.
    """
    folder = as_path(path, name)
    there = next((part for part in (folder, *folder.parents) if part.exists()), folder)
    if there.is_file():
        raise RunError(f"{there} is a file; {name} needs a folder", hint=f"Give another one as {name}.")
    return folder


def require_data(data: Any) -> None:
    """Raise an ArgumentError unless data were given."""
    if data is None:
        raise ArgumentError(f"data is None; it is needed here: {_DATA}")


def pair_of_numbers(value: Sequence[float] | None, name: str) -> tuple[float, float] | None:
    """Return (low, high) given as any sequence of two numbers."""
    if value is None:
        return None
    try:
        low, high = (float(number) for number in value)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} is {value!r}; two numbers (low, high) are expected") from None
    return low, high


def _keras_model(model: Any) -> Any:
    if not _is_keras(model):
        model = getattr(model, "model", model)  # of a result of edgefm.train or edgefm.compress
    if not _is_keras(model):
        hint = "Save it with model.save('model.h5') and give the file." if _kinds(model, "tf_keras.") else None
        check_type(model, "model", (), _MODELS, hint=hint)
    return model


def _is_keras(model: Any) -> bool:
    """Return whether this is a keras.Model; asked by name, since importing Keras would choose its backend."""
    return any(kind.endswith(".Model") for kind in _kinds(model, "keras."))


def _kinds(value: Any, package: str) -> list[str]:
    names = [f"{kind.__module__}.{kind.__name__}" for kind in type(value).__mro__]
    return [name for name in names if name.startswith(package)]
