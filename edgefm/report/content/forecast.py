"""What was forecast of each file before its training, beside what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefm.core.documents import read_versioned
from edgefm.core.errors import RunError
from edgefm.core.runs import Step

FILE_NAME = "forecast.json"
_VERSION, _SCHEMA = 1, "forecast-1"


@dataclass(frozen=True, kw_only=True)
class Forecasted:
    """One figure of one file.

    Attributes:
      variant: the file.
      what: the figure is, e.g. 'size'.
      forecast: before the training, with its interval where it is not exact.
      outcome: what it became.
      held: whether the outcome lies within the interval.
    """

    variant: str
    what: str
    forecast: str
    outcome: str
    held: bool

    @property
    def verdict(self) -> str:
        """Whether it held, in words."""
        return "as forecast" if self.held else "outside"


def read(folder: Path) -> Mapping[str, Any] | None:
    """Return the forecast in a run's folder, None where there is none.

    Raises:
      RunError: it is damaged, or a newer edgefm wrote it.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    hint = "Forecast again, or remove it."
    return read_versioned(path, what="forecast", newest=_VERSION, schema=_SCHEMA, error=RunError, hint=hint)


def in_time(
    told: Mapping[str, Any] | None, described: Mapping[str, Any] | None, steps: Sequence[Step]
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Return a forecast without what was told after the file had been made, and the variants of that.

    Args:
      told: the content of forecast.json.
      described: the content of quantize.json.
      steps: of the run, oldest first.
    """
    if told is None or described is None:
        return told, []
    made: dict[str, str] = {}
    for step in steps:
        for output in step.outputs:
            made.setdefault(output.sha256, step.created)
    files = {entry["variant"]: made.get(entry["sha256"]) for entry in described["variants"]}
    late = [
        row["variant"]
        for row in told["variants"]
        if (first := files.get(row["variant"])) and row.get("created", told["created"]) > first
    ]
    return {**told, "variants": [row for row in told["variants"] if row["variant"] not in late]}, late


def figures(
    told: Mapping[str, Any] | None, described: Mapping[str, Any] | None, record: Mapping[str, Any] | None
) -> list[Forecasted]:
    """Return the figures of the written files that were forecast; [] without a forecast of this model.

    Args:
      told: the content of forecast.json.
      described: the content of quantize.json.
      record: the benchmark record.
    """
    if told is None or described is None or told["model"]["sha256"] != (described.get("source") or {}).get("sha256"):
        return []
    written = {entry["variant"]: entry for entry in described["variants"]}
    measured = _measured(told, record)
    return [
        figure
        for row in told["variants"]
        if (entry := written.get(row["variant"])) is not None
        for figure in _figures(row, entry, measured.get((row["variant"], entry["sha256"])))
    ]


def summary(forecasted: list[Forecasted]) -> str:
    """Return how many figures became what was forecast."""
    held = sum(figure.held for figure in forecasted)
    return (
        f"{held} of {len(forecasted)} figures became what was forecast before the training: sizes exactly, others "
        "within their 90 % intervals."
    )


def _measured(told: Mapping[str, Any], record: Mapping[str, Any] | None) -> dict[tuple[str, str], float | None]:
    """Return the measured p50 by name and sha256, where it was measured as forecast: there, so, on one thread."""
    about = told["cost_model"]
    if record is None or not record["target"]["latency"] or not _same_processor(record["environment"], about):
        return {}
    name, _, kernels = about["runtime"].partition(":")
    return {
        (model["name"], model["sha256"]): model["latency_ns"]["p50"]["value"]
        for model in record["models"]
        if model.get("latency_ns")
        and model["runtime"]["name"] == name
        and model["runtime"]["version"] == about["version"]
        and model["runtime"]["options"].get("threads", 1) == 1
        and (model["runtime"]["options"].get("kernels") or "") == kernels
    }


def _same_processor(environment: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Return whether a record and a forecast are of one processor, whose instructions older files do not tell."""
    features, known = environment.get("cpu_features"), about.get("cpu_features")
    return environment.get("cpu") == about["cpu"] and (not features or not known or set(features) == set(known))


def _figures(row: Mapping[str, Any], entry: Mapping[str, Any], p50_ns: float | None) -> Iterator[Forecasted]:
    name, latency, download = row["variant"], row["latency"], row["download_bytes"]
    size = row["size_bytes"]
    yield Forecasted(
        variant=name,
        what="size",
        forecast=f"{size:,} bytes",
        outcome=f"{entry['size_bytes']:,} bytes",
        held=size == entry["size_bytes"],
    )
    yield Forecasted(
        variant=name,
        what="download, gzip",
        forecast=_interval(download, 1000, "KB"),
        outcome=f"{entry['gzip_bytes'] / 1000:,.1f} KB",
        held=download["low"] - 0.5 <= entry["gzip_bytes"] <= download["high"] + 0.5,
    )
    if p50_ns is not None:
        high_ns = math.inf if latency["high_ns"] is None else latency["high_ns"]
        ends = {"value": latency["p50_ns"], "low": latency["low_ns"], "high": high_ns}
        yield Forecasted(
            variant=name,
            what="p50",
            forecast=_interval(ends, 1000, "us"),
            outcome=f"{p50_ns / 1000:,.1f} us",
            held=latency["low_ns"] <= p50_ns <= high_ns,
        )
    loss, validation = row["loss"], entry["validation"]
    if loss is not None and validation is not None and validation["unit"] == "%":
        yield Forecasted(
            variant=name,
            what="loss on validation, points",
            forecast=f"{loss['value']:+.2f}"
            + (f" ({loss['low']:+.2f} to {loss['high']:+.2f})" if loss["low"] != loss["high"] else ""),
            outcome=f"{validation['loss']:+.2f}",
            held=loss["low"] <= validation["loss"] <= loss["high"],
        )


def _interval(ends: Mapping[str, float], unit: float, name: str) -> str:
    value, low, high = (ends[end] / unit for end in ("value", "low", "high"))
    if low == high:
        return f"{value:,.1f} {name}"
    return f"{value:,.1f} {name} ({low:,.1f} {f'to {high:,.1f}' if math.isfinite(high) else 'or more'})"
