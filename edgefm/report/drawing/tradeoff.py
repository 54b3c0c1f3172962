"""The picture of accuracy against latency: file size as the mark's area, intervals, and the Pareto front."""

from __future__ import annotations

import itertools
import math

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from edgefm.report.content import wording
from edgefm.report.content.facts import Facts, Model
from edgefm.report.drawing import style
from edgefm.report.drawing.labels import Box, Mark, place

# Above this ratio of the slowest to the fastest, the time axis is logarithmic.
_LOG_RATIO = 8.0
# With more models a narrow picture has numbers in the place of names.
_MOST_NAMED = 6


def draw_tradeoff(facts: Facts, *, width: float) -> Figure:
    """Return quality against p50 latency of all models that have both; there must be one."""
    models = [model for model in facts.models if model.p50 and model.quality]
    small = width < style.WIDE
    numbered = small and len(models) > _MOST_NAMED
    figure = style.new_figure(width, 3.9 + (0.17 * len(models) if numbered else 0) if small else 4.3)
    axes = figure.add_subplot()
    area = 480.0 if small else 760.0
    largest = max(model.size_bytes for model in models)
    areas = [max(14.0, area * model.size_bytes / largest) for model in models]
    _limit(axes, facts, models)
    _front(axes, facts, models)
    # Large marks first, so that a small one is never hidden; the proposed one last of all.
    order = zip(areas, models, strict=True)
    for points, model in sorted(order, key=lambda pair: (pair[1] is facts.chosen, -pair[0])):
        _mark(axes, facts, model, points)
    title = f"latency of one invoke, p50 ({facts.unit.name}), less is better"
    names = [_name(model, ", ") for model in models]
    if numbered:  # names would cover the marks
        lines = "\n".join(f"{place + 1}  {name}" for place, name in enumerate(names))
        axes.set_xlabel(f"{title}\n\n{lines}", loc="left", linespacing=1.35)
    else:
        axes.set_xlabel(title)
    axes.set_ylabel(facts.measure.axis)
    axes.grid(True)
    figure.legend(handles=_legend(), loc="outside lower left", ncols=2 if small else 4, frameon=False, fontsize=8)
    labels = [str(place + 1) for place in range(len(models))] if numbered else [_name(shown, "\n") for shown in models]
    _label(figure, axes, facts, models, labels=labels, areas=areas)
    return figure


def _name(model: Model, between: str) -> str:
    return f"{model.name}{between}{wording.size(model.size_bytes)}"


def colour(facts: Facts, model: Model) -> str:
    """Return the colour of a model in every picture: the chosen one, the reference, the others."""
    if facts.chosen is not None and model is facts.chosen:
        return style.ORANGE
    return style.GREY if model is facts.reference else style.BLUE


def _xy(facts: Facts, model: Model) -> tuple[float, float]:
    assert model.p50 and model.quality
    return model.p50.value / facts.unit.nanoseconds, facts.measure.factor * model.quality.value


def _limit(axes: Axes, facts: Facts, models: list[Model]) -> None:
    times = [m.p50.scaled(1 / facts.unit.nanoseconds) for m in models if m.p50]
    shares = [m.quality.scaled(facts.measure.factor) for m in models if m.quality]
    low, high = min(t.low for t in times), max(t.high for t in times)
    if high / max(low, 1e-9) > _LOG_RATIO:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.6, high * 1.8)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
    else:
        axes.set_xlim(0, high * 1.18)
    bottom, top = min(s.low for s in shares), max(s.high for s in shares)
    room = 0.22 * max(top - bottom, 0.002 * facts.measure.factor if facts.measure.unit else 1e-9)
    axes.set_ylim(bottom - room, top + room)


def _front(axes: Axes, facts: Facts, models: list[Model]) -> None:
    xs, ys = zip(*_corners(axes, facts, models), strict=True)
    axes.plot(xs, ys, color=style.BLUE, linewidth=1.1, linestyle=(0, (4, 3)), alpha=0.8, zorder=1)


