"""The classifier that is explained: one that was brought, or one that edgefm trained, on its own backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError, ModelError
from edgefm.core.runs import RunDirectory, Step
from edgefm.data.preprocessing import PIXELS, Preprocessing, preprocessing
from edgefm.recipes import Training

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.quantization.source import Source

_LEAST_CLASSES = 2
_NO_SCORES = "Give a model that ends in scores of classes, with data of one class a sample."


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A classifier with its data.

    Attributes:
      name: of the model.
      file: name of its file.
      sha256: of it.
      model: keras.Model on float inputs; None where only a .tflite is at hand.
      float32: .tflite content where `model` is None.
      encoding: how pixels become inputs.
      dataset: its data, the classes in the order of the outputs.
      logits: its outputs are scores before softmax or sigmoid, not probabilities.
    """

    name: str
    file: str
    sha256: str
    model: Any
    float32: bytes | None
    encoding: Preprocessing
    dataset: Dataset
    logits: bool

    def answers(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the first output for real inputs [n, ...], float32 [n, ...].

        Raises:
          NonFiniteError: a value of it is not finite.
        """
        if self.model is not None:
            from edgefm_converters.tflite.outputs import of_model

            return of_model(self.model, inputs)[0]
        from edgefm_converters.tflite.tflite_outputs import tflite_outputs

        assert self.float32 is not None, "a classifier is either a Keras model or a .tflite file"
        return tflite_outputs(self.float32, inputs)[0]


def of_source(source: Source) -> Classifier:
    """Return the classifier that a source of TFLite files is, whoever trained it.

    Raises:
      DataError: there are no data, their task is another one, or there is one class only.
      ModelError: the model's outputs are no scores of classes.
    """
    if source.task is None:
        raise DataError(
            f"{source.file} has no data: without labelled pictures nothing can be explained",
            hint="Import it again with labelled data.",
        )
    dataset = checked(source.task.dataset)
    if source.head.kind == "values":
        raise ModelError(f"the outputs of {source.file} are no scores of classes", hint=_NO_SCORES)
    return Classifier(
        name=source.name,
        file=source.file,
        sha256=source.sha256,
        model=source.model,
        float32=source.float32,
        encoding=source.encoding,
        dataset=dataset,
        logits=source.head.kind == "logits",
    )


def of_training(run: RunDirectory, step: Step, dataset: Dataset) -> Classifier:
    """Return the model that edgefm trained in a run, on the backend that Keras runs on.

    It takes pixels, and ends in probabilities or scores of the classes of its data.

    Raises:
      ModelError: the model cannot be loaded, or holds code that this user has not trusted.
      DataError: see `checked`.
    """
    import keras

    from edgefm.core.silence import silenced
    from edgefm.keras_graph.output_activation import output_activation
    from edgefm.training import own_objects
    from edgefm.training.files import MODEL_FILE
    from edgefm_converters.readers import model_file

    path = run.folder(step) / MODEL_FILE
    sha256 = model_file.sha256(path)
    trusted = own_objects.prepare(run, step, path)
    try:
        with silenced():
            model = keras.saving.load_model(path, compile=False, safe_mode=not trusted)
    except (ValueError, TypeError, KeyError, RuntimeError, OSError) as error:
        raise ModelError(f"{path} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    return Classifier(
        name=Training.from_json(step.recipe).model_name,
        file=path.name,
        sha256=sha256,
        model=model,
        float32=None,
        encoding=preprocessing(PIXELS),
        dataset=checked(dataset),
        logits=output_activation(model.outputs[0]) == "linear",
    )


def checked(dataset: Dataset) -> Dataset:
    """Return a data set that a classifier can be explained by.

    Raises:
      DataError: its task is another one, it has one class only, or no validation samples.
    """
    if dataset.task != "classification":
        raise DataError(
            f"the task of {dataset.name} is {dataset.task}; explain needs one class a sample", hint=_NO_SCORES
        )
    if len(dataset.labels) < _LEAST_CLASSES:
        raise DataError(
            f"{dataset.name} has one class: {', '.join(dataset.labels)}", hint="Give pictures of two classes or more."
        )
    if not len(dataset.validation):
        raise DataError(f"{dataset.name} has no validation samples", hint="Give more pictures of each class.")
    return dataset
