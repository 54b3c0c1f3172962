"""The pictures of a data set that no model has seen: its principal components, t-SNE, the balance of its classes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgefm.report.drawing import style
from edgefm.report.explanation.figures import HUES, LEGEND_ROW, SHAPES, mark, shortened

# Components that the scree plot shows one by one.
_SCREE = 30
_COLOURS = 128
_LONGEST_NAME = 20
_DOTS_PER_INCH = 130


def variance_png(facts: Mapping[str, Any]) -> bytes:
    """Return the share of the variance of each component and of the first ones together, as PNG.

    Args:
      facts: `shares` of all components, greatest first; `wanted`, the share that is kept; `needed`, how many
        components keep it; `n` training images.
    """
    return _light(_variance, facts)


def classes_png(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return samples by their first two principal components and by t-SNE, coloured by class, as PNG.

    Args:
      facts: `labels`, and the `shares` of the components.
      arrays: 'pca' float [n, 2] with 'pca_class' int [n], 't_sne' float [m, 2] with 't_sne_class' int [m]; of none
        there is no panel.
    """
    return _light(_classes, facts, arrays)


def balance_png(facts: Mapping[str, Any]) -> bytes:
    """Return the number of images of each class in each split, as PNG.

    Args:
      facts: `labels`, and `counts` of each class by split.
    """
    return _light(_balance, facts)


def _variance(facts: Mapping[str, Any]) -> Figure:
    shares = np.asarray(facts["shares"], np.float64)
    wanted, needed = float(facts["wanted"]), int(facts["needed"])
    figure = style.new_figure(style.WIDE, 3.1)
    scree, together = style.two_panels(figure, style.WIDE)
    first = 100 * shares[:_SCREE]
    scree.bar(np.arange(1, len(first) + 1), first, color=style.BLUE, width=0.8)
    scree.set_title(f"Variance of each component (%), first {len(first)}")
    scree.set_xticks([1, *range(5, len(first) + 1, 5)])
    scree.set_xlabel("component")
    scree.grid(True, axis="y")
    total = 100 * np.cumsum(shares)
    together.plot(np.arange(1, len(total) + 1), total, color=style.BLUE, linewidth=1.6)
    together.plot([1, needed, needed], [100 * wanted, 100 * wanted, 0], color=style.ORANGE, linewidth=1, linestyle="--")
    together.plot([needed], [total[needed - 1]], marker="o", markersize=5, color=style.ORANGE)
    together.annotate(
        f"{needed} components\nkeep {100 * wanted:.0f} %",
        (needed, 100 * wanted),
        xytext=(10, -30),
        textcoords="offset points",
        color=style.ORANGE,
    )
    together.set_xlim(0, len(total))
    together.set_ylim(0, 102)
    together.set_xlabel("components kept")
    together.set_title(f"Variance kept (%), n = {facts['n']:,} training images")
    together.grid(True)
    return figure


def _classes(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Figure:
    labels: Sequence[str] = facts["labels"]
    columns = 5
    rows = -(-len(labels) // columns)
    figure = style.new_figure(style.WIDE, 4.1 + LEGEND_ROW * rows)
    has_t_sne = len(arrays["t_sne"]) > 0
    left = figure.add_subplot(1, 2 if has_t_sne else 1, 1)
    shares = [100 * share for share in facts["shares"][:2]]
    _scatter(left, arrays["pca"], arrays["pca_class"], len(labels), size=5)
    left.set_title(f"Principal components, n = {len(arrays['pca']):,}")
    left.set_xlabel(f"component 1 ({shares[0]:.1f} % of the variance)")
    left.set_ylabel(f"component 2 ({shares[1]:.1f} %)")
    if has_t_sne:
        right = figure.add_subplot(1, 2, 2)
        _scatter(right, arrays["t_sne"], arrays["t_sne_class"], len(labels), size=12)
        right.set_title(f"t-SNE, n = {len(arrays['t_sne']):,}")
    handles = [
        mark(HUES[place % len(HUES)], SHAPES[place % len(SHAPES)], shortened(label, _LONGEST_NAME))
        for place, label in enumerate(labels)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
    return figure


def _scatter(axes: Axes, points: NDArray[Any], classes: NDArray[Any], count: int, *, size: float) -> None:
    """Draw points coloured by class; none lies wholly below those of another."""
    order = np.random.default_rng(0).permutation(len(points))
    for part in np.array_split(order, 20):
        for label in range(count):
            chosen = part[classes[part] == label]
            axes.scatter(
                points[chosen, 0],
                points[chosen, 1],
                s=size,
                marker=SHAPES[label % len(SHAPES)],
                color=HUES[label % len(HUES)],
                linewidths=0,
                alpha=0.75,
            )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(style.LINE)


def _balance(facts: Mapping[str, Any]) -> Figure:
    labels: Sequence[str] = facts["labels"]
    figure = style.new_figure(style.WIDE, 0.9 + 0.24 * len(labels))
    axes = figure.add_subplot()
    places = np.arange(len(labels))
    before = np.zeros(len(labels))
    hues = (style.BLUE, style.ORANGE, style.GREY)
    for hue, (split, counts) in zip(hues, facts["counts"].items(), strict=True):
        axes.barh(places, counts, left=before, color=hue, height=0.7, label=f"{split} ({sum(counts):,})")
        for place, (start, count) in enumerate(zip(before, counts, strict=True)):
            if count >= 0.05 * max(map(sum, zip(*facts["counts"].values(), strict=True))):
                axes.text(
                    start + count / 2, place, f"{count:,}", ha="center", va="center", color=style.PAPER, fontsize=8
                )
        before = before + np.asarray(counts)
    axes.set_yticks(places, [shortened(label, _LONGEST_NAME) for label in labels])
    axes.invert_yaxis()
    style.as_rows(axes)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title("Images of each class")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _light(draw: Any, *arguments: Any) -> bytes:
    """Return a figure as a PNG of few colours, which a page loads at once."""
    from PIL import Image

    with style.drawing():
        figure = draw(*arguments)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, facecolor=style.PAPER)
    image = Image.open(buffer).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    light = io.BytesIO()
    image.save(light, format="PNG", optimize=True)
    return light.getvalue()
