"""A benchmark as a step of a run, or of loose files."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.benchmarking import harness, record
from edgefm.benchmarking.measured import ModelFile, named_files
from edgefm.core import runs, whole_folders
from edgefm.core.documents import inside
from edgefm.core.errors import ModelError, RunError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.core.text import command
from edgefm.data.dataset import Dataset, reordered
from edgefm.data.quality import Quality
from edgefm.data.source import data_source_of, dataset_of
from edgefm.recipes import DEFAULT_VARIANTS, BenchmarkProtocol
from edgefm.tflite import contract as contracts

REFERENCE = "float32"
_MODEL_FILE = "model.tflite"


def benchmark_run(
    run: RunDirectory,
    *,
    protocol: BenchmarkProtocol,
    data_dir: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[Step, dict[str, Any]]:
    """Measure the files of a run's newest quantize step; return the new step and its record.

    The step holds record.json and predictions.npz (see `edgefm.benchmarking.harness.Measurement`). A benchmark is
    always measured anew: what it found before is no reason to believe that the machine is the same.

    Raises:
      RunError: the run is in use, or has no quantize step with a model file.
      DataError: the test samples cannot be had.
    """
    with run.lock():
        source = run.require("quantize")
        models = models_of(run, source)
        data = data_source_of(run)
        dataset = None
        if data is None:
            progress.note("the model was imported without data: quality is not measured")
        else:
            dataset = _in_order_of(models, dataset_of(run, data_dir=data_dir, progress=progress), progress)
        folder = run.begin("benchmark")
        started = time.perf_counter()
        try:
            measurement = harness.measure(
                models,
                dataset=dataset,
                protocol=protocol,
                quality=data.measure(dataset) if data is not None and dataset is not None else None,
                reference=REFERENCE if any(model.name == REFERENCE for model in models) else None,
                progress=progress,
            )
            _place_below(measurement.record, run.path)
            _write(folder, measurement)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # half a benchmark is of no use
            raise
        inputs = {
            **({"dataset": dataset.sha256} if dataset is not None else {}),
            **{model["name"]: model["sha256"] for model in measurement.record["models"]},
        }
        step = run.finish(
            folder,
            # The time of measuring is part of what a benchmark is: no two have one key.
            key=runs.step_key(
                "benchmark",
                recipe=protocol.to_json(),
                inputs=inputs,
                versions={**measurement.record["environment"]["versions"], "created": measurement.record["created"]},
            ),
            seconds=time.perf_counter() - started,
            recipe=protocol.to_json(),
            inputs=inputs,
            summary=summary(measurement.record),
        )
        return step, measurement.record


def benchmark_files(
    files: Sequence[Path | ModelFile],
    *,
    protocol: BenchmarkProtocol,
    data_dir: Path | None = None,
    accuracy: bool = True,
    dataset: Dataset | None = None,
    quality: Quality | None = None,
    mean: float | None = None,
    std: float | None = None,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure .tflite files and return the record; the reference is 'float32', else the first file.

    Args:
      files: model files, each under its own name or one that is given.
      protocol: how to measure.
      data_dir: folder of the Fashion-MNIST files.
      accuracy: measure the quality of the answers, too; without it no data are needed.
      dataset: whose test samples are answered; None takes Fashion-MNIST.
      quality: the measure of quality; by default that of the data's task.
      mean: real input = (pixel - mean) / std, for files without a contract.
      std: see `mean`.
      out: folder for record.json and predictions.npz; None writes nothing.
      progress: receives progress.
    Raises:
      ModelError: a file is missing.
      DataError: the test images cannot be had.
    """
    from edgefm.data.reference.fashion_mnist import load_fashion_mnist

    models = named_files(files)
    if not accuracy:
        dataset = None
    elif dataset is None:
        dataset = load_fashion_mnist(data_dir, progress=progress)
    else:
        dataset = _in_order_of(models, dataset, progress)
    names = [model.name for model in models]
    measurement = harness.measure(
        models,
        dataset=dataset,
        protocol=protocol,
        quality=quality,
        reference=REFERENCE if REFERENCE in names else names[0],
        mean=mean,
        std=std,
        progress=progress,
    )
    if out is not None:
        _write(out, measurement)
    return measurement.record


