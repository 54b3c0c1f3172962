"""The pictures of an explanation that its file holds: confusion, calibration, features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from edgefm.core.text import visible
from edgefm.report.drawing import style
from edgefm.report.drawing.confusion import draw_matrix
from edgefm.report.drawing.pictures import ReportPicture, themed
from edgefm.report.explanation.words import caption

# Ten hues that stay apart for colour-blind readers with the shapes (after Okabe & Ito 2008), on light and dark paper.
HUES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#a08a00", "#8a63d2", "#b08968", "#7b8794")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
_OTHERS = "#9aa4ae"
_LINES = ((style.BLUE, "o", "-"), (style.ORANGE, "s", "-"), (style.GREY, "^", "-"), (style.INK, "D", ":"))
_FEW = 30
_LONGEST_NAME, _NARROW_NAME = 20, 16
LEGEND_ROW = 0.21
_PIXELS_PER_INCH = 200


def explanation_figures(document: Mapping[str, Any], *, prefix: str = "") -> dict[str, ReportPicture]:
    """Return the pictures that an explanation's file holds, by name; those of parts that were left out are missing.

    Args:
      document: the content of explanation.json.
      prefix: of the pictures' names.
    """
    drawn = {"confusion": confusion_figure, "calibration": calibration_figure, "features": features_figure}
    return {
        prefix + name: themed(prefix + name, caption(name, document), "measured", partial(draw, document))
        for name, draw in drawn.items()
        if document[name]["reason"] is None
    }


def confusion_figure(document: Mapping[str, Any], width: float) -> Figure:
    """Return the confusion matrix of the model; call it inside `style.drawing`."""
    part, data = document["confusion"], document["data"]
    small = width < style.WIDE
    side = width if small else 0.72 * width
    figure = style.new_figure(side, side)
    axes = figure.add_subplot()
    names = [shortened(label, _NARROW_NAME if small else _LONGEST_NAME) for label in data["labels"]]
    draw_matrix(axes, np.array(part["matrix"], np.int64), names, named=True)
    axes.set_title(f"Answers (%), {_of(part['n'], data, small=small)}")
    return figure


def calibration_figure(document: Mapping[str, Any], width: float) -> Figure:
    """Return the calibration curves, and how often each confidence is given; call it inside `style.drawing`."""
    models: Sequence[Mapping[str, Any]] = document["calibration"]["models"]
    small = width < style.WIDE
    figure = style.new_figure(width, (7.0 if small else 3.9) + LEGEND_ROW * len(models))
    curve, counts = style.two_panels(figure, width)
    curve.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for place, model in enumerate(models):
        hue, shape, line = _LINES[place % len(_LINES)]
        filled = [entry for entry in model["bins"] if entry["count"]]
        xs, ys = [entry["confidence"] for entry in filled], [entry["accuracy"] for entry in filled]
        label = f"{model['name']}: ECE {100 * model['ece']['value']:.1f} %"
        curve.plot(xs, ys, color=hue, linewidth=1.4, linestyle=line, marker=shape, markersize=5, label=label)
        few = [(x, y) for x, y, entry in zip(xs, ys, filled, strict=True) if entry["count"] < _FEW]
        if few:
            hollow: dict[str, Any] = {
                "markerfacecolor": style.PAPER,
                "markeredgecolor": hue,
                "linestyle": "none",
                "zorder": 3,
            }
            curve.plot(*zip(*few, strict=True), marker=shape, markersize=5, **hollow)
    curve.set_xlim(-0.02, 1.02)
    curve.set_ylim(-0.02, 1.02)
    curve.set_xlabel("confidence")
    curve.set_title(f"Share that is right, {_of(document['data']['n'], document['data'], small=small)}")
    curve.grid(True)
    _counts(counts, models)
    handles, names = curve.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=1 if small else 3, frameon=False, fontsize=8)
    return figure


def _counts(axes: Axes, models: Sequence[Mapping[str, Any]]) -> None:
    edges = [entry["low"] for entry in models[0]["bins"]] + [1.0]
    for place, model in enumerate(models):
        hue, _, line = _LINES[place % len(_LINES)]
        shares = [100 * entry["count"] / model["samples"] for entry in model["bins"]]
        axes.stairs(shares, edges, color=hue, linewidth=1.4, linestyle=line)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("confidence")
    axes.set_title("Share of samples (%)")
    axes.grid(True, axis="y")


def features_figure(document: Mapping[str, Any], width: float) -> Figure:
    """Return the features by their first principal components and by t-SNE; call it inside `style.drawing`."""
    part, data = document["features"], document["data"]
    labels: Sequence[str] = data["labels"]
    points = part["points"]
    truth, predicted = np.array(points["true"], np.int64), np.array(points["predicted"], np.int64)
    classes = coloured_classes(truth, predicted, most=len(HUES))
    panels = [("PCA", points["pca"])] + ([("t-SNE", points["t_sne"])] if points["t_sne"] is not None else [])
    small = width < style.WIDE
    across = 1 if small else len(panels)
    others = len(set(truth.tolist()) - set(classes))
    columns = 2 if small else 5
    rows = -(-(len(classes) + bool(others)) // columns)
    side = width / across if small or across > 1 else 0.6 * width
    height = len(panels) * side * 0.95 if small else side
    figure = style.new_figure(width, height + 0.25 + LEGEND_ROW * rows)
    figure.set_dpi(_PIXELS_PER_INCH)  # the points are stored as pixels
    for place, (title, coordinates) in enumerate(panels):
        axes = figure.add_subplot(len(panels) if small else 1, across, place + 1)
        _scatter(axes, np.array(coordinates, np.float64), truth, predicted, classes)
        axes.set_title(f"{title}, {_of(part['n'], data, small=small)}")
    longest = _NARROW_NAME if small else _LONGEST_NAME
    handles = [
        mark(HUES[index], SHAPES[index], shortened(labels[place], longest)) for index, place in enumerate(classes)
    ]
    if others:
        handles.append(mark(_OTHERS, ".", f"{others} other classes"))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    return figure


def coloured_classes(truth: NDArray[np.int64], predicted: NDArray[np.int64], *, most: int) -> list[int]:
    """Return the classes that get a colour, ascending: all, or those that are confused most often."""
    present = np.unique(truth)
    if len(present) <= most:
        return [int(label) for label in present]
    wrong = truth != predicted
    counts = np.bincount(truth[wrong], minlength=int(truth.max()) + 1)
    counts = counts + np.bincount(predicted[wrong], minlength=len(counts))[: len(counts)]
    order = present[np.argsort(-counts[present], kind="stable")][:most]
    return sorted(int(label) for label in order)


def _scatter(
    axes: Axes,
    points: NDArray[np.float64],
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: Sequence[int],
) -> None:
    rest = ~np.isin(truth, classes)
    groups = [(rest, _OTHERS, ".")] + [(truth == label, HUES[i], SHAPES[i]) for i, label in enumerate(classes)]
    for inside, hue, shape in groups:
        for wrong in (False, True):
            chosen = inside & ((truth != predicted) == wrong)
            if not chosen.any():
                continue
            axes.scatter(
                points[chosen, 0],
                points[chosen, 1],
                s=16,
                marker=shape,
                color=hue,
                edgecolors=style.INK if wrong else "none",
                linewidths=0.7 if wrong else 0,
                alpha=0.85,
                rasterized=True,
                zorder=3 if wrong else 2,
            )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(style.LINE)


def _of(count: int, data: Mapping[str, Any], *, small: bool) -> str:
    """Return n and the split for a title; on a phone the caption says the split."""
    return f"n = {count:,}" if small else f"n = {count:,} {data['split']} samples"


def mark(hue: str, shape: str, label: str) -> Line2D:
    """Return the entry of a class in a legend."""
    return Line2D([], [], linestyle="none", marker=shape, markersize=5, color=hue, label=label)


def shortened(name: str, most: int) -> str:
    """Return a name of at most so many letters, all of them visible; dollars are no mathematics in it."""
    shown = visible(name[: most + 1])
    text = shown if len(shown) <= most else f"{shown[: most - 1]}…"
    return text.replace("$", r"\$")
