"""What is in a step, and what it makes smaller; the same on every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgefm.training.device.objective import Objective
from edgefm.training.device.views import labels_seen, model_inputs, view

# Images of an evaluation that run at once.
EVALUATION_BATCH = 500


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
    losses = job.objective.losses(outputs, targets if weighted is None else weighted, taught, whole=weighted is None)
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


def evaluation_batches(images: Any) -> list[tuple[int, int]]:
    """Return (first, kept from) of batches of one size; the last one may begin among the images of the one before."""
    total = int(images.shape[0])
    size = min(EVALUATION_BATCH, total)
    starts = list(range(0, total, size))
    return [(min(start, total - size), start - min(start, total - size)) for start in starts]


def evaluation_slice(images: Any, first: int) -> Any:
    """Return a batch of images as the model takes them."""
    size = min(EVALUATION_BATCH, int(images.shape[0]))
    return model_inputs(ops.slice(images, (first, *(0 for _ in images.shape[1:])), (size, *images.shape[1:])))


def joined(batches: list[Any], kept: list[int]) -> NDArray[Any]:
    """Return the outputs of evaluation batches as one array on the host."""
    arrays = [ops.convert_to_numpy(ops.cast(batch, "float32")) for batch in batches]
    return np.concatenate([array[start:] for array, start in zip(arrays, kept, strict=True)])
