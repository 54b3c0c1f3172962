"""The picture of an agreement matrix: each cell against each, the families in blocks of their own."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from edgefm.report.drawing import style

_GAP = 0.75  # between two families, in squares: their titles stand there
_SQUARE_INCHES = (0.3, 0.56)
_LETTER_INCHES, _LEAST_LABEL_INCHES, _QUALITY_INCHES = 0.073, 1.9, 1.25
_ROOM_ABOVE, _ROOM_BELOW = 0.68, 0.62
_MOST_SQUARES_WITH_SHARES = 14
_REASON_LETTERS = 0.085  # inches a letter of a reason
_WITHIN, _ALARM, _OTHER = (
    "same family, within its tolerance",
    "same family, beyond its tolerance: alarm",
    "two families: information",
)
_KINDS = {"within": _WITHIN, "alarm": _ALARM, None: _OTHER}
_ABSENT = "did not run"
_FILLS = {_WITHIN: (style.BLUE, 0.30), _ALARM: (style.ORANGE, 0.85), _OTHER: (style.LINE, 0.45)}


def agreement_pictures(value: Mapping[str, Any]) -> dict[str, bytes]:
    """Return agreement.png and agreement.svg, by name.

    Args:
      value: document of `edgefm.agreement.document.to_json`.
    """
    with style.drawing():
        figure = agreement_figure(value)
        vector = io.BytesIO()
        figure.savefig(vector, format="svg", facecolor=style.PAPER, metadata={"Date": None, "Creator": "edgefm"})
        return {"agreement.png": style.png(figure), "agreement.svg": vector.getvalue()}


def agreement_figure(value: Mapping[str, Any]) -> Figure:
    """Return the matrix; call it inside `edgefm.report.drawing.style.drawing`."""
    ran = [cell for cell in value["cells"] if cell["status"] == "ran"]
    absent = [cell for cell in value["cells"] if cell["status"] != "ran"]
    places = _places(ran)
    extent = places[-1] + 1
    quality = next((cell["quality"] for cell in ran if cell["quality"]), None)
    longest = max(len(_label(number, cell)) for number, cell in enumerate([*ran, *absent]))
    label = max(_LEAST_LABEL_INCHES, 0.15 + _LETTER_INCHES * longest)
    across = style.WIDE - label - (_QUALITY_INCHES if quality else 0.15)
    square = min(_SQUARE_INCHES[1], max(_SQUARE_INCHES[0], across / extent))
    rows = extent + (len(absent) + _GAP if absent else 0)
    width = label + square * extent + (_QUALITY_INCHES if quality else 0.15)
    width = max(width, 6.4)
    shares = extent <= _MOST_SQUARES_WITH_SHARES
    title = _title(value, letters=int(width * 14), shares=shares)
    above = _ROOM_ABOVE + 0.17 * title.count("\n")
    height = above + square * rows + _ROOM_BELOW
    figure = style.new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((label / width, _ROOM_BELOW / height, square * extent / width, square * rows / height))
    axes.set_xlim(-0.5, extent - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.axis("off")
    _draw_squares(axes, value, ran, places, shares=shares)
    _draw_names(axes, value, ran, places)
    if quality:
        _draw_quality(axes, ran, places, right=extent - 0.4, name=quality["name"], percent=quality["unit"] == "%")
    letters = int((width - label) / _REASON_LETTERS)
    _draw_absent(axes, absent, below=extent + _GAP, across=extent, letters=letters)
    figure.text(0.012, 1 - 0.1 / height, title, ha="left", va="top", fontsize=9, color=style.INK)
    handles = [Patch(facecolor=hue, alpha=opacity, label=label) for label, (hue, opacity) in _FILLS.items()]
    if absent:
        handles.append(Patch(facecolor="none", edgecolor=style.GREY, hatch="////", linewidth=0, label=_ABSENT))
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.005, 0.01), ncols=2, frameon=False, fontsize=8)
    return figure


def _places(cells: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return where the rows of cells lie, with room above each family for its title."""
    places: list[float] = []
    place = 0.0
    for index, cell in enumerate(cells):
        if index and cell["family"] != cells[index - 1]["family"]:
            place += _GAP
        places.append(place)
        place += 1
    return places


