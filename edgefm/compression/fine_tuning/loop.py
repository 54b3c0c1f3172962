"""Trains a model on, while or after a pass changed it: Adam on a tf_keras model, the same for every pass.

The loop runs a few steps a call of TensorFlow, as `fit(steps_per_execution=...)` does, so that a small model is not
slowed down by Python, and yet comes back at least every second, so that a stop is prompt.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.compression.fine_tuning.objective import Objective, objective_of
from edgefm.compression.fine_tuning.steps import Keeper, Samples, StepLoop, answering, outputs_of
from edgefm.compression.fine_tuning.task import Task
from edgefm.core.errors import ModelError, RecipeError, TrainingDivergedError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.task_names import LABELLED
from edgefm.data.batches import evaluation_batch
from edgefm.data.dataset import Split
from edgefm.recipes import FineTuning
from edgefm.training.augmentation import epoch_order, flip_and_shift
from edgefm.training.distillation import Teacher, answers_of

# Validation samples that an epoch's quality is measured on, at most.
VALIDATION_SAMPLES = 12_000
# Validation samples that a model in tf_keras is compared with its Keras 3 original on.
PARITY_SAMPLES = 64
WARMUP_SHARE = 0.1


def fine_tune(
    tf_model: Any,
    recipe: FineTuning,
    task: Task,
    *,
    seed: int,
    label: str,
    teacher: Teacher | None = None,
    reference: Any = None,
    callbacks: Sequence[Any] = (),
    progress: Progress = SILENT,
) -> tuple[dict[str, Any], ...]:
    """Train a tf_keras model in place and return one entry an epoch.

    The first output learns from the labels and from the teacher; each further output keeps to what `reference`
    answers (mean squared error). Images are flipped and shifted only where they are pictures with classes or
    labels; those that are marked as not flippable are never mirrored, and shifting needs uint8 pixels, whose background
    is 0. On a CPU the same seed gives the same weights.

    Args:
      tf_model: functional tf_keras.Model; wrappers of tensorflow-model-optimization may be in it.
      recipe: how; with 0 epochs nothing is trained.
      task: learns from its training split, measures on its validation split.
      seed: of the order of samples, of augmentation and of dropout.
      label: shown with the progress.
      teacher: needed where the recipe has a distillation.
      reference: tf_keras.Model that answers for the further outputs; by default tf_model as it is before training.
      callbacks: of tf_keras, e.g. tfmot.sparsity.keras.UpdatePruningStep(); a 'batch' of theirs is a few steps.
      progress: told every call.
    Returns:
      entries with epoch, loss (mean over the epoch), val_quality (by `task.quality`, on at most 12,000 validation
      samples), learning_rate (of its last step), seconds, images_per_second (of training alone).
    Raises:
      TrainingDivergedError: the loss or a validation answer is not finite.
      ModelError: labels or a teacher that do not fit the model's first output.
      RecipeError: the recipe has a distillation, and no teacher is given.
    """
    import tf_keras

    if recipe.epochs == 0:
        return ()
    if recipe.distillation is not None and teacher is None:
        raise RecipeError(
            "the fine-tuning learns from a teacher, but none is given",
            hint="Load one with edgefm.training.distillation.load_teacher, or set distillation to null.",
        )
    _seeded(seed)
    train = task.dataset.train
    taught = teacher if recipe.distillation is not None else None
    objective = objective_of(tf_model, recipe, task=task.dataset.task, taught=taught is not None, head=task.head)
    targets = objective.targets(train.labels, tuple(tf_model.outputs[0].shape[1:]))
    batch_size = min(recipe.batch_size, len(train))
    steps = len(train) // batch_size
    rates = learning_rates(recipe, steps=steps)
    loop = StepLoop(tf_model, objective, batch_size=batch_size, taught=taught is not None)
    answer = answering(tf_model)
    keeper = Keeper(tf_model, reference) if len(tf_model.outputs) > 1 else None
    hooks = tf_keras.callbacks.CallbackList(list(callbacks), model=tf_model, epochs=recipe.epochs, steps=steps)
    hooks.on_train_begin()
    epochs: list[dict[str, Any]] = []
    for epoch in range(recipe.epochs):
        started = time.perf_counter()
        order, generator = epoch_order(len(train), seed=seed, epoch=epoch)
        order = order[: steps * batch_size]
        images = _augmented(train.images[order], generator, recipe, task)
        soft = None
        if taught is not None:
            soft = _soft_targets(taught, images, task, objective, batch_size=batch_size, label=label, progress=progress)
        samples = Samples(
            images=images,
            targets=targets[order],
            soft=soft,
            others=() if keeper is None else keeper.answers(images, task),
        )
        hooks.on_epoch_begin(epoch)
        began, trained_steps, loss_sum = time.perf_counter(), 0, 0.0
        while trained_steps < steps:
            hooks.on_train_batch_begin(trained_steps)
            count = min(loop.steps_a_call, steps - trained_steps)
            loss_sum += loop.run(
                samples, task, first=trained_steps, rates=rates[epoch * steps + trained_steps :][:count]
            )
            trained_steps += count
            if not math.isfinite(loss_sum):
                raise _diverged(label, epoch=epoch, step=trained_steps, rate=recipe.learning_rate)
            hooks.on_train_batch_end(trained_steps - 1)
            figures = {
                "epoch": f"{epoch + 1}/{recipe.epochs}",
                "loss": f"{loss_sum / trained_steps:.4f}",
                "images/s": f"{trained_steps * batch_size / (time.perf_counter() - began):,.0f}",
            }
            progress.step(label, epoch * steps + trained_steps, recipe.epochs * steps, figures)
        trained = time.perf_counter() - began
        hooks.on_epoch_end(epoch)
        quality = _quality(answer, task)
        if quality is None:
            raise _diverged(label, epoch=epoch, step=steps, rate=recipe.learning_rate)
        epochs.append(
            {
                "epoch": epoch + 1,
                "loss": loss_sum / steps,
                "val_quality": quality,
                "learning_rate": float(rates[(epoch + 1) * steps - 1]),
                "seconds": round(time.perf_counter() - started, 3),
                "images_per_second": round(steps * batch_size / trained, 1),
            }
        )
    hooks.on_train_end()
    return tuple(epochs)


def fine_tune_keras(
    model: Any,
    recipe: FineTuning,
    task: Task,
    *,
    seed: int,
    label: str,
    teacher: Teacher | None = None,
    progress: Progress = SILENT,
) -> tuple[Any, tuple[dict[str, Any], ...]]:
    """Return a trained copy of a Keras 3 model, and one entry an epoch; see `fine_tune`."""
    from edgefm_converters.bridge.bridge import from_tf_keras

    tf_model, _, reference = bridged(model, task)
    history = fine_tune(
        tf_model, recipe, task, seed=seed, label=label, teacher=teacher, reference=reference, progress=progress
    )
    return from_tf_keras(tf_model, model), history


def bridged(model: Any, task: Task) -> tuple[Any, dict[str, Any], Any]:
    """Return a Keras 3 model as a tf_keras model, how far their outputs lie apart, and a copy that stays untrained.

    The copy answers for the outputs behind the first one; it is None where there is one output.
    """
    from edgefm_converters.bridge.bridge import check_parity, to_tf_keras

    tf_model = to_tf_keras(model)
    parity = check_parity(model, tf_model, task.inputs(task.dataset.validation.images[:PARITY_SAMPLES]))
    return tf_model, parity, to_tf_keras(model) if len(tf_model.outputs) > 1 else None


def learning_rates(recipe: FineTuning, *, steps: int) -> NDArray[np.float32]:
    """Return the learning rate of every step, float32 [epochs * steps].

    'one_cycle' rises in a straight line over the first tenth of the steps and falls along a cosine to zero, which it
    reaches with the last step.

    >>> recipe = FineTuning(epochs=2, learning_rate=1.0)
    >>> [round(float(rate), 2) for rate in learning_rates(recipe, steps=10)[[0, 1, 2, 10, 19]]]
    [0.5, 1.0, 0.99, 0.5, 0.0]
    """
    total = recipe.epochs * steps
    if recipe.schedule == "constant":
        return np.full(total, recipe.learning_rate, np.float32)
    step = np.arange(1, total + 1)
    warmup = max(1, round(WARMUP_SHARE * total))
    falling = (1 + np.cos(np.pi * (step - warmup) / max(1, total - warmup))) / 2
    return (recipe.learning_rate * np.where(step <= warmup, step / warmup, falling)).astype(np.float32)


def _seeded(seed: int) -> None:
    """Make TensorFlow's chance follow from a seed, and its sums on a CPU keep one order."""
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(seed)
    if tf.config.list_physical_devices("GPU"):
        # Some gradients of fake quantisation have no such form there, and a training before may have asked for it.
        from tensorflow.python.framework.config import disable_op_determinism

        disable_op_determinism()
    else:
        tf.config.experimental.enable_op_determinism()


