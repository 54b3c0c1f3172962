"""What is in a step, and what it makes smaller; the same on every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgefm.data.batches import evaluation_batch
from edgefm.training.device.objective import Objective
from edgefm.training.device.views import labels_seen, model_inputs, view


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a loop trains.

    Attributes:
      model: keras.Model, compiled with the optimiser.
      objective: what is made smaller.
      l2: of each trainable variable: half this times its sum of squares is added to what is made smaller.
      weighted: samples have weights, by their class.
      taught: each row holds a teacher's answers.
      xla: TensorFlow compiles a step with XLA; JAX always does.
    """

    model: Any
    objective: Objective
    l2: tuple[float, ...]
    weighted: bool
    taught: bool
    xla: bool


def batch_of(job: Job, held: Mapping[str, Any], rows: Mapping[str, Any], step: Any) -> tuple[Any, Any, Any, Any]:
    """Return the inputs, targets, targets times weights (or None) and the teacher's answers (or None) of a step."""
    row = {name: values[step] for name, values in rows.items()}
    labels = ops.take(held["labels"], row["order"], axis=0)
    inputs = view(ops.take(held["images"], row["order"], axis=0), row)
    targets = labels_seen(labels, row, classes=job.objective.classes)
    weighted = None
    if job.weighted:
        weighted = labels_seen(labels, row, classes=job.objective.classes, weights=held["weights"])
    return inputs, targets, weighted, row["taught"] if job.taught else None


def mean_loss(job: Job, outputs: Any, targets: Any, weighted: Any, taught: Any, added: list[Any]) -> tuple[Any, Any]:
    """Return the loss of a batch, with what the model's layers add to it, and its share of right answers."""
    outputs = ops.cast(outputs, "float32")
    if weighted is None:
        losses = job.objective.losses(outputs, targets, taught)
    else:
        losses = job.objective.weighted_losses(outputs, weighted, taught)
    loss = ops.mean(losses)
    for extra in added:
        loss = loss + ops.sum(ops.cast(extra, "float32"))
    return loss, ops.mean(job.objective.right(outputs, targets))


def penalty(job: Job, values: list[Any]) -> Any:
    """Return half the sum of squares of the weights, each variable's times its rate; 0 where there are none."""
    total: Any = 0.0
    for value, rate in zip(values, job.l2, strict=True):
        if rate:
            total = total + rate / 2 * ops.sum(ops.square(ops.cast(value, "float32")))
    return total


def answers(
    answer: Callable[[Any], Any], images: Any, order: NDArray[np.int32], *, batch_size: int
) -> NDArray[np.float32]:
    """Return a model's outputs of some images, float32 [n, ...] on the host.

    All batches have one size, since another one would be compiled anew: the last one may begin among the images of the
    one before.

    Args:
      answer: returns the outputs of a batch as the model takes it.
      images: on the device.
      order: int32 [n], which of them.
      batch_size: images a step of the training, see `evaluation_batch`.
    """
    size = min(evaluation_batch(tuple(images.shape[1:]), batch_size=batch_size), len(order))
    starts = range(0, len(order), size)
    chosen = [order[min(start, len(order) - size) :][:size] for start in starts]
    batches = [answer(model_inputs(ops.take(images, ops.convert_to_tensor(some), axis=0))) for some in chosen]
    arrays = [ops.convert_to_numpy(ops.cast(batch, "float32")) for batch in batches]
    missing = len(starts) * size - len(order)
    return np.concatenate([*arrays[:-1], arrays[-1][missing:]])
