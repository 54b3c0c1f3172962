"""How much each channel matters, comparable across the groups of a model.

Scores of a channel are summed over what makes (or takes) it, and divided by their mean over its group: 1 is the
average channel of its group. Without that, a global ranking would compare gammas, norms and gradients of layers whose
scales say nothing: a batch normalisation behind a layer undoes whatever scale its filters have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers
from numpy.typing import NDArray

from edgefm.compression.channels.channel_groups import Axes, Channels, Group
from edgefm.compression.fine_tuning.task import Task
from edgefm.core.progress import SILENT, Progress
from edgefm.keras_graph.strided_pointwise import strided_pointwise
from edgefm.recipes.fine_tuning import FineTuning

# Validation samples that gradients are taken on, at most; samples a gradient.
TAYLOR_SAMPLES = 2000
_BATCH = 16
_TOLD_EVERY = 10

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Scores of the channels of a model.

    Attributes:
      scores: by mark, of the groups that can lose channels; 1 is the mean of a group.
      ranked_by: for each of these groups, by its layers: 'bn_scale', 'l1' or 'taylor'.
    """

    scores: dict[int, float]
    ranked_by: dict[tuple[str, ...], str]


def importance_of(channels: Channels, kind: str, task: Task, *, progress: Progress = SILENT) -> Importance:
    """Return how much each channel that could leave matters.

    Args:
      channels: of the model.
      kind: 'bn_scale': |gamma| of the batch normalisations that a channel goes through (Liu et al. 2017,
        arXiv:1708.06519), 'l1' for a group without any; 'l1': sum of |w| over the filters that make it (Li et al.
        2017, arXiv:1608.08710); 'taylor': by how much the loss would change, to first order, if nothing of the
        channel reached the layers that take it, see `taylor_scores`.
      task: its validation split is used by 'taylor'.
      progress: receives progress.
    Raises:
      ModelError: 'taylor', and the model is not supported by tf_keras, or its output does not fit the task.
    """
    count = 1 + max((int(marks.max(initial=0)) for marks in channels.tensors.values()), default=0)
    whole: dict[str, Scores] = {}
    if kind == "taylor":
        whole["taylor"] = taylor_scores(channels, task, count=count, progress=progress)
    else:
        whole["l1"] = _l1(channels, count)
    if kind == "bn_scale":
        whole["bn_scale"] = _bn_scale(channels, count)
    scores: dict[int, float] = {}
    ranked_by = {}
    for group in channels.removable:
        used = kind if np.isfinite(whole[kind][list(group.marks)]).all() else "l1"
        ranked_by[group.layers] = used
        scores.update(_normalised(group, whole[used]))
    return Importance(scores=scores, ranked_by=ranked_by)


def taylor_scores(channels: Channels, task: Task, *, count: int, progress: Progress = SILENT) -> Scores:
    """Return the first-order Taylor importance of each mark, float64 [count], in units of the loss.

    A layer that takes a channel is linear in it, so the sum of w * dL/dw over the slice of its kernel that meets the
    channel is what the loss loses, to first order, with that slice; the channel's own filter has nothing more to lose.
    It is summed over all slices that meet the channel (h * w rows of a dense kernel behind Flatten), for each batch
    of 16 validation samples; the score is the root of its mean square over the batches, because signs cancel near a
    minimum. Source: Molchanov et al. 2019, arXiv:1906.10771 (a gate on each
    channel).
    """
    import tensorflow as tf

    from edgefm.compression.fine_tuning.objective import objective_of
    from edgefm_converters.bridge.bridge import to_tf_keras

    tf_model = to_tf_keras(channels.graph.model)
    split = task.dataset.validation
    # Whole batches only, a small split repeated: TensorFlow 2.21 with oneDNN was seen to corrupt memory in a batch of
    # 8 of a small residual network, and not in one of 16.
    whole = max(_BATCH, min(len(split), TAYLOR_SAMPLES) // _BATCH * _BATCH)
    chosen = np.arange(whole) % len(split)
    images, labels = split.images[chosen], split.labels[chosen]
    objective = objective_of(tf_model, FineTuning(), task=task.dataset.task, taught=False, head=task.head)
    targets = objective.targets(labels, tuple(tf_model.outputs[0].shape[1:]))
    # What a convolution in groups takes is never removed: it needs no score.
    taking = [axes for axes in channels.axes.values() if axes.mixes and getattr(axes.call.layer, "groups", 1) == 1]
    kernels = [tf_model.get_layer(axes.call.name).weights[0] for axes in taking]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # tensorflow has no types
    def products(inputs: Any, wanted: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for kernel in kernels:
                tape.watch(kernel)
            with strided_pointwise(tf_model):
                outputs = tf.nest.flatten(tf_model(inputs, training=False))
            loss = objective.loss(outputs[0], wanted)
        gradients = tape.gradient(loss, kernels, unconnected_gradients="zero")
        return [
            tf.reduce_sum(kernel * change, axis=_other_axes(axes, len(kernel.shape)))
            for axes, kernel, change in zip(taking, kernels, gradients, strict=True)
        ]

    squares = np.zeros(count)
    starts = range(0, len(images), _BATCH)
    for index, start in enumerate(starts):
        part = slice(start, start + _BATCH)
        change = np.zeros(count)
        sums = products(tf.constant(task.inputs(images[part])), tf.constant(targets[part]))
        for axes, per_channel in zip(taking, sums, strict=True):
            np.add.at(change, axes.taken, per_channel.numpy().astype(np.float64))
        squares += change**2
        if index + 1 == len(starts) or (index + 1) % _TOLD_EVERY == 0:
            progress.step("rank channels", index + 1, len(starts))
    return np.asarray(np.sqrt(squares / len(starts)))


def _l1(channels: Channels, count: int) -> Scores:
    """Return the sum of |w| over the filters that make each mark, biases left out."""
    scores = np.zeros(count)
    for axes in channels.axes.values():
        if axes.mixes:
            kernel = np.abs(np.asarray(_last_kernel(axes), np.float64))
            last = -2 if axes.kind == "transposed" else -1
            np.add.at(scores, axes.given, np.moveaxis(kernel, last, 0).reshape(len(axes.given), -1).sum(axis=1))
    return scores


def _bn_scale(channels: Channels, count: int) -> Scores:
    """Return the sum of |gamma| over the batch normalisations of each mark; NaN where there are none."""
    scores, scaled = np.zeros(count), np.zeros(count, bool)
    for axes in channels.axes.values():
        layer = axes.call.layer
        if type(layer) is layers.BatchNormalization and layer.scale:
            np.add.at(scores, axes.taken, np.abs(np.asarray(layer.gamma, np.float64)))
            scaled[axes.taken] = True
    return np.where(scaled, scores, np.nan)


def _last_kernel(axes: Axes) -> Any:
    layer = axes.call.layer
    return layer.pointwise_kernel if axes.kind == "separable" else layer.kernel


def _other_axes(axes: Axes, rank: int) -> list[int]:
    """Return all axes of a kernel but that of the channels it takes."""
    own = {"transposed": rank - 1, "dense": 0}.get(axes.kind, rank - 2)
    return [axis for axis in range(rank) if axis != own]


def _normalised(group: Group, scores: Scores) -> dict[int, float]:
    own = scores[list(group.marks)]
    mean = own.mean()
    return {mark: float(score / mean) if mean > 0 else 1.0 for mark, score in zip(group.marks, own, strict=True)}