def _augmented(
    images: NDArray[Any], generator: np.random.Generator, recipe: FineTuning, task: Task
) -> NDArray[np.uint8] | NDArray[Any]:
    if images.ndim != 4 or task.dataset.task not in LABELLED:
        return images
    shift = recipe.shift_pixels if images.dtype == np.uint8 else 0
    flip = recipe.flip and task.dataset.flippable is not False
    return flip_and_shift(images, generator, flip=flip, shift_pixels=shift)


def _soft_targets(
    teacher: Teacher,
    images: NDArray[Any],
    task: Task,
    objective: Objective,
    *,
    batch_size: int,
    label: str,
    progress: Progress,
) -> NDArray[np.float32]:
    progress_label, batch = f"{label}: teacher outputs", evaluation_batch(images.shape[1:], batch_size=batch_size)
    answers = answers_of(teacher, images, task.inputs, batch=batch, label=progress_label, progress=progress)
    whole = answers.astype(np.float32)
    if objective.head != "values" and whole.shape[-1] != objective.units:
        raise ModelError(
            f"the teacher has {whole.shape[-1]} classes, the model {objective.units}",
            hint="Use a teacher that was trained for the same classes.",
        )
    return whole


def _quality(answer: Callable[[Any], Any], task: Task) -> float | None:
    """Return the quality on validation samples, or None where an answer is not finite."""
    split: Split = task.dataset.validation
    outputs = outputs_of(answer, split.images[:VALIDATION_SAMPLES], task)
    if not all(np.isfinite(output).all() for output in outputs):
        return None
    return float(task.quality.function(outputs, split.labels[:VALIDATION_SAMPLES]))


def _diverged(label: str, *, epoch: int, step: int, rate: float) -> TrainingDivergedError:
    return TrainingDivergedError(
        f"{label}: the loss became NaN or infinite in epoch {epoch + 1}, by step {step}",
        hint=f"Fine-tune with a learning_rate below {rate:g}. The model that was given is unchanged.",
    )
