"""Finds architectures by name. Listing them imports no Keras; building one does."""

from __future__ import annotations

import importlib
import inspect
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
    "resnet20": "edgefm.zoo.resnet20",
    "resnet_preact20": "edgefm.zoo.resnet_preact20",
    "ds_cnn": "edgefm.zoo.ds_cnn",
    "mobilenet_v2": "edgefm.zoo.mobilenet_v2",
    "mobilenet_v3_small": "edgefm.zoo.mobilenet_v3_small",
    "efficientnetv2_b0": "edgefm.zoo.efficientnetv2_b0",
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
    "small_residual": "edgefm.zoo.best.small_residual",
    "separable_tiny": "edgefm.zoo.best.separable_tiny",
    "strided_cnn": "edgefm.zoo.best.strided_cnn",
    "resnet14": "edgefm.zoo.best.resnet14",
    "wide_resnet16": "edgefm.zoo.best.wide_resnet16",
    "staged_cnn": "edgefm.zoo.best.staged_cnn",
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
      input_shape: (height, width, channels) of the uint8 picture in its source.
      classes: number of outputs in its source.
      trainable: number of trainable parameters at that shape and with default options, checked when it is built.
      non_trainable: number of parameters that are not trained, checked likewise.
      claim: figures that the source states.
      options: allowed values of each option of `build`; the first is the default.
      smallest: least height and width in pixels that it can be built for.
      searchable: a search may build networks of `edgefm.zoo.best.staged_cnn` in its place: it is one of small pictures.
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
    smallest: int = 1
    searchable: bool = False


def architecture(name: str) -> Architecture:
    """Return what is known of an architecture, or raise a RecipeError that names the nearest one."""
    return _module(name).ARCHITECTURE


def architectures() -> tuple[Architecture, ...]:
    """Return all architectures of the zoo."""
    return tuple(architecture(name) for name in _MODULES)


def names() -> tuple[str, ...]:
    """Return the names of all architectures; importing none."""
    return tuple(_MODULES)


def modules_in(package: str) -> dict[str, str]:
    """Return the module of each architecture in a package, e.g. 'edgefm.zoo.documented', by the architecture's name."""
    return {name: module for name, module in _MODULES.items() if module.startswith(f"{package}.")}


def is_sized(name: str) -> bool:
    """Return whether an architecture can be built for other pictures and classes than its source's."""
    return {"input_shape", "classes"} <= set(inspect.signature(_module(name).build).parameters)


def build(
    name: str,
    options: Mapping[str, str] | None = None,
    *,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
) -> Any:
    """Return a new keras.Model: float32 pixels 0 to 255, [n, h, w, c], to class probabilities, [n, classes].

    Args:
      name: an architecture of the zoo.
      options: values from the architecture's `options`.
      input_shape: (height, width, channels) of the pictures; None takes those of its source.
      classes: number of classes; None takes that of its source.
    Raises:
      RecipeError: an unknown name, option or value; pictures that are too small for it, or a shape or a number of
        classes that it cannot be built for.
      AssertionError: the number of parameters, at the source's shape, is not the one that the architecture states.
    """
    options = dict(options or {})
    known = check_options(name, options)
    shape, outputs = input_shape or known.input_shape, classes or known.classes
    check_shape(name, shape, classes=outputs)
    size = {"input_shape": shape, "classes": outputs} if is_sized(name) else {}
    model = _module(name).build(**size, **options)
    if (shape, outputs) == (known.input_shape, known.classes) and _are_defaults(known, options):
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


def check_shape(name: str, input_shape: tuple[int, int, int], *, classes: int) -> None:
    """Raise a RecipeError unless an architecture can be built for pictures of a shape and a number of classes."""
    known = architecture(name)
    if not is_sized(name) and (input_shape, classes) != (known.input_shape, known.classes):
        raise RecipeError(
            f"model '{name}' is made for pictures of {by(known.input_shape)} and {known.classes} classes; "
            f"{by(input_shape)} and {classes} were given",
            hint="Give such data, or choose another model.",
        )
    height, width, _ = input_shape
    if min(height, width) < known.smallest:
        raise RecipeError(
            f"model '{name}' takes pictures of at least {known.smallest} x {known.smallest} pixels; {height} x {width} "
            "was given",
            hint=f"Give an image size of {known.smallest} or more, or choose another model.",
        )
    if classes < 2:
        raise RecipeError(f"model '{name}' was to have {classes} class; at least 2 are needed")


def by(shape: tuple[int, ...]) -> str:
    """Return a shape in words.

    >>> by((28, 28, 1))
    '28 x 28 x 1'
    """
    return " x ".join(map(str, shape))


def _are_defaults(known: Architecture, options: Mapping[str, str]) -> bool:
    return all(value == known.options[name][0] for name, value in options.items())


def _size(weight: Any) -> int:
    return math.prod(int(dimension) for dimension in weight.shape)


def _module(name: str) -> Any:
    if name not in _MODULES:
        raise unknown_name("model", name, _MODULES)
    return importlib.import_module(_MODULES[name])
