"""Recipes: frozen descriptions of what to do, with a JSON round trip and strict checks.

A recipe is serialised as ``{"kind", "version", "params"}``. Unknown keys are errors that name the nearest
known key, so that a typing error never silently falls back to a default.
"""

from __future__ import annotations

from edgefm.recipes.base import Recipe
from edgefm.recipes.benchmark import BenchmarkProtocol
from edgefm.recipes.files import load, load_training, names
from edgefm.recipes.fine_tuning import SELF, Distillation, FineTuning
from edgefm.recipes.passes import Budget, Cluster, FromScratch, Pass, Prune, Qat, Slim
from edgefm.recipes.presets import PRESETS, preset
from edgefm.recipes.quantization import (
    CALIBRATED,
    DEFAULT_VARIANTS,
    FINE_TUNED_VARIANTS,
    QUICK_VARIANTS,
    SCHEMES,
    PostTraining,
    Quantization,
    Variant,
    variant_named,
)
from edgefm.recipes.training import BACKENDS, PRECISIONS, Training

__all__ = [
    "BACKENDS",
    "CALIBRATED",
    "DEFAULT_VARIANTS",
    "FINE_TUNED_VARIANTS",
    "PRECISIONS",
    "PRESETS",
    "QUICK_VARIANTS",
    "SCHEMES",
    "SELF",
    "BenchmarkProtocol",
    "Budget",
    "Cluster",
    "Distillation",
    "FineTuning",
    "FromScratch",
    "Pass",
    "PostTraining",
    "Prune",
    "Qat",
    "Quantization",
    "Recipe",
    "Slim",
    "Training",
    "Variant",
    "load",
    "load_training",
    "names",
    "preset",
    "variant_named",
]
