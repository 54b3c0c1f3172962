"""Steps on TensorFlow: a while loop in one graph, so that Python is not asked between two steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgefm.keras_graph.strided_pointwise import strided_pointwise
from edgefm.training.device.batch import Job, batch_of, mean_loss, penalty


class TensorFlowLoop:
    """Runs steps with tf.function; see `Loop`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._one = tf.function(self._step, jit_compile=True, autograph=False) if job.xla else self._step
        self._steps = tf.function(self._many, autograph=False)
        self._answer = tf.function(lambda inputs: self._outputs(inputs, training=False), autograph=False)

    def run(self, held: Mapping[str, Any], rows: Mapping[str, Any], *, first: int, count: int) -> NDArray[np.float32]:
        """See `Loop.run`."""
        figures = self._steps(dict(held), dict(rows), tf.constant(first), tf.constant(count))
        result: NDArray[np.float32] = figures.numpy()
        return result

    def answer(self, inputs: Any) -> Any:
        """See `Loop.answer`."""
        return self._answer(inputs)

    def _outputs(self, inputs: Any, *, training: bool) -> Any:
        with strided_pointwise(self._job.model):
            return self._job.model(inputs, training=training)

    def _many(self, held: Mapping[str, Any], rows: Mapping[str, Any], first: Any, count: Any) -> Any:
        def body(index: Any, figures: Any) -> tuple[Any, Any]:
            return index + 1, figures.write(index, self._one(held, rows, first + index))

        figures = tf.TensorArray(tf.float32, size=count, element_shape=(2,))
        _, figures = tf.while_loop(lambda index, _: index < count, body, (tf.constant(0), figures))
        return figures.stack()

    def _step(self, held: Mapping[str, Any], rows: Mapping[str, Any], step: Any) -> Any:
        job, model = self._job, self._job.model
        inputs, targets, weighted, taught = batch_of(job, held, rows, step)
        variables = model.trainable_variables
        values = [variable.value for variable in variables]
        with tf.GradientTape() as tape:
            outputs = self._outputs(inputs, training=True)
            loss, right = mean_loss(job, outputs, targets, weighted, taught, model.losses)
            scaled = model.optimizer.scale_loss(loss + penalty(job, values))
        model.optimizer.apply(tape.gradient(scaled, values), variables)
        return tf.stack([loss, right])
