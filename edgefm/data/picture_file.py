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

if TYPE_CHECKING:
    from PIL.Image import Image

Invert = Literal["auto", "yes", "no"]
INVERT: tuple[str, ...] = get_args(Invert)
# How a picture of another size gets into the input: stretched, as data in folders are read; or with its aspect kept.
Fit = Literal["stretch", "letterbox"]
_BLACK, _WHITE = 0, 255
_GIVE = "Give picture files, such as a PNG or a JPEG."
# Formats of pixels. Others run programs on the file (EPS takes Ghostscript) or are descriptions of drawings.
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "ICO", "JPEG2000", "AVIF", "TGA")
_BYTES_A_PIXEL = 3
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
GREY = ("1", "L", "LA", "I", "I;16", "F")
_EXIF_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)  # pictures whose width is shown as their height


@dataclass(frozen=True, kw_only=True)
class ModelPicture:
    """A picture as a model takes it.

    Attributes:
      pixels: uint8 [height, width, channels].
      inverted: whether its brightness was inverted: 255 - level.
    """

    pixels: NDArray[np.uint8]
    inverted: bool


def read_picture(
    path: Path, *, shape: tuple[int, int, int], fit: Fit = "letterbox", invert: Invert = "auto"
) -> ModelPicture:
    """Return a picture file's pixels at a model's size.

    The picture is turned upright (EXIF) and made grey for one channel. With the fit 'stretch' it is what data in
    folders have of it, see `pixels_of`, inverted where asked. With 'letterbox' it is fitted into the size with its
    aspect kept, inverted where asked, and centred on black; transparent parts count as white, like the paper of a
    product picture, or as black with `invert` 'no'.

    Args:
      path: a PNG, a JPEG or another format of pixels that Pillow reads; of an animation, the first frame.
      shape: height, width and channels of the model's input: 1, 3, or 4 (RGBA) where pictures are stretched.
      fit: see above.
      invert: 'auto' inverts a picture on a light background, where the median of its border is above 127.
        No test image of Fashion-MNIST, with its bright things on black, is taken for one.
    Raises:
      DataError: the file is missing or no whole picture.
      ModelError: the model takes pixels of other channels.
      RuntimeUnavailableError: Pillow is not installed.
    """
    height, width, channels = shape
    if channels not in (MODES if fit == "stretch" else (1, 3)):
        allowed = "1 (grey), 3 (RGB) or 4 (RGBA)" if fit == "stretch" else "1 (grey) or 3 (RGB)"
        raise ModelError(f"the model takes {channels} channels; pictures have {allowed}")
    if invert not in INVERT:
        raise unknown_name("value of invert", invert, INVERT)
    image = open_picture(path)
    if fit == "stretch":
        pixels = pixels_of(image, shape)
        inverted = _is_inverted(pixels, invert)
        if inverted:
            pixels[..., :3] = 255 - pixels[..., :3]  # the fourth channel is how opaque a pixel is
        return ModelPicture(pixels=pixels, inverted=inverted)
    image = _opaque(image, background=_BLACK if invert == "no" else _WHITE)
    image = _fitted(image.convert("L" if channels == 1 else "RGB"), height=height, width=width)
    inner = np.asarray(image).reshape(image.height, image.width, channels)
    inverted = _is_inverted(inner, invert)
    pixels = np.full((height, width, channels), _BLACK, np.uint8)
    top, left = (height - image.height) // 2, (width - image.width) // 2
    pixels[top : top + image.height, left : left + image.width] = 255 - inner if inverted else inner
    return ModelPicture(pixels=pixels, inverted=inverted)


def pixels_of(image: Image, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return a picture as uint8 [height, width, channels], stretched where its size is another.

    Transparent parts become white where the model has no fourth channel for them; levels between pixels are bilinear,
    with antialiasing.
    """
    from PIL import Image

    height, width, channels = shape
    if channels < 4:
        image = _opaque(image, background=_WHITE)
    image = image.convert(MODES[channels])
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
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


def _is_inverted(pixels: NDArray[np.uint8], invert: Invert) -> bool:
    return invert == "yes" or (invert == "auto" and border_level(pixels[..., :3]) > 127)


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
      DataError: the file is missing, no whole picture, or one of more pixels than it may have (see
        `edgefm.core.given.limits`).
      RuntimeUnavailableError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise missing_extra("Pillow", "pictures") from None
    path = name or (str(source) if isinstance(source, Path) else "the picture")
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
        opened = stack.enter_context(Image.open(file, formats=known))
        wanted = opened.width * opened.height * _BYTES_A_PIXEL
        limits.check(
            wanted, DataError, size_bytes=size_bytes, what=f"{path}, a picture of {opened.width} x {opened.height},"
        )
        opened.load()
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        # Levels of 16 bits: Pillow would cut them off at 255.
        levels = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        return Image.fromarray((levels >> 8).astype(np.uint8))
    return image


def picture_header(path: Path) -> tuple[int, int, int]:
    """Return (height, width, channels) of a picture file, upright; its pixels are not decoded.

    Returns:
      channels are 1 of a grey picture, 3 of any other: a palette may hold colours, transparency counts for nothing.
    Raises:
      DataError, RuntimeUnavailableError: see `open_picture`; damage behind the header is not noticed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("Pillow", "pictures") from None
    missing = f"the picture {path} does not exist"
    with regular.open_file(path, DataError, missing=missing, hint=_GIVE) as file, _damage_told(str(path)):
        Image.init()
        known = [name for name in _FORMATS if name in Image.OPEN]
        with Image.open(file, formats=known) as opened:
            width, height = opened.size
            if opened.getexif().get(_EXIF_ORIENTATION, 1) in _LYING:
                width, height = height, width
            return height, width, 1 if opened.mode in GREY else 3


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


def _opaque(image: Image, *, background: int) -> Image:
    """Return the picture with its transparent parts filled with a grey level."""
    from PIL import Image

    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return image
    coloured = image.convert("RGBA")
    paper = Image.new("RGBA", coloured.size, (background, background, background, 255))
    return Image.alpha_composite(paper, coloured).convert("RGB")


def _fitted(image: Image, *, height: int, width: int) -> Image:
    """Return the picture resized so that its longer side, by the model's measure, fills the input."""
    from PIL import Image

    factor = min(height / image.height, width / image.width)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
