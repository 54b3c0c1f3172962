"""The benchmark record: built from what was measured, checked against its schema, written and read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgefm import runtimes, schemas
from edgefm.benchmarking import record_versions
from edgefm.benchmarking.measured import MeasuredModel, Round
from edgefm.benchmarking.scores import difference, quality_json
from edgefm.core import artefacts, runs
from edgefm.core.errors import RunError
from edgefm.data.dataset import Dataset
from edgefm.data.quality import DEFAULTS, Quality
from edgefm.data.quality import quality as named_quality
from edgefm.recipes import BenchmarkProtocol
from edgefm.statistics import estimates as statistics
from edgefm.statistics.pairing import shared
from edgefm.statistics.round_comparison import compare_paired

if TYPE_CHECKING:
    from edgefm.benchmarking.session import BenchmarkSession

KIND = "benchmark-record"
SCHEMA_VERSION = record_versions.NEWEST
FILE_NAME = "record.json"
PREDICTIONS_FILE_NAME = "predictions.npz"
_SAMPLED_ITEMS = 16
# A list of numbers as json.dumps indents it. A string holds no line break, so it cannot look like one.
_NUMBERS = re.compile(r"\[\n\s+((?:-?\d[\d.eE+-]*,\n\s+)*-?\d[\d.eE+-]*)\n\s*\]")


def build(
    measured: Sequence[MeasuredModel],
    *,
    dataset: Dataset | None,
    quality: Quality | None = None,
    protocol: BenchmarkProtocol,
    session: BenchmarkSession,
    reference: str | None,
) -> dict[str, Any]:
    """Return the validated record of what was measured.

    Args:
      measured: the models, in the order of the rows.
      dataset: whose test split was answered.
      quality: the measure of quality; by default that of the data's task.
      protocol: how it was measured; its runtime is the one that was used.
      session: where it was measured, and how the rounds went.
      reference: name of the model that the others are compared with.
    """
    if dataset is not None and quality is None:
        quality = named_quality(DEFAULTS[dataset.task], task=dataset.task)
    base = next((model for model in measured if model.name == reference and model.failure is None), None)
    value = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "created": runs.now(),
        "mode": session.target.mode,
        "target": {"name": session.target.name, "mode": session.target.mode, "latency": session.target.latency},
        "environment": dict(session.environment),
        "protocol": protocol.to_json(),
        "session": {
            "stopped": session.stopped,
            "seconds": round(session.seconds, 3),
            "disturbed": [*session.notes, *(_told(model) for model in measured if model.disturbed)],
            "left_out": [_left_out(model) for model in measured if not model.disturbed and _still_disturbed(model)],
            "states": session.states,
        },
        "dataset": None if dataset is None else _dataset(dataset),
        "models": [_model(model, base, dataset=dataset, quality=quality, protocol=protocol) for model in measured],
    }
    validate(value)
    return value


def dumps(value: Mapping[str, Any]) -> str:
    """Return a record as indented JSON in which arrays of numbers stand in one line each."""
    text = json.dumps(value, indent=2, allow_nan=False)
    return _NUMBERS.sub(lambda numbers: f"[{' '.join(numbers[1].split())}]", text) + "\n"


def write(path: Path, value: Mapping[str, Any]) -> Path:
    """Write a record as JSON, atomically."""
    return artefacts.write_text(path, dumps(value))


def read(path: Path) -> dict[str, Any]:
    """Return the record in a file.

    Raises:
      RunError: it is missing, damaged, something else, or was written by a newer edgefm.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"no benchmark record at {path}", hint="Write one with: edgefm benchmark") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}", hint="Measure again with: edgefm benchmark") from error
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise RunError(f"{path} is no benchmark record", hint="Give a record.json that edgefm benchmark wrote.")
    version = value.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunError(
            f"{path} has schema version {version}; this edgefm reads up to {SCHEMA_VERSION}",
            hint="A newer edgefm wrote it: upgrade with pip install -U edgefm.",
        )
    try:
        validate(value)
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}", hint="Measure again with: edgefm benchmark") from error
    return record_versions.upgraded(value)


