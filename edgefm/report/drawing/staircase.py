"""The picture of the steps from float32 to each variant: every bar begins where the file it grew from ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgefm.report.content import wording
from edgefm.report.content.measure import Measure
from edgefm.report.content.waterfall import Change, Waterfall, WaterfallStep
from edgefm.report.content.wording import TIMES, Interval
from edgefm.report.drawing import style

_BAR = 0.36
_INDENT = "\N{NO-BREAK SPACE}" * 3
_RATIO_TICKS = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 1 / 16, 1 / 32, 1 / 64)
_MOST_TICKS = 4
_RATIO_NAMES = {0.5: "½", 0.25: "¼", 0.125: "⅛"}


@dataclass(frozen=True, kw_only=True)
class _Bar:
    """One step in one panel: from where to where, what it says, and whether that is better (None: no difference)."""

    start: float
    end: float
    text: str
    better: bool | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Panel:
    title: str
    bars: dict[str, _Bar]
    ratio: bool


def draw_staircase(waterfall: Waterfall, *, width: float) -> Figure:
    """Return one row a file and one panel a figure: quality, time, download, file.

    Blue is better than the file it grew from, orange worse, grey no difference. Time and sizes are shares of
    float32's on logarithmic axes, so equal factors are equally long.
    """
    small = width < style.WIDE
    steps = list(waterfall.steps)
    panels = [panel for panel in _panels(waterfall) if panel.bars]
    rows = len(steps)
    if small:
        figure = style.new_figure(width, len(panels) * (0.62 + 0.38 * rows))
        axes = [figure.add_subplot(len(panels), 1, place + 1) for place in range(len(panels))]
    else:
        figure = style.new_figure(width, 0.8 + 0.4 * rows)
        axes = list(figure.subplots(1, len(panels), sharey=True)) if len(panels) > 1 else [figure.add_subplot()]
    for place, (panel, panel_axes) in enumerate(zip(panels, axes, strict=True)):
        _draw(panel_axes, panel, steps, small=small, named=place == 0)
    return figure


def _draw(axes: Axes, panel: _Panel, steps: Sequence[WaterfallStep], *, small: bool, named: bool) -> None:
    rows = {step.name: len(steps) - 1 - place for place, step in enumerate(steps)}
    for step in steps:
        bar = panel.bars.get(step.name)
        if bar is None:
            continue
        row = rows[step.name]
        parent = step.growth.parent
        if parent in panel.bars:
            # The line down from where the earlier file ended.
            axes.plot([bar.start, bar.start], [rows[parent], row - _BAR / 2], color=style.GREY, linewidth=0.8, zorder=1)
        _mark(axes, bar, row, root=step.change is None)
    _scale(axes, panel)
    axes.set_ylim(-0.6, len(steps) - (0.35 if small else 0.5))
    axes.set_title(panel.title, fontsize=8.5)
    style.as_rows(axes)
    for step in steps:
        if small:
            axes.text(
                0, rows[step.name] + 0.24, _label(step, lines=1), transform=axes.get_yaxis_transform(), fontsize=7,
                va="bottom", color=style.INK, zorder=5,
                bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip
    if small:
        axes.set_yticks([])
    elif named:
        axes.set_yticks([rows[step.name] for step in steps], [_label(step, lines=2) for step in steps], ha="left")
        axes.tick_params(axis="y", labelsize=7.6, pad=_pad(steps))
    else:
        axes.tick_params(axis="y", labelleft=False)


def _pad(steps: Sequence[WaterfallStep]) -> float:
    """Return the room for labels that begin at one left edge, in points."""
    longest = max(len(line) for step in steps for line in _label(step, lines=2).split("\n"))
    return 4.3 * longest


def _label(step: WaterfallStep, *, lines: int) -> str:
    added = ", ".join(ingredient.short for ingredient in step.growth.added)
    if lines == 1:
        return step.name
    indent = _INDENT * step.growth.depth
    return f"{indent}{step.name}\n{indent}{added}" if added else f"{indent}{step.name}"


def _mark(axes: Axes, bar: _Bar, row: int, *, root: bool) -> None:
    hue = style.GREY if bar.better is None else style.BLUE if bar.better else style.ORANGE
    if not root:
        left, right = sorted((bar.start, bar.end))
        axes.barh(row, right - left, left=left, height=_BAR, color=hue, alpha=0.55, linewidth=0, zorder=2)
    axes.plot([bar.end, bar.end], [row - _BAR / 2, row + _BAR / 2], color=hue, linewidth=2.2, zorder=3)
    if bar.low is not None and bar.high is not None:
        axes.plot([bar.low, bar.high], [row, row], color=style.INK, linewidth=0.9, zorder=4)
    outer = max(bar.start, bar.end, bar.high if bar.high is not None else bar.end)
    axes.annotate(
        bar.text, (outer, row), xytext=(4, 0), textcoords="offset points", fontsize=7.2, va="center",
        color=style.INK, zorder=5, bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.4},
    )  # fmt: skip


def _scale(axes: Axes, panel: _Panel) -> None:
    ends = [value for bar in panel.bars.values() for value in (bar.start, bar.end)]
    ends += [value for bar in panel.bars.values() for value in (bar.low, bar.high) if value is not None]
    low, high = min(ends), max(ends)
    if panel.ratio:
        axes.set_xscale("log", base=2)
        axes.set_xlim(low / 1.25, high * max(1.9, (high / low) ** 0.42))
        ticks = [tick for tick in _RATIO_TICKS if low / 1.25 <= tick <= high * 1.1]
        if len(ticks) > _MOST_TICKS:  # every second one, 1 among them
            ticks = [tick for tick in ticks if math.log2(tick) % 2 == 0]
        axes.set_xticks(ticks, [_ratio_name(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
    else:
        span = max(high - low, 1e-9)
        axes.set_xlim(low - 0.06 * span, high + 0.52 * span)
        axes.locator_params(axis="x", nbins=4)
    axes.tick_params(axis="x", labelsize=7.5)


def _ratio_name(tick: float) -> str:
    return _RATIO_NAMES.get(tick) or (f"{tick:g}{TIMES}" if tick >= 1 else f"1/{1 / tick:.0f}")


def _panels(waterfall: Waterfall) -> list[_Panel]:
    root = next((step for step in waterfall.steps if step.name == "float32"), waterfall.steps[0])
    unit = ", points" if waterfall.measure.unit == "%" else ""
    return [
        _Panel(title=f"{waterfall.measure.word}{unit}", bars=_quality(waterfall, root), ratio=False),
        _Panel(title="time, p50", bars=_times(waterfall, root), ratio=True),
        _Panel(title="download, gzip", bars=_sizes(waterfall, root, "gzip_bytes"), ratio=True),
        _Panel(title="file", bars=_sizes(waterfall, root, "size_bytes"), ratio=True),
    ]


def _quality(waterfall: Waterfall, root: WaterfallStep) -> dict[str, _Bar]:
    base = root.figures.quality
    if base is None:
        return {}
    measure = waterfall.measure
    bars = {root.name: _Bar(start=0, end=0, text=measure.text(base.value) + _percent(measure), better=None)}
    for step in waterfall.steps:
        if step is root or step.figures.quality is None:
            continue
        end = measure.factor * (step.figures.quality.value - base.value)
        change = step.change
        if change is None or change.quality is None or step.before is None or step.before.quality is None:
            bars[step.name] = _Bar(start=end, end=end, text=measure.text(step.figures.quality.value), better=None)
            continue
        start = measure.factor * (step.before.quality.value - base.value)
        difference = change.quality
        better = None if change.quality_shown is False or not difference.value else measure.better(difference.value)
        ends = {} if difference.bare else {
            "low": start + measure.factor * difference.low, "high": start + measure.factor * difference.high
        }  # fmt: skip
        bars[step.name] = _Bar(start=start, end=end, text=measure.change(difference.value), better=better, **ends)
    return bars


def _percent(measure: Measure) -> str:
    return "\N{NO-BREAK SPACE}%" if measure.unit == "%" else ""


def _times(waterfall: Waterfall, root: WaterfallStep) -> dict[str, _Bar]:
    bars: dict[str, _Bar] = {}
    base = root.figures.p50
    if base is None:
        return {}
    bars[root.name] = _Bar(start=1, end=1, text=_time(base), better=None)
    for step in waterfall.steps:
        if step is root or step.figures.p50 is None:
            continue
        change, before = step.change, step.before
        end = step.figures.p50.value / base.value
        if change is None or change.time is None or before is None or before.p50 is None:
            bars[step.name] = _Bar(start=end, end=end, text="", better=None)
            continue
        start = before.p50.value / base.value
        better = True if change.faster else False if change.slower else None
        ends = {} if change.time.bare else {"low": start * change.time.low, "high": start * change.time.high}
        bars[step.name] = _Bar(start=start, end=end, text=f"{change.time.value:.2f}{TIMES}", better=better, **ends)
    return bars


def _time(p50: Interval) -> str:
    unit = wording.time_unit([p50.value])
    return f"{unit.text(p50.value)} {unit.name}"


def _sizes(waterfall: Waterfall, root: WaterfallStep, what: str) -> dict[str, _Bar]:
    base: int = getattr(root.figures, what)
    bars = {root.name: _Bar(start=1, end=1, text=wording.size(base), better=None)}
    for step in waterfall.steps:
        if step is root:
            continue
        own: int = getattr(step.figures, what)
        before: int = own if step.before is None else getattr(step.before, what)
        bars[step.name] = _Bar(
            start=before / base, end=own / base, text=wording.size(own), better=_smaller(step.change, what, before)
        )
    return bars


def _smaller(change: Change | None, what: str, before: int) -> bool | None:
    difference = 0 if change is None else getattr(change, what)
    if not before or math.isclose(difference / before, 0, abs_tol=0.01):
        return None
    return bool(difference < 0)
