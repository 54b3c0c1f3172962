"""The figures that are drawn over time: where each stands in its result, its unit, and its target."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefm.statistics.estimates import interval

Result = Mapping[str, Any]
# A number, or a value with its interval: {"value", "low", "high"}.
Found = float | Mapping[str, float]
MODELS = "shipped_models"
ALARMS_ALLOWED = 0.05


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A figure.

    Attributes:
      result: name of the result that holds it.
      key: its name in the history.
      title: what it is, for a picture.
      unit: of `pick`'s value.
      pick: takes it from the result.
      at_most: target, an upper limit.
      at_least: target, a lower limit.
      timed: other load on the machine can change it.
    """

    result: str
    key: str
    title: str
    unit: str
    pick: Callable[[Result], Found]
    at_most: float | None = None
    at_least: float | None = None
    timed: bool = True


def figures(name: str, value: Result) -> dict[str, Any]:
    """Return the tracked figures of a result as the history keeps them; those it does not hold are left out."""
    if name == MODELS:
        return {f"{one['name']} {one['runtime']}": _model(one) for one in value["models"]}
    found = {}
    for figure in TRACKED:
        if figure.result == name:
            try:
                picked = figure.pick(value)
            except (KeyError, TypeError, ZeroDivisionError):  # an older result, or one without it
                continue
            found[figure.key] = dict(picked) if isinstance(picked, Mapping) else {"value": picked}
    return found


def figure_of(name: str, key: str) -> Tracked | None:
    """Return a figure of the history; of a shipped model one is made; None where it is tracked no longer."""
    if name == MODELS:
        model, runtime = key.split(" ", 1)
        return Tracked(result=name, key=key, title=f"{model}, {runtime}, p50", unit="us", pick=lambda _: 0.0)
    return next((figure for figure in TRACKED if (figure.result, figure.key) == (name, key)), None)


def _model(one: Result) -> dict[str, Any]:
    """Return p50 in microseconds and what file it is of: times of different files are not one figure."""
    return {**_scaled(one["p50_ns"], 1e-3), "of": one["sha256"][:12]}


def _scaled(found: Result, factor: float) -> dict[str, float]:
    return {name: factor * found[name] for name in ("value", "low", "high") if name in found}


def _p50(found: Result, factor: float = 1.0) -> dict[str, float]:
    """Return {"p50", "low", "high"} as an estimate; older results have no interval."""
    return _scaled({"value": found["p50"], **{name: found[name] for name in ("low", "high") if name in found}}, factor)


def _main_job_p50(variant: str) -> Callable[[Result], Found]:
    def pick(value: Result) -> Found:
        models = {model["name"]: model for model in value["models"]}
        return _scaled(models[variant]["latency_ns"]["p50"], 1e-3)

    return pick


