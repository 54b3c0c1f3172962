"""The history as series: each figure with its recorded values, the oldest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks import tracked
from benchmarks.tracked import Tracked


@dataclass(frozen=True, kw_only=True)
class Point:
    """One recorded value: in the unit of its figure, None as interval where there is none.

    Attributes:
      when: it was measured.
      cpu: the machine.
      value: of the figure.
      interval: of 95 %.
      quiet: nothing tells that the machine was disturbed.
      of: what was measured where that is not always the same, such as a hash of a model.
    """

    when: datetime
    cpu: str
    value: float
    interval: tuple[float, float] | None
    quiet: bool
    of: str


@dataclass(frozen=True, kw_only=True)
class Series:
    """A figure and its values, the oldest first."""

    figure: Tracked
    points: Sequence[Point]


def series(lines: Sequence[Mapping[str, Any]]) -> list[Series]:
    """Return the figures of a history with their values, in the order in which they are tracked."""
    figures: dict[tuple[str, str], Tracked] = {}
    points: dict[tuple[str, str], list[Point]] = {}
    for line in lines:
        for key, value in line["figures"].items():
            figure = tracked.figure_of(line["name"], key)
            if figure is not None:
                figures[line["name"], key] = figure
                points.setdefault((line["name"], key), []).append(_point(figure, line, value))
    order = [(figure.result, figure.key) for figure in tracked.TRACKED]
    keys = sorted(key for key in points if key[0] == tracked.MODELS) + [key for key in order if key in points]
    return [Series(figure=figures[key], points=points[key]) for key in keys]


def machines(found: Sequence[Series]) -> list[str]:
    """Return the processors' names, the one that was used first in front."""
    points = sorted((point.when, point.cpu) for one in found for point in one.points)
    return list(dict.fromkeys(cpu for _, cpu in points))


def text(figure: Tracked, value: float) -> str:
    """Return a value with its unit."""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}{' ' + figure.unit if figure.unit else ''}"


def target(figure: Tracked) -> str:
    """Return the target of a figure; '' where it has none."""
    if figure.at_most is not None:
        return f"<= {figure.at_most:g} {figure.unit}".strip()
    return "" if figure.at_least is None else f">= {figure.at_least:g} {figure.unit}".strip()


def _point(figure: Tracked, line: Mapping[str, Any], value: Mapping[str, Any]) -> Point:
    known = "low" in value and "high" in value
    return Point(
        when=datetime.fromisoformat(line["created"]),
        cpu=line["cpu"],
        value=float(value["value"]),
        interval=(float(value["low"]), float(value["high"])) if known else None,
        quiet=not (figure.timed and line["disturbed"]),
        of=value.get("of", ""),
    )
