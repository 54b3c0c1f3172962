"""A model's row of the benchmark record: its statistics, and how it compares with the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgefm import runtimes
from edgefm.benchmarking.file_facts import file_facts
from edgefm.benchmarking.measured import MeasuredModel, Round
from edgefm.benchmarking.scores import difference, quality_json
from edgefm.core.task_names import LABELLED, TASKS
from edgefm.data.dataset import Dataset
from edgefm.data.quality import Quality
from edgefm.recipes import BenchmarkProtocol
from edgefm.statistics import estimates as statistics
from edgefm.statistics.pairing import shared
from edgefm.statistics.round_comparison import compare_turns

_WITHOUT_ACCURACY = {
    "multilabel": "the samples have several labels: each label has an accuracy of its own",
    **{task: f"accuracy is not defined for the task {task}" for task in TASKS if task not in LABELLED},
}


def row(
    model: MeasuredModel,
    base: MeasuredModel | None,
    *,
    dataset: Dataset | None,
    quality: Quality | None,
    protocol: BenchmarkProtocol,
) -> dict[str, Any]:
    """Return a model's row.

    Args:
      model: what was measured.
      base: the model that it is compared with; None for none.
      dataset: whose test split was answered.
      quality: the measure of quality.
      protocol: how it was measured.
    """
    loaded, used = model.loaded or {}, model.used
    bare, kernels = runtimes.split(protocol.runtime)
    return {
        "name": model.name,
        "file": str(model.path),
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "size_gzip_bytes": model.size_gzip_bytes,
        "file_facts": {
            **file_facts(model.path, name=model.name, sha256=model.sha256),
            **({"tflite_micro": model.on_micro} if model.on_micro else {}),
        },
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
        "latency_ns": _percentiles([turn.invoke_ns for turn in used], _rejections(model), _missing(model)),
        "end_to_end_ns": _percentiles([turn.end_to_end_ns for turn in used], _rejections(model), _missing(model)),
        "quality": None if dataset is None or quality is None else _quality(model, quality, dataset),
        **_accuracy(model, dataset),
        "against_reference": None if base is None or base is model else _against(model, base, dataset, quality),
    }


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


def with_statistics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a valid row with the percentiles of its rounds; a record that a phone wrote holds samples alone.

    Rows that have percentiles, or no samples, stay as they are.
    """
    used = [turn for turn in row["rounds"] if turn["used"] and turn["invoke_ns"]]
    rejected = [turn["disturbed"][0] for turn in row["rounds"] if turn["refused"] and turn["disturbed"]]
    missing = {"value": None, "reason": row["reason"] or "it was not measured"}
    made = {
        figure: _percentiles([turn[samples] for turn in used], rejected, missing)
        for figure, samples in (("latency_ns", "invoke_ns"), ("end_to_end_ns", "end_to_end_ns"))
        if row[figure] is None
    }
    return {**row, **made}


def _rejections(model: MeasuredModel) -> list[str]:
    return [turn.disturbed[0] for turn in model.rounds if turn.refused]


def _percentiles(samples: Sequence[Any], rejected: Sequence[str], missing: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return p50, p90 and p99 of samples of rounds.

    Args:
      samples: nanoseconds of the rounds that are used.
      rejected: why other rounds are never used.
      missing: stands for each where a round has no samples.
    """
    if not samples:
        if not rejected:
            return None
        missing = {"value": None, "reason": f"every measurement was rejected, e.g. {rejected[-1]}"}
    if not samples or not all(map(len, samples)):
        return {name: dict(missing) for name in statistics.QUANTILES}
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
        value |= {"value": model.score.value, "reason": "no confidence interval: the measure is too slow to bootstrap"}
    return value


def _accuracy(model: MeasuredModel, dataset: Dataset | None) -> dict[str, Any]:
    if model.predicted is None or dataset is None:
        missing = _missing(model)
        if dataset is not None and dataset.task != "classification" and model.failure is None:
            missing = {"value": None, "reason": _WITHOUT_ACCURACY[dataset.task]}
        return {"accuracy": missing, "classes": model.labels, "confusion": []}
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
            {"value": None, "reason": "the measure is too slow to bootstrap"} if paired is None else paired.to_json()
        )
    return against


def _latency(model: MeasuredModel, base: MeasuredModel) -> dict[str, Any]:
    """Return the ratio of times and the test over the rounds that both have, see `edgefm.statistics.pairing`."""
    pairs = shared(*([vars(turn) for turn in measured.rounds] for measured in (model, base)))
    if not pairs:
        return {"latency_ratio": _missing(model), "latency_test": None}
    test = compare_turns(pairs)
    return {"latency_ratio": test.round_ratio.to_json(), "latency_test": test.to_json()}


def _missing(model: MeasuredModel) -> dict[str, Any]:
    """Return a figure that could not be had, with the reason."""
    reason = model.failure or model.unfed or model.unscored or "it was not measured"
    return {"value": None, "reason": reason}
