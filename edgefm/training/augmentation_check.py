"""Augmentation that cannot be done with some data: said before a training begins, importing nothing heavy."""

from __future__ import annotations

from edgefm.core.errors import RecipeError
from edgefm.recipes import Training

_PICTURES_ONLY = ("shift_pixels", "rotation_degrees", "zoom", "erasing", "cutmix")
_FILLS_WITH_BLACK = ("shift_pixels", "rotation_degrees", "zoom", "erasing")


def check_augmentation(recipe: Training, *, shape: tuple[int, ...], dtype: str) -> None:
    """Raise a RecipeError where a recipe asks for what cannot be done with inputs of a shape and dtype.

    Mirroring is left out for inputs that are no pictures, as it is what recipes ask for by default.

    Args:
      recipe: of the training.
      shape: of one input.
      dtype: name of the inputs' dtype.
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
