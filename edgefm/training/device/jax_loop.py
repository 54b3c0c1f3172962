"""Steps on JAX: on a GPU a loop in one compiled call; on a CPU, where XLA slows loops down, a compiled step a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from edgefm.training.device.batch import Job, batch_of, mean_loss, penalty


class JaxLoop:
    """Runs steps with jax.jit on the state of the model and its optimiser; see `Loop`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._whole = jax.default_backend() != "cpu"
        self._one = jax.jit(self._step, donate_argnums=0)
        self._steps = jax.jit(self._many, donate_argnums=0)
        self._answer = jax.jit(self._outputs)

    def run(self, held: Mapping[str, Any], rows: Mapping[str, Any], *, first: int, count: int) -> NDArray[np.float32]:
        """See `Loop.run`."""
        state = [[variable.value for variable in group] for group in self._variables()]
        if self._whole:
            steps = next(iter(rows.values())).shape[0]
            state, figures = self._steps(
                (state, jnp.zeros((steps, 2), jnp.float32)), dict(held), dict(rows), first, first + count
            )
            result = np.asarray(figures)[first : first + count]
        else:
            each = []
            for step in range(first, first + count):
                state, figures = self._one(state, dict(held), dict(rows), step)
                each.append(figures)
            result = np.stack([np.asarray(figures) for figures in each])
        for group, values in zip(self._variables(), state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return result

    def answer(self, inputs: Any) -> Any:
        """See `Loop.answer`."""
        model = self._job.model
        trainable = [variable.value for variable in model.trainable_variables]
        others = [variable.value for variable in model.non_trainable_variables]
        return self._answer(trainable, others, inputs)

    def _variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        model = self._job.model
        return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables

    def _outputs(self, trainable: Any, others: Any, inputs: Any) -> Any:
        return self._job.model.stateless_call(trainable, others, inputs, training=False)[0]

    def _many(self, carried: Any, held: Any, rows: Any, first: Any, end: Any) -> Any:
        def body(step: Any, carried: Any) -> Any:
            state, figures = carried
            state, found = self._step(state, held, rows, step)
            return state, figures.at[step].set(found)

        return jax.lax.fori_loop(first, end, body, carried)

    def _step(self, state: Any, held: Any, rows: Any, step: Any) -> Any:
        job, model = self._job, self._job.model
        trainable, others, optimizer = state
        inputs, targets, weighted, taught = batch_of(job, held, rows, step)

        def scaled_loss(values: Any) -> Any:
            outputs, changed, added = model.stateless_call(values, others, inputs, training=True, return_losses=True)
            loss, right = mean_loss(job, outputs, targets, weighted, taught, added)
            return self._scaled(loss + penalty(job, values), optimizer), (loss, right, changed)

        gradients, (loss, right, others) = jax.grad(scaled_loss, has_aux=True)(trainable)
        trainable, optimizer = model.optimizer.stateless_apply(optimizer, gradients, trainable)
        return [trainable, others, optimizer], jnp.stack([loss, right])

    def _scaled(self, loss: Any, variables: Any) -> Any:
        optimizer = self._job.model.optimizer
        with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, variables, strict=True))):
            return optimizer.scale_loss(loss)
