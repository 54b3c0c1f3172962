"""report.json: what the report found, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgefm.report.content.facts import Model
from edgefm.report.content.wording import Interval
from edgefm.report.text import findings, reproduce
from edgefm.report.text.answer import answer

if TYPE_CHECKING:
    from edgefm.report.compose import ReportContent

SCHEMA_VERSION = 2


def summary(content: ReportContent) -> dict[str, Any]:
    """Return the report as a JSON object: times in nanoseconds, sizes in bytes, shares of 1."""
    facts, inputs = content.facts, content.inputs
    value: dict[str, Any] = {
        "kind": "edgefm-report",
        "schema_version": SCHEMA_VERSION,
        "run": inputs.run_id,
        "steps": [step.name for step in inputs.steps],
        "missing": [asdict(reason) for reason in inputs.missing],
        "training": dict(inputs.history["verdict"]) if inputs.history and inputs.history.get("verdict") else None,
        "commands": reproduce.commands(inputs.steps),
        "pictures": [f"{name}.png" for name in content.pictures],
        "steps_from_float32": _steps(content),
        "gates": [{**asdict(gate), "verdict": gate.verdict} for gate in content.gates],
        "skipped": [{"variant": name, "reason": reason} for name, reason in content.skipped],
    }
    if facts is None:
        return value
    return value | {
        "finding": findings.headline(facts),
        "verdict": facts.verdict.to_json(),
        "comparison": findings.comparison(facts),
        "answer": asdict(answer(facts, run_id=inputs.run_id if inputs.steps else None)),
        "warnings": findings.warnings(facts),
        "advice": [asdict(advice) for advice in findings.advice(facts)],
        "created": facts.created,
        "mode": facts.mode,
        "images": facts.images,
        "measure": asdict(facts.measure),
        "reference": facts.reference.name if facts.reference else None,
        "proposed": facts.chosen.name if facts.chosen else None,
        "models": [_model(model) for model in facts.models],
        "failed": [asdict(failure) for failure in facts.failures],
    }


def _steps(content: ReportContent) -> list[dict[str, Any]]:
    waterfall = content.waterfall
    if waterfall is None:
        return []
    sentences = {story.name: story.sentences for story in content.stories}
    return [
        {
            "model": step.name,
            "grew_from": step.growth.parent,
            "added": [ingredient.words for ingredient in step.growth.added],
            "quality_measure": waterfall.measure.name,
            "quality_split": waterfall.split,
            "figures": asdict(step.figures),
            "change": asdict(step.change) if step.change else None,
            "against_float32": asdict(step.total) if step.total else None,
            "failure": step.failure,
            "sentences": sentences.get(step.name, []),
        }
        for step in waterfall.steps
    ]


def _model(model: Model) -> dict[str, Any]:
    comparison = model.comparison
    return {
        "name": model.name,
        "file": model.file,
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "size_gzip_bytes": model.size_gzip_bytes,
        "memory_above_bare_bytes": model.memory_bytes,
        "load_ns": model.load_ns,
        "latency_ns": {name: _interval(latency) for name, latency in _latencies(model).items()},
        "samples": int(model.invoke_ns.size),
        "accuracy": _interval(model.accuracy),
        "quality": _interval(model.quality),
        "quality_difference": _interval(comparison.difference) if comparison else None,
        "mcnemar_p": comparison.p if comparison else None,
        "flipped_images": len(comparison.flipped) if comparison and comparison.p is not None else None,
        "latency_ratio": _interval(comparison.ratio) if comparison else None,
        "speed": comparison.speed if comparison else None,
        "cold_start_ns": _interval(model.cold_start_ns),
        "on_pareto_front": model.on_front,
        "reasons": dict(model.reasons),
    }


def _latencies(model: Model) -> dict[str, Interval | None]:
    return {"p50": model.p50, "p90": model.p90, "p99": model.p99, "end_to_end_p50": model.end_to_end_p50}


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return asdict(interval) if interval else None