def sample_shape(files: Sequence[Path]) -> tuple[int, ...] | None:
    """Return the shape of one input of the first file that tells it; None where none can be read.

    Nothing is run: a damaged model is the business of its worker.
    """
    from edgefm.tflite.inspection import inspect

    for path in files:
        try:
            inspection = inspect(path)
        except (ModelError, OSError):
            continue
        if len(inspection.inputs) == 1:
            shape = next(tensor.shape[1:] for tensor in inspection.tensors if tensor.index == inspection.inputs[0])
            if -1 not in shape:
                return shape
    return None


def sample_task(files: Sequence[Path]) -> str | None:
    """Return the task that the contract of the first file with one says; None where none does."""
    for path in files:
        try:
            agreed = contracts.read(path)
        except ModelError:
            continue  # told again, as the reason of its row
        if agreed and agreed.task:
            return agreed.task
    return None


def models_of(run: RunDirectory, step: Step) -> tuple[ModelFile, ...]:
    """Return the model files of a quantize step, in the order in which they were written.

    Raises:
      RunError: the step holds none, or a link that leaves the run.
    """
    order = {name: place for place, name in enumerate(step.summary.get("variants", DEFAULT_VARIANTS))}
    folders = [path.parent for path in run.folder(step).glob(f"*/{_MODEL_FILE}")]
    folders.sort(key=lambda folder: (order.get(folder.name, len(order)), folder.name))
    if not folders:
        again = command("edgefm", "quantize", run.path)
        raise RunError(f"{run.folder(step)} holds no {_MODEL_FILE}", hint=f"Run: {again}")
    for folder in folders:
        inside(run.folder(step), f"{folder.name}/{_MODEL_FILE}", where=run.path, error=RunError)
    return tuple(ModelFile(name=folder.name, path=folder / _MODEL_FILE) for folder in folders)


def summary(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return quality and p50 of each model of a record, or why it failed."""
    return {model["name"]: _summary(model) for model in value["models"]}


def _in_order_of(models: Sequence[ModelFile], dataset: Dataset, progress: Progress) -> Dataset:
    """Return the data set with its classes in the order of the first contract that names the same ones."""
    for model in models:
        try:
            agreed = contracts.read(model.path)
        except ModelError:
            continue  # told again, as the reason of its row
        if agreed is None or sorted(agreed.labels) != sorted(dataset.labels):
            continue
        ordered = reordered(dataset, agreed.labels)
        if ordered is not dataset:
            progress.note(f"the classes of {dataset.name} are in the order of {model.name}'s contract")
        return ordered
    return dataset


def _summary(model: Mapping[str, Any]) -> dict[str, Any]:
    if model["status"] != "ok":
        return {"status": model["status"], "reason": model["reason"]}
    latency = model["latency_ns"]
    return {
        "status": model["status"],
        "accuracy": model["accuracy"]["value"],
        "quality": model["quality"] and model["quality"]["value"],
        "p50_ns": None if latency is None else latency["p50"]["value"],
        "size_bytes": model["size_bytes"],
    }


def _place_below(value: dict[str, Any], root: Path) -> None:
    """Write the models' paths relative to the run, which may be moved."""
    for model in value["models"]:
        model["file"] = Path(model["file"]).relative_to(root).as_posix()


def _write(folder: Path, measurement: harness.Measurement) -> None:
    files = {record.FILE_NAME: record.dumps(measurement.record).encode()}
    if measurement.predictions:
        files[record.PREDICTIONS_FILE_NAME] = _npz(measurement.predictions)
    whole_folders.write(folder, files, gone=(record.PREDICTIONS_FILE_NAME,))


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its option
    return buffer.getvalue()
