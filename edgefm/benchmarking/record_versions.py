"""Benchmark records of older versions, told as ones of the newest."""

from __future__ import annotations

from typing import Any

from edgefm.benchmarking.scores import quality_json
from edgefm.data.quality import quality as named_quality
from edgefm.statistics.estimates import Estimate

NEWEST = 3
_ACCURACY = named_quality("accuracy", task="classification")
_OLD = "the record's schema version does not have it"


def upgraded(value: dict[str, Any]) -> dict[str, Any]:
    """Return a valid record of any version as one of the newest."""
    if value["schema_version"] == 1:
        value = _second(value)
    if value["schema_version"] == 2:
        value = _third(value)
    return value


def _second(value: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew classifiers with one output only, whose quality was the accuracy."""
    dataset = value["dataset"]
    models = []
    for model in value["models"]:
        against, accuracy = model["against_reference"], model["accuracy"]
        quality = None
        if dataset is not None:
            estimate = Estimate(**accuracy) if accuracy["value"] is not None else None
            quality = quality_json(_ACCURACY, estimate, n=dataset["images"], reason=accuracy.get("reason"))
        models.append(
            {
                **model,
                "outputs": [] if model["output"] is None else [model["output"]],
                "quality": quality,
                "against_reference": against and {**against, "quality_difference": against["accuracy_difference"]},
            }
        )
    return {
        **value,
        "schema_version": 2,
        "dataset": dataset and {**dataset, "task": "classification"},
        "models": models,
    }


def _third(value: dict[str, Any]) -> dict[str, Any]:
    """Version 2 knew this machine alone, and one process for all rounds of a model."""
    return {
        **value,
        "schema_version": 3,
        "target": {"name": "host", "mode": value["mode"], "latency": True},
        "session": {"stopped": _OLD, "seconds": None, "disturbed": [], "left_out": [], "states": []},
        "models": [
            {
                **model,
                "cold_start_ns": None,
                "energy_j": {"value": None, "reason": _OLD},
                "facts": {},
                "figures": [],
                "disturbed": {"turns": 0, "used": False},
                "rounds": [
                    {
                        **turn,
                        "attempt": 0,
                        "used": True,
                        "disturbed": [],
                        "refused": False,
                        "conditions": {},
                        "cold_start_ns": None,
                        "peak_bytes": None,
                        "energy_j": {"value": None, "reason": _OLD},
                    }
                    for turn in model["rounds"]
                ],
                "against_reference": model["against_reference"]
                and {**model["against_reference"], "latency_test": None},
            }
            for model in value["models"]
        ],
    }