def median(samples: Sequence[float]) -> dict[str, float]:
    """Return the median of independent samples with its bootstrap interval (95 %).

    >>> median([1.0, 2.0, 3.0])["value"]
    2.0
    """
    values = np.asarray(samples, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    return interval(float(np.median(values)), np.median(values[drawn], axis=1)).to_json()


def alarms_limit(comparisons: int) -> float:
    """Return the share of false alarms allowed in so many comparisons: 5 % and two standard errors.

    >>> round(alarms_limit(200), 4)
    0.0808
    """
    return ALARMS_ALLOWED + 2 * math.sqrt(ALARMS_ALLOWED * (1 - ALARMS_ALLOWED) / comparisons)


def furthest_sum(value: Result) -> dict[str, float]:
    """Return by how many percent the sum of a profile is off, in the model and kernel set where it is off most.

    >>> furthest_sum({"profiles": [{"of_whole": {"value": 0.96, "low": 0.95, "high": 1.01}}]})
    {'value': 4.0, 'low': 0.0, 'high': 5.0}
    """
    found = max((one["of_whole"] for one in value["profiles"]), key=lambda share: abs(share["value"] - 1))
    ends = [abs(found["low"] - 1), abs(found["high"] - 1)]
    nearest = 0.0 if found["low"] <= 1 <= found["high"] else min(ends)
    off = {"value": abs(found["value"] - 1), "low": nearest, "high": max(ends)}
    return {name: round(100 * share, 4) for name, share in off.items()}


def _searched_loss(value: Result, budget: str) -> float:
    """Return the points that the files of a budget lose, the median of searches whose file keeps its other limits."""
    entries = [entry for one in value["searches"] if one["sampler"] == "tpe" for entry in one["budgets"]]
    losses = [
        float(entry["figures"]["accuracy_loss"])
        for entry in entries
        if entry["name"] == budget and entry["figures"] and set(entry["missed"]) <= {"max_accuracy_loss"}
    ]
    if not losses:
        raise KeyError(budget)
    return statistics.median(losses)


def _rate(kind: str, *, least: int) -> Callable[[Result], Found]:
    """Return what takes the rate of a study in percent, once it has as many comparisons as it must have."""

    def pick(value: Result) -> Found:
        found = value["rates"][kind]
        if found["n"] < least:
            raise KeyError(kind)
        return _scaled(found["share"], 100)

    return pick


TRACKED = (
    Tracked(
        result="startup",
        key="seconds",
        title="edgefm --help",
        unit="s",
        at_most=0.06,
        pick=lambda value: median(value["seconds"]["samples"]),
    ),
    Tracked(
        result="base_install",
        key="size",
        title="base install on disk",
        unit="MB",
        at_most=150,
        timed=False,
        pick=lambda value: value["size_bytes"] / 1e6,
    ),
    Tracked(
        result="base_install",
        key="seconds",
        title="base install, first figure",
        unit="s",
        at_most=5,
        pick=lambda value: median(value["samples"]),
    ),
    Tracked(
        result="harness_overhead",
        key="overhead",
        title="harness, an invoke",
        unit="us",
        at_most=1,
        pick=lambda value: _p50(value["overhead_ns"], 1e-3),
    ),
    Tracked(
        result="parent_memory",
        key="spread",
        title="parent's memory, 200 models, +-",
        unit="MB",
        at_most=5,
        timed=False,
        pick=lambda value: value["spread_bytes"] / 1e6,
    ),
    Tracked(
        result="profile_sums",
        key="furthest",
        title="profile's sum, furthest off",
        unit="%",
        at_most=10,
        pick=furthest_sum,
    ),
    Tracked(
        result="agreement_time",
        key="seconds",
        title="agreement, 1,000 images",
        unit="s",
        at_most=180,
        pick=lambda value: value["seconds"],
    ),
    Tracked(
        result="agreement_time_resnet8",
        key="seconds",
        title="agreement, ResNet-8",
        unit="s",
        at_most=60,
        pick=lambda value: value["seconds"],
    ),
    Tracked(
        result="false_alarms",
        key="same",
        title="false alarms, equal models",
        unit="%",
        at_most=round(100 * alarms_limit(200), 1),
        pick=_rate("same", least=200),
    ),
    Tracked(
        result="false_alarms",
        key="slower",
        title="3 % slowdowns found",
        unit="%",
        at_least=90,
        pick=_rate("slower", least=100),
    ),
    Tracked(
        result="main_job",
        key="benchmark_seconds",
        title="edgefm benchmark, a model",
        unit="s",
        at_most=15,
        pick=lambda value: value["benchmark_seconds"] / len(value["models"]),
    ),
    Tracked(
        result="main_job",
        key="quick_seconds",
        title="edgefm quantize --quick",
        unit="s",
        at_most=45,
        pick=lambda value: value["quick_seconds"],
    ),
    Tracked(
        result="main_job",
        key="train_seconds",
        title="edgefm train, standard",
        unit="s",
        at_most=180,
        pick=lambda value: value["standard_seconds" if "standard_seconds" in value else "train_seconds"],
    ),
    Tracked(
        result="main_job",
        key="float32",
        title="main job, float32, p50",
        unit="us",
        pick=_main_job_p50("float32"),
    ),
    Tracked(
        result="main_job",
        key="int8_w8a8",
        title="main job, int8_w8a8, p50",
        unit="us",
        pick=_main_job_p50("int8_w8a8"),
    ),
    Tracked(
        result="fold",
        key="latency_ratio",
        title="p50, folded / unfolded",
        unit="",
        at_most=0.8,
        pick=lambda value: value["latency_ratio"],
    ),
    Tracked(
        result="training_step",
        key="speed_up",
        title="fused batch norm, speed-up",
        unit="",
        at_least=1,
        pick=lambda value: median(value["speed_up"]["turns"]),
    ),
    Tracked(
        result="training_speed",
        key="ratio",
        title="training / plain Keras fit",
        unit="",
        at_least=2.5,
        pick=lambda value: value["ratio"]["p50"],
    ),
    Tracked(
        result="fine_tuning_epoch",
        key="slowest",
        title="fine-tuning / plain epoch",
        unit="",
        at_most=1.6,
        pick=lambda value: statistics.median(value["ratios"][value["slowest"]["pass"]]),
    ),
    Tracked(
        result="cost_model",
        key="median",
        title="predicted p50, median error",
        unit="%",
        at_most=5,
        pick=lambda value: 100 * value["median"],
    ),
    Tracked(
        result="cost_model",
        key="p90",
        title="predicted p50, p90 of errors",
        unit="%",
        at_most=12,
        pick=lambda value: 100 * value["p90"],
    ),
    Tracked(
        result="cost_model",
        key="inside",
        title="p50 within its interval",
        unit="%",
        at_least=90,
        pick=lambda value: 100 * value["inside"],
    ),
    Tracked(
        result="forecast_outcomes",
        key="loss",
        title="forecast loss, median error",
        unit="points",
        timed=False,
        pick=lambda value: value["loss"]["median"],
    ),
    Tracked(
        result="search",
        key="phone_loss",
        title="search, loss at 0.15 x p50",
        unit="points",
        at_most=1.0,
        timed=False,
        pick=lambda value: _searched_loss(value, "phone"),
    ),
    Tracked(
        result="search",
        key="watch_loss",
        title="search, loss in 40 KB",
        unit="points",
        at_most=1.0,
        timed=False,
        pick=lambda value: _searched_loss(value, "watch"),
    ),
    Tracked(
        result="search",
        key="volume",
        title="front's volume / random's",
        unit="",
        at_least=1.3,
        timed=False,
        pick=lambda value: value["ratio"],
    ),
    Tracked(
        result="search_kills",
        key="wrong",
        title="killed search, trials wrong",
        unit="",
        at_most=0,
        timed=False,
        pick=lambda value: value["lost"] + value["double"],
    ),
    Tracked(
        result="cluster_kills",
        key="wrong",
        title="killed cluster, trials wrong",
        unit="",
        at_most=0,
        timed=False,
        pick=lambda value: value["lost"] + value["double"],
    ),
    Tracked(
        result="bundles",
        key="page",
        title="web bundle, ready, p50",
        unit="ms",
        pick=lambda value: value["page"]["ready_ms"]["p50"],
    ),
)
