"""What the training loop runs in TensorFlow: steps of Adam, several a call, and a model's answers at inference."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.objective import Objective
from edgefm.compression.fine_tuning.task import Task
from edgefm.data.batches import evaluation_batch
from edgefm.keras_graph.strided_pointwise import strided_pointwise

_CALL_SECONDS = 0.5
_STEPS_A_CALL = 32


@dataclass(frozen=True, kw_only=True)
class Samples:
    """An epoch's samples in their order: images, and what each output shall answer."""

    images: NDArray[Any]
    targets: NDArray[np.float32]
    soft: NDArray[np.float32] | None
    others: tuple[NDArray[np.float32], ...]


class StepLoop:
    """Runs steps of Adam on a model, several a call."""

    def __init__(self, tf_model: Any, objective: Objective, *, batch_size: int, taught: bool) -> None:
        import tensorflow as tf
        import tf_keras

        self.batch_size = batch_size
        self.steps_a_call = 1
        self._calls = 0
        optimizer = tf_keras.optimizers.Adam(1.0)
        trained = tf_model.trainable_variables
        optimizer.build(trained)
        single = len(tf_model.outputs) == 1

        def step(batch: tuple[Any, Any, Any, Any], rate: Any) -> Any:
            images, targets, soft, others = batch
            with tf.GradientTape() as tape:
                with strided_pointwise(tf_model):
                    outputs = tf_model(images, training=True)
                first = outputs if single else outputs[0]
                loss = objective.loss(first, targets, soft[0] if soft else None)
                for output, wanted in zip(() if single else outputs[1:], others, strict=True):
                    loss += tf.reduce_mean(tf.math.squared_difference(output, wanted))
                whole = loss + tf.add_n(tf_model.losses) if tf_model.losses else loss
            gradients = tape.gradient(whole, trained)
            optimizer.learning_rate.assign(rate)
            optimizer.apply_gradients(
                [(change, weight) for change, weight in zip(gradients, trained, strict=True) if change is not None]
            )
            return loss

        # As Keras runs layers: AutoGraph would take most of the time that tracing takes.
        plain_step = tf.autograph.experimental.do_not_convert(step)

        def run(images: Any, targets: Any, soft: Any, others: Any, rates: Any) -> Any:
            losses = tf.TensorArray(tf.float32, tf.shape(rates)[0])
            for index in tf.range(tf.shape(rates)[0]):
                start, end = index * batch_size, (index + 1) * batch_size
                batch = tf.nest.map_structure(operator.itemgetter(slice(start, end)), (images, targets, soft, others))
                losses = losses.write(index, plain_step(batch, rates[index]))
            return losses.stack()

        first, *others = [tf.TensorSpec([None, *output.shape[1:]], tf.float32) for output in tf_model.outputs]
        images = tf.TensorSpec([None, *tf_model.inputs[0].shape[1:]], tf.float32)
        rates = tf.TensorSpec([None], tf.float32)
        signature = [images, first, (first,) if taught else (), tuple(others), rates]
        self._run = tf.function(run, input_signature=signature)

    def run(self, samples: Samples, task: Task, *, first: int, rates: NDArray[np.float32]) -> float:
        """Train on the batches from number `first` on, one a learning rate; return the sum of their losses."""
        import tensorflow as tf

        part = slice(first * self.batch_size, (first + len(rates)) * self.batch_size)
        started = time.perf_counter()
        losses = self._run(
            tf.constant(task.inputs(samples.images[part])),
            tf.constant(samples.targets[part]),
            () if samples.soft is None else (tf.constant(samples.soft[part]),),
            tuple(tf.constant(other[part]) for other in samples.others),
            tf.constant(rates),
        ).numpy()
        seconds = (time.perf_counter() - started) / len(rates)
        self._calls += 1
        if self._calls > 1:  # the first one traces
            self.steps_a_call = max(1, min(_STEPS_A_CALL, int(_CALL_SECONDS / max(seconds, 1e-6))))
        return float(losses.sum(dtype=np.float64))


class Keeper:
    """Answers for the outputs behind the first one as the model did before it was trained."""

    def __init__(self, tf_model: Any, reference: Any) -> None:
        self._model = tf_model
        self._before = [variable.numpy() for variable in tf_model.variables] if reference is None else []
        self._answer = answering(tf_model if reference is None else reference)

    def answers(self, images: NDArray[Any], task: Task) -> tuple[NDArray[np.float32], ...]:
        """Return the outputs behind the first one for some images; the weights of the model stay as they are."""
        if not self._before:
            return outputs_of(self._answer, images, task)[1:]
        now = [variable.numpy() for variable in self._model.variables]
        self._assign(self._before)
        answers = outputs_of(self._answer, images, task)[1:]
        self._assign(now)
        return answers

    def _assign(self, values: Sequence[NDArray[Any]]) -> None:
        for variable, value in zip(self._model.variables, values, strict=True):
            variable.assign(value)


def answering(tf_model: Any) -> Callable[[Any], Any]:
    """Return a model in evaluation mode as a compiled function: inputs to the list of all outputs."""
    import tensorflow as tf

    images = tf.TensorSpec([None, *tf_model.inputs[0].shape[1:]], tf.float32)

    def answer(inputs: Any) -> Any:
        with strided_pointwise(tf_model):
            return tf.nest.flatten(tf_model(inputs, training=False))

    compiled: Callable[[Any], Any] = tf.function(answer, input_signature=[images], autograph=False)
    return compiled


def outputs_of(answer: Callable[[Any], Any], images: NDArray[Any], task: Task) -> tuple[NDArray[np.float32], ...]:
    """Return all outputs of a model, float32 [n, ...] each."""
    size = evaluation_batch(images.shape[1:])
    parts = [
        [output.numpy() for output in answer(task.inputs(images[start : start + size]))]
        for start in range(0, len(images), size)
    ]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
