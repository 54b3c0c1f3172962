"""Finds architectures by name. Listing them imports no Keras; building one does."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgefm.core.errors import RecipeError, unknown_name

_MODULES = {
    "enhanced_cnn": "edgefm.zoo.enhanced_cnn",
    "basic_cnn": "edgefm.zoo.basic_cnn",
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A figure that the source states; None where it states none. Accuracies in percent.

    Attributes:
      train_accuracy: on the training images.
      validation_accuracy: on the validation images.
      train_loss: cross-entropy, natural logarithm.
      validation_loss: cross-entropy, natural logarithm.
    """

    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    train_loss: float | None = None
    validation_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What is known of an architecture without building it.

    Attributes:
      name: its name in the zoo.
      title: as its source calls it.
      summary: layers, in one line.
      input_shape: (height, width, channels) of the uint8 picture.
      classes: number of outputs.
      trainable: number of trainable parameters, checked when it is built.
      non_trainable: number of parameters that are not trained, checked when it is built.
      claim: figures that the source states.
      options: allowed values of each option of `build`; the first is the default.
    """

    name: str
    title: str
    summary: str
    input_shape: tuple[int, int, int]
    classes: int
    trainable: int
    non_trainable: int
    claim: Claim
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def architecture(name: str) -> Architecture:
    """Return what is known of an architecture, or raise a RecipeError that names the nearest one."""
    return _module(name).ARCHITECTURE


def architectures() -> tuple[Architecture, ...]:
    """Return all architectures of the zoo."""
    return tuple(architecture(name) for name in _MODULES)


def build(name: str, options: Mapping[str, str] | None = None) -> Any:
    """Return a new keras.Model: float32 pixels 0 to 255, [n, h, w, c], to class probabilities, [n, classes].

    Args:
      name: an architecture of the zoo.
      options: values from the architecture's `options`.
    Raises:
      RecipeError: an unknown name, option or value.
      AssertionError: the number of parameters is not the one that the architecture states.
    """
    options = dict(options or {})
    known = check_options(name, options)
    model = _module(name).build(**options)
    trainable = sum(_size(weight) for weight in model.trainable_weights)
    non_trainable = sum(_size(weight) for weight in model.non_trainable_weights)
    assert (trainable, non_trainable) == (known.trainable, known.non_trainable), (
        name,
        trainable,
        non_trainable,
    )
    return model


def check_options(name: str, options: Mapping[str, str]) -> Architecture:
    """Return what is known of an architecture if it has these options, without building it.

    Raises:
      RecipeError: an unknown name, option or value.
    """
    known = architecture(name)
    for option, value in options.items():
        if option not in known.options:
            if not known.options:
                raise RecipeError(f"model '{name}' has no options, '{option}' was given")
            raise unknown_name(f"option of model '{name}'", option, known.options)
        if value not in known.options[option]:
            raise unknown_name(f"value of {option} of model '{name}'", value, known.options[option])
    return known


def _size(weight: Any) -> int:
    return math.prod(int(dimension) for dimension in weight.shape)


def _module(name: str) -> Any:
    if name not in _MODULES:
        raise unknown_name("model", name, _MODULES)
    return importlib.import_module(_MODULES[name])
