"""The picture of weights before and after: one panel a layer and variant, log counts, float32 behind each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgefm.report.content import wording
from edgefm.report.content.weights import LayerWeights, Weights
from edgefm.report.drawing import style

_BINS = 101
_MOST_LAYERS, _MOST_LAYERS_SMALL = 4, 2
_MOST_VARIANTS = 7
# Post-training variants whose weights look like another one's.
_ALIKE = ("float16", "drq_w8", "int16x8")
# Of a panel's step across and down.
_WIDTH, _HEIGHT = 0.9, 0.6
# Share of zeros from which their bin is marked.
_MARKED = 0.02


def shown_layers(reference: Weights, *, most: int = _MOST_LAYERS) -> list[str]:
    """Return the layers with the most weights, in the order of execution."""
    largest = sorted(reference.layers, key=lambda layer: -layer.values.size)[:most]
    return [layer.name for layer in reference.layers if layer in largest]


def shown_variants(files: Mapping[str, Weights], reference: str) -> list[str]:
    """Return the variants whose weights tell something of their own."""
    names = [name for name in files if name != reference and name not in _ALIKE]
    return names[:_MOST_VARIANTS] or [name for name in files if name != reference]


def draw_histograms(files: Mapping[str, Weights], reference: str, *, width: float) -> Figure:
    """Return one row a variant, one column a layer; the outline is the reference's own kernel, zero is in orange."""
    small = width < style.WIDE
    layers = shown_layers(files[reference], most=_MOST_LAYERS_SMALL if small else _MOST_LAYERS)
    variants = shown_variants(files, reference)
    figure = style.new_figure(width, 0.6 + (1.05 if small else 0.9) * len(variants))
    # One pair of axes for all panels, in panels: a pair for each would take seconds.
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.005, 0, 0.99, 1))
    axes.set_axis_off()
    for column, name in enumerate(layers):
        before = files[reference].layer(name)
        assert before is not None
        after = [files[variant].layer(name) for variant in variants]
        edges = _edges([before, *(layer for layer in after if layer is not None)])
        outline = _counts(before, edges)
        top = max(int(outline.max()), *(int(_counts(layer, edges).max()) for layer in after if layer is not None), 10)
        axes.text(
            column, -0.42, f"{name}, {wording.count(before.values.size)} weights", fontsize=8, fontweight="bold",
        )  # fmt: skip
        for row, layer in enumerate(after):
            _panel(axes, column, row, outline, layer, edges, top)
        _scale(axes, column, len(variants) - 1, float(edges[-1]))
    for row, variant in enumerate(variants):
        axes.text(0, row - 0.02, variant, fontsize=8, color=style.BLUE, va="bottom")
    axes.set_xlim(-0.02, len(layers) - 1 + _WIDTH + 0.02)
    axes.set_ylim(len(variants) - 0.08, -0.6)
    return figure


def _panel(
    axes: Axes,
    column: int,
    row: int,
    outline: NDArray[np.int64],
    after: LayerWeights | None,
    edges: NDArray[np.float64],
    top: int,
) -> None:
    floor = row + 0.14 + _HEIGHT
    places = column + _WIDTH * (edges - edges[0]) / (edges[-1] - edges[0])
    if after is None:
        middle = column + _WIDTH / 2
        axes.text(middle, floor - _HEIGHT / 2, "no such layer", ha="center", fontsize=7.5, color=style.MUTED)
    else:
        counts = _counts(after, edges)
        heights = floor - _heights(counts, top)
        axes.stairs(heights, places, baseline=floor, fill=True, color=style.BLUE, alpha=0.5, linewidth=0)
        share = after.zeros / max(1, after.values.size)
        if share > _MARKED:
            middle_bin = len(counts) // 2
            axes.stairs(
                heights[middle_bin : middle_bin + 1], places[middle_bin : middle_bin + 2], baseline=floor, fill=True,
                color=style.ORANGE, linewidth=0,
            )  # fmt: skip
        text = f"{wording.percent(share, 1)} % zeros\n{_levels(after)}"
        hue = style.ORANGE if share > _MARKED else style.INK
        axes.text(column + _WIDTH, row + 0.1, text, ha="right", va="top", fontsize=6.8, color=hue, linespacing=1.25)
    axes.stairs(floor - _heights(outline, top), places, baseline=None, color=style.GREY, linewidth=0.8)
    axes.plot([column, column + _WIDTH], [floor, floor], color=style.MUTED, linewidth=0.7)


def _scale(axes: Axes, column: int, row: int, reach: float) -> None:
    """Write the ends of the axis below the last panel of a column."""
    floor = row + 0.14 + _HEIGHT + 0.03
    for share, align in ((0.0, "left"), (0.5, "center"), (1.0, "right")):
        value = reach * (2 * share - 1)
        text = "0" if share == 0.5 else f"{value:.2g}".replace("-", wording.MINUS)
        axes.text(column + _WIDTH * share, floor, text, ha=align, va="top", fontsize=7, color=style.MUTED)


def _heights(counts: NDArray[np.int64], top: int) -> NDArray[np.float64]:
    """Return heights of logarithmic counts: one weight is a little above zero, `top` is the whole panel."""
    shown = np.log10(np.maximum(counts, 1)) + 0.2
    return np.where(counts > 0, shown / (math.log10(top) + 0.2), 0.0) * _HEIGHT


def _levels(layer: LayerWeights) -> str:
    return layer.dtype if layer.dtype.startswith("float") else f"{layer.levels} levels"


def _edges(layers: Sequence[LayerWeights]) -> NDArray[np.float64]:
    """Return the edges of an odd number of bins, zero in the middle of one."""
    reach = max(float(np.abs(layer.values).max(initial=0.0)) for layer in layers) or 1.0
    return np.linspace(-reach, reach, _BINS + 1, dtype=np.float64)


def _counts(layer: LayerWeights, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.histogram(layer.values, bins=edges)[0].astype(np.int64)
