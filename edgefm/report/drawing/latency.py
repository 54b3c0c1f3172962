"""The picture of each model's latency distribution, from its raw samples."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgefm.report.content.facts import Facts, Model
from edgefm.report.content.wording import TIMES
from edgefm.report.drawing import style
from edgefm.report.drawing.tradeoff import colour

_BINS = 200
# Shares of a model's samples, in percent, between which the axis lies; p99 is always on it.
_FIRST, _LAST = 0.1, 99.2
# Beyond this ratio to the median, the axis is logarithmic.
_LOG_RATIO = 2.5
_LOG_TICKS = (1.0, 2.0, 5.0, 20.0, 100.0, 1000.0)
_CURVE, _TICK = 0.62, 0.3


def draw_latency(facts: Facts, *, width: float) -> Figure:
    """Return one row a model: the density of all samples over its own p50, with p90, p99 and each round's median.

    Each row is drawn relative to the model's own p50, so that fast and slow models show their jitter alike.
    """
    models = [model for model in facts.models if model.invoke_ns.size]
    small = width < style.WIDE
    figure = style.new_figure(width, 0.75 + (0.78 if small else 0.7) * len(models))
    axes = figure.add_subplot()
    low = min(_relative(model, float(np.percentile(model.invoke_ns, _FIRST))) for model in models)
    high = max(_relative(model, _end(model)) for model in models)
    low, high = min(low - 0.02, 0.98), max(1.06 * high, 1.1)
    edges = np.geomspace(low, high, _BINS + 1) if high > _LOG_RATIO else np.linspace(low, high, _BINS + 1)
    for row, model in enumerate(reversed(models)):
        _row(axes, facts, model, row, edges, small=small)
    if high > _LOG_RATIO:
        axes.set_xscale("log")
        ticks = [tick for tick in _LOG_TICKS if tick <= high]
        axes.set_xticks(ticks, ["p50", *(f"{tick:g}{TIMES} p50" for tick in ticks[1:])])
        axes.set_xticks([], minor=True)
    else:
        axes.xaxis.set_major_formatter(_relative_tick)
    axes.set_xlim(low, high)
    axes.set_ylim(-0.3, len(models) - 0.1)
    names = [] if small else [f"{model.name}\np50 {_time(facts, model, 50)}" for model in reversed(models)]
    axes.set_yticks([row + 0.12 for row in range(len(names))], names)
    style.as_rows(axes)
    axes.set_xlabel(f"latency{'' if small else ' of one invoke'}, relative to the model's own p50")
    return figure


def beyond(facts: Facts) -> int:
    """Return how many samples lie beyond the right end of the picture's axis."""
    models = [model for model in facts.models if model.invoke_ns.size]
    end = max(1.06 * max((_relative(model, _end(model)) for model in models), default=0.0), 1.1)
    return sum(int((model.invoke_ns > end * _median(model)).sum()) for model in models)


def _row(axes: Axes, facts: Facts, model: Model, row: int, edges: np.ndarray, *, small: bool) -> None:  # type: ignore[type-arg]  # float64 [bins + 1]
    hue = colour(facts, model)
    middle = _median(model)
    counts, _ = np.histogram(model.invoke_ns / middle, bins=edges)
    heights = _CURVE * counts / max(1, counts.max())
    axes.stairs(row + heights, edges, baseline=row, fill=True, color=hue, alpha=0.4, linewidth=0)
    axes.stairs(row + heights, edges, baseline=None, color=hue, linewidth=0.9)
    for percentile, height in ((50, _CURVE), (90, _TICK), (99, _TICK)):
        x = _relative(model, _percentile(model, percentile))
        axes.plot([x, x], [row, row + height], color=style.INK, linewidth=1.2 if percentile == 50 else 0.9)
    x = _relative(model, _percentile(model, 99))
    near_end = x > edges[0] + 0.75 * (edges[-1] - edges[0])
    axes.annotate(
        f"p99 {_time(facts, model, 99)}", (x, row + _TICK), xytext=(-3 if near_end else 3, 0), fontsize=8,
        textcoords="offset points", ha="right" if near_end else "left", va="top" if near_end else "center",
    )  # fmt: skip
    medians = model.round_medians_ns / middle
    axes.scatter(medians, np.full(len(medians), row - 0.13), s=9, color=hue, alpha=0.7, linewidth=0)
    if small:
        text = f"{model.name}, p50 {_time(facts, model, 50)}"
        axes.text(edges[-1], row + 0.68, text, ha="right", va="top", fontsize=8.5)


def _relative_tick(value: float, _: float) -> str:
    return "p50" if abs(value - 1) < 1e-9 else f"{100 * (value - 1):+.0f} %"


def _percentile(model: Model, share: int) -> float:
    """Return the record's percentile in nanoseconds, or the samples' where the record has none."""
    interval = {50: model.p50, 90: model.p90, 99: model.p99}[share]
    return interval.value if interval else float(np.percentile(model.invoke_ns, share))


def _median(model: Model) -> float:
    return max(_percentile(model, 50), 1.0)


def _relative(model: Model, nanoseconds: float) -> float:
    return nanoseconds / _median(model)


def _end(model: Model) -> float:
    """Return where a model's samples end on the axis, in nanoseconds."""
    return max(float(np.percentile(model.invoke_ns, _LAST)), _percentile(model, 99))


def _time(facts: Facts, model: Model, share: int) -> str:
    return f"{facts.unit.text(_percentile(model, share))} {facts.unit.name}"