def validate(value: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the place where a record breaks its schema."""
    version = value.get("schema_version")
    known = version if version in range(1, SCHEMA_VERSION) else SCHEMA_VERSION
    schemas.validate(_without_long_arrays(value), f"{KIND}-{known}")


def _without_long_arrays(value: Any) -> Any:
    """Return the value with its long arrays of natural numbers cut short: all items of an array have one schema.

    Samples are 100,000 numbers and more; checking each through the schema takes seconds, this does not.
    """
    if isinstance(value, Mapping):
        return {name: _without_long_arrays(item) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) > _SAMPLED_ITEMS and all(type(item) is int and item >= 0 for item in value):
        return value[:_SAMPLED_ITEMS]
    return [_without_long_arrays(item) for item in value]


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "split": dataset.test.name,
        "images": len(dataset.test),
        "sha256": dataset.sha256,
        "labels": list(dataset.labels),
        "task": dataset.task,
    }


def _model(
    model: MeasuredModel,
    base: MeasuredModel | None,
    *,
    dataset: Dataset | None,
    quality: Quality | None,
    protocol: BenchmarkProtocol,
) -> dict[str, Any]:
    loaded, used = model.loaded or {}, model.used
    bare, kernels = runtimes.split(protocol.runtime)
    return {
        "name": model.name,
        "file": str(model.path),
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "size_gzip_bytes": model.size_gzip_bytes,
        "status": "ok" if model.failure is None else "failed",
        "reason": model.failure,
        "runtime": {
            "name": loaded.get("runtime", bare or "none"),
            "version": loaded.get("version", "not loaded"),
            "options": {
                "module": runtimes.module_of(bare) if bare else None,
                "kernels": kernels,
                "threads": protocol.threads,
            },
        },
        "macs": model.macs,
        "input": None if model.input is None else model.input.to_json(),
        "output": model.outputs[0].to_json() if model.outputs else None,
        "outputs": [output.to_json() for output in model.outputs],
        "load_ns": _load_ns(used, loaded),
        "cold_start_ns": _cold_start(used),
        "memory": _memory(used, loaded),
        "energy_j": _energy(used),
        "facts": loaded.get("facts", {}),
        "figures": [figure.to_json() for figure in model.figures],
        "disturbed": {"turns": sum(bool(turn.disturbed) for turn in model.rounds), "used": model.disturbed},
        "rounds": [turn.to_json(used=any(turn is kept for kept in used)) for turn in model.rounds],
        "latency_ns": _percentiles([turn.invoke_ns for turn in used], model),
        "end_to_end_ns": _percentiles([turn.end_to_end_ns for turn in used], model),
        "quality": None if dataset is None or quality is None else _quality(model, quality, dataset),
        **_accuracy(model, dataset),
        "against_reference": None if base is None or base is model else _against(model, base, dataset, quality),
    }


def _told(model: MeasuredModel) -> str:
    """Return a sentence on a model so many of whose rounds were disturbed that they had to be used."""
    return f"{_disturbed_rounds(model)} are used{_example(model)}"


def _left_out(model: MeasuredModel) -> str:
    """Return a sentence on a model some of whose rounds were disturbed and are no part of the statistics."""
    return f"{_disturbed_rounds(model)} are left out{_example(model)}"


def _disturbed_rounds(model: MeasuredModel) -> str:
    return f"{model.name}: {_still_disturbed(model)} of {model.taken} rounds stayed disturbed and"


def _still_disturbed(model: MeasuredModel) -> int:
    """Return the number of rounds without an undisturbed turn."""
    return model.taken - len(model.calm)


def _example(model: MeasuredModel) -> str:
    return f", for instance: {[turn for turn in model.rounds if turn.disturbed][-1].disturbed[0]}"


def _load_ns(used: Sequence[Round], loaded: Mapping[str, Any]) -> int | None:
    starts = [turn.cold_start_ns.load for turn in used if turn.cold_start_ns is not None]
    return int(np.median(starts)) if starts else loaded.get("load_ns")


def _cold_start(used: Sequence[Round]) -> dict[str, Any] | None:
    starts = [turn.cold_start_ns for turn in used if turn.cold_start_ns is not None]
    if not starts:
        return None
    parts = ("process", "runtime", "load", "first_invoke", "total")
    return {
        part: statistics.percentiles([[getattr(start, part)] for start in starts])["p50"].to_json() for part in parts
    }


def _memory(used: Sequence[Round], loaded: Mapping[str, Any]) -> dict[str, int] | None:
    """Return the median over rounds; of a model that was only loaded, what it took then."""
    pairs = [
        (turn.bare_bytes, turn.peak_bytes)
        for turn in used
        if turn.bare_bytes is not None and turn.peak_bytes is not None
    ]
    if not pairs and loaded.get("peak_bytes") is not None:
        pairs = [(int(loaded["bare_bytes"]), int(loaded["peak_bytes"]))]
    if not pairs:
        return None
    bare, peak = sorted(pairs, key=lambda pair: pair[1] - pair[0])[len(pairs) // 2]
    return {"bare_bytes": bare, "peak_bytes": peak, "above_bare_bytes": max(0, peak - bare)}


def _energy(used: Sequence[Round]) -> dict[str, Any]:
    known = [turn.energy_j for turn in used if not isinstance(turn.energy_j, str)]
    if known:
        return {"value": float(np.median(known))}
    reasons = [turn.energy_j for turn in used if isinstance(turn.energy_j, str)]
    return {"value": None, "reason": reasons[0] if reasons else "nothing was timed"}


def _percentiles(samples: Sequence[Any], model: MeasuredModel) -> dict[str, Any] | None:
    if not samples:
        refused = [turn.disturbed[0] for turn in model.rounds if turn.refused]
        reason = {"value": None, "reason": f"every turn was refused, for instance: {refused[-1]}" if refused else ""}
        return dict.fromkeys(statistics.QUANTILES, reason) if refused else None
    if not all(len(model) for model in samples):
        return dict.fromkeys(statistics.QUANTILES, _missing(model))
    return {name: estimate.to_json() for name, estimate in statistics.percentiles(samples).items()}


def _quality(model: MeasuredModel, quality: Quality, dataset: Dataset) -> dict[str, Any]:
    n = len(dataset.test)
    if quality.name == "accuracy" and model.predicted is not None:
        hits = int((model.predicted == dataset.test.labels).sum())
        return quality_json(quality, statistics.proportion(hits, n), n=n, reason=None)
    if model.score is None:
        return quality_json(quality, None, n=n, reason=_missing(model)["reason"])
    value = quality_json(quality, model.score.estimate, n=n, reason=None)
    if model.score.drawn is None:
        value |= {"value": model.score.value, "reason": "no interval: the measure takes too long to be resampled"}
    return value


def _accuracy(model: MeasuredModel, dataset: Dataset | None) -> dict[str, Any]:
    if model.predicted is None or dataset is None:
        missing = _missing(model)
        if dataset is not None and dataset.task != "classification" and model.failure is None:
            missing = {"value": None, "reason": f"the task is a {dataset.task}, which has no accuracy"}
        return {"accuracy": missing, "classes": [], "confusion": []}
    truth, labels = dataset.test.labels, dataset.labels
    matrix = statistics.confusion(truth, model.predicted, classes=len(labels))
    return {
        "accuracy": statistics.proportion(int(matrix.trace()), len(truth)).to_json(),
        "classes": statistics.class_figures(matrix, labels),
        "confusion": matrix.tolist(),
    }


def _against(
    model: MeasuredModel, base: MeasuredModel, dataset: Dataset | None, quality: Quality | None
) -> dict[str, Any]:
    against: dict[str, Any] = {
        "reference": base.name,
        "only_reference_right": None,
        "only_this_right": None,
        "flipped": [],
        "accuracy_difference": _missing(model if model.predicted is None else base),
        "quality_difference": _missing(base if model.score is not None else model),
        "mcnemar_p": None,
        **_latency(model, base),
    }
    if dataset is not None and model.predicted is not None and base.predicted is not None:
        truth = dataset.test.labels
        right, base_right = model.predicted == truth, base.predicted == truth
        lost, won = int(np.sum(base_right & ~right)), int(np.sum(right & ~base_right))
        against |= {
            "only_reference_right": lost,
            "only_this_right": won,
            "flipped": np.flatnonzero(model.predicted != base.predicted).tolist(),
            "accuracy_difference": statistics.paired_difference(lost, won, len(truth)).to_json(),
            "mcnemar_p": statistics.mcnemar(lost, won),
        }
        if quality is not None and quality.name == "accuracy":
            against["quality_difference"] = against["accuracy_difference"]
    if model.score is not None and base.score is not None:
        paired = difference(model.score, base.score)
        against["quality_difference"] = (
            {"value": None, "reason": "the measure takes too long to be resampled"}
            if paired is None
            else paired.to_json()
        )
    return against


def _latency(model: MeasuredModel, base: MeasuredModel) -> dict[str, Any]:
    """Return the ratio of p50 and the test over the rounds that both have, see `edgefm.statistics.pairing`."""
    turns = ([vars(turn) for turn in measured.rounds if len(turn.invoke_ns)] for measured in (model, base))
    pairs = shared(*turns)
    if not pairs:
        return {"latency_ratio": _missing(model), "latency_test": None}
    test = compare_paired([mine["invoke_ns"] for mine, _ in pairs], [theirs["invoke_ns"] for _, theirs in pairs])
    return {"latency_ratio": test.ratio.to_json(), "latency_test": test.to_json()}


def _missing(model: MeasuredModel) -> dict[str, Any]:
    """Return a figure that could not be had, with the reason."""
    reason = model.failure or model.unfed or model.unscored or "it was not measured"
    return {"value": None, "reason": reason}
