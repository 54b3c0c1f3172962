"""The picture of one model: its time on each runtime and target, the fastest on top."""

from __future__ import annotations

import re

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from edgefm.report.content import wording
from edgefm.report.drawing import style
from edgefm.report.leaderboard.entries import Entry, ModelBoard

_COLOURS = {"measured": style.BLUE, "estimated": style.ORANGE, "simulated": style.GREY}


def draw(model: ModelBoard, *, width: float) -> Figure:
    """Return the times of a model; call it inside `style.drawing`.

    The axis is logarithmic, for between the fastest and the slowest there can lie a factor of a thousand; so each
    time is a dot, and no bar whose length would say nothing.
    """
    entries = model.timed
    small = width < style.WIDE
    figure = style.new_figure(width, 1.3 + (0.46 if small else 0.34) * len(entries))
    axes = figure.add_subplot()
    unit = wording.time_unit(entry.p50.value for entry in entries if entry.p50)
    values = [entry.p50.value / unit.nanoseconds for entry in entries if entry.p50]
    low, high = min(values) / 2, max(values) * (6 if small else 3)
    paper = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 1.5}  # no line runs through a number
    for place, (entry, value) in enumerate(zip(entries, values, strict=True)):
        assert entry.p50 is not None
        colour = _COLOURS[entry.mode]
        axes.plot([low, high], [place, place], color=style.LINE, linewidth=0.8, zorder=1)
        ends = entry.p50.scaled(1 / unit.nanoseconds)
        if not ends.bare:
            axes.plot([ends.low, ends.high], [place, place], color=colour, linewidth=3, alpha=0.45, zorder=2)
        axes.plot([value], [place], marker="o", markersize=7, color=colour, zorder=3)
        axes.annotate(
            unit.text(entry.p50.value),
            (max(value, ends.high), place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            bbox=paper,
        )
    axes.set_yticks(range(len(entries)), [label(entry, small=small) for entry in entries])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if small else (1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"one inference, p50, {unit.name}; less is better")
    style.as_rows(axes)
    modes = [mode for mode in _COLOURS if any(entry.mode == mode for entry in entries)]
    handles = [Line2D([], [], marker="o", linestyle="", color=_COLOURS[mode], label=mode) for mode in modes]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False, fontsize=8)
    return figure


def label(entry: Entry, *, small: bool = False) -> str:
    """Return what an entry is called beside its bar."""
    threads = f", {entry.threads} threads" if entry.threads > 1 else ""
    parts = [part for part in (entry.runtime, "" if entry.target == "host" else entry.target) if part]
    return ("\n" if small else " · ").join(parts) + threads


def svgs(model: ModelBoard) -> tuple[str, str]:
    """Return the picture for a wide page and for a phone."""
    alt = f"time of one inference of {model.name} on each runtime and target"
    drawn = []
    for place, width in enumerate((style.WIDE, style.NARROW)):
        prefix = f"board-{model.sha256[:8]}-{place}"
        drawn.append(style.svg(draw(model, width=width), prefix=prefix, alt=alt))
    return drawn[0], drawn[1]


def png(model: ModelBoard) -> bytes:
    """Return the picture as a PNG."""
    return style.png(draw(model, width=style.WIDE))


def file_name(model: ModelBoard) -> str:
    """Return the name of the picture's file."""
    return f"leaderboard-{re.sub(r'[^A-Za-z0-9_.-]+', '-', model.name)}-{model.sha256[:8]}.png"
