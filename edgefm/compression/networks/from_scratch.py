"""Another network in a model's place: built from the zoo for its pictures and classes, trained by edgefm's trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from edgefm import zoo
from edgefm.compression.channels.slimming import quality_of
from edgefm.compression.fine_tuning.task import PassResult, Task
from edgefm.core import scratch
from edgefm.core.errors import ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.preprocessing import PIXELS
from edgefm.keras_graph.backend import use_backend
from edgefm.recipes import FromScratch, Training
from edgefm.training.distillation import Teacher
from edgefm.training.fit import fit


def train_from_scratch(
    model: Any,
    recipe: FromScratch,
    task: Task,
    *,
    seed: int,
    teacher: Teacher | None = None,
    progress: Progress = SILENT,
) -> PassResult:
    """Return another network for the same pictures and classes, trained; with 0 epochs as it begins.

    Args:
      model: keras.Model whose place it takes; of it only the shapes of its input and output are used.
      recipe: which network, and how it is trained.
      task: learnt from its training split.
      seed: of weights, the order of samples, and augmentation.
      teacher: for a recipe whose fine-tuning distils.
      progress: receives progress.
    Returns:
      keras.Model, float32 pixels 0 to 255 [n, h, w, c] to probabilities [n, classes]. Facts: its number of parameters,
      and where it was trained its quality on up to 12,000 validation samples.
    Raises:
      ModelError: the model is no classifier of pictures whose pixels go in as they are, 0 to 255.
      RecipeError: no such network, or none for pictures of this size.
    """
    shape, classes = _interface(model, task)
    keras.utils.set_random_seed(seed)
    network = zoo.build(recipe.model, recipe.options, input_shape=shape, classes=classes)
    history: tuple[Mapping[str, Any], ...] = ()
    if recipe.fine_tuning.epochs:
        network, history = _trained(network, recipe, task, seed=seed, teacher=teacher, progress=progress)
    facts: dict[str, Any] = {"parameters": int(network.count_params())}
    if history:
        quality = quality_of(network, task, label="from_scratch: validate", progress=progress)
        facts["quality"] = {"measure": task.quality.name, "fine_tuned": quality}
    return PassResult(model=network, history=history, facts=facts)


def _trained(
    network: Any, recipe: FromScratch, task: Task, *, seed: int, teacher: Teacher | None, progress: Progress
) -> tuple[Any, tuple[Mapping[str, Any], ...]]:
    wanted = recipe.fine_tuning
    training = Training(
        epochs=wanted.epochs,
        batch_size=wanted.batch_size,
        learning_rate=wanted.learning_rate,
        schedule=wanted.schedule,
        flip=wanted.flip and task.dataset.flippable is not False,
        shift_pixels=wanted.shift_pixels,
        label_smoothing=wanted.label_smoothing,
        distillation=wanted.distillation,
        seed=seed,
    )
    with scratch.folder("from-scratch") as folder:
        trained = fit(
            task.dataset,
            training,
            device=use_backend(keras.config.backend()),
            folder=folder,
            teacher=teacher,
            model=network,
            progress=_StepsAlone(progress),
        )
    copy = keras.models.clone_model(trained.model)  # without the optimiser, which would be saved
    copy.set_weights(trained.model.get_weights())
    history = tuple({**entry, "val_quality": entry["val_accuracy"]} for entry in trained.epochs)
    return copy, history


class _StepsAlone:
    """Progress without the lines that a training by itself has of each epoch."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
        """Report `done` of `total`."""
        self._progress.step(label, done, total, figures)

    def note(self, message: str) -> None:
        """Leave a line out."""


def _interface(model: Any, task: Task) -> tuple[tuple[int, int, int], int]:
    """Return (height, width, channels) of the pictures, and the number of classes."""
    shape, outputs = tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:])
    pictures = len(model.inputs) == 1 and len(shape) == 3 and None not in shape
    classes = len(model.outputs) == 1 and len(outputs) == 1 and outputs[0] > 1 and task.head in ("", "softmax")
    if not (pictures and classes and task.dataset.task == "classification"):
        raise ModelError(
            f"no other network can take the place of '{model.name}': it is no classifier of pictures that ends in a "
            f"softmax (input {shape}, output {outputs})",
            hint="Leave from_scratch out of the passes.",
        )
    if task.encoding.value_range != PIXELS:
        low, high = task.encoding.value_range
        raise ModelError(
            f"no other network can take the place of '{model.name}': it takes inputs of {low:g} to {high:g}, and the "
            "networks of the zoo scale pixels 0 to 255 themselves",
            hint="Leave from_scratch out of the passes.",
        )
    height, width, channels = shape
    return (height, width, channels), int(outputs[0])
