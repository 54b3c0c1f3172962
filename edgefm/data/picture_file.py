"""Reading a picture file into the pixels that a model takes: for data and for predictions."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError, EdgefmError, ModelError, missing_extra, unknown_name
from edgefm.core.given import damage, limits, regular
from edgefm.core.picture_steps import Fit, PictureSteps

if TYPE_CHECKING:
    from PIL.Image import Image

Invert = Literal["auto", "yes", "no"]
INVERT: tuple[str, ...] = get_args(Invert)
_BLACK, _WHITE = 0, 255
_GIVE = "Give picture files, such as a PNG or a JPEG."
# Formats of pixels. Others run programs on the file (EPS takes Ghostscript) or are descriptions of drawings.
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "ICO", "JPEG2000", "AVIF", "TGA")
_SIXTEEN_BITS = ("PNG", "PPM")  # formats whose levels are of 16 bits where Pillow says mode I; of others they are of 32
_BYTES_A_PIXEL = 3
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
GREY = ("1", "L", "LA", "I", "I;16", "F")
_EXIF_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)  # pictures whose width is shown as their height


@dataclass(frozen=True, kw_only=True)
class ModelPicture:
    """A picture as a model takes it.

    Attributes:
      pixels: uint8 [height, width, channels], red first whatever order the model takes.
      inverted: whether its brightness was inverted: 255 - level.
    """

    pixels: NDArray[np.uint8]
    inverted: bool


def read_picture(
    path: Path, steps: PictureSteps, *, shape: tuple[int, int, int], invert: Invert = "auto"
) -> ModelPicture:
    """Return a picture file's pixels at a model's size, by the steps of its contract.

    Args:
      path: a PNG, a JPEG or another format of pixels that Pillow reads; of an animation, the first frame.
      steps: see `edgefm.core.picture_steps.PictureSteps`; by default a picture is what data in folders have of it.
      shape: height, width and channels of the model's input: 1 (grey), 3, or 4 (RGBA) where pictures are not contained.
      invert: 'yes', 'no', or 'auto', as the steps say. Where the border decides, no test image of Fashion-MNIST, with
        its bright things on black, is taken for a light one.
    Raises:
      DataError: the file is missing or no whole picture.
      ModelError: the model takes pixels of other channels.
      RuntimeUnavailableError: Pillow is not installed.
    """
    height, width, channels = shape
    check_channels(steps, channels)
    if invert not in INVERT:
        raise unknown_name("value of invert", invert, INVERT)
    asked = steps.inverts(invert)
    image = open_picture(path)
    if channels < 4:
        black = steps.over == "black" or (steps.over == "auto" and asked == "no")
        image = opaque(image, background=_BLACK if black else _WHITE)
    image = resized(image.convert(MODES[channels]), steps, height=height, width=width)
    inner = np.array(image, np.uint8).reshape(image.height, image.width, channels)
    inverted = asked == "yes" or (asked == "auto" and border_level(inner[..., :3]) > 127)
    if inverted:
        inner[..., :3] = 255 - inner[..., :3]  # the fourth channel is how opaque a pixel is
    return ModelPicture(pixels=padded(inner, steps, height=height, width=width), inverted=inverted)


def check_channels(steps: PictureSteps, channels: int) -> None:
    """Raise a ModelError unless pictures of so many channels can go the way of some steps."""
    if channels not in ((1, 3) if steps.fit == "contain" else MODES):
        allowed = "1 (grey) or 3 (RGB)" if steps.fit == "contain" else "1 (grey), 3 (RGB) or 4 (RGBA)"
        what = "pictures that are contained" if steps.fit == "contain" else "pictures"
        raise ModelError(f"the model takes {channels} channels; {what} have {allowed}")


def resized(image: Image, steps: PictureSteps, *, height: int, width: int) -> Image:
    """Return a picture of the channels that a model takes at its size; a contained one fills it in one direction."""
    from PIL import Image

    part, size = placed(image, steps.fit, height=height, width=width)
    return part if size == part.size else part.resize(size, Image.Resampling[steps.filter.upper()])


def placed(image: Image, fit: Fit, *, height: int, width: int) -> tuple[Image, tuple[int, int]]:
    """Return the part of a picture that is taken, and the (width, height) that it is resized to."""
    if fit == "contain":
        factor = min(height / image.height, width / image.width)
        return image, (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    if fit == "cover":
        across = max(1, min(image.width, image.height * width // height))
        down = max(1, min(image.height, image.width * height // width))
        left, top = (image.width - across) // 2, (image.height - down) // 2
        image = image.crop((left, top, left + across, top + down))
    return image, (width, height)


def padded(inner: NDArray[np.uint8], steps: PictureSteps, *, height: int, width: int) -> NDArray[np.uint8]:
    """Return pixels uint8 [height, width, c] with those of a contained picture in the middle, others as they are."""
    if inner.shape[:2] == (height, width):
        return inner
    pixels = np.full((height, width, inner.shape[2]), steps.background, np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    pixels[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return pixels


def pixels_of(image: Image, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return a picture as uint8 [height, width, channels], stretched where its size is another.

    Transparent parts become white where the model has no fourth channel for them; levels between pixels are bilinear,
    with antialiasing.
    """
    height, width, channels = shape
    if channels < 4:
        image = opaque(image, background=_WHITE)
    image = resized(image.convert(MODES[channels]), PictureSteps(), height=height, width=width)
    return np.array(image, np.uint8).reshape(shape)


