"""Quantising as a step of a run, or of a Keras file alone: cached by content, written whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from edgefm import artefacts, runs, zoo
from edgefm.data.fashion_mnist import LABELS as FASHION_LABELS
from edgefm.data.fashion_mnist import load_fashion_mnist
from edgefm.data.preprocessing import Preprocessing, preprocessing
from edgefm.errors import DataError, RunError
from edgefm.progress import SILENT, Progress
from edgefm.recipes import Quantization
from edgefm.runs import RunDirectory, Step
from edgefm.training.step import MODEL_FILE as KERAS_FILE
from edgefm_converters.calibration_set import CalibrationSet, from_dataset, from_npz
from edgefm_converters.export import REPORT_FILE, ExportReport, export_variants, libraries
from edgefm_converters.keras_file import check_file
from edgefm_converters.quantizing import NEEDS_CALIBRATION

_FASHION_SHAPE = (28, 28, 1)


def quantize_run(
    run: RunDirectory,
    *,
    recipe: Quantization,
    data_dir: Path | None = None,
    progress: Progress = SILENT,
) -> Step:
    """Return the step that holds the TFLite files of a run's model, written now unless they are already there.

    Args:
      run: has a finished training; `NN-quantize/` is written.
      recipe: which variants, and how. Calibration pictures come from the training split.
      data_dir: folder of the Fashion-MNIST files.
      progress: receives progress.
    Raises:
      RunError: no finished training, or the run is in use.
      ModelError: see `export_variants`.
    """
    with run.lock():
        trained = run.require("train")
        model = run.folder(trained) / KERAS_FILE
        check_file(model)
        dataset = load_fashion_mnist(data_dir, progress=progress)
        inputs = {"model": artefacts.sha256_file(model), "dataset": dataset.sha256}
        key = runs.step_key("quantize", recipe=recipe.to_json(), inputs=inputs, versions=libraries())
        done = run.find(key)
        if done is not None:
            progress.note(f"{run.folder(done)} already holds these files: nothing to do")
            return done
        started = time.perf_counter()
        folder = run.begin("quantize")
        try:
            report = export_variants(
                model,
                folder,
                recipe=recipe,
                pictures=lambda encoding, _: from_dataset(
                    dataset, encoding, count=recipe.calibration_images, seed=recipe.seed
                ),
                labels=dataset.labels,
                name=str(trained.recipe["params"]["model"]),
                progress=progress,
            )
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


def quantize_file(
    model: Path,
    *,
    recipe: Quantization,
    out: Path | None = None,
    labels: tuple[str, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    calibration_data: Path | None = None,
    data_dir: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[Path, dict[str, Any]]:
    """Write the TFLite files of a `.keras` file into a folder; return the folder and its quantize.json.

    Args:
      model: image classifier.
      recipe: which variants, and how.
      out: folder, not there yet or empty; by default `<model>-tflite` beside the model. Where it holds the result
        of the same call, nothing is done.
      labels: class names; by default Fashion-MNIST's for a model of the zoo, numbers for others.
      value_range: of the model's inputs, see `export_variants`.
      calibration_data: .npz with `images`; by default Fashion-MNIST's training split where the input fits it.
      data_dir: folder of the Fashion-MNIST files.
      progress: receives progress.
    Raises:
      RunError: `out` holds something else.
      DataError: the calibration data cannot be used, or there is none for an int8 variant.
      ModelError: see `export_variants`.
    """
    check_file(model)
    if value_range is not None:
        preprocessing(value_range)
    if calibration_data is not None and not calibration_data.is_file():
        raise DataError(f"no calibration data at {calibration_data}")
    out = out or model.with_name(f"{model.stem}-tflite")
    decisive = {
        "model": artefacts.sha256_file(model),
        "recipe": recipe.to_json(),
        "labels": list(labels) if labels else None,
        "value_range": list(value_range) if value_range else None,
        "calibration_data": artefacts.sha256_file(calibration_data) if calibration_data else None,
        "versions": libraries(),
    }
    key = artefacts.sha256_json(decisive)
    done = _done(out, key)
    if done is not None:
        progress.note(f"{out} already holds these files: nothing to do")
        return out, done

    def pictures(encoding: Preprocessing, shape: tuple[int, int, int]) -> CalibrationSet | None:
        count, seed = recipe.calibration_images, recipe.seed
        if calibration_data is not None:
            return from_npz(calibration_data, encoding, count=count, seed=seed, shape=shape)
        if shape != _FASHION_SHAPE or not set(recipe.variants) & set(NEEDS_CALIBRATION):
            return None
        progress.note("calibrating with Fashion-MNIST; for other pictures give --calibration-data FILE.npz")
        dataset = load_fashion_mnist(data_dir, progress=progress)
        return from_dataset(dataset, encoding, count=count, seed=seed)

    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".partial"))
    try:
        report = export_variants(
            model,
            partial,
            recipe=recipe,
            pictures=pictures,
            labels=labels or _zoo_labels(model),
            value_range=value_range,
            progress=progress,
        ).to_json()
        report = {"key": key, **report}
        artefacts.write_json(partial / REPORT_FILE, report)
        partial.chmod(0o755)
        if out.is_dir():
            out.rmdir()  # it is empty
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return out, report


def _done(out: Path, key: str) -> dict[str, Any] | None:
    """Return the report in `out` if it is of the same call, None if `out` is free.

    Raises:
      RunError: it holds something else.
    """
    if out.is_file():
        raise RunError(f"{out} is a file, not a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return None
    try:
        report: dict[str, Any] = json.loads((out / REPORT_FILE).read_text(encoding="utf-8"))
        if report["key"] == key:
            files = [(out / variant["file"], variant["sha256"]) for variant in report["variants"]]
            if all(path.is_file() and artefacts.sha256_file(path) == sha256 for path, sha256 in files):
                return report
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise RunError(
        f"{out} is not empty and holds something else than this call would write",
        hint="Give another folder with --out, or remove this one.",
    )


def _zoo_labels(model: Path) -> tuple[str, ...] | None:
    """Return Fashion-MNIST's labels where a file holds a model of the zoo, which is trained on it."""
    import zipfile

    with zipfile.ZipFile(model) as archive:
        config = json.loads(archive.read("config.json"))
    known = [architecture.name for architecture in zoo.architectures()]
    return FASHION_LABELS if config.get("config", {}).get("name") in known else None


def _summary(report: ExportReport) -> dict[str, Any]:
    return {
        "folded": report.folding["used"],
        "max_abs_difference_float32": report.conversion["max_abs_difference"],
        "calibration_images": report.calibration["images"] if report.calibration else 0,
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
