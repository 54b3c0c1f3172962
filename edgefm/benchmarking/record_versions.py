"""Benchmark records of older versions, told as ones of the newest."""

from __future__ import annotations

from typing import Any

from edgefm.benchmarking.scores import quality_json
from edgefm.benchmarking.statistics import Estimate
from edgefm.quality import quality as named_quality

NEWEST = 2
_ACCURACY = named_quality("accuracy", task="classification")


def upgraded(value: dict[str, Any]) -> dict[str, Any]:
    """Return a valid record of any version as one of the newest.

    Version 1 knew classifiers with one output only, whose quality was the accuracy.
    """
    if value["schema_version"] == NEWEST:
        return value
    dataset = value["dataset"]
    models = []
    for model in value["models"]:
        against, accuracy = model["against_reference"], model["accuracy"]
        quality = None
        if dataset is not None:
            found = Estimate(**accuracy) if accuracy["value"] is not None else None
            quality = quality_json(_ACCURACY, found, n=dataset["images"], reason=accuracy.get("reason"))
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
        "schema_version": NEWEST,
        "dataset": dataset and {**dataset, "task": "classification"},
        "models": models,
    }
