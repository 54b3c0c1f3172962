"""Reads the facts out of a benchmark record, and marks the models that stand out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgefm.comparison.shipping.verdict import Verdict
from edgefm.report.content import pareto
from edgefm.report.content.facts import (
    ClassScore,
    Facts,
    Failure,
    Model,
    ReferenceComparison,
)
from edgefm.report.content.measure import ACCURACY, Measure
from edgefm.report.content.wording import MICROSECONDS, Interval, time_unit
from edgefm.statistics.round_comparison import time_ratio


def facts(record: Mapping[str, Any], verdict: Verdict) -> Facts:
    """Return the facts of a benchmark record, on which there is a verdict."""
    measure = _measure(record)
    rows = {value["name"]: value for value in record["models"] if value["status"] == "ok"}
    measured = [_model(value, measure, rows) for value in rows.values()]
    failures = [
        Failure(name=value["name"], file=value["file"], reason=value["reason"] or "no reason was recorded")
        for value in record["models"]
        if value["status"] != "ok"
    ]
    models = _marked(measured, measure)
    reference = _reference(models)
    dataset = record["dataset"] or {}
    times = [model.p50.value for model in models if model.p50]
    return Facts(
        created=record["created"],
        mode=record["mode"],
        dataset=dataset.get("name", ""),
        split=dataset.get("split", ""),
        images=dataset.get("images", 0),
        labels=tuple(dataset.get("labels", ())),
        dataset_sha256=dataset.get("sha256", ""),
        measure=measure,
        models=models,
        failures=tuple(failures),
        reference=reference,
        chosen=next((model for model in models if model.name == verdict.file), None),
        verdict=verdict,
        unit=time_unit(times) if times else MICROSECONDS,
        environment=record["environment"],
        protocol=record["protocol"],
        target=record["target"]["name"],
        disturbed=tuple(record["session"]["disturbed"]),
    )


def _marked(models: Sequence[Model], measure: Measure) -> tuple[Model, ...]:
    sign = -1 if measure.higher_is_better else 1
    costs = {
        place: (model.p50.value, sign * model.quality.value, model.size_bytes)
        for place, model in enumerate(models)
        if model.p50 and model.quality
    }
    on_front = dict(zip(costs, pareto.front([cost[:2] for cost in costs.values()]), strict=True))
    to_ship = dict(zip(costs, pareto.front(list(costs.values())), strict=True))
    return tuple(
        replace(model, on_front=on_front.get(place, False), to_ship=to_ship.get(place, False))
        for place, model in enumerate(models)
    )


def _reference(models: Sequence[Model]) -> Model | None:
    named = {model.comparison.reference for model in models if model.comparison}
    return next((model for model in models if model.name in (named or {"float32"})), None)


def _measure(record: Mapping[str, Any]) -> Measure:
    """Return the measure that a record's models are judged by."""
    quality = next((value["quality"] for value in record["models"] if value.get("quality")), None)
    if quality is None or quality["name"] == ACCURACY.name:
        return ACCURACY
    return Measure(name=quality["name"], unit=quality["unit"], higher_is_better=bool(quality["higher_is_better"]))


def _model(value: Mapping[str, Any], measure: Measure, rows: Mapping[str, Mapping[str, Any]]) -> Model:
    latency, end_to_end = value["latency_ns"] or {}, value["end_to_end_ns"] or {}
    used = [entry for entry in value["rounds"] if entry["used"]]
    rounds = [np.asarray(entry["invoke_ns"], dtype=np.int64) for entry in used if entry["invoke_ns"]]
    accuracy = Interval.of(value["accuracy"])
    quality = value["accuracy"] if measure is ACCURACY else value.get("quality")
    reasons = {
        name: estimate["reason"]
        for name, estimate in (*latency.items(), ("accuracy", value["accuracy"]), ("quality", quality))
        if estimate and estimate["value"] is None
    }
    runtime = value["runtime"]
    return Model(
        name=value["name"],
        file=value["file"],
        sha256=value["sha256"],
        size_bytes=value["size_bytes"],
        size_gzip_bytes=value["size_gzip_bytes"],
        runtime=f"{runtime['name']} {runtime['version']}",
        macs=value["macs"],
        input=value["input"],
        output=value["output"],
        load_ns=value["load_ns"],
        memory_bytes=value["memory"]["above_bare_bytes"] if value["memory"] else None,
        p50=Interval.of(latency.get("p50")),
        p90=Interval.of(latency.get("p90")),
        p99=Interval.of(latency.get("p99")),
        end_to_end_p50=Interval.of(end_to_end.get("p50")),
        accuracy=accuracy,
        quality=Interval.of(quality),
        classes=tuple(
            ClassScore(**{name: entry[name] for name in ("label", "precision", "recall", "f1", "images")})
            for entry in value["classes"]
        ),
        confusion=np.asarray(value["confusion"], dtype=np.int64),
        comparison=_comparison(value, measure, rows),
        invoke_ns=np.concatenate(rounds) if rounds else np.empty(0, dtype=np.int64),
        row=value,
        round_medians_ns=np.asarray([np.median(samples) for samples in rounds], dtype=np.float64),
        reasons=reasons,
        cold_start_ns=Interval.of((value["cold_start_ns"] or {}).get("total")),
    )


def _comparison(
    row: Mapping[str, Any], measure: Measure, rows: Mapping[str, Mapping[str, Any]]
) -> ReferenceComparison | None:
    value = row["against_reference"]
    if value is None:
        return None
    base = rows.get(value["reference"])
    difference = value["accuracy_difference"] if measure is ACCURACY else value.get("quality_difference")
    return ReferenceComparison(
        reference=value["reference"],
        only_reference_right=value["only_reference_right"] or 0,
        only_this_right=value["only_this_right"] or 0,
        flipped=tuple(value["flipped"]),
        difference=Interval.of(difference),
        p=value["mcnemar_p"],
        ratio=None if base is None else Interval.of_estimate(time_ratio(row, base)),
        speed=(value["latency_test"] or {}).get("verdict", ""),
    )
