"""Callbacks of Keras around epochs: what they are told, and which cannot be served."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from edgefm.core.errors import ArgumentError
from edgefm.core.progress import Progress
from edgefm.recipes import Training

_SERVED = tuple(f"on_{what}_{when}" for what in ("train", "epoch", "test") for when in ("begin", "end"))
_BY_BATCH = tuple(f"on_{what}batch_{when}" for what in ("", "train_", "test_") for when in ("begin", "end"))
_LOGS = ("loss", "accuracy", "val_loss", "val_accuracy")


class Hooks:
    """Tells callbacks of Keras about a training, with the logs of `keras.Model.fit`."""

    def __init__(self, callbacks: Sequence[Any], model: Any, *, epochs: int, steps: int) -> None:
        model.stop_training = False
        self._model, self._any = model, bool(callbacks)
        self._list = keras.callbacks.CallbackList(
            list(callbacks), add_history=True, model=model, epochs=epochs, steps=steps, verbose=0
        )

    def __bool__(self) -> bool:
        """Return whether there are any callbacks."""
        return self._any

    @property
    def stop(self) -> bool:
        """Whether a callback asked to end the training, as keras.callbacks.EarlyStopping does."""
        return bool(self._model.stop_training)

    def train_begin(self) -> None:
        """Tell that the training begins."""
        self._list.on_train_begin()

    def epoch_begin(self, epoch: int) -> None:
        """Tell that an epoch begins, counted from 0."""
        self._list.on_epoch_begin(epoch)

    def test_begin(self) -> None:
        """Tell that the validation of an epoch begins."""
        self._list.on_test_begin()

    def test_end(self, *, loss: float, accuracy: float) -> None:
        """Tell what the validation of an epoch has given: mean cross-entropy, and the share of right answers."""
        self._list.on_test_end({"accuracy": accuracy, "loss": loss})

    def epoch_end(self, epoch: int, entry: Mapping[str, Any]) -> None:
        """Tell that an epoch has ended, with its entry in the history."""
        self._list.on_epoch_end(epoch, logs_of(entry))

    def train_end(self, entry: Mapping[str, Any] | None) -> None:
        """Tell that the training has ended, with the last entry in the history."""
        self._list.on_train_end(None if entry is None else logs_of(entry))


def logs_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return what Keras tells callbacks about an epoch: loss, accuracy, val_loss, val_accuracy."""
    return {name: float(entry[name]) for name in _LOGS}


def check_callbacks(callbacks: Any, recipe: Training, progress: Progress) -> tuple[Any, ...]:
    """Return callbacks that can be served with a recipe; note those that also want to be called at every batch.

    Raises:
      ArgumentError: not a sequence of keras.callbacks.Callback, or one that cannot do what it is for.
    """
    if not isinstance(callbacks, Sequence):
        raise ArgumentError(
            f"callbacks is {callbacks!r}; a sequence of keras.callbacks.Callback is expected", hint="Give a list."
        )
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ArgumentError(
                f"callbacks holds {callback!r}, no keras.callbacks.Callback",
                hint="Subclass keras.callbacks.Callback, or use keras.callbacks.LambdaCallback.",
            )
        _check(callback, recipe)
        own = type(callback) is keras.callbacks.LambdaCallback or type(callback).__module__.split(".")[0] != "keras"
        if own and any(_overrides(callback, method) for method in _BY_BATCH):
            progress.note(f"the callback {type(callback).__name__} is not called at batches: many steps run at once")
    return tuple(callbacks)


def _check(callback: Any, recipe: Training) -> None:
    """Raise an ArgumentError where a callback of Keras cannot do what it is for."""
    name, of_keras = type(callback).__name__, keras.callbacks
    if isinstance(callback, of_keras.BackupAndRestore):
        raise ArgumentError(
            f"the callback {name} would set the model to an epoch of another training",
            hint="Leave it out: edgefm.Run(folder).train keeps each epoch, and goes on from there with resume=True.",
        )
    if isinstance(callback, of_keras.TerminateOnNaN):
        raise ArgumentError(
            f"the callback {name} has only on_batch_end, which is not called: many steps run at once",
            hint="Leave it out: a training ends by itself where the loss is not finite.",
        )
    board = isinstance(callback, of_keras.TensorBoard)
    if board and keras.config.backend() != "tensorflow" and "tensorflow" not in sys.modules:
        raise ArgumentError(
            f"the callback {name} writes with TensorFlow, which a training on {keras.config.backend()} does not load",
            hint="Give the folder as tensorboard=... instead, which needs no package; or import tensorflow before.",
        )
    if board and importlib.util.find_spec("tensorboard") is None:
        raise ArgumentError(
            f"the callback {name} needs the package tensorboard, which is not installed",
            hint="Give the folder as tensorboard=... instead, which needs no package; or pip install tensorboard",
        )
    sets_rate = isinstance(callback, of_keras.LearningRateScheduler | of_keras.ReduceLROnPlateau)
    if sets_rate and recipe.schedule != "constant":
        raise ArgumentError(
            f"the callback {name} sets the learning rate, and so does the recipe's schedule '{recipe.schedule}'",
            hint="Train with schedule='constant', or leave the callback out.",
        )
    savers = of_keras.ModelCheckpoint, getattr(of_keras, "OrbaxCheckpoint", of_keras.ModelCheckpoint)
    if isinstance(callback, savers) and callback.save_freq != "epoch":
        raise ArgumentError(
            f"the callback {name} saves every {callback.save_freq} batches, but hears of epochs only: many steps run "
            "at once",
            hint="Use save_freq='epoch'.",
        )
    at_batches = [method for method in _BY_BATCH if _overrides(callback, method)]
    if at_batches and not any(_overrides(callback, method) for method in _SERVED):
        raise ArgumentError(
            f"the callback {name} has only {', '.join(at_batches)}, which is not called: many steps run at once",
            hint="Use on_epoch_begin or on_epoch_end.",
        )


def _overrides(callback: Any, method: str) -> bool:
    own = getattr(callback, method)
    return getattr(own, "__func__", own) is not getattr(keras.callbacks.Callback, method)
