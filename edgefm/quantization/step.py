"""Quantising as a step of a run: cached by content, written whole or not at all."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from edgefm.core import artefacts, runs
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.data.source import data_source_of, dataset_of
from edgefm.quantization.export import export_variants, libraries
from edgefm.quantization.export_report import ExportReport
from edgefm.quantization.feasibility import for_data
from edgefm.quantization.source import IMPORT, open_source
from edgefm.recipes import SELF, Quantization

# Folder of a run in which the results of passes are kept.
PASSES = "passes"


def quantize_run(
    run: RunDirectory,
    *,
    recipe: Quantization,
    few: Quantization | None = None,
    data_dir: Path | None = None,
    progress: Progress = SILENT,
) -> Step:
    """Return the step that holds the TFLite files of a run's model, written now unless they are already there.

    Args:
      run: has a finished training or a model that was brought; `NN-quantize/` is written, and `passes/`.
      recipe: which variants, and how. Passes and calibration learn from the training split.
      few: instead, for a model with data of its user's own, of fewer than 2,000 training samples.
      data_dir: folder of the Fashion-MNIST files.
      progress: receives progress.
    Raises:
      RunError: no model in the run, or the run is in use.
      DataError: the data cannot be read or do not fit the model.
      ModelError: see `export_variants`.
    """
    with run.lock():
        origin = run.last(IMPORT) or run.require("train")
        has_data = data_source_of(run) is not None
        dataset = dataset_of(run, data_dir=data_dir, anew=True, progress=progress) if has_data else None
        recipe = for_data(recipe, few, dataset, progress=progress)
        inputs = {"model": origin.key, **({"dataset": dataset.sha256} if dataset is not None else {})}
        inputs |= _teachers(recipe)
        key = runs.step_key("quantize", recipe=recipe.to_json(), inputs=inputs, versions=libraries())
        done = run.find(key)
        if done is not None:
            progress.note(f"{run.folder(done)} already holds these files: nothing to do")
            return done
        source = open_source(run, recipe=recipe, dataset=dataset, progress=progress)
        started = time.perf_counter()
        folder = run.begin("quantize")
        try:
            report = export_variants(source, folder, recipe=recipe, kept=run.path / PASSES, progress=progress)
            return run.finish(
                folder,
                key=key,
                seconds=time.perf_counter() - started,
                recipe=recipe.to_json(),
                inputs=inputs,
                summary=_summary(report),
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _teachers(recipe: Quantization) -> dict[str, str]:
    """Return the sha256 of each teacher that a recipe names by its path."""
    told = [done.fine_tuning.distillation for variant in recipe.variants for done in variant.passes]
    names = {name for distillation in told if distillation is not None for name in distillation.teachers} - {SELF}
    if not names:
        return {}
    from edgefm.training.distillation import teacher_file

    return {f"teacher {name}": artefacts.sha256_file(teacher_file(name)) for name in sorted(names)}


def _summary(report: ExportReport) -> dict[str, Any]:
    return {
        "folded": report.folding["used"],
        "max_abs_difference_float32": report.conversion["max_abs_difference"],
        "calibration_images": report.calibration["images"] if report.calibration else 0,
        "skipped": [one["variant"] for one in report.skipped],
        "variants": {
            variant.variant: {
                "file": variant.file,
                "size_bytes": variant.size_bytes,
                "max_abs_difference": variant.max_abs_difference,
                "same_top1": variant.same_top1,
                "seconds": variant.seconds,
            }
            for variant in report.variants
        },
    }
