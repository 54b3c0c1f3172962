"""The main table: as texts for HTML and Markdown, and as plain numbers for CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgefm.report.content import wording
from edgefm.report.content.facts import Facts, Model
from edgefm.report.content.measure import ACCURACY
from edgefm.report.content.wording import Interval
from edgefm.report.text.findings import verdict

# A spreadsheet takes a text that starts with one of these for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

# Places of the columns that are shown at first: quality, its difference, p50, ratio, size. The others unfold.
FIRST_COLUMNS = (0, 1, 3, 4, 8)


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """One figure of the table: its value, and below it its interval or what it means."""

    value: str
    detail: str = ""
    best: bool = False


def headers(facts: Facts) -> list[TableCell]:
    """Return the headings of the columns after the model's name: what and unit."""
    reference = facts.reference.name if facts.reference else "reference"
    unit, measure = facts.unit.name, facts.measure
    return [
        TableCell(value=measure.title, detail=f"{measure.unit} [95\N{NO-BREAK SPACE}%]".strip()),
        TableCell(value="Difference", detail=f"{measure.points} [95\N{NO-BREAK SPACE}%]".strip()),
        TableCell(value="McNemar" if measure == ACCURACY else "Shown", detail=f"difference to {reference}"),
        TableCell(value="p50", detail=f"{unit} [95\N{NO-BREAK SPACE}%]"),
        TableCell(value="Ratio", detail=f"to {reference} [95\N{NO-BREAK SPACE}%]"),
        TableCell(value="p90", detail=unit),
        TableCell(value="p99", detail=unit),
        TableCell(value="End to end", detail=f"p50, {unit}"),
        TableCell(value="Size", detail="KB"),
        TableCell(value="gzip", detail="KB"),
        TableCell(value="Memory", detail="MB above runtime"),
        TableCell(value="Load", detail="ms"),
    ]


def row(facts: Facts, model: Model) -> list[TableCell]:
    """Return the cells of a model, in the order of `headers`; the best of each column is marked."""
    best = _best(facts)
    unit = facts.unit

    def time(interval: Interval | None, name: str, *, with_interval: bool = False) -> TableCell:
        if interval is None:
            return TableCell(value=wording.DASH, detail=model.reasons.get(name, ""))
        detail = f"{unit.text(interval.low)} to {unit.text(interval.high)}" if with_interval else ""
        return TableCell(value=unit.text(interval.value), detail=detail, best=best.get(name) == interval.value)

    memory = wording.DASH if model.memory_bytes is None else wording.number(model.memory_bytes / 1e6, 1)
    load = wording.DASH if model.load_ns is None else wording.number(model.load_ns / 1e6, 1)
    return [
        _quality(facts, model, best),
        *_difference(facts, model),
        time(model.p50, "p50", with_interval=True),
        _ratio(facts, model),
        time(model.p90, "p90"),
        time(model.p99, "p99"),
        time(model.end_to_end_p50, "end_to_end"),
        TableCell(value=_kilobytes(model.size_bytes), best=best["size"] == model.size_bytes),
        TableCell(value=_kilobytes(model.size_gzip_bytes), best=best["gzip"] == model.size_gzip_bytes),
        TableCell(value=memory),
        TableCell(value=load),
    ]


def csv_table(facts: Facts) -> str:
    """Return all models as CSV: plain numbers, units in the names of the columns, empty where unknown.

    Texts that a spreadsheet would run as a formula get a leading apostrophe.
    """
    rows = [_numbers(facts, model) for model in facts.models]
    for failure in facts.failures:
        about = {"model": failure.name, "status": "failed", "reason": failure.reason}
        rows.append({**about, "mode": facts.mode, "file": failure.file})
    return as_csv(rows, names=list(rows[0]) if rows else ["model", "status", "reason", "mode", "file"])


