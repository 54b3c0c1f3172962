"""The picture of a training: loss and accuracy by epoch, with the verdict and its figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgefm.core import artefacts
from edgefm.report.drawing import style

_LETTERS_PER_INCH = 15


def draw_curves(history: Mapping[str, Any], path: Path) -> Path:
    """Write the curves of a training as PNG, atomically, and return the path.

    Args:
      history: 'epochs', one entry an epoch with 'epoch', 'loss', 'accuracy', 'val_loss' and 'val_accuracy' (at
        least one entry), and 'verdict' with 'name' and 'reason'.
      path: the file to write.
    """
    return artefacts.write_bytes(path, style.wide_png(curves_figure, history))


def curves_figure(history: Mapping[str, Any], *, width: float) -> Figure:
    """Return loss and accuracy, train and validation, side by side or below one another."""
    epochs: Sequence[Mapping[str, Any]] = history["epochs"]
    small = width < style.WIDE
    figure = style.new_figure(width, 5.4 if small else 3.4)
    verdict = history.get("verdict") or {}
    name, reason = verdict.get("name", "no verdict"), verdict.get("reason", "")
    lines = textwrap.wrap(reason, int(width * _LETTERS_PER_INCH))
    text = "\n".join([name[:1].upper() + name[1:], *lines])
    figure.suptitle(text, x=0.01, ha="left", fontsize=8.5 if small else 9, color=style.INK)
    losses, accuracies = style.two_panels(figure, width)
    _panel(losses, epochs, "loss", "loss (cross-entropy)", 1.0, 3)
    _panel(accuracies, epochs, "accuracy", "accuracy (%)", 100.0, 2)
    return figure


def _panel(axes: Axes, epochs: Sequence[Mapping[str, Any]], key: str, title: str, factor: float, digits: int) -> None:
    xs = [epoch["epoch"] for epoch in epochs]
    train = [factor * epoch[key] for epoch in epochs]
    validation = [factor * epoch[f"val_{key}"] for epoch in epochs]
    marker = "o" if len(xs) <= 30 else ""
    axes.plot(xs, train, color=style.BLUE, linewidth=1.6, marker=marker, markersize=3, label="train")
    axes.plot(
        xs, validation, color=style.ORANGE, linewidth=1.6, linestyle=(0, (5, 1.5)), marker=marker, markersize=3,
        label="validation",
    )  # fmt: skip
    axes.annotate(
        f"{validation[-1]:.{digits}f}", (xs[-1], validation[-1]), xytext=(5, 0), textcoords="offset points",
        fontsize=8, va="center", annotation_clip=False,
    )  # fmt: skip
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(True)
    # Where a falling or a rising curve leaves room; "best" would search for long.
    axes.legend(loc="upper right" if key == "loss" else "lower right", frameon=False, fontsize=8)
