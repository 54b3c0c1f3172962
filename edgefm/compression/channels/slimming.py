"""Channel removal: filters and units leave a trained model for good, and what is left is trained on.

The file gets smaller and faster in proportion, on every runtime: nothing but the size of the layers changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgefm.compression.channels.channel_choice import Choice, by_budget, by_share
from edgefm.compression.channels.channel_cost import cost_of
from edgefm.compression.channels.channel_groups import Channels, channels_of
from edgefm.compression.channels.channel_removal import without_channels
from edgefm.compression.channels.importance import Importance, importance_of
from edgefm.compression.fine_tuning.loop import VALIDATION_SAMPLES, fine_tune_keras
from edgefm.compression.fine_tuning.task import PassResult, Task
from edgefm.core.errors import ModelError, NoQualityError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.batches import evaluation_batch
from edgefm.recipes.passes import Slim
from edgefm.training.distillation import Teacher

LABEL = "slim"
# (slimmed model, whole model) -> share of the whole model's latency.
MeasureLatency = Callable[[Any, Any], float]


def slim(
    model: Any,
    recipe: Slim,
    task: Task,
    *,
    seed: int,
    teacher: Teacher | None = None,
    progress: Progress = SILENT,
    measure_latency: MeasureLatency | None = None,
) -> PassResult:
    """Return a smaller model: the least important channels removed, what is left trained on.

    Args:
      model: built Keras 3 model, batch normalisation still in it; it is not changed.
      recipe: how much leaves, and how the rest is trained.
      task: importance is found on its validation split, quality too; its training split is learnt from.
      seed: of fine-tuning.
      teacher: for a recipe whose fine-tuning distils.
      progress: receives progress.
      measure_latency: (slimmed, whole) -> share of the whole model's latency, for a budget of latency; by default the
        p50 of the int8 files, measured side by side.
    Returns:
      a Functional Keras 3 model with the same inputs, outputs and names of layers. Facts: kept and former channels of
      each group and why groups are frozen; parameters, MACs and weight bytes before and after; the quality on up to
      12,000 validation samples before, after removal, and after fine-tuning.
    Raises:
      ModelError: no channel can leave, or the graph cannot be read.
      RecipeError: a budget that cannot be met, or an exclude pattern that matches nothing.
    """
    channels = channels_of(model, exclude=recipe.exclude)
    if not channels.removable:
        reasons = "; ".join(f"{', '.join(group.layers)}: {group.frozen}" for group in channels.groups)
        raise ModelError(
            f"no channel of '{model.name}' can be removed: {reasons or 'it has no layers with channels'}",
            hint="Leave slim out of the passes, or exclude fewer layers.",
        )
    importance = importance_of(channels, recipe.importance, task, progress=progress)
    choice = _choose(channels, importance, recipe, task, measure_latency=measure_latency, progress=progress)
    smaller = without_channels(channels, choice.removed)
    removed_quality = quality_of(smaller, task, progress=progress)
    tuned, history = fine_tune_keras(
        smaller, recipe.fine_tuning, task, seed=seed, label=LABEL, teacher=teacher, progress=progress
    )
    quality = {
        "measure": task.quality.name,
        "samples": min(VALIDATION_SAMPLES, len(task.dataset.validation)),
        "before": quality_of(model, task, progress=progress),
        "removed": removed_quality,
        "fine_tuned": quality_of(tuned, task, progress=progress),
    }
    facts = {**_facts(channels, tuned, importance), "quality": quality}
    if choice.latency is not None:
        facts["latency"] = {"share": round(choice.latency, 4), "measurements": choice.measurements}
    return PassResult(model=tuned, history=history, facts=facts)


def quality_of(
    model: Any, task: Task, *, label: str = f"{LABEL}: validate", progress: Progress = SILENT
) -> float | None:
    """Return the quality of a Keras 3 model on up to 12,000 validation samples; None where a measure gives no number.

    A network that channels left may answer one class alone before it is trained on.
    """
    import tensorflow as tf

    answer = tf.function(
        lambda inputs: tf.nest.flatten(model(inputs, training=False)), reduce_retracing=True, autograph=False
    )
    split = task.dataset.validation
    images, labels = split.images[:VALIDATION_SAMPLES], split.labels[:VALIDATION_SAMPLES]
    parts, size = [], evaluation_batch(images.shape[1:])
    for start in range(0, len(images), size):
        part = images[start : start + size]
        parts.append([output.numpy() for output in answer(tf.constant(task.inputs(part)))])
        progress.step(label, start + len(part), len(images))
    outputs = tuple(np.concatenate(output).astype(np.float32) for output in zip(*parts, strict=True))
    try:
        return float(task.quality.function(outputs, labels))
    except NoQualityError:
        return None


def _choose(
    channels: Channels,
    importance: Importance,
    recipe: Slim,
    task: Task,
    *,
    measure_latency: MeasureLatency | None,
    progress: Progress,
) -> Choice:
    if recipe.budget is None:
        assert recipe.keep is not None, "the recipe has either"
        return by_share(channels, importance.scores, keep=recipe.keep, round_to=recipe.round_to, layers=recipe.layers)
    if recipe.budget.latency is None:
        return by_budget(channels, importance.scores, recipe.budget, round_to=recipe.round_to)
    if measure_latency is None:
        from edgefm.compression.channels.latency_share import int8_latency_share

        def measure_latency(slimmed: Any, whole: Any) -> float:
            return int8_latency_share(slimmed, whole, task, progress=progress)

    measure = measure_latency
    return by_budget(
        channels,
        importance.scores,
        recipe.budget,
        round_to=recipe.round_to,
        latency=lambda removed: measure(without_channels(channels, removed), channels.graph.model),
    )


def _facts(channels: Channels, result: Any, importance: Importance) -> dict[str, Any]:
    """Return what was done, read off the model that is given back."""
    slimmed = channels_of(result)
    left = {group.layers: group.channels for group in slimmed.groups}
    before, after = cost_of(channels), cost_of(slimmed)
    return {
        "groups": [
            {
                "layers": list(group.layers),
                "channels": group.channels,
                "kept": left[group.layers],
                "ranked_by": importance.ranked_by[group.layers],
            }
            for group in channels.removable
        ],
        "frozen": [group.to_json() for group in channels.groups if group.frozen],
        "parameters": _change(channels.graph.model.count_params(), result.count_params()),
        "macs": _change(before.macs, after.macs),
        "weight_bytes": _change(before.weight_bytes, after.weight_bytes),
    }


def _change(before: int | None, after: int | None) -> Mapping[str, Any]:
    share = round(after / before, 4) if before and after is not None else None
    return {"before": before, "after": after, "share": share}
