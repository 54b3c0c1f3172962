"""A picture as input values, in any of the ways that `ways` lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.picture_steps import LETTERBOX, PictureSteps
from edgefm.data.picture_file import MODES, border_level, opaque, open_picture, padded, placed, resized
from edgefm.jobs.trace.ways import Way
from edgefm.runtimes import picture_answer
from edgefm.tflite.contract import Contract

_TURNS = {"90": 1, "180": 2, "270": 3}
_IMAGENET = (np.array([123.675, 116.28, 103.53], np.float32), np.array([58.395, 57.12, 57.375], np.float32))
_GREY = {"mean grey": (1 / 3, 1 / 3, 1 / 3), "BT.709 grey": (0.2126, 0.7152, 0.0722)}
_GREY |= {"red alone": (1.0, 0.0, 0.0), "green alone": (0.0, 1.0, 0.0)}


class Picture:
    """A picture file, read in many ways; what was decoded is kept."""

    def __init__(self, path: Path, contract: Contract) -> None:
        """Read the picture as the contract says.

        Raises:
          DataError: the file is missing or no whole picture.
          ModelError: the model takes no pictures.
          RuntimeUnavailableError: Pillow is not installed.
        """
        self._path, self._contract = path, contract
        self._shape = picture_answer.picture_shape(contract)
        self._upright = open_picture(path)
        self._raw = _as_stored(path)
        self._pixels: dict[Way, NDArray[np.uint8]] = {}

    def values(self, way: Way) -> NDArray[Any]:
        """Return the input tensor, [1, ...] in the input's dtype."""
        key = Way(**{step: getattr(way, step) for step in ("decoding", "orientation", "fit", "filter", "inversion")})
        if key not in self._pixels:
            self._pixels[key] = self._read(key)
        return encoded(self._pixels[key], way, self._contract)

    def _read(self, way: Way) -> NDArray[np.uint8]:
        if way == Way():
            return picture_answer.read(self._path, self._contract).pixels
        height, width, channels = self._shape
        steps = self._steps(way)
        image = _turned(self._decoded(way, steps), way.orientation)
        resize = _without_antialias if way.filter == "no antialias" else resized
        image = resize(image, steps, height=height, width=width)
        inner = np.array(image, np.uint8).reshape(image.height, image.width, channels)
        if self._inverts(way, steps, inner):
            inner[..., :3] = 255 - inner[..., :3]
        return padded(inner, steps, height=height, width=width)

    def _steps(self, way: Way) -> PictureSteps:
        """Return the contract's steps with another fit, as such pictures are usually read, or another filter."""
        steps = self._contract.pictures
        if way.fit not in ("contract", steps.fit):
            usual = LETTERBOX if way.fit == "contain" else PictureSteps()
            changes: dict[str, Any] = {"fit": way.fit, "filter": usual.filter, "over": usual.over}
            steps = replace(steps, **changes)
        if way.filter not in ("contract", "no antialias"):
            filtered: dict[str, Any] = {"filter": way.filter}
            steps = replace(steps, **filtered)
        return steps

    def _inverts(self, way: Way, steps: PictureSteps, inner: NDArray[np.uint8]) -> bool:
        if way.inversion != "contract":
            return way.inversion == "always"
        asked = steps.inverts("auto")
        return asked == "yes" or (asked == "auto" and border_level(inner[..., :3]) > 127)

    def _decoded(self, way: Way, steps: PictureSteps) -> Any:
        """Return the picture with the channels that the model takes, before it is turned further."""
        from PIL import Image

        image = self._raw if way.orientation == "ignored" else self._upright
        channels = self._shape[2]
        if way.decoding == "16 bits cut" and self._raw.mode.startswith("I"):
            levels = np.clip(np.asarray(self._raw, np.int64), 0, 255).astype(np.uint8)
            image = Image.fromarray(levels)
        if image.mode.startswith("I"):
            image = Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 65535) >> 8).astype(np.uint8))
        if channels < 4:
            white = steps.over == "white" or (steps.over == "auto" and steps.inverts("auto") != "no")
            white = {"alpha on black": False, "alpha on white": True}.get(way.decoding, white)
            transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
            dropped = way.decoding == "alpha dropped" and transparent
            image = image.convert("RGBA").convert("RGB") if dropped else opaque(image, background=255 if white else 0)
        if channels == 1 and way.decoding in _GREY:
            colours = np.asarray(image.convert("RGB"), np.float32)
            grey = colours @ np.array(_GREY[way.decoding], np.float32)
            return Image.fromarray(np.clip(np.round(grey), 0, 255).astype(np.uint8))
        return image.convert(MODES[channels])


