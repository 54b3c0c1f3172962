"""The training loop: one for all backends, an epoch at a time, each epoch saved."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
from numpy.typing import NDArray

from edgefm import zoo
from edgefm.core.errors import TrainingDivergedError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.dataset import Dataset, Split
from edgefm.keras_graph.backend import BackendDevice
from edgefm.recipes import Training
from edgefm.training import checkpoint
from edgefm.training.augmentation import epoch_order, flip_and_shift
from edgefm.training.distillation import LEAST_PROBABILITY, Teacher, answers_of, distillation_loss, label_accuracy
from edgefm.training.fused_batch_norm import with_fused_batch_norm
from edgefm.training.verdict import FitVerdict, judge

_EVALUATION_BATCH = 500
_VERDICT_IMAGES = 12_000
_TEACHER_BATCH = 1024


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model and how it got there.

    Attributes:
      model: keras.Model of plain Keras layers.
      epochs: one entry an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds,
        images_per_second. Losses are mean cross-entropy (natural logarithm), accuracies 0 to 1.
      verdict: how it fits.
      resumed_from: number of epochs that an earlier, stopped attempt had finished.
    """

    model: Any
    epochs: tuple[dict[str, Any], ...]
    verdict: FitVerdict
    resumed_from: int


def fit(
    dataset: Dataset,
    recipe: Training,
    *,
    device: BackendDevice,
    folder: Path,
    teacher: Teacher | None = None,
    model: Any = None,
    frozen: Collection[str] = (),
    progress: Progress = SILENT,
) -> Trained:
    """Return a model trained by a recipe; go on from the checkpoint in `folder` if there is one.

    After each epoch the whole state is saved in `folder`, so that a stop loses at most one epoch, and a resumed
    training has the history that an unbroken one would have had. The last epoch's weights are the result: no
    epoch is picked by its validation figures.

    Where the recipe has a distillation, `teacher` is asked once an epoch, about the images as they are augmented for
    it; the loss is then that of `edgefm.recipes.Distillation`.

    A given `model` (keras.Model: pixels 0 to 255 in, class probabilities out) is trained instead of the recipe's
    architecture of the zoo; its layers named in `frozen` keep their weights for the recipe's first `frozen_epochs`.
    After these the optimiser and its schedule begin anew, with all layers.

    Raises:
      TrainingDivergedError: the loss is not finite; the checkpoint of the last good epoch stays, and its model is
        saved beside it as `last-good.keras`.
    """
    keras.utils.set_random_seed(recipe.seed)
    _make_deterministic()
    plain = zoo.build(recipe.model, recipe.model_options) if model is None else model
    model = with_fused_batch_norm(plain)
    train = dataset.train
    batch_size = min(recipe.batch_size, len(train.labels))
    steps = len(train.labels) // batch_size
    state = folder / checkpoint.FILE_NAME
    done = checkpoint.epochs_in(state) if state.exists() else 0
    # A checkpoint holds the optimiser of the phase in which it was written.
    phase = _begin_phase(model, recipe, frozen, epoch=max(0, done - 1), steps=steps, device=device)
    epochs = checkpoint.restore(state, model) if state.exists() else []
    resumed_from = len(epochs)
    if resumed_from:
        progress.note(f"resuming after epoch {resumed_from} of {recipe.epochs}")
    targets = np.eye(len(dataset.labels), dtype=np.float32)

    for epoch in range(len(epochs), recipe.epochs):
        started = time.perf_counter()
        if _is_frozen(recipe, frozen, epoch) != phase:
            phase = _begin_phase(model, recipe, frozen, epoch=epoch, steps=steps, device=device)
        order, generator = epoch_order(len(train.labels), seed=recipe.seed, epoch=epoch)
        images = flip_and_shift(train.images[order], generator, flip=recipe.flip, shift_pixels=recipe.shift_pixels)
        wanted_of_all = targets[train.labels[order]]
        if teacher is not None and recipe.distillation is not None:
            answers = answers_of(
                teacher,
                images,
                lambda pixels: pixels.astype(np.float32),
                batch=_TEACHER_BATCH,
                label="teacher outputs",
                progress=progress,
            )
            wanted_of_all = np.hstack([wanted_of_all, answers])
        loss_sum, accuracy_sum, began = 0.0, 0.0, time.perf_counter()
        batches = _batches(images, wanted_of_all, batch_size)
        for step, (pixels, wanted) in enumerate(batches, start=1):
            logs = model.train_on_batch(pixels, wanted, return_dict=True)
            loss_sum += float(logs["loss"])
            accuracy_sum += float(logs["accuracy"])
            if not math.isfinite(loss_sum):
                _diverged(state, model, plain, epoch=epoch, step=step, recipe=recipe)
            figures = {
                "epoch": f"{epoch + 1}/{recipe.epochs}",
                "loss": f"{loss_sum / step:.4f}",
                "acc": f"{100 * accuracy_sum / step:.2f}%",
                "images/s": f"{step * batch_size / (time.perf_counter() - began):,.0f}",
            }
            progress.step("train", epoch * steps + step, recipe.epochs * steps, figures)
        trained = time.perf_counter() - began
        val_loss, val_accuracy = evaluate(model, dataset.validation)
        if not math.isfinite(val_loss):  # the last update did it: these weights must not replace the good ones
            _diverged(state, model, plain, epoch=epoch, step=steps, recipe=recipe)
        epochs.append(
            {
                "epoch": epoch + 1,
                "loss": loss_sum / steps,
                "accuracy": accuracy_sum / steps,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "learning_rate": _learning_rate(model),
                "seconds": round(time.perf_counter() - started, 3),
                "images_per_second": round(steps * batch_size / trained, 1),
            }
        )
        checkpoint.save(state, model, epochs)
        progress.note(_line(epochs[-1], recipe.epochs))

    sample = _first(train, _VERDICT_IMAGES)
    _, train_accuracy = evaluate(model, sample)
    verdict = judge(epochs, train_accuracy=train_accuracy)
    for layer in model._flatten_layers(include_self=False):
        if layer.name in frozen:  # weights are in the order in which all can be trained
            layer.trainable = True
    if model is not plain:
        plain.set_weights(model.get_weights())
    return Trained(model=plain, epochs=tuple(epochs), verdict=verdict, resumed_from=resumed_from)


