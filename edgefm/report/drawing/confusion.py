"""The picture of confusion matrices, each row normalised to the images of its true class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from edgefm.report.content.facts import Facts, Model
from edgefm.report.drawing import style

# Cells of larger matrices are too small for a number.
_MOST_NUMBERED = 15
_MOST_NAMED = 40


def draw_confusion(facts: Facts, models: Sequence[Model], *, width: float) -> Figure:
    """Return the matrices of some models: side by side, or below one another on a narrow picture."""
    small = width < style.WIDE
    across = 1 if small else len(models)
    down = len(models) if small else 1
    side = width / across
    figure = style.new_figure(width, down * (side + 0.15))
    for place, model in enumerate(models):
        axes = figure.add_subplot(down, across, place + 1)
        draw_matrix(axes, model.confusion, facts.labels, named=small or place == 0)
        axes.set_title(model.name)
    return figure


def draw_matrix(axes: Axes, matrix: NDArray[np.int64], labels: Sequence[str], *, named: bool) -> None:
    """Draw a confusion matrix, int64 [classes, classes], in percent of each row; `named` writes the true classes."""
    shares = normalised(matrix)
    count = len(shares)
    # Opacity instead of a colour map: the picture then suits a light and a dark page. The square root makes
    # rare mistakes visible.
    for (true, guess), share in np.ndenumerate(shares):
        if share == 0:
            continue
        hue = style.BLUE if true == guess else style.ORANGE
        opacity = float(np.sqrt(share))
        axes.add_patch(Rectangle((guess - 0.5, true - 0.5), 1, 1, facecolor=hue, alpha=opacity, linewidth=0))
        if count <= _MOST_NUMBERED and round(100 * share) >= 1:
            text = style.PAPER if opacity > 0.62 else style.INK
            axes.text(guess, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=text)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(style.LINE)
    axes.set_xlabel("predicted")
    if count > _MOST_NAMED:
        axes.set_ylabel("true")
        return
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xticks(range(count), labels, rotation=90)
    axes.set_yticks(range(count), labels if named else [])
    if named:
        axes.set_ylabel("true")


def normalised(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each row divided by its sum; a class without images stays 0."""
    sums = matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, sums, out=np.zeros(matrix.shape), where=sums > 0)
