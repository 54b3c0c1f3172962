"""Sheets of single pictures: mistakes, doubtful labels, and maps of where a model looks; PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgefm.report.drawing import style
from edgefm.report.explanation.figures import shortened
from edgefm.report.explanation.words import share

_ACROSS = 6
_NAME = 18
_HEAD = 0.42
_LINE = 0.165
_TILE = style.WIDE / (_ACROSS + 0.35)


@dataclass(frozen=True, kw_only=True)
class SheetPicture:
    """A picture on a sheet.

    Attributes:
      pixels: uint8 [height, width, channels].
      above: bold text above it.
      below: lines of text below it, each with a colour.
    """

    pixels: NDArray[np.uint8]
    above: str
    below: tuple[tuple[str, str], ...]


def sheet_png(title: str, tiles: Sequence[SheetPicture]) -> bytes:
    """Return a sheet of pictures as PNG, six in a row."""
    with style.drawing():
        return style.png(_sheet(title, tiles))


def maps_png(title: str, part: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the pictures, and below each the map of the answer and that of the true class, as PNG.

    Args:
      title: of the sheet.
      part: `class_maps` of explanation.json.
      arrays: 'pictures' uint8 [n, height, width, channels], 'of_answer' and 'of_truth' float32 [n, height, width].
    """
    with style.drawing():
        return style.png(_maps(title, part["images"], arrays))


def _sheet(title: str, tiles: Sequence[SheetPicture]) -> Figure:
    lines = max(len(tile.below) for tile in tiles)
    step = _TILE + 0.28 + _LINE * lines
    down = -(-len(tiles) // _ACROSS)
    figure, axes = _canvas(title, down * step)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, _ACROSS)
        left, top = _left(column), _HEAD + row * step + 0.2
        _image(axes, tile.pixels, left, top)
        middle = left + _TILE * 0.47
        axes.text(
            middle, top - 0.04, shortened(tile.above, _NAME), ha="center", va="bottom", fontsize=8, fontweight="bold"
        )
        for line, (text, hue) in enumerate(tile.below):
            y = top + _TILE * 0.94 + 0.05 + _LINE * line
            axes.text(middle, y, shortened(text, _NAME + 6), ha="center", va="top", fontsize=7.5, color=hue)
    return figure


def _maps(title: str, images: Sequence[Mapping[str, Any]], arrays: Mapping[str, NDArray[Any]]) -> Figure:
    rows = [images[start : start + _ACROSS] for start in range(0, len(images), _ACROSS)]
    levels = [3 if any(image["true"] != image["predicted"] for image in row) else 2 for row in rows]
    heights = [level * (_TILE + 0.2) + 0.15 for level in levels]
    figure, axes = _canvas(title, sum(heights))
    for place, image in enumerate(images):
        row, column = divmod(place, _ACROSS)
        left, top = _left(column), _HEAD + sum(heights[:row]) + 0.2
        middle, right = left + _TILE * 0.47, image["true"] == image["predicted"]
        hue = style.BLUE if right else style.ORANGE
        pixels = arrays["pictures"][place]
        texts = (
            (shortened(image["true"], _NAME), style.INK, None),
            (f"{shortened(image['predicted'], _NAME - 5)} {share(image['confidence'])}", hue, "of_answer"),
            (shortened(image["true"], _NAME), style.BLUE, "of_truth"),
        )
        for level, (text, colour, name) in enumerate(texts[: 2 if right else 3]):
            y = top + level * (_TILE + 0.2)
            bold = "bold" if name is None else "normal"
            axes.text(middle, y - 0.04, text, ha="center", va="bottom", fontsize=8, color=colour, fontweight=bold)
            _image(axes, pixels if name is None else blended(pixels, arrays[name][place]), left, y)
    return figure


def blended(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture in grey with a map over it: from the picture itself to orange.

    Args:
      pixels: uint8 [height, width, channels].
      heat: float32 [height, width], 0 to 1.
    """
    grey = pixels[..., :3].astype(np.float64).mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    orange = np.array([255.0, 110.0, 20.0])
    share = 0.75 * heat[..., None].astype(np.float64)
    return np.rint(0.8 * grey * (1 - share) + orange * share).astype(np.uint8)


def _canvas(title: str, height: float) -> tuple[Figure, Axes]:
    """Return a figure and one pair of axes in inches, the y axis downwards: a pair a picture would take seconds."""
    whole = _HEAD + height + 0.08
    figure = style.new_figure(style.WIDE, whole)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.text(0.1, 0.09, title, ha="left", va="top", fontsize=9.5, fontweight="bold")
    return figure, axes


def _left(column: int) -> float:
    return 0.1 + column * (style.WIDE - 0.1) / _ACROSS


def _image(axes: Axes, pixels: NDArray[np.uint8], left: float, top: float) -> None:
    """Draw a picture into a square, whole and with its own aspect."""
    height, width = pixels.shape[:2]
    side = _TILE * 0.94
    scale = side / max(height, width)
    wide, high = width * scale, height * scale
    x, y = left + (side - wide) / 2, top + (side - high) / 2
    shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=(x, x + wide, y + high, y))
    whole = axes.get_figure()
    assert whole is not None
    axes.set_xlim(0, style.WIDE)
    axes.set_ylim(whole.get_size_inches()[1], 0)  # type: ignore[union-attr]  # it is no part of another figure
    axes.set_aspect("auto")