def _corners(axes: Axes, facts: Facts, models: list[Model]) -> list[tuple[float, float]]:
    """Return the corners of the front's staircase, from the worst edge to the right one."""
    # The front begins at the worst edge, which of an error is the upper one.
    height = axes.get_ylim()[0 if facts.measure.higher_is_better else 1]
    corners: list[tuple[float, float]] = []
    for x, y in sorted(_xy(facts, model) for model in models if model.on_front):
        corners += [(x, height), (x, y)]
        height = y
    return [*corners, (axes.get_xlim()[1], height)]


def _mark(axes: Axes, facts: Facts, model: Model, points: float) -> None:
    assert model.p50 and model.quality
    x, y = _xy(facts, model)
    time, share = model.p50.scaled(1 / facts.unit.nanoseconds), model.quality.scaled(facts.measure.factor)
    hue = colour(facts, model)
    axes.plot([time.low, time.high], [y, y], color=hue, linewidth=1.2, alpha=0.6, zorder=2)
    axes.plot([x, x], [share.low, share.high], color=hue, linewidth=1.2, alpha=0.6, zorder=2)
    fill = hue if model.on_front else style.PAPER
    axes.scatter([x], [y], s=points, color=fill, edgecolor=hue, linewidth=1.5, alpha=0.85, zorder=3)


def _legend() -> list[Line2D]:
    def dot(label: str, colour: str, *, full: bool = True) -> Line2D:
        fill = colour if full else style.PAPER
        return Line2D([], [], marker="o", linestyle="", markersize=7, color=colour, mfc=fill, label=label)

    line = Line2D([], [], color=style.BLUE, linewidth=1.1, linestyle=(0, (4, 3)), label="Pareto front")
    return [
        dot("proposed", style.ORANGE),
        dot("reference", style.GREY),
        dot("hollow: off the front", style.BLUE, full=False),
        line,
    ]


def _label(
    figure: Figure, axes: Axes, facts: Facts, models: list[Model], *, labels: list[str], areas: list[float]
) -> None:
    """Write each model's label beside its mark, with a thin line where it had to move away."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    pixel = figure.dpi / 72
    texts = [
        axes.text(
            0,
            0,
            label,
            fontsize=8.5,
            linespacing=1.15,
            color=style.ORANGE if model is facts.chosen else style.INK,
            zorder=5,
        )
        for model, label in zip(models, labels, strict=True)
    ]
    marks, bars = [], []
    for model, text, points in zip(models, texts, areas, strict=True):
        assert model.p50 and model.quality
        x, y = axes.transData.transform(_xy(facts, model))
        extent = text.get_window_extent(renderer)
        marks.append(Mark(x, y, pixel * math.sqrt(points / math.pi), extent.width, extent.height))
        bar = [(0.0, facts.measure.factor * model.quality.low), (0.0, facts.measure.factor * model.quality.high)]
        (_, low), (_, high) = axes.transData.transform(bar)
        bars.append(Box(x - 2, low, x + 2, high))
        time = model.p50.scaled(1 / facts.unit.nanoseconds)
        (left, _), (right, _) = axes.transData.transform([(time.low, axes.get_ylim()[0]), (time.high, 0.0)])
        bars.append(Box(left, y - 2, right, y + 2))
    frame = axes.get_window_extent(renderer)
    front = axes.transData.transform(_corners(axes, facts, models))
    for (x1, y1), (x2, y2) in itertools.pairwise(front):
        bars.append(Box(min(x1, x2) - 3, min(y1, y2) - 3, max(x1, x2) + 3, max(y1, y2) + 3))
    bounds = Box(frame.x0 + 2, frame.y0 + 2, frame.x1 - 1, frame.y1 - 1)
    back = axes.transData.inverted()
    for box, mark, text in zip(place(marks, bounds=bounds, obstacles=bars), marks, texts, strict=True):
        x, y = back.transform((box.left, box.bottom))
        text.set_position((float(x), float(y)))
        text.set_verticalalignment("bottom")
        near = (min(max(mark.x, box.left), box.right), min(max(mark.y, box.bottom), box.top))
        if math.hypot(near[0] - mark.x, near[1] - mark.y) > mark.radius + 10 * pixel:
            ends = back.transform([(mark.x, mark.y), near])
            axes.plot(ends[:, 0], ends[:, 1], color=style.MUTED, linewidth=0.6, zorder=2)
