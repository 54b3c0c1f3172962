"""What is compressed: a model, the data it is compressed for, and how pixels become its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.task import Task
from edgefm.core import joined, trust
from edgefm.core.documents import inside
from edgefm.core.errors import ModelError, RunError
from edgefm.core.progress import SILENT, Progress, stated
from edgefm.core.runs import RunDirectory
from edgefm.core.text import command
from edgefm.data import source as data_source
from edgefm.data.dataset import Dataset
from edgefm.data.preprocessing import Preprocessing
from edgefm.data.quality import DEFAULTS, Quality, quality
from edgefm.data.source import data_source_of
from edgefm.quantization.calibration_set import CalibrationSet, from_dataset, from_npz, noise, read_samples
from edgefm.quantization.heads import Head, head_of
from edgefm.quantization.interface import Interface, infer_interface
from edgefm.quantization.reading.interpretation import interpret
from edgefm.recipes import Quantization, Training
from edgefm.training import own_objects
from edgefm.training.files import MODEL_FILE
from edgefm_converters.readers import model_file
from edgefm_converters.readers.model_file import Input, Loaded
from edgefm_converters.readers.precision import given_precision
from edgefm_converters.tflite.added_head import with_activation, with_operator
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
      head: what the first output means, and what was put behind the given model.
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
    head: Head
    reading: Mapping[str, Any] = field(default_factory=dict)
    precision: Mapping[str, Any] | None = None

    def answers(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Return the model's own outputs for real inputs [n, ...], float32 [n, ...] each."""
        return _outputs(self.model, self.float32, inputs)

    @property
    def takes_tokens(self) -> bool:
        """Whether the input is whole numbers, which are never quantised."""
        return self.compared.inputs.dtype.kind in "iu"

    @property
    def several_inputs(self) -> bool:
        """Whether a sample is a record of several inputs, see `edgefm.core.joined`."""
        return joined.is_joined(self.compared.inputs)

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
            "softmax_added": self.head.added == "softmax",
            "head": self.head.kind,
            "head_added": self.head.added,
            "task": self.head.task,
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
      head: that was asked for, see `edgefm.core.task_names.HEADS`.
    """

    name: str
    file: str
    sha256: str
    value_range: tuple[float, float] | None = None
    labels: tuple[str, ...] | None = None
    calibration: Path | None = None
    head: str = "auto"


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
    path, origin = _resolve(run)
    with stated(progress, f"loading {path.name}"):
        loaded = _load(path, run, sha256=origin.sha256)
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
        samples=None if origin.calibration is None else read_samples(origin.calibration)[0],
        value_range=reading.value_range,
        labels=origin.labels,
        head=origin.head,
        progress=progress,
    )
    compared = _compared(origin, interface, dataset, recipe, inputs=model_file.inputs_of(loaded))
    given = _outputs(loaded.keras, loaded.float32, compared.inputs)
    head = head_of(
        model_file.head_of(loaded),
        lambda: given[0],
        task=interface.task,
        wanted=origin.head,
        file=origin.file,
        progress=progress,
    )
    loaded, expected = _with_head(loaded, head, compared, given)
    model = loaded.keras
    return Source(
        name=origin.name or (str(model.name) if model is not None else Path(origin.file).stem),
        file=origin.file,
        sha256=origin.sha256,
        model=model,
        float32=loaded.float32,
        input_shape=interface.input_shape,
        encoding=interface.encoding,
        labels=interface.labels,
        task=_task(dataset, interface.encoding, measure, head),
        compared=compared,
        expected=expected,
        head=head,
        reading=reading.facts,
        precision=given_precision(loaded, compared.inputs, progress),
    )


def model_file_of(run: RunDirectory) -> Path:
    """Return the file of a run's model: the one that was brought, else the one that was trained."""
    return _resolve(run)[0]


