"""The picture of docs/over-time.md: small multiples in the style of the reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from textwrap import fill

import matplotlib.dates as dates
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from benchmarks.series import Point, Series, machines, text
from edgefm.report.drawing import style

COLUMNS = 3
_YEAR = timedelta(days=300)
_ROW_INCHES = 1.55
# Colours repeat after three machines, marks do not.
COLOURS, MARKS = (style.BLUE, style.ORANGE, style.GREY), "osD^vPX"


def picture(found: Sequence[Series]) -> bytes:
    """Return a PNG with one small picture a figure, all on one time axis."""
    cpus = machines(found)
    looks = {cpu: (COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]) for place, cpu in enumerate(cpus)}
    rows = math.ceil(len(found) / COLUMNS)
    with style.drawing():
        figure = style.new_figure(style.WIDE, 0.7 + _ROW_INCHES * rows)
        grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        first, last = _span([point for one in found for point in one.points])
        for axes, one in zip(grid, found, strict=False):
            axes.set_xlim(first, last)
            _panel(axes, one, looks, middle=first + (last - first) / 2)
            axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=2, maxticks=4, interval_multiples=False))
            axes.xaxis.set_major_formatter(dates.DateFormatter("%d %b" if last - first < _YEAR else "%b %Y"))
        for place in range(len(found), len(grid)):
            grid[place].set_visible(False)
        # Dates stand under the last picture of each column alone.
        for place, axes in enumerate(grid[: len(found)]):
            axes.tick_params(labelbottom=place + COLUMNS >= len(found))
        marks = [
            Line2D([], [], color=looks[cpu][0], marker=looks[cpu][1], linestyle="", markersize=5, label=cpu)
            for cpu in cpus
        ]
        marks.append(
            Line2D([], [], color=style.MUTED, marker="o", markerfacecolor=style.PAPER, linestyle="", label="disturbed")
        )
        marks.append(Line2D([], [], color=style.INK, linestyle=(0, (4, 3)), linewidth=0.9, label="target"))
        figure.legend(handles=marks, loc="outside upper left", ncols=2, frameon=False)
        return style.png(figure)


def _panel(axes: Axes, one: Series, looks: dict[str, tuple[str, str]], *, middle: datetime) -> None:
    """Draw one figure from 0 on, so that a change looks as large as it is."""
    figure = one.figure
    limit = figure.at_most if figure.at_most is not None else figure.at_least
    highest = max(point.interval[1] if point.interval else point.value for point in one.points)
    top = 1.22 * max(highest, limit or 0.0) or 1.0
    if limit is not None:
        axes.axhline(limit, color=style.INK, linewidth=0.9, linestyle=(0, (4, 3)))
        good = (0.0, limit) if figure.at_most is not None else (limit, top)
        axes.axhspan(*good, color=style.LINE, alpha=0.35, linewidth=0)
    for cpu, (hue, mark) in looks.items():
        mine = [point for point in one.points if point.cpu == cpu]
        for _, same in groupby(mine, key=lambda point: point.of):
            _line(axes, list(same), hue, mark)
        if mine:
            # The newest value in numbers, beside its mark and towards the middle, where there is room.
            newest = mine[-1]
            left = newest.when > middle
            axes.annotate(
                text(figure, newest.value), (newest.when, newest.value), xytext=(-7 if left else 7, 0), fontsize=8,
                textcoords="offset points", ha="right" if left else "left", va="center", color=hue,
                path_effects=[withStroke(linewidth=2.5, foreground=style.PAPER)],
            )  # fmt: skip
    axes.set_ylim(0, top)
    axes.set_title(fill(figure.title, 34), fontsize=8.5)
    axes.set_ylabel(figure.unit)
    axes.locator_params(axis="y", nbins=3)
    axes.grid(True, axis="y")


def _line(axes: Axes, points: Sequence[Point], hue: str, mark: str) -> None:
    when = [point.when for point in points]
    axes.plot(when, [point.value for point in points], color=hue, linewidth=0.9, alpha=0.6)  # type: ignore[arg-type]  # dates
    for point in points:
        if point.interval:
            axes.plot([point.when, point.when], point.interval, color=hue, linewidth=1.1)  # type: ignore[arg-type]  # dates
        face = hue if point.quiet else style.PAPER
        axes.plot(
            [point.when], [point.value], color=hue, marker=mark, markersize=4.5, markerfacecolor=face, linestyle="",  # type: ignore[arg-type]  # dates
            clip_on=False, zorder=3,
        )  # fmt: skip


def _span(points: Sequence[Point]) -> tuple[datetime, datetime]:
    """Return the ends of the time axis, with room beside the first and last mark."""
    first, last = min(point.when for point in points), max(point.when for point in points)
    room = max(timedelta(hours=6), (last - first) * 0.12)
    return first - room, last + room
