"""The table of the steps: each file's figures, and below each its change against the file it grew from."""

from __future__ import annotations

from typing import Any

from edgefm.report.content import wording
from edgefm.report.content.measure import Measure
from edgefm.report.content.waterfall import Change, Waterfall, WaterfallStep
from edgefm.report.content.wording import Interval, TimeUnit
from edgefm.report.pages.tables import TableCell, as_csv


def headers(waterfall: Waterfall, unit: TimeUnit) -> list[TableCell]:
    """Return the headings of the columns after the file's name."""
    share = f"%, {waterfall.split}" if waterfall.measure.unit == "%" else waterfall.split
    return [
        TableCell(value=waterfall.measure.title, detail=share if waterfall.samples else ""),
        TableCell(value="p50", detail=f"{unit.name}, ratio"),
        TableCell(value="MACs", detail="counted"),
        TableCell(value="File", detail="KB"),
        TableCell(value="gzip", detail="KB"),
        TableCell(value="zstd", detail="KB"),
        TableCell(value="Memory", detail="MB above runtime, once"),
        TableCell(value="Activations", detail="KB, estimated"),
    ]


def row(step: WaterfallStep, measure: Measure, unit: TimeUnit) -> list[TableCell]:
    """Return the cells of a step, in the order of `headers`."""
    figures, change = step.figures, step.change
    return [
        _quality(figures.quality, change, measure),
        _time(figures.p50, change, unit),
        _macs(figures.macs, change.macs if change else None),
        _bytes(figures.size_bytes, change.size_bytes if change else None, 1e3),
        _bytes(figures.gzip_bytes, change.gzip_bytes if change else None, 1e3),
        _bytes(figures.zstd_bytes, change.zstd_bytes if change else None, 1e3),
        _bytes(figures.memory_bytes, change.memory_bytes if change else None, 1e6),
        _bytes(figures.activation_bytes, change.activation_bytes if change else None, 1e3),
    ]


def csv_table(waterfall: Waterfall) -> str:
    """Return all steps as CSV: plain numbers, units in the names of the columns, empty where unknown."""
    rows = [_numbers(step, waterfall) for step in waterfall.steps]
    return as_csv(rows, names=list(rows[0]))


def _numbers(step: WaterfallStep, waterfall: Waterfall) -> dict[str, Any]:
    figures, change = step.figures, step.change
    values: dict[str, Any] = {
        "model": step.name,
        "grew_from": step.growth.parent,
        "added": "; ".join(ingredient.words for ingredient in step.growth.added),
        "quality_measure": waterfall.measure.name,
        "quality_split": waterfall.split,
        "quality": figures.quality.value if figures.quality else None,
        "latency_p50_ns": figures.p50.value if figures.p50 else None,
    }
    for name in ("macs", "size_bytes", "gzip_bytes", "zstd_bytes", "memory_bytes", "activation_bytes"):
        values[name] = getattr(figures, name)
        values[f"{name}_change"] = getattr(change, name) if change else None
    for name, interval in (
        ("quality_change", change.quality if change else None),
        ("latency_ratio", change.time if change else None),
    ):
        values[name] = interval.value if interval else None
        values[f"{name}_low"] = interval.low if interval and not interval.bare else None
        values[f"{name}_high"] = interval.high if interval and not interval.bare else None
    values["quality_change_shown"] = change.quality_shown if change else None
    return values


def _quality(value: Interval | None, change: Change | None, measure: Measure) -> TableCell:
    if value is None:
        return TableCell(value=wording.DASH)
    if change is None or change.quality is None:
        return TableCell(value=measure.text(value.value))
    shown = ", none shown" if change.quality_shown is False else ""
    return TableCell(value=measure.text(value.value), detail=f"{measure.change(change.quality.value)}{shown}")


def _time(value: Interval | None, change: Change | None, unit: TimeUnit) -> TableCell:
    if value is None:
        return TableCell(value=wording.DASH)
    detail = ""
    if change is not None and change.time is not None:
        ratio = change.time
        shown = "" if change.faster or change.slower else ", none shown"
        detail = f"{wording.TIMES}\N{NO-BREAK SPACE}{ratio.value:.2f}{shown}"
    return TableCell(value=unit.text(value.value), detail=detail)


def _bytes(value: int | None, change: int | None, unit: float) -> TableCell:
    if value is None:
        return TableCell(value=wording.DASH)
    digits = 1 if value >= unit else 3
    text = wording.number(value / unit, digits)
    if change is None:
        return TableCell(value=text)
    difference = "0" if change == 0 else wording.signed(change / unit, digits)
    return TableCell(value=text, detail=f"{difference}{_share_of(change, value)}")


def _macs(value: int | None, change: int | None) -> TableCell:
    if value is None:
        return TableCell(value=wording.DASH)
    if change is None:
        return TableCell(value=wording.count(value))
    sign = "0" if change == 0 else f"{'+' if change > 0 else wording.MINUS}{wording.count(abs(change))}"
    return TableCell(value=wording.count(value), detail=f"{sign}{_share_of(change, value)}")


def _share_of(change: int | None, after: int | None) -> str:
    """Return a change as a share of what was there before, behind a comma; '' below half a percent."""
    if not change or after is None or after == change:
        return ""
    share = change / (after - change)
    return f", {wording.signed(100 * share, 0)}\N{NO-BREAK SPACE}%" if abs(share) >= 0.005 else ""
