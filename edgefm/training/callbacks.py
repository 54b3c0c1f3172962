"""Callbacks of Keras around epochs: what they are told, and which cannot be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from edgefm.core.errors import ArgumentError
from edgefm.core.progress import Progress

_SERVED = ("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end")
_BY_BATCH = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
_LOGS = ("loss", "accuracy", "val_loss", "val_accuracy")


class Hooks:
    """Tells callbacks of Keras about a training, with the logs of `keras.Model.fit`."""

    def __init__(self, callbacks: Sequence[Any], model: Any, *, epochs: int, steps: int) -> None:
        model.stop_training = False
        self._model = model
        self._list = keras.callbacks.CallbackList(list(callbacks), model=model, epochs=epochs, steps=steps, verbose=0)

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

    def epoch_end(self, epoch: int, entry: Mapping[str, Any]) -> None:
        """Tell that an epoch has ended, with its entry in the history."""
        self._list.on_epoch_end(epoch, logs_of(entry))

    def train_end(self, entry: Mapping[str, Any] | None) -> None:
        """Tell that the training has ended, with the last entry in the history."""
        self._list.on_train_end(None if entry is None else logs_of(entry))


def logs_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return what Keras tells callbacks about an epoch: loss, accuracy, val_loss, val_accuracy."""
    return {name: float(entry[name]) for name in _LOGS}


def check_callbacks(callbacks: Any, progress: Progress) -> tuple[Any, ...]:
    """Return callbacks that can be served; note those that also want to be called at every batch.

    Raises:
      ArgumentError: not a sequence of keras.callbacks.Callback, or one that does something at batches alone.
    """
    if not isinstance(callbacks, Sequence):
        raise ArgumentError(
            f"callbacks is {callbacks!r}; a sequence of keras.callbacks.Callback is expected", hint="Give a list."
        )
    for callback in callbacks:
        name = type(callback).__name__
        if not isinstance(callback, keras.callbacks.Callback):
            raise ArgumentError(
                f"callbacks holds {callback!r}, no keras.callbacks.Callback",
                hint="Subclass keras.callbacks.Callback, or use keras.callbacks.LambdaCallback.",
            )
        at_batches = [method for method in _BY_BATCH if _overrides(callback, method)]
        if at_batches and not any(_overrides(callback, method) for method in _SERVED):
            raise ArgumentError(
                f"the callback {name} has only {', '.join(at_batches)}, which is not called: many steps run at once",
                hint="Use on_epoch_begin or on_epoch_end.",
            )
        if at_batches and type(callback).__module__.split(".")[0] != "keras":
            progress.note(f"the callback {name} is not called at batches: many steps run at once")
    return tuple(callbacks)


def _overrides(callback: Any, method: str) -> bool:
    own = getattr(callback, method)
    return getattr(own, "__func__", own) is not getattr(keras.callbacks.Callback, method)