def _draw_squares(
    axes: Axes, value: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], places: Sequence[float], *, shares: bool
) -> None:
    index = {cell["name"]: number for number, cell in enumerate(cells)}
    for pair in value["pairs"]:
        first, second = index[pair["first"]], index[pair["second"]]
        kind = _KINDS[pair["verdict"]]
        hue, opacity = _FILLS[kind]
        ink = style.PAPER if kind == _ALARM else style.MUTED if kind == _OTHER else style.INK
        for row, column in ((first, second), (second, first)):
            x, y = places[column], places[row]
            axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, facecolor=hue, alpha=opacity, linewidth=0))
            axes.text(
                x,
                y - (0.12 if shares else 0),
                _largest(pair, value["unit"]),
                ha="center",
                va="center",
                fontsize=9 if value["unit"] == "levels" else 7,
                fontweight="bold" if kind != _OTHER else "normal",
                color=ink,
            )
            if shares:
                axes.text(x, y + 0.26, _equal(pair), ha="center", va="center", fontsize=5.8, color=ink)
    for place in places:
        axes.text(place, place, "·", ha="center", va="center", fontsize=9, color=style.GREY)


def _draw_names(
    axes: Axes, value: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], places: Sequence[float]
) -> None:
    titles = {family["name"]: family["title"] for family in value["families"]}
    for number, (cell, place) in enumerate(zip(cells, places, strict=True)):
        alarm = cell["verdict"] == "alarm"
        axes.text(
            -0.65,
            place,
            _label(number, cell),
            ha="right",
            va="center",
            fontsize=8.5,
            color=style.ORANGE if alarm else style.INK,
            fontweight="bold" if alarm else "normal",
        )
        if not number or cell["family"] != cells[number - 1]["family"]:
            axes.text(
                -0.65, place - 0.82, titles[cell["family"]], ha="right", va="center", fontsize=8, color=style.MUTED
            )
        axes.text(place, -0.72, str(number + 1), ha="center", va="center", fontsize=8.5, color=style.MUTED)


def _draw_quality(
    axes: Axes,
    cells: Sequence[Mapping[str, Any]],
    places: Sequence[float],
    *,
    right: float,
    name: str,
    percent: bool,
) -> None:
    axes.text(right + 0.15, -0.72, f"{name}{' %' if percent else ''}", va="center", fontsize=8, color=style.MUTED)
    factor, form = (100, "{:.1f}") if percent else (1, "{:.3g}")
    for cell, place in zip(cells, places, strict=True):
        quality = cell["quality"]
        if quality and quality["value"] is not None:
            ends = (
                "" if quality["low"] is None else " ({}–{})".format(*(form.format(factor * quality[e]) for e in _ENDS))
            )
            axes.text(right + 0.15, place, form.format(factor * quality["value"]) + ends, va="center", fontsize=8)


_ENDS = ("low", "high")


def _label(number: int, cell: Mapping[str, Any]) -> str:
    """Return the name of a row, with the number of its column."""
    return f"{cell['name']}{' (reference)' if cell['verdict'] == 'reference' else ''}  {number + 1}"


def _draw_absent(axes: Axes, cells: Sequence[Mapping[str, Any]], *, below: float, across: float, letters: int) -> None:
    for number, cell in enumerate(cells):
        place = below + number
        axes.add_patch(
            Rectangle(
                (-0.47, place - 0.3),
                across - 0.06,
                0.6,
                facecolor="none",
                edgecolor=style.LINE,
                hatch="////",
                linewidth=0,
            )
        )
        axes.text(-0.65, place, cell["name"], ha="right", va="center", fontsize=8.5, color=style.MUTED)
        reason = textwrap.shorten(cell["reason"], max(20, letters), placeholder=" …")
        axes.text(
            -0.3,
            place,
            reason,
            ha="left",
            va="center",
            fontsize=7.5,
            color=style.MUTED,
            bbox={"facecolor": style.PAPER, "linewidth": 0, "pad": 1.5},
        )


def _title(value: Mapping[str, Any], *, letters: int, shares: bool) -> str:
    inputs = value["inputs"]
    fixed = (
        f"{inputs['samples']:,} test samples of {inputs['name']}"
        if inputs["source"] == "data"
        else f"{inputs['samples']:,} random inputs"
    )
    what = (
        "largest difference of an output, in quantisation levels"
        if value["unit"] == "levels"
        else "largest difference of an output, as a share of its largest value"
    )
    text = (
        f"Do they give the same answers? {value['model']['name']}, the same {fixed} through each. "
        f"Square: {what}{'; small: samples whose outputs are all equal' if shares else ''}."
    )
    return "\n".join(textwrap.wrap(text, letters))


def _largest(pair: Mapping[str, Any], unit: str) -> str:
    if pair["largest"] is None:
        return "NaN"
    if unit == "levels":
        return f"{pair['largest']:.3g}"
    return "0" if pair["largest"] == 0 else f"{pair['largest']:.0e}".replace("e-0", "e-")


def _equal(pair: Mapping[str, Any]) -> str:
    share = 100 * pair["equal_samples"] / pair["samples"]
    # 99.96 % is not all of them.
    return f"{share:.0f} %" if share in (0, 100) else f"{min(99.9, max(0.1, share)):.1f} %"
