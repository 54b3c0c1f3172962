"""How a model of the zoo is trained."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from edgefm.core.errors import RecipeError
from edgefm.recipes import class_weights
from edgefm.recipes.base import MOST, MOST_SEED, Recipe, at_least, between, one_of
from edgefm.recipes.fine_tuning import Distillation

Backend = Literal["tensorflow", "jax", "torch"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

BACKENDS: tuple[str, ...] = get_args(Backend)
PRECISIONS: tuple[str, ...] = get_args(Precision)


def _keeps_given(cls: type[Training]) -> type[Training]:
    """Let a recipe know with which of its parameters it was made."""
    made = cls.__init__

    @functools.wraps(made)
    def init(self: Training, **given: Any) -> None:
        object.__setattr__(self, "_given", frozenset(given))  # the dataclass is frozen
        made(self, **given)

    cls.__init__ = init  # type: ignore[method-assign]
    return cls


@_keeps_given
@dataclass(frozen=True, kw_only=True)
class Training(Recipe):
    """How a model is trained.

    A training on your data may adapt what was left out here; what was given stays, and so does all of a recipe that
    was read from a file or a run, or made by `dataclasses.replace`. See `edgefm.train`.

    Attributes:
      model: name of an architecture in the zoo, 'module:function' of a function that builds one, or the path of a
        `.keras` file, whose weights are trained on.
      model_options: options of that architecture, e.g. {"batch_norm": "after_relu"}.
      image_size: side of the square pictures in pixels; None takes the architecture's, or the data's.
      channels: of the pictures, 1 or 3; None takes the architecture's, or the data's.
      pretrained: weights that the model begins with: a `.weights.h5` or `.keras` file; None draws them.
      value_range: what a model of the user's own takes for pixels 0 and 255; None: it is found, see
        docs/train-your-own.md. Architectures of the zoo take pixels as they are.
      frozen_epochs: first epochs in which only the layers that `pretrained` does not hold are trained.
      epochs: passes over the training split.
      batch_size: images a step.
      optimizer: 'adam', 'adamw', 'sgd' or 'rmsprop'.
      momentum: of 'sgd', in Nesterov's form where it is above 0 (Sutskever et al. 2013).
      learning_rate: peak rate.
      schedule: 'constant', or 'one_cycle': linear warm-up, then cosine decay to zero.
      warmup_fraction: share of all steps spent warming up.
      weight_decay: decoupled decay of 'adamw' (Loshchilov & Hutter 2019, arXiv:1711.05101); of 'sgd', the rate of L2.
      flip: mirror every second image, on average, left to right.
      shift_pixels: move each image by up to this many pixels in x and y.
      rotation_degrees: turn each image by up to this angle, either way.
      zoom: enlarge or shrink each image by up to this share, 0 to below 1.
      erasing: probability that a rectangle of an image is erased (Zhong et al. 2017, arXiv:1708.04896).
      mixup: greatest share of a second image that is mixed into each (Zhang et al. 2018, arXiv:1710.09412).
      cutmix: probability that a box of an image is replaced by that of a second one (Yun et al. 2019,
        arXiv:1905.04899).
      loss: 'cross_entropy', or 'multi_margin': the sum of max(0, 1 - z_true + z_other) over the other classes, divided
        by the number of classes, of logits z (torch.nn.MultiMarginLoss).
      label_smoothing: share of the target spread over all classes (Szegedy et al. 2016, arXiv:1512.00567).
      class_weights: 'none'; 'balanced': each class counts alike, however many images it has; or a weight for each
        class, by its name or its number, as Keras's class_weight: {"cat": 1.0, "dog": 3.5}. Classes left out weigh 1. A
        sample's loss is multiplied by the weight of its class, and the sum divided by the number of samples.
      patience: end after so many epochs without a lower validation loss and take the best epoch's weights; None
        trains all epochs and takes the last.
      with_validation: learn the validation images too, for a final training whose recipe was chosen before. No figure
        on them says anything about new pictures then.
      seed: of initial weights, order of images, augmentation and dropout.
      distillation: teachers whose answers are learnt beside the labels; None learns the labels alone.
    """

    kind: ClassVar[str] = "train"

    model: str = "enhanced_cnn"
    model_options: Mapping[str, str] = field(default_factory=dict)
    image_size: int | None = None
    channels: int | None = None
    pretrained: str | None = None
    value_range: tuple[float, float] | None = None
    frozen_epochs: int = 0
    epochs: int = 9
    batch_size: int = 64
    optimizer: str = "adamw"
    momentum: float = 0.0
    learning_rate: float = 1.5e-3
    schedule: str = "one_cycle"
    warmup_fraction: float = 0.2
    weight_decay: float = 0.05
    flip: bool = True
    shift_pixels: int = 0
    rotation_degrees: float = 0.0
    zoom: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    loss: str = "cross_entropy"
    label_smoothing: float = 0.1
    class_weights: str | Mapping[str | int, float] = "none"
    patience: int | None = None
    with_validation: bool = False
    seed: int = 0
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("batch size", self.batch_size, 1)
        at_least("seed", self.seed, 0, most=MOST_SEED)
        at_least("shift_pixels", self.shift_pixels, 0)
        at_least("frozen_epochs", self.frozen_epochs, 0)
        between("rotation_degrees", self.rotation_degrees, 0, 180)
        between("zoom", self.zoom, 0, 1, below=True)
        between("momentum", self.momentum, 0, 1, below=True)
        between("label_smoothing", self.label_smoothing, 0, 1, below=True)
        at_least("weight_decay", self.weight_decay, 0)
        between("warmup_fraction", self.warmup_fraction, 0, 1)
        for name in ("erasing", "mixup", "cutmix"):
            between(name, getattr(self, name), 0, 1)
        if self.image_size is not None:
            at_least("image_size", self.image_size, 1)
        if self.channels is not None and self.channels not in (1, 3):
            raise RecipeError(f"channels {self.channels} is not allowed: 1 (grey) or 3 (colour) is expected")
        if self.value_range is not None and not -MOST <= self.value_range[0] < self.value_range[1] <= MOST:
            low, high = self.value_range
            raise RecipeError(
                f"value_range {low:g} to {high:g} is not allowed: the second number must be above the first",
                hint="For example 0 and 1, or -1 and 1.",
            )
        if self.patience is not None:
            at_least("patience", self.patience, 1)
            if self.with_validation:
                raise RecipeError(
                    "patience needs validation images, but with_validation has them learnt",
                    hint="Leave out patience: a final training runs for its number of epochs.",
                )
        if self.frozen_epochs and self.pretrained is None:
            raise RecipeError(
                f"frozen_epochs is {self.frozen_epochs}, but no layer has weights to keep",
                hint="Give pretrained weights, or leave frozen_epochs at 0.",
            )
        if not self.learning_rate > 0:
            raise RecipeError(f"learning rate {self.learning_rate} must be above 0")
        one_of("optimizer", self.optimizer, ("adam", "adamw", "sgd", "rmsprop"))
        one_of("schedule", self.schedule, ("constant", "one_cycle"))
        one_of("loss", self.loss, ("cross_entropy", "multi_margin"))
        object.__setattr__(self, "class_weights", class_weights.checked(self.class_weights))  # a copy, of plain numbers

    @property
    def given(self) -> frozenset[str]:
        """Names of the parameters that the recipe was made with, at whatever value; the others are at their default."""
        given: frozenset[str] = self.__dict__["_given"]
        return given

    @property
    def model_name(self) -> str:
        """Name of the model: the architecture's, the file's without its suffix, or the module's and the function's."""
        if _is_path(self.model):
            return Path(self.model).name.removesuffix(".keras").removesuffix(".h5").removesuffix(".hdf5")
        return self.model.replace(":", "_").replace(".", "_")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Training:
        """Return the recipe that `to_json` wrote, all of it given: what was written down is trained as written."""
        if isinstance(params := value.get("params"), Mapping) and "class_weights" in params:
            weights = class_weights.checked(params["class_weights"])
            value = {**value, "params": {**params, "class_weights": weights}}
        return replace(super().from_json(value))

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object; without what older versions had not where it is at its default.

        So the same training has the same key in a run as it had before there was a choice.
        """
        value = super().to_json()
        for name in _LATER:
            if getattr(self, name) == getattr(Training, name):
                del value["params"][name]
        if not isinstance(self.class_weights, str):
            weights = {str(key): weight for key, weight in self.class_weights.items()}  # JSON has no other keys
            value["params"]["class_weights"] = weights
        return value


def _is_path(model: str) -> bool:
    return any(mark in model for mark in ("/", os.sep)) or model.endswith((".keras", ".h5", ".hdf5"))


# What recipes have had since they were first written, at defaults that change nothing.
_LATER = (
    "image_size",
    "channels",
    "pretrained",
    "value_range",
    "frozen_epochs",
    "momentum",
    "rotation_degrees",
    "zoom",
    "erasing",
    "mixup",
    "cutmix",
    "loss",
    "class_weights",
    "patience",
    "with_validation",
    "distillation",
)
