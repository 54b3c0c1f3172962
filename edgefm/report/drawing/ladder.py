"""The picture of where the bytes are: each layer of each variant, as stored and as a compressor leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgefm.report.content import wording
from edgefm.report.content.weights import Weights
from edgefm.report.drawing import style

_MOST_LAYERS, _MOST_LAYERS_SMALL = 5, 3
# A layer that holds less of the reference's bytes has no column of its own.
_LEAST_BYTES = 0.02
REST = "all else"
# Room of a column at least, as a share of the widest, so that its figures can be read.
_LEAST_ROOM, _LEAST_ROOM_SMALL = 0.2, 0.32
_GAP = 0.04


@dataclass(frozen=True, kw_only=True)
class Rung:
    """The bytes of one layer of one file; compressed alone, where that is known."""

    size_bytes: int
    packed_bytes: int | None


def rungs(files: Mapping[str, Weights], reference: str, *, most: int = _MOST_LAYERS) -> dict[str, dict[str, Rung]]:
    """Return for each file the bytes of its columns: the reference's heaviest layers in their order, and all else.

    All else is what the file holds beside them: smaller layers, other constants, the graph, metadata.
    """
    first = files[reference]
    heavy = sorted(first.layers, key=lambda layer: -layer.size_bytes)[:most]
    heavy = [layer for layer in heavy if layer.size_bytes >= _LEAST_BYTES * first.size_bytes] or heavy[:1]
    names = [layer.name for layer in first.layers if layer in heavy]
    ladder = {}
    for variant, weights in files.items():
        columns = {}
        for name in names:
            layer = weights.layer(name)
            columns[name] = Rung(
                size_bytes=layer.size_bytes if layer else 0, packed_bytes=layer.packed_bytes if layer else 0
            )
        rest = weights.size_bytes - sum(rung.size_bytes for rung in columns.values())
        ladder[variant] = {**columns, REST: Rung(size_bytes=rest, packed_bytes=None)}
    return ladder


def draw_ladder(files: Mapping[str, Weights], reference: str, *, width: float) -> Figure:
    """Return one row a variant, one column a layer; a pale bar as stored, a full one compressed alone.

    All bars have one scale.
    """
    small = width < style.WIDE
    table = rungs(files, reference, most=_MOST_LAYERS_SMALL if small else _MOST_LAYERS)
    columns = list(table[reference])
    whole = {name: max(table[variant][name].size_bytes for variant in files) for name in columns}
    widest = max(1, *whole.values())
    least = _LEAST_ROOM_SMALL if small else _LEAST_ROOM
    figure = style.new_figure(width, 0.55 + (0.58 if small else 0.42) * len(files))
    axes = figure.add_subplot()
    total = max(1, files[reference].size_bytes)
    start = 0.0
    for name in columns:
        room = max(least * widest, whole[name])
        share = wording.percent(table[reference][name].size_bytes / total, 0)
        axes.text(start, -0.75, f"{name}\n{share} %", fontsize=8, fontweight="bold", va="bottom", linespacing=1.3)
        axes.plot([start, start], [-0.6, len(files) - 0.4], color=style.LINE, linewidth=0.8)
        for row, variant in enumerate(files):
            hue = style.GREY if variant == reference else style.BLUE
            _bars(axes, start, row, table[variant][name], hue=hue, small=small)
        start += room + _GAP * widest
    axes.set_xlim(0, start)
    axes.set_ylim(len(files) - 0.4, -0.75)
    axes.set_xticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_yticks([] if small else [row + 0.05 for row in range(len(files))], [] if small else list(files))
    axes.tick_params(axis="y", length=0, labelcolor=style.INK)
    if small:
        for row, variant in enumerate(files):
            axes.text(0, row - 0.25, variant, fontsize=7.5, va="bottom", color=style.INK)
    return figure


def _bars(axes: Axes, start: float, row: int, rung: Rung, *, hue: str, small: bool) -> None:
    place = row + (0.28 if small else 0.2)
    axes.barh(place, rung.size_bytes, left=start, height=0.26, color=hue, alpha=0.32, linewidth=0)
    text = _kilobytes(rung.size_bytes)
    if rung.packed_bytes is not None:
        axes.barh(place, rung.packed_bytes, left=start, height=0.13, color=hue, linewidth=0)
        text += f" / {_kilobytes(rung.packed_bytes)}"
    axes.text(start, place - 0.17, f" {text}", fontsize=6.8 if small else 7.2, va="bottom", color=style.INK)


def _kilobytes(size_bytes: int) -> str:
    kilobytes = size_bytes / 1e3
    return wording.number(kilobytes, 0 if kilobytes >= 99.5 else 1)
