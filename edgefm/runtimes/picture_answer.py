"""What a model file says of a picture file: read, encoded by the contract, run, decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.arguments import check_number, check_type
from edgefm.core.errors import ArgumentError, ModelError, unknown_name
from edgefm.core.picture_steps import CHANNEL_ORDERS, FILTERS, FITS, INVERSIONS, ChannelOrder, Filter, Fit, Inversion
from edgefm.data.picture_file import Invert, ModelPicture, check_channels, read_picture
from edgefm.runtimes.base import RuntimeSession
from edgefm.tflite.contract import NO_PIXELS_HINT, Contract, dequantize

_COLOURS, _WHITE = 3, 255


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


def rechosen(
    contract: Contract,
    *,
    fit: Fit | None = None,
    filter: Filter | None = None,
    channel_order: ChannelOrder | None = None,
    invert: Inversion | None = None,
    background: int | None = None,
) -> Contract:
    """Return a contract by which pictures get in otherwise; what is None stays as it is.

    Args:
      contract: of the model.
      fit: see `edgefm.core.picture_steps.PictureSteps`, as for all others.
      filter: see there.
      channel_order: of a model of three channels.
      invert: see there.
      background: of a picture that is contained.
    Raises:
      RecipeError: a name is not known.
      ArgumentError: a level is out of range, or means nothing for this model.
      ModelError: the model takes no pictures, or none in this way.
    """
    known = {"fit": FITS, "filter": FILTERS, "channel_order": CHANNEL_ORDERS, "invert": INVERSIONS}
    given = {"fit": fit, "filter": filter, "channel_order": channel_order, "invert": invert}
    choices: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name, value in choices.items():
        check_type(value, name, str, f"one of {', '.join(known[name])}")
        if value not in known[name]:
            raise unknown_name(name, value, known[name])
    if background is not None:
        check_number(background, "background", int)
        if not 0 <= background <= _WHITE:
            raise ArgumentError(f"background is {background}; a level from 0 to {_WHITE} is expected")
        choices["background"] = background
    if not choices:
        return contract
    channels = picture_shape(contract)[2]
    pictures = replace(contract.pictures, **choices)
    if channel_order is not None and channels != _COLOURS:
        raise ArgumentError(f"channel_order is {channel_order}, but {contract.file} takes {channels} channels, not 3")
    if background is not None and pictures.fit != "contain":
        raise ArgumentError(f"background is {background}, but pictures fit by '{pictures.fit}', which leaves none")
    check_channels(pictures, channels)
    return replace(contract, pictures=pictures)


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
