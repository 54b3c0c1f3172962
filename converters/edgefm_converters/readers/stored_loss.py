"""The loss that a model was compiled with, as its file or the model in memory tells; nothing of it is run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_SHORT = {
    "bce": "binary_crossentropy",
    "kl_divergence": "kl_divergence",
    "kld": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
    "huber_loss": "huber",
}


def stored_loss(compiled: Any, *, output: str = "") -> tuple[str, bool]:
    """Return the name of the first output's loss in Keras's snake case, and whether it takes logits.

    Args:
      compiled: what a file says of how its model was compiled: an object with 'loss'; None where it says nothing.
      output: name of the first output, for losses by name.
    Returns:
      ('', False) where no loss is stored.

    >>> stored_loss({"loss": {"class_name": "BinaryCrossentropy", "config": {"from_logits": True}}})
    ('binary_crossentropy', True)
    >>> stored_loss({"loss": "mse"})
    ('mean_squared_error', False)
    """
    if not isinstance(compiled, Mapping):
        return "", False
    return _named(_first(compiled.get("loss"), output))


def loss_in_memory(model: Any) -> tuple[str, bool]:
    """Return the same of a keras.Model in memory; ('', False) where it is not compiled."""
    loss = getattr(model, "loss", None)
    if loss is None:
        return "", False
    first = _first(loss, next(iter(getattr(model, "output_names", ())), ""))
    if first is None or isinstance(first, str):
        return _named(first)
    if not hasattr(first, "get_config"):
        return _named(getattr(first, "__name__", ""))
    config = first.get_config()
    return _named({"class_name": type(first).__name__, "config": config if isinstance(config, Mapping) else {}})


def _first(loss: Any, output: str) -> Any:
    """Return the loss of the first output, of one loss, a list, or losses by the outputs' names."""
    if isinstance(loss, Mapping) and "class_name" not in loss:
        return loss.get(output) if output in loss else next(iter(loss.values()), None)
    if isinstance(loss, Sequence) and not isinstance(loss, str):
        return loss[0] if loss else None
    return loss


def _named(loss: Any) -> tuple[str, bool]:
    if isinstance(loss, str):
        return _snake(loss), False
    if not isinstance(loss, Mapping):
        return "", False
    kind, config = str(loss.get("class_name", "")), loss.get("config")
    if kind == "function":
        name = config if isinstance(config, str) else (config or {}).get("name", loss.get("registered_name") or "")
        return _snake(str(name)), False
    config = config if isinstance(config, Mapping) else {}
    if kind == "LossFunctionWrapper":
        kind = str(config.get("name", ""))
    return _snake(kind), bool(config.get("from_logits"))


def _snake(name: str) -> str:
    """Return a name in snake case, by Keras's own name.

    >>> _snake("SparseCategoricalCrossentropy"), _snake("MSE"), _snake("keras.losses.Huber")
    ('sparse_categorical_crossentropy', 'mean_squared_error', 'huber')
    """
    plain = name.rpartition(".")[2].rpartition(">")[2]
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain).lower()
    return _SHORT.get(snake, snake)
