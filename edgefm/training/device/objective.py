"""What a step makes smaller: the loss of each sample of a batch, on any backend, of any classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgefm.core.errors import DataError, RecipeError
from edgefm.keras_graph.output_activation import output_activation
from edgefm.recipes import Training
from edgefm.recipes.class_weights import ByClass, by_name
from edgefm.training.distillation import distilled, scores_of

Form = Literal["probabilities", "logits"]
# Of a sample whose shares of the label are asked for: a weight of 0 has none.
_LEAST_WEIGHT = 1e-30


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The loss of a classifier's outputs.

    Attributes:
      recipe: loss, label smoothing and distillation are read.
      classes: number of classes.
      form: of the outputs. A model with a single output answers for the second of two classes.
    """

    recipe: Training
    classes: int
    form: Form

    def losses(self, outputs: Any, targets: Any, taught: Any | None = None) -> Any:
        """Return the loss of each sample, float32 [b].

        Args:
          outputs: float32 [b, classes], or [b, 1] of a model with two classes.
          targets: share of each class, float32 [b, classes]; those of a sample add up to 1.
          taught: the teacher's probabilities, float32 [b, classes]; None without one.
        """
        share = self.recipe.label_smoothing
        wanted = targets * (1 - share) + share / self.classes
        answers = self.columns(outputs)
        if self.recipe.loss == "multi_margin":
            hard = margin_losses(self._scores(answers), wanted)
        else:
            hard = ops.categorical_crossentropy(wanted, answers, from_logits=self.form == "logits")
        if taught is None or self.recipe.distillation is None:
            return hard
        return distilled(hard, self._scores(answers), taught, self.recipe.distillation, ops=ops)

    def weighted_losses(self, outputs: Any, targets: Any, taught: Any | None = None) -> Any:
        """Return the loss of each sample times its weight, float32 [b].

        Args:
          outputs: see `losses`.
          targets: share of each class times its weight, float32 [b, classes]; those of a sample add up to its weight.
          taught: see `losses`.
        """
        weights = ops.sum(targets, axis=-1)
        # Gradients of cross-entropy are right for shares alone: TensorFlow's kernel takes it that they add up to 1.
        shares = targets / ops.expand_dims(ops.maximum(weights, _LEAST_WEIGHT), -1)
        return weights * self.losses(outputs, shares, taught)

    def right(self, outputs: Any, targets: Any) -> Any:
        """Return 1 for each sample whose likeliest class is that of its label, float32 [b]."""
        likeliest = ops.argmax(self.columns(outputs), axis=-1)
        return ops.cast(ops.equal(likeliest, ops.argmax(targets, axis=-1)), "float32")

    def columns(self, outputs: Any) -> Any:
        """Return outputs with one column a class."""
        if int(outputs.shape[-1]) == self.classes:
            return outputs
        other = 1 - outputs if self.form == "probabilities" else ops.zeros_like(outputs)
        return ops.concatenate([other, outputs], axis=-1)

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return a model's outputs [n, classes or 1] as probabilities, float64 [n, classes]."""
        values = np.asarray(outputs, np.float64)
        if values.shape[-1] != self.classes:
            values = np.concatenate([1 - values if self.form == "probabilities" else 0 * values, values], axis=-1)
        if self.form == "probabilities":
            return values
        exact = np.exp(values - values.max(axis=-1, keepdims=True))
        result: NDArray[np.float64] = exact / exact.sum(axis=-1, keepdims=True)
        return result

    def _scores(self, answers: Any) -> Any:
        return scores_of(answers, ops=ops) if self.form == "probabilities" else answers


def objective_of(model: Any, recipe: Training, *, classes: int) -> Objective:
    """Return the objective of training a keras.Model on data with a number of classes.

    Raises:
      RecipeError: the model has several outputs, or another number of them than there are classes.
    """
    if not getattr(model, "outputs", None):
        raise RecipeError(
            f"the model {model.name} has no graph of layers",
            hint="Build a functional or a Sequential model with a keras.Input.",
        )
    shape = tuple(model.outputs[0].shape)
    if len(model.outputs) != 1 or len(shape) != 2 or shape[-1] != (1 if shape[-1] == 1 and classes == 2 else classes):
        given = ", ".join(str(tuple(output.shape)) for output in model.outputs)
        raise RecipeError(
            f"the model {model.name} gives outputs of shape {given}; the data have {classes} classes",
            hint=f"Build a model with one output [n, {classes}].",
        )
    # What comes of another operation (the mean of several softmaxes, say) is taken for what the trainings ask for.
    scores = output_activation(model.outputs[0]) in ("linear", "log_softmax")
    return Objective(recipe=recipe, classes=classes, form="logits" if scores else "probabilities")


def margin_losses(scores: Any, targets: Any) -> Any:
    """Return sum_j t_j * sum_(i != j) max(0, 1 - z_j + z_i) / classes of each sample, float32 [b].

    For a label t it is torch.nn.MultiMarginLoss of the logits z (or, which is the same, of log probabilities).

    Args:
      scores: float32 [b, classes].
      targets: share of each class, float32 [b, classes].
    """
    classes = int(scores.shape[-1])
    gaps = ops.relu(1 - ops.expand_dims(scores, 2) + ops.expand_dims(scores, 1)) * (1 - ops.eye(classes))
    return ops.sum(targets * ops.sum(gaps, axis=2), axis=1) / classes


def class_weights(
    labels: NDArray[Any], names: tuple[str, ...], *, wanted: str | ByClass = "balanced"
) -> NDArray[np.float32]:
    """Return the weight of each class, float32 [classes], as a recipe wants it.

    A loss is the sum of weight * loss over a batch, divided by its number of samples, as in keras.Model.fit.

    >>> class_weights(np.array([0, 0, 1]), ("cat", "dog"), wanted={"dog": 3.5}).tolist()
    [1.0, 3.5]

    Args:
      labels: int [n], of the training samples.
      names: of the classes.
      wanted: the recipe's: 'none', 'balanced', or a weight for each class.
    Raises:
      DataError: 'balanced', and a class has no training image.
      RecipeError: see `edgefm.recipes.class_weights.by_name`.
    """
    if wanted == "balanced":
        return _balanced(labels, names)
    named = by_name(wanted, names)
    return np.array([1.0 if isinstance(named, str) else named.get(name, 1.0) for name in names], np.float32)


def _balanced(labels: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the weight of each class that makes all count alike: images / (classes * images of the class).

    >>> _balanced(np.array([0, 0, 0, 1]), ("cat", "dog")).round(3)
    array([0.667, 2.   ], dtype=float32)
    """
    counts = np.bincount(labels, minlength=len(names))
    if not counts.all():
        missing = ", ".join(name for name, count in zip(names, counts, strict=True) if not count)
        raise DataError(
            f"balanced class weights need images of every class; the training split has none of: {missing}",
            hint="Add images of it, or leave class_weights at 'none'.",
        )
    return (len(labels) / (len(names) * counts)).astype(np.float32)