def resized_pixels(images: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return pictures uint8 [n, h, w, 1, 3 or 4] as uint8 [n, *shape], each as `pixels_of` makes it.

    Raises:
      RuntimeUnavailableError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("Pillow", "pictures") from None
    result = np.empty((len(images), *shape), np.uint8)
    for place, image in enumerate(images):
        result[place] = pixels_of(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), shape)
    return result


def border_level(pixels: NDArray[np.uint8]) -> float:
    """Return the median of the outermost pixels of uint8 [height, width, channels]."""
    inside = np.zeros(pixels.shape[:2], bool)
    inside[1:-1, 1:-1] = True
    return float(np.median(pixels[~inside]))


def open_picture(source: Path | bytes, *, name: str | None = None) -> Image:
    """Return the decoded picture, upright, in a mode that converts to grey or RGB without loss of range.

    Args:
      source: a file, or the content of one.
      name: how messages call it; None takes the path.
    Raises:
      DataError: the file is missing, no whole picture, one of more pixels than it may have (see
        `edgefm.core.given.limits`), or one of 32 bits a level: no scale to 8 bits is right for all of these.
      RuntimeUnavailableError: Pillow is not installed.
    """
    path = _called(source, name)
    with _opened(source, path) as (opened, size_bytes):
        from PIL import Image, ImageOps

        wanted = opened.width * opened.height * _BYTES_A_PIXEL
        limits.check(
            wanted, DataError, size_bytes=size_bytes, what=f"{path}, a picture of {opened.width} x {opened.height},"
        )
        if opened.mode == "F" or (opened.mode == "I" and opened.format not in _SIXTEEN_BITS):
            raise DataError(
                f"the levels of {path} are of 32 bits, or have a sign (Pillow's mode {opened.mode}), and nothing says "
                "which is black and which is white",
                hint="Save it with 8 or 16 bits a level.",
            )
        opened.load()
        image = ImageOps.exif_transpose(opened)
        if image.mode == "LAB":  # Pillow's own conversion makes no grey of it, and RGB in its newest versions only
            from PIL import ImageCms

            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if image.mode.startswith("I"):
        # Levels of 16 bits: Pillow would cut them off at 255.
        levels = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        return Image.fromarray((levels >> 8).astype(np.uint8))
    return image


def picture_header(source: Path | bytes, *, name: str | None = None) -> tuple[int, int, int]:
    """Return (height, width, channels) of a picture, upright; its pixels are not decoded.

    Args:
      source: a file, or the content of one.
      name: how messages call it; None takes the path.
    Returns:
      channels are 1 of a grey picture, 3 of any other: a palette may hold colours, transparency counts for nothing.
    Raises:
      DataError, RuntimeUnavailableError: see `open_picture`; damage behind the header is not noticed.
    """
    with _opened(source, _called(source, name)) as (opened, _):
        width, height = opened.size
        if opened.getexif().get(_EXIF_ORIENTATION, 1) in _LYING:
            width, height = height, width
        return height, width, 1 if opened.mode in GREY else 3


@contextmanager
def _opened(source: Path | bytes, path: str) -> Iterator[tuple[Image, int]]:
    """Open a picture, and say how many bytes it has; what is wrong with it is a DataError that calls it `path`."""
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("Pillow", "pictures") from None
    with ExitStack() as stack:
        if isinstance(source, Path):
            missing = f"the picture {source} does not exist"
            file: BinaryIO = stack.enter_context(regular.open_file(source, DataError, missing=missing, hint=_GIVE))
            size_bytes = source.stat().st_size
        else:
            file, size_bytes = io.BytesIO(source), len(source)
        stack.enter_context(_damage_told(path))
        Image.init()
        known = [name for name in _FORMATS if name in Image.OPEN]  # AVIF is new, and some builds of Pillow lack others
        yield stack.enter_context(Image.open(file, formats=known)), size_bytes


def _called(source: Path | bytes, name: str | None) -> str:
    return name or (str(source) if isinstance(source, Path) else "the picture")


@contextmanager
def _damage_told(path: str) -> Iterator[None]:
    """Raise a DataError for whatever Pillow raises on damaged bytes; its warnings are not shown."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except UnidentifiedImageError:
            raise DataError(f"{path} is not a picture that Pillow can read", hint=_GIVE) from None
        except Image.DecompressionBombError as error:
            raise DataError(f"{path} is too large to be read: {error}", hint="Make it smaller.") from None
        except (EdgefmError, PermissionError):
            raise
        except Exception as error:  # SyntaxError, struct.error, zlib.error, … by the format
            raise DataError(
                f"{path} is a damaged or truncated picture: {damage.reason(error)}", hint="Copy or save it again."
            ) from error


def opaque(image: Image, *, background: int) -> Image:
    """Return the picture with its transparent parts filled with a grey level."""
    from PIL import Image

    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return image
    coloured = image.convert("RGBA")
    paper = Image.new("RGBA", coloured.size, (background, background, background, 255))
    return Image.alpha_composite(paper, coloured).convert("RGB")
