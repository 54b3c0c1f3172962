"""A user's own model made ready to be trained: it takes pixels 0 to 255 and gives a probability for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgefm.core.errors import DataError, ModelError
from edgefm.core.progress import Progress
from edgefm.core.text import few
from edgefm.data.preprocessing import PIXELS
from edgefm.recipes import Training

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset

_TRIED = 16
_SUM_TOLERANCE = 1e-2  # of probabilities in bfloat16


def input_shape_of(model: Any, *, source: str) -> tuple[int, ...]:
    """Return the shape of a picture as a model takes it.

    Raises:
      ModelError: several inputs or outputs, sizes that are not fixed, or a name that no later step would take.
    """
    from edgefm.keras_graph.ends import check_model_ends, check_names

    check_model_ends(model, source=source)
    check_names(model)
    for end, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            raise ModelError(
                f"{source} has {len(tensors)} {end}s; a training learns from one picture to one class",
                hint="Train it with Keras, and quantize the file.",
            )
    return tuple(int(length) for length in model.inputs[0].shape[1:])


def check_classes(model: Any, dataset: Dataset, *, source: str) -> None:
    """Raise an error unless a model's output has a probability for each class of the data.

    A single output is the probability of the second of two classes.

    Raises:
      ModelError: the output is no vector, or a single number that cannot be such a probability.
      DataError: it is of other classes.
    """
    from edgefm.keras_graph.output_activation import output_activation

    shape = tuple(int(length) for length in model.outputs[0].shape[1:])
    classes = len(dataset.labels)
    if shape == (1,) and classes == 2:
        if output_activation(model.outputs[0]) in ("softmax", "log_softmax"):
            raise ModelError(
                f"{source} ends in a softmax over one unit, which is always 1",
                hint="End it with keras.layers.Dense(1, activation='sigmoid'), or with Dense(2, activation='softmax').",
            )
        return
    if len(shape) != 1 or shape[0] == 1:
        raise ModelError(
            f"the output of {source} has shape {list(shape)}; a probability for each of {classes} classes is needed",
            hint=f"End it with keras.layers.Dense({classes}, activation='softmax').",
        )
    if shape[0] != classes:
        raise DataError(
            f"{source} has {shape[0]} classes, {dataset.name} has {len(dataset.labels)}: {few(dataset.labels)}",
            hint="Give data of the model's classes; or a function that builds the model for other classes, with the "
            "file as its pretrained weights.",
        )


def say_of_loss(loss: str, recipe: Training, *, source: str, progress: Progress) -> None:
    """Note that the loss that a model was compiled with, '' of none, is not what it is trained with."""
    if loss:
        progress.note(
            f"{source} was compiled with the loss {loss}: that, its optimizer and its metrics are not used; it learns "
            f"by the recipe's, {recipe.loss} and {recipe.optimizer}"
        )


def for_pixels(
    model: Any,
    *,
    source: str,
    value_range: tuple[float, float] | None,
    said: bool = False,
    new: bool,
    progress: Progress,
) -> Any:
    """Return a model that takes pixels 0 to 255 and gives probabilities; what is added is said.

    Args:
      model: Functional or Sequential.
      source: of it, for messages.
      value_range: what it takes for pixels 0 and 255, where that is known and is another range.
      said: its user says so, whatever the model begins with.
      new: it has learnt nothing yet, so that pixels may be scaled to 0 to 1 where it does not scale them itself.
      progress: receives what was added.
    Raises:
      ModelError: whether a new model scales pixels itself cannot be told.
    """
    from edgefm.keras_graph.output_activation import output_activation
    from edgefm.quantization.calibration_set import rescales_first
    from edgefm_converters.tflite.added_head import with_activation

    activation = output_activation(model.outputs[0])
    if activation == "linear":
        added = "sigmoid" if int(model.outputs[0].shape[-1]) == 1 else "softmax"
        progress.note(f"{source} ends in scores: a {added} is put behind it, which makes them probabilities")
        model = with_activation(model, added)
    if value_range == PIXELS or (rescales_first(model) and not said):
        return model
    if value_range is None and new:
        if _scales(model, source=source):
            progress.note(f"{source} begins by scaling pixels itself: it is trained on pixels 0 to 255 as they are")
            return model
        value_range = (0.0, 1.0)
    if value_range is None:
        progress.note(f"{source} does not begin with a Rescaling layer: it is trained on pixels 0 to 255 as they are")
        return model
    low, high = value_range
    progress.note(f"{source} takes {low:g} to {high:g}: pixels 0 to 255 are scaled to that in front of it")
    return _scaled(model, low, high)


def check_probabilities(model: Any, dataset: Dataset, *, source: str) -> None:
    """Raise a ModelError where a model's answers to pictures of the data are no probabilities."""
    pictures = dataset.train.images[:_TRIED]
    answers = np.asarray(model.predict_on_batch(pictures), np.float64)
    single = answers.shape[1] == 1  # of the second of two classes
    sums = answers.sum(axis=1)
    if not np.isfinite(answers).all():
        raise ModelError(f"{source} gives NaN or infinite values for pictures of {dataset.name}")
    if single and (answers.min() < 0 or answers.max() > 1):
        raise ModelError(
            f"the output of {source} is no probability: it goes from {answers.min():.3g} to {answers.max():.3g}",
            hint="End it with a sigmoid, or with a Dense layer without activation, behind which one is put.",
        )
    if not single and (answers.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE):
        raise ModelError(
            f"the outputs of {source} are no probabilities: they go from {answers.min():.3g} to {answers.max():.3g}, "
            f"and those of one picture add up to {sums.min():.3g} to {sums.max():.3g}",
            hint="End it with a softmax, or with a Dense layer without activation, behind which one is put.",
        )


def _scales(model: Any, *, source: str) -> bool:
    from edgefm.keras_graph.own_scaling import beginning_of

    beginning = beginning_of(model)
    if beginning.scales is None:
        raise ModelError(
            f"whether {source} scales pixels itself cannot be told: {beginning.why}",
            hint="Give the value range that it takes for pixels 0 to 255: 0 to 255 where it scales them itself; 0 to 1 "
            "where it does not, so that they are scaled to that in front of it.",
        )
    return beginning.scales


def _scaled(model: Any, low: float, high: float) -> Any:
    import keras

    from edgefm.keras_graph.graph import Graph

    inputs = keras.Input(tuple(model.inputs[0].shape[1:]), name="image")
    scaled = keras.layers.Rescaling((high - low) / 255, offset=low, name="scale_pixels")(inputs)
    (outputs,) = Graph(model).replay([scaled], lambda call, _, args, kwargs: call.layer(*args, **kwargs))
    return keras.Model(inputs, outputs, name=model.name)
