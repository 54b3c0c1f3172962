"""What a tf_keras model learns from: a loss for its first output, found from its head and its task."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.core.task_names import SCORED
from edgefm.recipes import Distillation, FineTuning
from edgefm.training.distillation import distilled, scores_of

_PASSES_ON = ("Flatten", "Reshape", "Dropout", "Activation", "Permute")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """How a model's first output is turned into a loss.

    Attributes:
      head: 'softmax' and 'sigmoid' (probabilities), 'logits' (what comes before them), or 'values' (numbers, which
        are compared by their squared difference).
      units: length of the output's last axis.
      several: a sample has several labels; each is there or not.
      label_smoothing: share of a class target that is spread over all classes.
      distillation: how a teacher's answers count; None without a teacher.
    """

    head: str
    units: int
    several: bool = False
    label_smoothing: float = 0.0
    distillation: Distillation | None = None

    @property
    def binary(self) -> bool:
        """Whether each unit answers yes or no by itself."""
        return self.head == "sigmoid" or (self.head == "logits" and (self.units == 1 or self.several))

    def targets(self, labels: NDArray[Any], output_shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return labels as what the first output is compared with, float32 [n, *output_shape].

        Args:
          labels: int64 [n] classes, int64 [n, units] of 0 and 1, or float32 [n, ...] numbers.
          output_shape: of one sample's first output.
        Raises:
          ModelError: labels that the output cannot answer.
        """
        if self.head == "values":
            if labels.size != len(labels) * int(np.prod(output_shape)):
                shape = list(labels.shape[1:])
                raise ModelError(f"the targets have shape {shape} per sample, the model's output {list(output_shape)}")
            return labels.reshape(len(labels), *output_shape).astype(np.float32)
        spread = self.label_smoothing
        if self.several:
            if labels.shape[1:] != (self.units,):
                raise ModelError(
                    f"the labels are of shape {list(labels.shape[1:])} per sample; the model has {self.units} labels"
                )
            # A softmax cannot say yes twice: the labels of a sample share it.
            hot = labels / np.maximum(labels.sum(axis=1, keepdims=True), 1) if self.head == "softmax" else labels
            return (hot * (1 - spread) + spread / (self.units if self.head == "softmax" else 2)).astype(np.float32)
        classes = 2 if self.units == 1 else self.units
        if labels.ndim != len(output_shape) or (len(labels) and (labels.min() < 0 or labels.max() >= classes)):
            actual = (
                f"up to {labels.max()}"
                if labels.ndim == len(output_shape)
                else f"of shape {list(labels.shape[1:])} per sample"
            )
            raise ModelError(f"the labels are {actual}; the model has {classes} classes, 0 to {classes - 1}")
        if self.units == 1:
            return (labels[..., None] * (1 - spread) + spread / 2).astype(np.float32)
        exact = np.eye(self.units, dtype=np.float32)[labels]
        share = spread / (2 if self.binary else self.units)
        return exact * np.float32(1 - spread) + np.float32(share)

    def loss(self, output: Any, targets: Any, teacher: Any = None) -> Any:
        """Return the mean loss of a batch, a scalar tensor.

        Classes: see `edgefm.training.distillation.distilled`.
        Numbers: (1 - weight) * mean (output - target)^2 + weight * mean (output - teacher)^2.

        Args:
          output: of the model, [n, ...].
          targets: what `targets` gave, same shape.
          teacher: probabilities (or numbers) that the teacher answers, same shape; None without one.
        """
        import tensorflow as tf

        taught = self.distillation if teacher is not None else None
        if self.head == "values":
            loss = tf.reduce_mean(tf.math.squared_difference(output, targets))
            if taught is None:
                return loss
            return (1 - taught.weight) * loss + taught.weight * tf.reduce_mean(
                tf.math.squared_difference(output, teacher)
            )
        scores = self._scores(output)
        if self.binary:
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, scores))
        else:
            loss = tf.reduce_mean(-tf.reduce_sum(targets * tf.nn.log_softmax(scores), axis=-1))
        if taught is None:
            return loss
        ops = _tensorflow_operations()
        return distilled(loss, scores, teacher, taught, ops=ops, binary=self.binary, reduce=tf.reduce_mean)

    def _scores(self, output: Any) -> Any:
        """Return logits: the output itself, what tf_keras kept of them, or the logarithms of probabilities."""
        if self.head == "logits":
            return output
        # tf_keras hangs the argument of a softmax or sigmoid on its result; it says more than a rounded 0 or 1.
        kept = getattr(output, "_keras_logits", None)
        return scores_of(output, ops=_tensorflow_operations(), binary=self.binary) if kept is None else kept


def objective_of(tf_model: Any, recipe: FineTuning, *, task: str, taught: bool, head: str = "") -> Objective:
    """Return what a tf_keras model learns from.

    Args:
      tf_model: its first output decides; wrappers of tensorflow-model-optimization are looked through.
      recipe: label smoothing and distillation.
      task: one of `edgefm.core.task_names.TASKS`.
      taught: whether there is a teacher.
      head: what the first output means, see `Objective.head`; '' leaves it to the model's last layer.
    Raises:
      ModelError: a first output whose shape is no classifier's, for classification.
    """
    output = tf_model.outputs[0]
    units = output.shape[-1]
    if task not in SCORED:
        head = "values"
    else:
        if len(output.shape) != (4 if task == "segmentation" else 2) or units is None:
            raise ModelError(
                f"the first output of '{tf_model.name}' has shape {tuple(output.shape)}; "
                f"(None, {'height, width, classes' if task == 'segmentation' else 'classes'}) is expected"
            )
        head = _head(output) if task == "segmentation" else head or _head(output)
        if head == "softmax" and units == 1:
            raise ModelError(
                f"'{tf_model.name}' ends in a softmax over one unit, which is always 1",
                hint="End it in a sigmoid, or give it one unit per class.",
            )
    return Objective(
        head=head,
        units=int(units or 1),
        several=task == "multilabel",
        label_smoothing=recipe.label_smoothing,
        distillation=recipe.distillation if taught else None,
    )


def _tensorflow_operations() -> SimpleNamespace:
    """Return what `distilled` needs of keras.ops in TensorFlow, whatever Keras's backend is."""
    import tensorflow as tf

    def binary_crossentropy(targets: Any, scores: Any, *, from_logits: bool) -> Any:
        assert from_logits
        return tf.nn.sigmoid_cross_entropy_with_logits(targets, scores)

    return SimpleNamespace(
        binary_crossentropy=binary_crossentropy,
        clip=tf.clip_by_value,
        log=tf.math.log,
        log_softmax=tf.nn.log_softmax,
        maximum=tf.maximum,
        sigmoid=tf.sigmoid,
        softmax=tf.nn.softmax,
        sum=tf.reduce_sum,
    )


def _head(tensor: Any) -> str:
    """Return 'softmax', 'sigmoid' or 'logits' from the layers that give a symbolic tf_keras tensor."""
    while True:
        history = tensor._keras_history
        layer = history.layer
        while hasattr(layer, "layer"):
            layer = layer.layer
        kind = type(layer).__name__
        if kind == "Softmax":
            return "softmax"
        name = _name_of(getattr(layer, "activation", None))
        if name in ("softmax", "sigmoid"):
            return name
        if kind not in _PASSES_ON or name not in ("linear", "NoneType"):
            return "logits"
        tensor = history.layer.inbound_nodes[history.node_index].input_tensors


def _name_of(activation: Any) -> str:
    # Quantisation-aware training wraps the function.
    activation = getattr(activation, "activation", activation)
    return str(getattr(activation, "__name__", type(activation).__name__))