def _resolve(run: RunDirectory) -> tuple[Path, Origin]:
    """Return the model file of a run, and where it comes from."""
    brought = run.last(IMPORT)
    if brought is None:
        trained = run.require("train")
        path = run.folder(trained) / MODEL_FILE
        name = Training.from_json(trained.recipe).model_name
        return path, Origin(name=name, file=path.name, sha256=model_file.sha256(path))
    folder = run.folder(brought)
    about = data_source.about_model(folder)
    path = inside(folder, about["model"], where=folder / data_source.FILE_NAME, error=RunError)
    calibration = folder / CALIBRATION_FILE
    origin = Origin(
        name="",
        file=path.name,
        sha256=model_file.sha256(path),
        value_range=tuple(about["value_range"]) if about.get("value_range") else None,
        labels=tuple(about["labels"]) if about["labels"] else None,
        calibration=calibration if calibration.is_file() else None,
        head=about.get("head") or "auto",
    )
    return path, origin


def _load(path: Path, run: RunDirectory, *, sha256: str) -> Loaded:
    """Return the model of a run; its code may run if this user trusted it, whatever the run says."""
    trained = run.last("train") if run.last(IMPORT) is None else None
    if trained is not None:
        return model_file.load(path, trust=own_objects.prepare(run, trained, path))
    trusted = trust.is_trusted(sha256)
    code = None if trusted else model_file.code_in(path)
    if code is not None:
        raise ModelError(
            f"{code}; you have not trusted this run",
            hint=f"If you know where it comes from: {command('edgefm', 'trust', run.path)}",
        )
    return model_file.load(path, trust=trusted)


def _task(dataset: Dataset | None, encoding: Preprocessing, measure: Quality | None, head: Head) -> Task | None:
    if dataset is None:
        return None
    measure = measure or quality(DEFAULTS[dataset.task], task=dataset.task)
    return Task(
        dataset=_with_real_targets(dataset, encoding),
        encoding=encoding,
        quality=measure.at(head.threshold),
        head=head.kind,
    )


def _with_real_targets(dataset: Dataset, encoding: Preprocessing) -> Dataset:
    """Return a data set whose targets are what a model gives: pictures to be given back become real inputs."""
    if dataset.task != "reconstruction":
        return dataset
    train, validation, test = (
        replace(split, labels=encoding.encode(split.labels)) if split.labels.dtype == np.uint8 else split
        for split in dataset.splits
    )
    return replace(dataset, train=train, validation=validation, test=test)


def _compared(
    origin: Origin, interface: Interface, dataset: Dataset | None, recipe: Quantization, *, inputs: Sequence[Input]
) -> CalibrationSet:
    count, seed, encoding = recipe.calibration_images, recipe.seed, interface.encoding
    if dataset is not None:
        if count <= _FEW:
            count = min(count, len(dataset.train))
        return from_dataset(dataset, encoding, count=count, seed=seed)
    if origin.calibration is not None:
        shape, whole = interface.input_shape, inputs[0].tokens is not None
        return from_npz(origin.calibration, encoding, count=count, seed=seed, shape=shape, tokens=whole)
    return noise(encoding, inputs)


def _with_head(
    loaded: Loaded, head: Head, compared: CalibrationSet, given: tuple[NDArray[np.float32], ...]
) -> tuple[Loaded, tuple[NDArray[np.float32], ...]]:
    """Return the model with what its head adds, and its outputs for the samples."""
    if not head.added:
        return loaded, given
    if loaded.keras is not None:
        loaded = replace(loaded, keras=with_activation(loaded.keras, head.added))
    else:
        assert loaded.float32 is not None, "a model is either Keras or TFLite"
        loaded = replace(loaded, float32=with_operator(loaded.float32, head.added))
    return loaded, _outputs(loaded.keras, loaded.float32, compared.inputs)


def _outputs(model: Any, float32: bytes | None, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    if model is not None:
        return of_model(model, inputs)
    assert float32 is not None, "a source is either a Keras model or a .tflite file"
    return tflite_outputs(float32, inputs)