def encoded(pixels: NDArray[np.uint8], way: Way, contract: Contract) -> NDArray[Any]:
    """Return pixels [h, w, c], red first, as the input tensor in a way."""
    pixels = contract.ordered(pixels)
    if way.channels == "reversed":
        pixels = np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=-1) if pixels.shape[-1] > 2 else pixels
    if way.layout == "planar":
        pixels = pixels.transpose(2, 0, 1).reshape(pixels.shape)
    elif way.layout == "transposed":
        pixels = pixels.transpose(1, 0, 2).reshape(pixels.shape)
    real = _real(pixels.astype(np.float32), way, contract)[np.newaxis]
    tensor = contract.input
    if tensor.scale is None or tensor.zero_point is None:
        return real.astype(tensor.dtype)
    limits, steps = np.iinfo(tensor.dtype), real / np.float32(tensor.scale)
    zero = 0 if way.quantisation == "no zero point" else tensor.zero_point
    levels = (np.trunc(steps) if way.quantisation == "truncated" else np.round(steps)) + zero
    if way.quantisation == "cast":
        levels = np.trunc(real)
    levels = np.clip(levels, limits.min, limits.max).astype(tensor.dtype)
    return levels ^ levels.dtype.type(-128 if limits.min else 128) if way.quantisation == "sign flipped" else levels


def same(values: NDArray[Any], seen: NDArray[Any]) -> bool:
    """Return whether the values of an input are those that were read out, floats to within their rounding."""
    given = values.reshape(-1)
    if given.dtype.kind == "f":
        return bool(np.allclose(given, seen, rtol=1e-5, atol=1e-6))
    return bool((given == seen).all())


def _real(pixels: NDArray[np.float32], way: Way, contract: Contract) -> NDArray[np.float32]:
    mean, std = np.float32(contract.mean), np.float32(contract.std)
    if way.range == "0 to 1":
        return (pixels / np.float32(255)).astype(np.float32)
    if way.range == "-1 to 1":
        return (pixels / np.float32(127.5) - np.float32(1)).astype(np.float32)
    if way.range == "0 to 255":
        return pixels
    if way.range == "-128 to 127":
        return (pixels - np.float32(128)).astype(np.float32)
    if way.range == "ImageNet":
        means, deviations = _IMAGENET
        colours = pixels.shape[-1] == 3
        real = (pixels - (means if colours else means.mean())) / (deviations if colours else deviations.mean())
        return real.astype(np.float32)
    real = (pixels - mean) / std
    return ((real - mean) / std if way.range == "twice" else real).astype(np.float32)


def _as_stored(path: Path) -> Any:
    """Return the picture as its file stores it, not turned by EXIF; `open_picture` has seen that it is whole."""
    from PIL import Image

    with Image.open(path) as opened:
        opened.load()
        return opened.copy()


def _turned(image: Any, orientation: str) -> Any:
    from PIL import Image

    if orientation in _TURNS:
        kinds = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
        return image.transpose(kinds[_TURNS[orientation] - 1])
    if orientation == "mirrored":
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if orientation == "upside down" else image


def _without_antialias(image: Any, steps: PictureSteps, *, height: int, width: int) -> Any:
    """Return a picture of the size that the steps give it, bilinear from the four neighbours of each new pixel."""
    from PIL import Image

    part, size = placed(image, steps.fit, height=height, width=width)
    return part if part.size == size else Image.fromarray(_bilinear(np.array(part, np.float64), size))


def _bilinear(pixels: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return pixels between their four neighbours, centres half a pixel in, as phones' bitmaps are scaled."""
    for axis, length in ((1, size[0]), (0, size[1])):
        places = np.clip((np.arange(length) + 0.5) * pixels.shape[axis] / length - 0.5, 0, pixels.shape[axis] - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, pixels.shape[axis] - 1)
        share = (places - low).reshape([-1 if other == axis else 1 for other in range(pixels.ndim)])
        pixels = pixels.take(low, axis) * (1 - share) + pixels.take(high, axis) * share
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)
