"""What is compressed: a model, the data it is compressed for, and how pixels become its inputs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.task import Task
from edgefm.core.errors import DataError, ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.data import source as data_source
from edgefm.data.checks import check_fit
from edgefm.data.dataset import Dataset
from edgefm.data.preprocessing import PIXELS, Preprocessing, preprocessing
from edgefm.data.source import data_source_of
from edgefm.quantization.calibration_set import CalibrationSet, from_dataset, from_npz, noise, rescales_first
from edgefm.recipes import Quantization
from edgefm.training.files import MODEL_FILE
from edgefm_converters.readers import model_file
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
        }


def open_source(
    run: RunDirectory, *, recipe: Quantization, dataset: Dataset | None, progress: Progress = SILENT
) -> Source:
    """Return the model of a run with its data, ready to be compressed.

    Args:
      run: has a finished training or a model that was brought.
      recipe: says how many samples calibrate.
      dataset: of the run (`edgefm.data.source.dataset_of`); None for a model that was brought without data.
      progress: receives progress.
    Raises:
      RunError: the run has neither a finished training nor a model that was brought.
      ModelError: the model cannot be loaded.
      DataError: the data do not fit the model.
    """
    brought = run.last(IMPORT)
    if brought is None:
        trained = run.require("train")
        path = run.folder(trained) / MODEL_FILE
        about: dict[str, Any] = {"trust": False, "value_range": None, "labels": None, "calibration_data": None}
        name = str(trained.recipe["params"]["model"])
    else:
        about = json.loads((run.folder(brought) / data_source.FILE_NAME).read_text(encoding="utf-8"))
        path = run.folder(brought) / about["model"]
        name = ""
    progress.note(f"loading {path.name}")
    loaded = model_file.load(path, trust=about["trust"])
    model, float32 = loaded.keras, loaded.float32
    shape = model_file.input_shape(loaded)
    given = data_source_of(run)
    encoding = _encoding(path, model, dataset, about["value_range"], progress)
    classes = _classes(model_file.output_shape(loaded), dataset)
    labels = _labels(tuple(about["labels"]) if about["labels"] else None, dataset, classes, path, progress)
    if dataset is not None:
        known = about["value_range"] or dataset.train.images.dtype == np.uint8 or _rescales(model)
        limits = encoding.value_range if known else None
        check_fit(dataset, input_shape=shape, value_range=limits, classes=classes)
    compared = _compared(run, brought, dataset, encoding, shape, recipe)
    softmax, expected = False, _outputs(model, float32, compared)
    if classes and (expected[0].min() < 0 or expected[0].max() > 1):
        if model is None:
            progress.note(f"{path.name} gives values beyond 0 to 1, no probabilities: they are left as they are")
        else:
            progress.note(f"{path.name} gives values beyond 0 to 1: a softmax is added, so that it gives probabilities")
            model, softmax = _with_softmax(model), True
            expected = _outputs(model, float32, compared)
    task = None
    if dataset is not None and given is not None:
        task = Task(dataset=_with_real_targets(dataset, encoding), encoding=encoding, quality=given.measure(dataset))
    return Source(
        name=name or (str(model.name) if model is not None else path.stem),
        file=path.name,
        sha256=model_file.sha256(path),
        model=model,
        float32=float32,
        input_shape=shape,
        encoding=encoding,
        labels=labels,
        task=task,
        compared=compared,
        expected=expected,
        softmax_added=softmax,
    )


def _rescales(model: Any) -> bool:
    return model is not None and rescales_first(model)


def _with_real_targets(dataset: Dataset, encoding: Preprocessing) -> Dataset:
    """Return a data set whose targets are what a model gives: pictures to be given back become real inputs."""
    if dataset.task != "reconstruction":
        return dataset
    train, validation, test = (
        replace(split, labels=encoding.encode(split.labels)) if split.labels.dtype == np.uint8 else split
        for split in dataset.splits
    )
    return replace(dataset, train=train, validation=validation, test=test)


def _classes(shape: tuple[int, ...], dataset: Dataset | None) -> int | None:
    """Return how many classes a first output of this shape tells apart, or None where it is no classifier."""
    if dataset is not None and dataset.task != "classification":
        return None
    if len(shape) != 1:
        if dataset is None:
            return None
        raise ModelError(
            f"the first output has shape {shape}; the data hold classes, for which [classes] is expected",
            hint="Give --task regression or reconstruction if these are no classes.",
        )
    if dataset is None and shape[0] == 1:
        return None
    return 2 if shape[0] == 1 else shape[0]


def _encoding(
    path: Path, model: Any, dataset: Dataset | None, value_range: list[float] | None, progress: Progress
) -> Preprocessing:
    rescales = _rescales(model)
    if dataset is not None and dataset.train.images.dtype != np.uint8:
        # Floats are the model's inputs already: what is not said, the training samples tell.
        images = dataset.train.images
        seen = (float(images.min()), float(images.max()))
        low, high = value_range or (PIXELS if rescales else seen)
        return Preprocessing(mean=0.0, std=1.0, value_range=(float(low), float(high)))
    if value_range is None and not rescales:
        progress.note(
            f"{path.name} does not start with Rescaling: it is taken to want pixels 0 to 255 as they are. "
            "Give --value-range 0,1 (or -1,1) if it was trained on such values."
        )
    low, high = value_range or PIXELS
    return preprocessing((low, high))


def _labels(
    given: tuple[str, ...] | None, dataset: Dataset | None, classes: int | None, path: Path, progress: Progress
) -> tuple[str, ...]:
    if classes is None:
        return ()
    labels = given or (dataset.labels if dataset is not None else None)
    if not labels:
        progress.note("no labels are given: the classes are numbered")
        labels = tuple(str(index) for index in range(classes))
    if len(labels) != classes:
        raise DataError(
            f"{len(labels)} labels were given for {classes} outputs of {path.name}",
            hint="One label a class is expected, in the order of the output.",
        )
    return labels


def _compared(
    run: RunDirectory,
    brought: Step | None,
    dataset: Dataset | None,
    encoding: Preprocessing,
    shape: tuple[int, ...],
    recipe: Quantization,
) -> CalibrationSet:
    count, seed = recipe.calibration_images, recipe.seed
    if dataset is not None:
        if count <= _FEW:
            count = min(count, len(dataset.train))
        return from_dataset(dataset, encoding, count=count, seed=seed)
    path = None if brought is None else run.folder(brought) / CALIBRATION_FILE
    if path is not None and path.is_file():
        return from_npz(path, encoding, count=count, seed=seed, shape=shape)
    return noise(encoding, shape=shape)


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
