"""Finds architectures by name. Listing them imports no Keras; building one does."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from edgefm.core.errors import RecipeError, unknown_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MODULES = {
    "enhanced_cnn": "edgefm.zoo.enhanced_cnn",
    "basic_cnn": "edgefm.zoo.basic_cnn",
    "kadam_arch3": "edgefm.zoo.documented.kadam_arch3",
    "mcnn15": "edgefm.zoo.documented.mcnn15",
    "vijayaraj_cnn": "edgefm.zoo.documented.vijayaraj_cnn",
    "augmented_cnn": "edgefm.zoo.documented.augmented_cnn",
    "pca_dnn": "edgefm.zoo.documented.pca_dnn",
    "pca_dnn_deep": "edgefm.zoo.documented.pca_dnn_deep",
    "leaky_cnn": "edgefm.zoo.documented.leaky_cnn",
    "ann": "edgefm.zoo.documented.ann",
    "two_conv_cnn": "edgefm.zoo.documented.two_conv_cnn",
    "tiny_vgg": "edgefm.zoo.documented.tiny_vgg",
    "mobilenet_v2_small28": "edgefm.zoo.documented.mobilenet_v2_small28",
    "residual_cnn": "edgefm.zoo.documented.residual_cnn",
    "lenet5": "edgefm.zoo.documented.lenet5",
    "plain_cnn": "edgefm.zoo.experiments.plain_cnn",
    "plain_cnn_bn": "edgefm.zoo.experiments.plain_cnn_bn",
}

# A figure in percent, or its range where the source gives one.
Accuracy: TypeAlias = float | tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A figure that the source states; None where it states none. Accuracies in percent, a range as (low, high).

    Attributes:
      train_accuracy: on the training images.
      validation_accuracy: on the validation images.
      test_accuracy: on the test images.
      train_loss: cross-entropy, natural logarithm.
      validation_loss: cross-entropy, natural logarithm.
    """

    train_accuracy: Accuracy | None = None
    validation_accuracy: Accuracy | None = None
    test_accuracy: Accuracy | None = None
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


def learn_from(name: str, model: Any, images: NDArray[np.uint8]) -> None:
    """Set the weights of a new model that come from the training pictures and are not trained, e.g. of a PCA.

    Most architectures have none, and are left as they are.

    Args:
      name: the architecture that `build` made the model of.
      model: keras.Model, changed in place.
      images: uint8 [n, height, width, channels], all training pictures.
    """
    learn = getattr(_module(name), "learn_from", None)
    if learn is not None:
        learn(model, images)


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