def evaluate(model: Any, split: Split) -> tuple[float, float]:
    """Return (mean cross-entropy, accuracy 0 to 1) of a model on a split, in evaluation mode."""
    losses: list[NDArray[np.float64]] = []
    right = 0
    for start in range(0, len(split.labels), _EVALUATION_BATCH):
        labels = split.labels[start : start + _EVALUATION_BATCH].astype(np.int64)
        outputs = model.predict_on_batch(split.images[start : start + _EVALUATION_BATCH])
        probabilities = np.asarray(outputs, dtype=np.float64)
        chosen = probabilities[np.arange(len(labels)), labels]
        losses.append(-np.log(np.maximum(chosen, LEAST_PROBABILITY)))
        right += int((probabilities.argmax(axis=1) == labels).sum())
    return float(np.concatenate(losses).mean()), right / len(split.labels)


def _is_frozen(recipe: Training, frozen: Collection[str], epoch: int) -> bool:
    return bool(frozen) and epoch < recipe.frozen_epochs


def _begin_phase(
    model: Any, recipe: Training, frozen: Collection[str], *, epoch: int, steps: int, device: BackendDevice
) -> bool:
    """Compile a model for the epochs from this one on and return whether layers are frozen in them."""
    is_frozen = _is_frozen(recipe, frozen, epoch)
    if frozen:
        for layer in model._flatten_layers(include_self=False):
            if layer.name in frozen:
                layer.trainable = not is_frozen
    first = min(recipe.frozen_epochs, recipe.epochs) if frozen else 0
    epochs = first if is_frozen else recipe.epochs - first
    _compile(model, recipe, steps=steps, epochs=epochs, on_cpu=device.kind == "cpu")
    return is_frozen


def _compile(model: Any, recipe: Training, *, steps: int, epochs: int, on_cpu: bool) -> None:
    rate: Any = recipe.learning_rate
    if recipe.schedule == "one_cycle":
        total = steps * epochs
        warmup = int(total * recipe.warmup_fraction)
        # Smith & Topin 2018, arXiv:1708.07120, with a cosine instead of a linear descent.
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 25, max(1, total - warmup), warmup_target=rate, warmup_steps=warmup
        )
    if recipe.optimizer == "adam":
        optimizer = keras.optimizers.Adam(rate)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # XLA made TensorFlow slower on a CPU; JAX always compiles, PyTorch gains nothing here.
    jit = keras.config.backend() == "jax" or (keras.config.backend() == "tensorflow" and not on_cpu)
    loss: Any = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    accuracy: Any = "accuracy"
    if recipe.distillation is not None:
        classes = int(model.outputs[0].shape[-1])
        loss = distillation_loss(recipe.distillation, classes=classes, label_smoothing=recipe.label_smoothing)
        accuracy = label_accuracy(classes)
    model.compile(optimizer, loss, metrics=[accuracy], jit_compile=jit)
    # Not `optimizer`: in mixed_float16 Keras wraps it to scale the loss.
    model.optimizer.build(model.trainable_variables)


def _make_deterministic() -> None:
    """Make the same seed give the same history where the backend leaves a choice."""
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.config.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True, warn_only=True)


def _batches(images: NDArray[np.uint8], targets: NDArray[np.float32], batch_size: int) -> Iterator[tuple[Any, Any]]:
    """Yield batches cut on the device from an epoch that is moved there once; the odd rest is left out."""
    inputs, wanted = keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(targets)
    shape, classes = (batch_size, *images.shape[1:]), (batch_size, targets.shape[1])
    for start in range(0, len(images) - batch_size + 1, batch_size):
        yield keras.ops.slice(inputs, (start, 0, 0, 0), shape), keras.ops.slice(wanted, (start, 0), classes)


def _diverged(state: Path, model: Any, plain: Any, *, epoch: int, step: int, recipe: Training) -> NoReturn:
    good = "No epoch had been finished, so there is nothing to keep."
    if state.exists():
        checkpoint.restore(state, model)
        plain.set_weights(model.get_weights())
        kept = state.with_name("last-good.keras")
        plain.save(kept)
        good = f"The weights after epoch {epoch} are kept in {kept}."
    raise TrainingDivergedError(
        f"the loss became NaN or infinite in epoch {epoch + 1}, step {step}",
        hint=f"{good} Train into a new run with a learning rate below {recipe.learning_rate:g}.",
    )


def _learning_rate(model: Any) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def _first(split: Split, count: int) -> Split:
    return Split(name=split.name, images=split.images[:count], labels=split.labels[:count])


def _line(epoch: dict[str, Any], total: int) -> str:
    return (
        f"epoch {epoch['epoch']:>{len(str(total))}}/{total}  loss {epoch['loss']:.4f}  "
        f"accuracy {100 * epoch['accuracy']:.2f} %  validation loss {epoch['val_loss']:.4f}  "
        f"accuracy {100 * epoch['val_accuracy']:.2f} %  {epoch['images_per_second']:,.0f} images/s  "
        f"{epoch['seconds']:.0f} s"
    )
