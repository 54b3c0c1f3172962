"""The picture of fine-tuning: validation quality after each epoch of each pass, from float32 to the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgefm.report.content.measure import Measure
from edgefm.report.drawing import style

_ACROSS = 3
_LEAST_SPAN = 1.0
# Words on the picture; recipes say 'qat'.
_NAMES = {"slim": "slim", "prune": "prune", "cluster": "cluster", "qat": "int8"}


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One pass: validation quality after each of its epochs, the last one None-free; () where none was recorded."""

    kind: str
    qualities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Course:
    """A variant's way through its passes.

    Attributes:
      start: validation quality of the float32 file.
      end: that of the variant's own file.
    """

    variant: str
    start: float
    legs: tuple[Leg, ...]
    end: float


def courses(quantize: Mapping[str, Any]) -> tuple[Measure, list[Course]]:
    """Return the courses of all variants that were fine-tuned, and what their quality is measured by."""
    measure, tuned = Measure(), []
    for variant in quantize.get("variants", []):
        validation = variant.get("validation")
        legs = tuple(_leg(finished) for finished in variant.get("passes", []))
        if not validation or not any(leg.qualities for leg in legs):
            continue
        measure = Measure.of(validation)
        tuned.append(
            Course(variant=variant["variant"], start=validation["float32"], legs=legs, end=validation["value"])
        )
    return measure, tuned


def draw_courses(measure: Measure, courses: Sequence[Course], *, width: float) -> Figure:
    """Return one panel a variant: each pass a line, the float32 file a dashed level, the file a ring at the end."""
    small = width < style.WIDE
    across = 1 if small else min(_ACROSS, len(courses))
    down = -(-len(courses) // across)
    figure = style.new_figure(width, 0.25 + (1.75 if small else 1.95) * down)
    for place, course in enumerate(courses):
        axes = figure.add_subplot(down, across, place + 1)
        _draw(axes, measure, course)
        axes.set_ylim(*_limits(measure, course))
        axes.set_title(course.variant, fontsize=8)
        if place >= len(courses) - across:
            axes.set_xlabel("epoch of fine-tuning")
    return figure


def _draw(axes: Axes, measure: Measure, course: Course) -> None:
    last = max(1, sum(len(leg.qualities) for leg in course.legs))
    axes.axhline(measure.factor * course.start, color=style.GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.scatter([0], [measure.factor * course.start], s=16, color=style.GREY, zorder=3)
    epoch, before = 0, course.start
    for place, leg in enumerate(course.legs):
        if not leg.qualities:
            continue
        xs = [epoch, *range(epoch + 1, epoch + 1 + len(leg.qualities))]
        ys = [measure.factor * value for value in (before, *leg.qualities)]
        hue = style.BLUE if place % 2 == 0 else style.ORANGE
        axes.plot(xs, ys, color=hue, linewidth=1.5, marker="o", markersize=2.6, zorder=2)
        axes.text(
            (xs[0] + xs[-1]) / 2, 0.03, _NAMES.get(leg.kind, leg.kind), transform=axes.get_xaxis_transform(),
            fontsize=7, ha="center", va="bottom", color=hue,
        )  # fmt: skip
        epoch, before = xs[-1], leg.qualities[-1]
    end = measure.factor * course.end
    axes.scatter([last], [end], s=34, facecolor="none", edgecolor=style.INK, linewidth=1.2, zorder=4)
    loss = course.end - course.start
    axes.text(
        1, 0.98, f"file {measure.text(course.end)} ({measure.change(loss)})", transform=axes.transAxes, fontsize=7.2,
        ha="right", va="top", color=style.INK,
    )  # fmt: skip
    axes.set_xlim(-0.06 * last, 1.06 * last)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    axes.tick_params(labelsize=7.5)
    axes.grid(True, axis="y")


def _limits(measure: Measure, course: Course) -> tuple[float, float]:
    """Return the ends of a panel's axis, with room for words; a percentage spans a point at least."""
    values = [course.start, course.end, *(value for leg in course.legs for value in leg.qualities)]
    low, high = (measure.factor * value for value in (min(values), max(values)))
    least = _LEAST_SPAN if measure.unit == "%" else 1e-9 + 0.02 * abs(high)
    room = max(high - low, least)
    middle = (low + high) / 2
    return middle - 0.75 * room, middle + 0.8 * room


def _leg(finished: Mapping[str, Any]) -> Leg:
    qualities = [epoch.get("val_quality") for epoch in finished.get("history", [])]
    return Leg(kind=finished["recipe"]["kind"], qualities=tuple(value for value in qualities if value is not None))
