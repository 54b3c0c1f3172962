"""What is compressed: a model, the data it is compressed for, and how pixels become its inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.task import Task
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory
from edgefm.data import source as data_source
from edgefm.data.dataset import Dataset
from edgefm.data.preprocessing import Preprocessing
from edgefm.data.quality import DEFAULTS, Quality, quality
from edgefm.data.source import data_source_of
from edgefm.quantization.calibration_set import CalibrationSet, from_dataset, from_npz, noise
from edgefm.quantization.interface import Interface, infer_interface
from edgefm.quantization.reading.interpretation import interpret
from edgefm.recipes import Quantization
from edgefm.training.files import MODEL_FILE
from edgefm_converters.readers import model_file
from edgefm_converters.readers.model_file import Loaded
from edgefm_converters.readers.precision import given_precision
from edgefm_converters.tflite.outputs import of_model
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

IMPORT = "import"
CALIBRATION_FILE = "calibration.npz"
# As many calibration samples are taken without a word if the training split holds fewer: the default number.
_FEW = 256


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model to compress.

    Attributes:
      name: in contracts and metadata.
      file: name of the model file.
      sha256: of it.
      model: keras.Model on float inputs; None where only a .tflite is at hand: then nothing can be trained.
      float32: .tflite content where `model` is None.
      input_shape: of one sample, without the batch.
      encoding: how pixels become inputs.
      labels: class names; () where the outputs are no classes.
      task: the data it is compressed for; None where none were given: then nothing can be trained or measured.
      compared: samples that calibrate, and on which outputs are compared; noise where no data were given.
      expected: the model's own outputs for them, float32 [n, ...] each.
      softmax_added: the model gave logits, and a softmax was put behind them.
      reading: how it reads pictures, and what was tried to find out; see `quantization.reading.interpretation`.
      precision: how the given model differs from the float32 one that is converted, see `given_precision`; None where
        it computes in float32 itself.
    """

    name: str
    file: str
    sha256: str
    model: Any
    float32: bytes | None
    input_shape: tuple[int, ...]
    encoding: Preprocessing
    labels: tuple[str, ...]
    task: Task | None
    compared: CalibrationSet
    expected: tuple[NDArray[np.float32], ...]
    softmax_added: bool
    reading: Mapping[str, Any] = field(default_factory=dict)
    precision: Mapping[str, Any] | None = None

    @property
    def calibrates(self) -> bool:
        """Whether `compared` are real samples, which may set the ranges of activations."""
        return self.compared.real

    def to_json(self) -> dict[str, Any]:
        """Return what identifies the source as a JSON object."""
        return {
            "name": self.name,
            "file": self.file,
            "sha256": self.sha256,
            "value_range": list(self.encoding.value_range),
            "softmax_added": self.softmax_added,
            "reading": dict(self.reading),
            "precision": None if self.precision is None else dict(self.precision),
        }


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a model comes from, and what its user said of it.

    Attributes:
      name: of the model; '' takes the model's own.
      file: its name.
      sha256: of its content.
      value_range: what it takes for pixels 0 to 255; None where it was not said.
      labels: class names; None where they were not said.
      calibration: .npz of samples, for a model without data.
    """

    name: str
    file: str
    sha256: str
    value_range: tuple[float, float] | None = None
    labels: tuple[str, ...] | None = None
    calibration: Path | None = None


def open_source(
    run: RunDirectory, *, recipe: Quantization, dataset: Dataset | None, progress: Progress = SILENT
) -> Source:
    """Return the model of a run with its data, ready to be compressed.

    Args:
      run: has a finished training or a model that was brought.
      recipe: says how many samples calibrate.
      dataset: of the run (`edgefm.data.source.dataset_of`); None for a model that was imported without data.
      progress: receives progress.
    Raises:
      RunError: the run has neither a finished training nor a model that was brought.
      ModelError: the model cannot be loaded.
      DataError: the data do not fit the model.
    """
    path, origin, trust = _resolve(run)
    progress.note(f"loading {path.name}")
    loaded = model_file.load(path, trust=trust)
    given = data_source_of(run)
    measure = given.measure(dataset) if given is not None and dataset is not None else None
    return source_of(loaded, origin, recipe=recipe, dataset=dataset, measure=measure, progress=progress)


def source_of(
    loaded: Loaded,
    origin: Origin,
    *,
    recipe: Quantization,
    dataset: Dataset | None,
    measure: Quality | None = None,
    progress: Progress = SILENT,
) -> Source:
    """Return a loaded model with its data, ready to be compressed.

    Args:
      loaded: the model.
      origin: where it comes from.
      recipe: says how many samples calibrate.
      dataset: its data; None: nothing can be trained or measured.
      measure: of quality; by default that of the data's task.
      progress: receives progress.
    Raises:
      ModelError: the outputs cannot be the classes of the data.
      DataError: the data do not fit the model.
    """
    reading = interpret(
        loaded,
        dataset,
        file=origin.file,
        value_range=origin.value_range,
        labels=origin.labels,
        progress=progress,
    )
    dataset = reading.dataset
    interface = infer_interface(
        loaded,
        file=origin.file,
        dataset=dataset,
        value_range=reading.value_range,
        labels=origin.labels,
        progress=progress,
    )
    compared = _compared(origin, interface, dataset, recipe)
    model, expected, softmax_added = _probabilities(loaded, interface, compared, origin.file, progress)
    return Source(
        name=origin.name or (str(model.name) if model is not None else Path(origin.file).stem),
        file=origin.file,
        sha256=origin.sha256,
        model=model,
        float32=loaded.float32,
        input_shape=interface.input_shape,
        encoding=interface.encoding,
        labels=interface.labels,
        task=_task(dataset, interface.encoding, measure),
        compared=compared,
        expected=expected,
        softmax_added=softmax_added,
        reading=reading.facts,
        precision=given_precision(loaded, compared.inputs, progress),
    )


def _resolve(run: RunDirectory) -> tuple[Path, Origin, bool]:
    """Return the model file of a run, where it comes from, and whether its code may run."""
    brought = run.last(IMPORT)
    if brought is None:
        trained = run.require("train")
        path = run.folder(trained) / MODEL_FILE
        name = str(trained.recipe["params"]["model"])
        return path, Origin(name=name, file=path.name, sha256=model_file.sha256(path)), False
    folder = run.folder(brought)
    about = json.loads((folder / data_source.FILE_NAME).read_text(encoding="utf-8"))
    path, calibration = folder / about["model"], folder / CALIBRATION_FILE
    origin = Origin(
        name="",
        file=path.name,
        sha256=model_file.sha256(path),
        value_range=tuple(about["value_range"]) if about["value_range"] else None,
        labels=tuple(about["labels"]) if about["labels"] else None,
        calibration=calibration if calibration.is_file() else None,
    )
    return path, origin, bool(about["trust"])


def _task(dataset: Dataset | None, encoding: Preprocessing, measure: Quality | None) -> Task | None:
    if dataset is None:
        return None
    measure = measure or quality(DEFAULTS[dataset.task], task=dataset.task)
    return Task(dataset=_with_real_targets(dataset, encoding), encoding=encoding, quality=measure)


def _with_real_targets(dataset: Dataset, encoding: Preprocessing) -> Dataset:
    """Return a data set whose targets are what a model gives: pictures to be given back become real inputs."""
    if dataset.task != "reconstruction":
        return dataset
    train, validation, test = (
        replace(split, labels=encoding.encode(split.labels)) if split.labels.dtype == np.uint8 else split
        for split in dataset.splits
    )
    return replace(dataset, train=train, validation=validation, test=test)


def _compared(origin: Origin, interface: Interface, dataset: Dataset | None, recipe: Quantization) -> CalibrationSet:
    count, seed, encoding = recipe.calibration_images, recipe.seed, interface.encoding
    if dataset is not None:
        if count <= _FEW:
            count = min(count, len(dataset.train))
        return from_dataset(dataset, encoding, count=count, seed=seed)
    if origin.calibration is not None:
        return from_npz(origin.calibration, encoding, count=count, seed=seed, shape=interface.input_shape)
    return noise(encoding, shape=interface.input_shape)


def _probabilities(
    loaded: Loaded, interface: Interface, compared: CalibrationSet, file: str, progress: Progress
) -> tuple[Any, tuple[NDArray[np.float32], ...], bool]:
    """Return the model, its outputs for the samples, and whether a softmax had to be added to give probabilities."""
    model, expected = loaded.keras, _outputs(loaded.keras, loaded.float32, compared)
    if interface.classes is None or (expected[0].min() >= 0 and expected[0].max() <= 1):
        return model, expected, False
    if model is None:
        progress.note(f"outputs of {file} are outside 0 to 1, so they are not probabilities; they are left unchanged")
        return model, expected, False
    progress.note(f"outputs of {file} are outside 0 to 1: a softmax is added, so that they are probabilities")
    model = _with_softmax(model)
    return model, of_model(model, compared.inputs), True


def _with_softmax(model: Any) -> Any:
    import keras

    softmax = keras.layers.Softmax(name="edgefm_softmax")(model.outputs[0])
    outputs = [softmax, *model.outputs[1:]]
    return keras.Model(model.inputs, outputs if len(outputs) > 1 else softmax, name=model.name)


def _outputs(model: Any, float32: bytes | None, compared: CalibrationSet) -> tuple[NDArray[np.float32], ...]:
    if model is not None:
        return of_model(model, compared.inputs)
    assert float32 is not None, "a source is either a Keras model or a .tflite file"
    return tflite_outputs(float32, compared.inputs)
