"""What a model file says of a picture file: read, encoded by the contract, run, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.data.picture_file import Invert, ModelPicture, read_picture
from edgefm.runtimes.base import RuntimeSession
from edgefm.tflite.contract import NO_PIXELS_HINT, Contract, dequantize


@dataclass(frozen=True, kw_only=True)
class PictureAnswer:
    """What a model says of a picture.

    Attributes:
      outputs: real values, float32, one array an output, each with a batch of 1.
      inverted: whether the picture's brightness was inverted first.
    """

    outputs: tuple[NDArray[np.float32], ...]
    inverted: bool


def picture_shape(contract: Contract) -> tuple[int, int, int]:
    """Return height, width and channels of the pictures that a model takes.

    Raises:
      ModelError: it takes none.
    """
    if contract.input.parts:
        names = ", ".join(f"'{part.name}'" for part in contract.input.parts)
        raise ModelError(
            f"{contract.file} has several inputs ({names}); a picture alone is not enough for it",
            hint="edgefm benchmark measures its answers on a .npz file with an array for each input.",
        )
    if len(contract.input.shape) != 4:
        raise ModelError(f"{contract.file} does not take pictures: its input has shape {contract.input.shape}")
    if contract.no_pixels is not None:
        raise ModelError(f"{contract.file} takes no pictures: {contract.no_pixels}", hint=NO_PIXELS_HINT)
    _, height, width, channels = contract.input.shape
    return height, width, channels


def read(path: Path, contract: Contract, *, invert: Invert = "auto") -> ModelPicture:
    """Return a picture file as a model takes it; see `edgefm.data.picture_file.read_picture`.

    Args:
      path: of the picture.
      contract: of the model.
      invert: 'yes', 'no', or 'auto', as the contract says.
    Raises:
      ModelError: the model takes no pictures.
      DataError: the file is missing or no whole picture.
      RecipeError: `invert` is not allowed.
      RuntimeUnavailableError: Pillow is not installed.
    """
    return read_picture(path, contract.pictures, shape=picture_shape(contract), invert=invert)


def answer(session: RuntimeSession, contract: Contract, picture: ModelPicture) -> PictureAnswer:
    """Return what a loaded model says of a picture."""
    session.run(contract.encode(picture.pixels[np.newaxis]))
    outputs = zip(session.get_outputs(), contract.outputs, strict=True)
    return PictureAnswer(
        outputs=tuple(dequantize(output, tensor) for output, tensor in outputs), inverted=picture.inverted
    )
