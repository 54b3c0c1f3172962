"""A source -> the TFLite file of each variant: passes, conversion, quantisation, description, load test, gates."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.environment import versions
from edgefm.core.errors import (
    DataError,
    ModelError,
    NothingToQuantizeError,
    RecipeError,
    TrainingDivergedError,
)
from edgefm.core.progress import SILENT, Progress
from edgefm.core.task_names import LABELLED
from edgefm.quantization.checks.findings import Finding, of_given_model
from edgefm.quantization.checks.given_model import GivenModel, given_model
from edgefm.quantization.conversion import Converter
from edgefm.quantization.export_report import ExportReport, VariantReport
from edgefm.quantization.feasibility import feasible
from edgefm.quantization.source import Source
from edgefm.quantization.variant_writer import VariantWriter
from edgefm.recipes import PostTraining, Quantization, Variant

REPORT_FILE = "quantize.json"
# What decides the content of the files.
LIBRARIES = (
    "edgefm",
    "tensorflow",
    "keras",
    "tf-keras",
    "tensorflow-model-optimization",
    "litert-quantizer",
    "ai-edge-litert",
    "numpy",
)
_REFERENCE = "float32"
# What says that this variant is impossible, not that nothing works here.
_REFUSALS = (DataError, ModelError, RecipeError, TrainingDivergedError)


def export_variants(
    source: Source,
    folder: Path,
    *,
    recipe: Quantization,
    kept: Path,
    progress: Progress = SILENT,
) -> ExportReport:
    """Write `<folder>/<variant>/{model.tflite, contract.json, labels.txt}` and `<folder>/quantize.json`.

    A variant that this source cannot give, or that fails, is left out with its reason; the others are written.

    Args:
      source: what is compressed.
      folder: an empty one.
      recipe: which variants, and how.
      kept: folder of the passes' results, found again by their content.
      progress: receives progress.
    Raises:
      ModelError: the model cannot be converted, its float32 file does not answer as it does, or no variant can be
        written.
      DataError: no variant can be written for want of data.
    """
    chosen, infeasible = feasible(source, recipe)
    skipped = list(infeasible)
    for entry in skipped:
        progress.note(f"{entry['variant']} is left out: {entry['reason']}")
    clock = time.perf_counter()
    steps = 1 + len(chosen)
    progress.step("quantize", 0, steps, {"now": _REFERENCE})
    converter = Converter(source, recipe, kept=kept, progress=progress)
    used = libraries()
    made_by = {
        "source": source.to_json(),
        "recipe": {name: value for name, value in recipe.to_json()["params"].items() if name != "variants"},
        "versions": used,
    }
    given = given_model(source, progress=progress)
    writer = VariantWriter(source=source, folder=folder, made_by=made_by, given=given, progress=progress)
    reference = Variant(name=_REFERENCE, quantization=PostTraining(scheme=_REFERENCE))
    baseline = writer.reference(converter, reference)
    seconds = {"reference": round(time.perf_counter() - clock, 3)}
    clock = time.perf_counter()
    written: list[VariantReport] = []
    findings = list(_of_given(source, given))
    for index, variant in enumerate(chosen):
        progress.step("quantize", 1 + index, steps, {"now": variant.name})
        try:
            file, lost = writer.write(converter, variant, baseline)
        except _REFUSALS as error:
            shutil.rmtree(folder / variant.name, ignore_errors=True)
            if len(chosen) == 1:
                raise
            skipped.append({"variant": variant.name, "reason": error.message})
            what = "is left out" if isinstance(error, NothingToQuantizeError) else "failed"
            progress.note(f"{variant.name} {what}: {error.message}")
            continue
        written.append(file)
        findings += lost
    if not written:
        raise ModelError(
            "no variant could be written: " + "; ".join(f"{entry['variant']}: {entry['reason']}" for entry in skipped)
        )
    for finding in findings:
        progress.note(f"{finding.where}: {finding.message}")
    seconds["variants"] = round(time.perf_counter() - clock, 3)
    calibrated = any(variant.calibrated for variant in chosen)
    report = ExportReport(
        source=source.to_json(),
        recipe=recipe.to_json(),
        variants=tuple(written),
        skipped=tuple(skipped),
        given={**given.to_json(), **_measure(source)},
        findings=tuple(finding.to_json() for finding in findings),
        folding=converter.folding(),
        conversion=baseline.parity,
        parity=source.compared.to_json(),
        calibration=source.compared.to_json() if calibrated else None,
        seconds=seconds,
        versions=used,
    )
    artefacts.write_json(folder / REPORT_FILE, report.to_json())
    progress.step("quantize", steps, steps)
    return report


def libraries() -> dict[str, str]:
    """Return the versions that decide the content of the files."""
    return {library: version for library, version in versions().items() if library in LIBRARIES}


def _of_given(source: Source, given: GivenModel) -> Sequence[Finding]:
    quality = source.task.quality if source.task is not None else None
    return of_given_model(given, quality=quality, classes=source.head.task in LABELLED)


def _measure(source: Source) -> dict[str, Any]:
    """Return the name and the unit of the measure of quality."""
    if source.task is None:
        return {}
    quality = source.task.quality
    return {"name": quality.name, "unit": quality.unit, "higher_is_better": quality.higher_is_better}
