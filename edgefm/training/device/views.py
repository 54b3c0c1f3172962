"""A batch as a step sees it: its images augmented and its labels mixed, from the set on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from edgefm.core.errors import RecipeError
from edgefm.recipes import Training
from edgefm.training.device.covering import erased, exchanged, mixed
from edgefm.training.device.moving import moved, turned

_PICTURES_ONLY = ("shift_pixels", "rotation_degrees", "zoom", "erasing", "cutmix")
_FILLS_WITH_BLACK = ("shift_pixels", "rotation_degrees", "zoom", "erasing")


def view(images: Any, rows: Mapping[str, Any]) -> Any:
    """Return a batch of images as the rows of `epoch_chance` change them: moved, erased, mixed.

    Args:
      images: [b, h, w, c], as they are in the set.
      rows: of this batch, by name.
    Returns:
      float32 [b, h, w, c] of uint8 images, 0 to 255; else of the images' dtype where nothing computes with them.
    """
    if "turns" in rows:
        images = turned(images, rows["moves"], rows["turns"])
    elif "moves" in rows:
        images = moved(images, rows["moves"])
    if "erased" in rows:
        images = erased(images, rows["erased"])
    images = model_inputs(images)
    if "shares" in rows:
        images = mixed(images, rows["shares"])
    if "exchanged" in rows:
        images = exchanged(images, rows["exchanged"])
    return images


def labels_seen(labels: Any, rows: Mapping[str, Any], *, classes: int) -> Any:
    """Return the share of each class in a batch, float32 [b, classes], of labels int32 [b]."""
    targets = ops.one_hot(labels, classes, dtype="float32")
    return mixed(targets, rows["second"]) if "second" in rows else targets


def weights_seen(weights: Any, labels: Any, rows: Mapping[str, Any]) -> Any:
    """Return the weight of each sample, float32 [b], from that of each class, float32 [classes]."""
    own = ops.take(weights, labels, axis=0)
    return mixed(own, rows["second"]) if "second" in rows else own


def model_inputs(images: Any) -> Any:
    """Return what a model takes: uint8 pixels as float32, 0 to 255; other inputs as they are."""
    return ops.cast(images, "float32") if "uint8" in str(images.dtype) else images


def check_augmentation(recipe: Training, *, shape: tuple[int, ...], dtype: str) -> None:
    """Raise a RecipeError where a recipe asks for what cannot be done with inputs of a shape and dtype.

    Mirroring is left out for inputs that are no pictures, as it is what recipes ask for by default.
    """
    pictures = len(shape) == 3
    for name in _PICTURES_ONLY:
        value = getattr(recipe, name)
        if value and not pictures:
            raise RecipeError(
                f"{name} is {value}, which needs pictures [height, width, channels]; an input has shape {shape}",
                hint=f"Set {name} to 0.",
            )
        if value and dtype != "uint8" and name in _FILLS_WITH_BLACK:
            raise RecipeError(
                f"{name} is {value}: it fills with 0, the black of uint8 pixels; the inputs are {dtype}",
                hint=f"Give uint8 pictures, or set {name} to 0.",
            )
    if pictures and recipe.shift_pixels >= min(shape[:2]):
        raise RecipeError(
            f"shift_pixels {recipe.shift_pixels} moves pictures of {shape[0]} x {shape[1]} pixels out of sight",
            hint=f"Give at most {min(shape[:2]) - 1}; an eighth of the side is a usual choice.",
        )
    if recipe.mixup and not dtype.startswith(("uint8", "float")):
        raise RecipeError(f"mixup is {recipe.mixup}; inputs of dtype {dtype} cannot be mixed", hint="Set mixup to 0.")