def as_csv(rows: Sequence[Mapping[str, Any]], *, names: Sequence[str]) -> str:
    """Return rows as CSV with the columns `names`, see `csv_table`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(names)
    writer.writerows([_safe(row.get(name)) for name in names] for row in rows)
    return buffer.getvalue()


def _numbers(facts: Facts, model: Model) -> dict[str, Any]:
    values: dict[str, Any] = {
        "model": model.name,
        "status": "ok",
        "reason": "",
        "mode": facts.mode,
        "file": model.file,
        "sha256": model.sha256,
        "runtime": model.runtime,
        "pareto_front": model.on_front,
        "size_bytes": model.size_bytes,
        "size_gzip_bytes": model.size_gzip_bytes,
        "memory_above_bare_bytes": model.memory_bytes,
        "load_ns": model.load_ns,
        "macs": model.macs,
        "quality_measure": facts.measure.name,
    }
    comparison = model.comparison
    for name, interval in (
        ("accuracy", model.accuracy),
        ("quality", model.quality),
        ("quality_difference", comparison.difference if comparison else None),
        ("accuracy_difference", comparison.difference if comparison and facts.measure == ACCURACY else None),
        ("latency_p50_ns", model.p50),
        ("latency_p90_ns", model.p90),
        ("latency_p99_ns", model.p99),
        ("end_to_end_p50_ns", model.end_to_end_p50),
        ("latency_ratio", comparison.ratio if comparison else None),
        ("cold_start_ns", model.cold_start_ns),
    ):
        values[name] = interval.value if interval else None
        values[f"{name}_low"] = interval.low if interval else None
        values[f"{name}_high"] = interval.high if interval else None
    values["speed"] = comparison.speed if comparison else None
    values["mcnemar_p"] = comparison.p if comparison else None
    values["flipped_images"] = len(comparison.flipped) if comparison and comparison.p is not None else None
    values["images"] = facts.images
    values["samples"] = int(model.invoke_ns.size)
    values["rounds"] = len(model.round_medians_ns)
    return values


def _safe(value: Any) -> Any:
    """Return a value for a CSV file: a text that a spreadsheet would run gets an apostrophe, None becomes empty."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return "" if value is None else value


def _best(facts: Facts) -> dict[str, float]:
    """Return the best value of each column; none where only one model was measured."""
    models = facts.models
    if len(models) < 2:
        return {"size": -1.0, "gzip": -1.0}
    best: dict[str, float] = {
        "size": min(model.size_bytes for model in models),
        "gzip": min(model.size_gzip_bytes for model in models),
    }
    for name, intervals in (
        ("p50", [model.p50 for model in models]),
        ("p90", [model.p90 for model in models]),
        ("p99", [model.p99 for model in models]),
        ("end_to_end", [model.end_to_end_p50 for model in models]),
    ):
        best[name] = min((interval.value for interval in intervals if interval), default=-1.0)
    values = [model.quality.value for model in models if model.quality]
    if values:
        best["quality"] = (max if facts.measure.higher_is_better else min)(values)
    return best


def _quality(facts: Facts, model: Model, best: dict[str, float]) -> TableCell:
    if model.quality is None:
        reason = model.reasons.get("quality", "") or model.reasons.get("accuracy", "")
        return TableCell(value=wording.DASH, detail=reason)
    return TableCell(
        value=facts.measure.text(model.quality.value),
        detail=facts.measure.interval(model.quality),
        best=best.get("quality") == model.quality.value,
    )


def _difference(facts: Facts, model: Model) -> tuple[TableCell, TableCell]:
    comparison, measure = model.comparison, facts.measure
    if comparison is None or comparison.difference is None or comparison.shown(measure) is None:
        return TableCell(value="reference" if model is facts.reference else wording.DASH), TableCell(value=wording.DASH)
    difference = TableCell(
        value=measure.change(comparison.difference.value), detail=measure.change_interval(comparison.difference)
    )
    says = verdict(comparison, measure).replace("no difference", "none")
    if measure == ACCURACY and comparison.p is not None:
        return difference, TableCell(value=wording.p_value(comparison.p), detail=says)
    return difference, TableCell(value=says.replace("a ", "").replace(" is shown", "").replace(" shown", ""))


def _ratio(facts: Facts, model: Model) -> TableCell:
    if model is facts.reference:
        return TableCell(value="1")
    ratio = model.comparison.ratio if model.comparison else None
    if ratio is None:
        return TableCell(value=wording.DASH)
    return TableCell(value=f"{ratio.value:.3f}", detail=f"{ratio.low:.3f} to {ratio.high:.3f}")


def _kilobytes(size_bytes: int) -> str:
    return wording.number(size_bytes / 1e3, 1)
