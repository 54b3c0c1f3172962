"""A training on the device: its data there, its compiled model, its epochs drawn and its steps run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgefm.core.errors import unknown_name
from edgefm.core.progress import Progress
from edgefm.data.batches import evaluation_batch
from edgefm.data.dataset import Dataset
from edgefm.recipes import Training
from edgefm.training.augmentation_check import check_augmentation
from edgefm.training.device.batch import Job, answers
from edgefm.training.device.chance import epoch_chance
from edgefm.training.device.loop import Loop, loop_of
from edgefm.training.device.objective import class_weights, objective_of
from edgefm.training.device.optimizers import l2_rates, optimizer_of
from edgefm.training.device.teacher_bank import bank_of
from edgefm.training.device.views import view
from edgefm.training.distillation import Teacher, answers_of
from edgefm.training.evaluation import Evaluation, evaluated

# Training images whose accuracy says how the model fits.
_VERDICT_IMAGES = 12_000


class Session:
    """What one training holds: the set on the device, the model and its loop.

    Attributes:
      model: keras.Model that is trained.
      recipe: how.
      names: of the classes.
      batch_size: images a step.
      steps: of an epoch; the odd rest of the images is left out, another one in each epoch.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Training,
        *,
        model: Any,
        frozen: Collection[str],
        teacher: Teacher | None,
        batch_size: int,
        xla: bool,
        progress: Progress,
    ) -> None:
        train = dataset.train
        self.model, self.recipe, self.names = model, recipe, dataset.labels
        self.batch_size = min(batch_size, len(train))
        self.steps = len(train) // self.batch_size
        self._shape = train.images.shape[1:]
        check_augmentation(recipe, shape=self._shape, dtype=str(train.images.dtype))
        if recipe.flip and len(self._shape) != 3:
            progress.note("the inputs are no pictures: nothing is flipped")
        self._objective = objective_of(model, recipe, classes=len(dataset.labels))
        _answer_in_float32(model)
        self._teacher = teacher if recipe.distillation is not None else None
        self._bank = None
        if self._teacher is not None:
            classes = len(dataset.labels)
            self._bank = bank_of(
                self._teacher, recipe, count=len(train), classes=classes, batch=self._answered, progress=progress
            )
        self._xla, self._progress = xla, progress
        self._frozen = [_layer(model, name) for name in frozen] if recipe.frozen_epochs else []
        self._frozen_now = False
        self._count = len(train)
        self._held: dict[str, Any] = {
            "images": ops.convert_to_tensor(train.images),
            "labels": ops.convert_to_tensor(train.labels.astype(np.int32)),
        }
        self._weighted = recipe.class_weights != "none"
        if self._weighted:
            weights = class_weights(train.labels, dataset.labels, wanted=recipe.class_weights)
            self._held["weights"] = ops.convert_to_tensor(weights)
        self._validation = ops.convert_to_tensor(dataset.validation.images), dataset.validation.labels.astype(np.int64)
        self._train_labels = train.labels.astype(np.int64)
        self._rows: Mapping[str, Any] = {}
        self._loop: Loop | None = None

    def begin(self, *, done: int) -> None:
        """Compile the model as it was when so many epochs were done."""
        frozen = bool(self._frozen) and done <= self.recipe.frozen_epochs
        thawed = bool(self._frozen) and not frozen
        self._compile(frozen=frozen, done=self.recipe.frozen_epochs * self.steps if thawed else 0)

    def before(self, epoch: int) -> None:
        """Let the layers learn that were frozen for the epochs before this one, with an optimiser that begins anew."""
        if self._frozen_now and epoch >= self.recipe.frozen_epochs:
            rate = self.learning_rate()
            self._compile(frozen=False, done=epoch * self.steps)
            if self.recipe.schedule == "constant":
                self.model.optimizer.learning_rate = rate  # a callback may have changed it

    def draw(self, epoch: int) -> None:
        """Move what happens to each image of an epoch to the device."""
        order, chance = epoch_chance(self._recipe_of_inputs(), count=self._count, shape=self._shape, epoch=epoch)
        rows = {name: self._by_step(values) for name, values in {"order": order, **chance}.items()}
        if self._bank is not None:
            rows["taught"] = self._by_step(self._bank.answers(order, chance.get("moves"), self._moved))
        elif self._teacher is not None:
            rows["taught"] = self._by_step(self._taught(rows))
        self._rows = rows

    def run(self, *, first: int, count: int) -> NDArray[np.float32]:
        """Run steps of the epoch that was drawn; see `Loop.run`."""
        assert self._loop is not None, "begin was called"
        return self._loop.run(self._held, self._rows, first=first, count=count)

    def validate(self) -> Evaluation:
        """Return the evaluation of the model as it is on the validation split."""
        images, labels = self._validation
        return self._evaluated(images, labels, np.arange(len(labels)))

    def on_training_images(self) -> Evaluation:
        """Return the evaluation of training images as they are: of 12,000 at most, drawn by the recipe's seed."""
        drawn = np.random.default_rng(self.recipe.seed).permutation(self._count)[:_VERDICT_IMAGES]
        return self._evaluated(self._held["images"], self._train_labels, drawn)

    def learning_rate(self) -> float:
        """Return the rate of the next step."""
        return float(ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _evaluated(self, images: Any, labels: NDArray[np.int64], order: NDArray[np.int64]) -> Evaluation:
        assert self._loop is not None, "begin was called"
        outputs = answers(self._loop.answer, images, order.astype(np.int32), batch_size=self.batch_size)
        return evaluated(self._objective.probabilities(outputs), labels[order])

    def end(self) -> None:
        """Leave a model all of whose layers can be trained, however few epochs there were, compiled as it began."""
        for layer in self._frozen:
            layer.trainable = True
        if self._frozen:
            compile_for(self.model, self.recipe, steps=self.steps * self.recipe.epochs)

    def _compile(self, *, frozen: bool, done: int) -> None:
        self._frozen_now = frozen
        for layer in self._frozen:
            layer.trainable = not frozen
        model, recipe = self.model, self.recipe
        compile_for(model, recipe, steps=self.steps * recipe.epochs, done=done)
        self._loop = loop_of(
            Job(
                model=model,
                objective=self._objective,
                l2=tuple(l2_rates(recipe, model.trainable_variables)),
                weighted=self._weighted,
                taught=self._teacher is not None,
                xla=self._xla,
            )
        )

    def _taught(self, rows: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return the teacher's answers about an epoch as it is augmented, float32 [steps * batch, classes]."""
        assert self._teacher is not None

        def images(steps: NDArray[Any]) -> NDArray[np.float32]:
            batches = []
            for step in steps.tolist():
                row = {name: values[step] for name, values in rows.items()}
                seen = view(ops.take(self._held["images"], row["order"], axis=0), row)
                batches.append(ops.convert_to_numpy(seen).astype(np.float32))
            return np.concatenate(batches)

        return answers_of(
            self._teacher,
            np.arange(self.steps),
            images,
            batch=max(1, self._answered // self.batch_size),
            label="teacher outputs",
            progress=self._progress,
        )

    @property
    def _answered(self) -> int:
        """How many images a teacher is asked about at once."""
        return evaluation_batch(self._shape, batch_size=self.batch_size)

    def _moved(self, order: NDArray[np.int32], moves: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return images of the set, mirrored and moved, as a model takes them."""
        rows = {"moves": ops.convert_to_tensor(moves)} if moves.any() else {}
        seen = view(ops.take(self._held["images"], ops.convert_to_tensor(order), axis=0), rows)
        images: NDArray[np.float32] = ops.convert_to_numpy(seen).astype(np.float32)
        return images

    def _by_step(self, values: NDArray[Any]) -> Any:
        used = values[: self.steps * self.batch_size]
        return ops.convert_to_tensor(used.reshape(self.steps, self.batch_size, *values.shape[1:]))

    def _recipe_of_inputs(self) -> Training:
        if self.recipe.flip and len(self._shape) != 3:
            return replace(self.recipe, flip=False)
        return self.recipe


def _answer_in_float32(model: Any) -> None:
    """Let the layer that gives the output compute in float32 where it would compute in 16 bits.

    A softmax near 1 has steps of 0.4 % in bfloat16, as large as what is left to learn; Keras's guide to mixed precision
    says the same.
    """
    history = model.outputs[0]._keras_history
    while hasattr(history.operation, "layers"):  # a model within the model
        history = history.operation.outputs[history.tensor_index]._keras_history
    layer = history.operation
    if isinstance(layer, keras.Layer) and layer.compute_dtype in ("bfloat16", "float16"):
        layer.dtype_policy = "float32"


def compile_for(model: Any, recipe: Training, *, steps: int, done: int = 0) -> None:
    """Compile a model with the optimiser of a recipe, built; see `optimizer_of`."""
    model.compile(optimizer_of(recipe, steps=steps, done=done), jit_compile=keras.config.backend() == "jax")
    # Not the optimiser itself: in mixed_float16 Keras wraps it to scale the loss.
    model.optimizer.build(model.trainable_variables)


def _layer(model: Any, name: str) -> Any:
    layers = {layer.name: layer for layer in model._flatten_layers(include_self=False)}
    if name not in layers:
        raise unknown_name(f"layer of {model.name}", name, layers)
    return layers[name]
