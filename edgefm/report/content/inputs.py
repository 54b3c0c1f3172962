"""What a report is made from: the newest finished step of each kind in a run, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.benchmarking import record as records
from edgefm.core.documents import inside, read_versioned
from edgefm.core.errors import DataError, EdgefmError, ModelError, RunError
from edgefm.core.given import npz
from edgefm.core.given.damage import reason
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.core.text import command
from edgefm.report.content import explanation as explanations
from edgefm.report.content import forecast as forecasts
from edgefm.report.content import weights as weights_of
from edgefm.report.content.weights import Weights
from edgefm.tflite import contract
from edgefm.tflite.contract import Contract

REFERENCE = "float32"
HISTORY_VERSION = 1
QUANTIZE_VERSION = 2
# Numbers of channels that can be shown as a picture.
_PICTURES = (1, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A part of the report that cannot be made."""

    what: str
    why: str
    command: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelAnswers:
    """What one model answered.

    Attributes:
      predicted: int64 [n], the class of the highest output.
      confidence: float32 [n], that output: 0 to 1, or a raw score of a model that gives no probabilities.
    """

    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]

    @property
    def probabilities(self) -> bool:
        """Whether all outputs can be probabilities; quantised ones may lie a little above 1."""
        return bool(((self.confidence >= 0) & (self.confidence <= 1.01)).all())


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """What a run holds for a report.

    Attributes:
      record: the benchmark record, or None.
      record_path: of its file, or None.
      truth: int64 [n], true classes of the benchmark's images, or None.
      predictions: by model name.
      images: uint8 [n, height, width, channels], the images of the benchmark, or None.
      history: the training history, or None.
      quantize: what the quantize step says of itself, or None.
      weights: of the files that the quantize step wrote, by variant, their layers named alike.
      contracts: the contracts of the written files, in the order of their variants.
      steps: the steps that were used.
      explanation: the content of explanation.json of the run's newest model, or None.
      sheets: PNG pictures of the explanation, by name.
      forecast: what was forecast before the files were made, or None.
      missing: what could not be had, and why.
    """

    run_id: str
    steps: tuple[Step, ...] = ()
    record: Mapping[str, Any] | None = None
    record_path: Path | None = None
    truth: NDArray[np.int64] | None = None
    predictions: Mapping[str, ModelAnswers] = field(default_factory=dict)
    images: NDArray[np.uint8] | None = None
    history: Mapping[str, Any] | None = None
    quantize: Mapping[str, Any] | None = None
    weights: Mapping[str, Weights] = field(default_factory=dict)
    contracts: tuple[Contract, ...] = ()
    explanation: Mapping[str, Any] | None = None
    sheets: Mapping[str, bytes] = field(default_factory=dict)
    forecast: Mapping[str, Any] | None = None
    missing: tuple[Missing, ...] = ()


def read(run: RunDirectory, *, data_dir: Path | None = None, progress: Progress = SILENT) -> ReportInputs:
    """Return what a run holds for a report; steps that are not there are listed as missing.

    Raises:
      RunError: the run has no finished step at all, a file is damaged, or a newer edgefm wrote it.
    """
    brought, train, quantize, benchmark = (run.last(kind) for kind in ("import", "train", "quantize", "benchmark"))
    steps = tuple(step for step in (brought, train, quantize, benchmark) if step is not None)
    if not steps:
        raise RunError(
            f"run {run.path} has no finished step, so there is nothing to report",
            hint=f"Run: {command('edgefm', 'train', '--run', run.path)}",
        )
    missing: list[Missing] = []
    history = record = described = truth = images = None
    predictions: dict[str, ModelAnswers] = {}
    contracts: tuple[Contract, ...] = ()
    weights: dict[str, Weights] = {}
    if train is None and brought is not None:
        pass  # a model that was brought has no training to show
    elif train is None:
        missing.append(_no_step("training curves", "training", command("edgefm", "train", "--run", run.path)))
    else:
        history = _document(run.folder(train) / "history.json", HISTORY_VERSION, "history-1")
    if quantize is None:
        missing.append(_no_step("how the files were made", "quantisation", command("edgefm", "quantize", run.path)))
    else:
        described = _document(run.folder(quantize) / "quantize.json", QUANTIZE_VERSION, "quantize-2")
        contracts = _contracts(run.folder(quantize), described)
        weights, unread = _weights(run.folder(quantize), described)
        missing += unread
    if benchmark is None:
        missing.append(_no_step("all measurements", "benchmark", command("edgefm", "benchmark", run.path)))
    else:
        record = records.read(run.folder(benchmark) / records.FILE_NAME)
        if described is not None and _others(described, record):
            why = "the benchmark measured other files than those that were written last"
            missing.append(
                Missing(what="figures of the newest files", why=why, command=command("edgefm", "benchmark", run.path))
            )
        truth, predictions = _predictions(run.folder(benchmark) / records.PREDICTIONS_FILE_NAME, record)
        if truth is None:
            why = _without_predictions(record)
            missing.append(Missing(what="pictures of single images", why=why))
        else:
            try:
                images = _images(run, record, truth, data_dir=data_dir, progress=progress)
            except EdgefmError as error:
                fetch = "edgefm data fetch" if brought is None else None
                missing.append(Missing(what="pictures of single images", why=error.message, command=fetch))
    explained, sheets = _explanation(run, brought or train)
    forecast, late = forecasts.in_time(forecasts.read(run.path), described, run.steps())
    if late:
        why = f"{', '.join(late)}: forecast only after the file had been made"
        missing.append(Missing(what="forecast beside its outcome", why=why))
    return ReportInputs(
        run_id=run.run_id,
        steps=steps,
        record=record,
        record_path=None if benchmark is None else run.folder(benchmark) / records.FILE_NAME,
        truth=truth,
        predictions=predictions,
        images=images,
        history=history,
        quantize=described,
        weights=weights,
        contracts=contracts,
        explanation=explained,
        sheets=sheets,
        forecast=forecast,
        missing=tuple(missing),
    )


def _explanation(run: RunDirectory, origin: Step | None) -> tuple[Mapping[str, Any] | None, dict[str, bytes]]:
    """Return the explanation in a run's folder and its pictures; None where it is of another model than the newest."""
    folder = run.path / explanations.FOLDER
    if origin is None or not (folder / explanations.FILE_NAME).exists():
        return None, {}
    explained = explanations.read(folder)
    if explained["model"]["step"] != origin.name:
        return None, {}
    read = {name: explanations.read_file(folder / f"{name}.png") for name in explanations.SHEETS}
    return explained, {name: content for name, content in read.items() if content is not None}


def _no_step(what: str, step: str, command: str) -> Missing:
    return Missing(what=what, why=f"the run has no finished {step} step", command=command)


def _document(path: Path, newest: int, schema: str) -> dict[str, Any]:
    hint = "Restore it, or run the step again."
    return read_versioned(path, what=path.name, newest=newest, schema=schema, error=RunError, hint=hint)


def _weights(folder: Path, described: Mapping[str, Any]) -> tuple[dict[str, Weights], list[Missing]]:
    """Return the weights of the written files, and what cannot be read of them."""
    weights_by_name: dict[str, Weights] = {}
    missing = []
    for variant in described["variants"]:
        path = inside(folder, variant["file"], where=folder / "quantize.json", error=RunError)
        if not path.is_file():
            missing.append(variant["variant"])
            continue
        try:
            weights_by_name[variant["variant"]] = weights_of.read(path)
        except ModelError:
            missing.append(variant["variant"])
    why = [Missing(what=f"the weights of {', '.join(missing)}", why="the file is not there or damaged")]
    return weights_of.named_alike(weights_by_name, REFERENCE), why if missing else []


def _others(described: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Return whether a benchmark measured another file of a variant than the one that was written last."""
    written = {variant["variant"]: variant.get("sha256") for variant in described["variants"]}
    return any(model["sha256"] != written.get(model["name"], model["sha256"]) for model in record["models"])


def _without_predictions(record: Mapping[str, Any]) -> str:
    dataset = record["dataset"]
    if dataset is None:
        return "there were no labelled data"
    task = dataset.get("task", "classification")
    if task == "classification":
        return "the benchmark kept no predictions"
    return "the samples have several labels" if task == "multilabel" else f"the task is a {task}"


def _contracts(folder: Path, described: Mapping[str, Any]) -> tuple[Contract, ...]:
    names = [variant["variant"] for variant in described["variants"]]
    contracts = []
    for path in folder.glob(f"*/{contract.FILE_NAME}"):
        contracts.append(contract.read_file(path))
    order = {name: place for place, name in enumerate(names)}
    return tuple(sorted(contracts, key=lambda contract: (order.get(contract.variant, len(order)), contract.variant)))


def _predictions(path: Path, record: Mapping[str, Any]) -> tuple[NDArray[np.int64] | None, dict[str, ModelAnswers]]:
    if not path.is_file():
        return None, {}
    try:
        arrays = npz.read(path, RunError, missing=f"no answers at {path}")
        if "truth" not in arrays:
            return None, {}
        truth = np.asarray(arrays["truth"], dtype=np.int64)
        predictions = {
            model["name"]: ModelAnswers(
                predicted=np.asarray(arrays[f"{model['name']}/predicted"], dtype=np.int64),
                confidence=np.asarray(arrays[f"{model['name']}/confidence"], dtype=np.float32),
            )
            for model in record["models"]
            if f"{model['name']}/predicted" in arrays
        }
    except (ValueError, KeyError, TypeError, RunError) as error:
        raise RunError(f"{path} is damaged: {reason(error)}", hint="Benchmark again with: edgefm benchmark") from error
    classes = len((record["dataset"] or {}).get("labels", ()))
    for name, answers in predictions.items():
        if answers.predicted.shape != truth.shape or answers.confidence.shape != truth.shape:
            raise RunError(
                f"{path} is damaged: {name} has {answers.predicted.size} predictions for {truth.size} images"
            )
        if (
            truth.size
            and not 0
            <= min(answers.predicted.min(), truth.min())
            <= max(answers.predicted.max(), truth.max())
            < classes
        ):
            raise RunError(f"{path} is damaged: {name} holds classes outside the {classes} labels")
    return truth, predictions


def _images(
    run: RunDirectory, record: Mapping[str, Any], truth: NDArray[np.int64], *, data_dir: Path | None, progress: Progress
) -> NDArray[np.uint8]:
    """Return the pictures that a record was measured on; nothing is downloaded for a report."""
    from edgefm.data.dataset import reordered
    from edgefm.data.source import FASHION_MNIST, data_source_of, dataset_of

    source = data_source_of(run)
    if source is None:
        raise DataError("the model was imported without data")
    dataset = record["dataset"]
    if source.where == FASHION_MNIST:
        from edgefm.data.reference.fashion_mnist import load_fashion_mnist

        if dataset["name"].lower().replace("_", "-") != FASHION_MNIST:
            raise DataError(f"the images of the data set '{dataset['name']}' are not kept in the run")
        name, missing = "Fashion-MNIST", "Fashion-MNIST is"
    else:
        name, missing = "data set", "the data that were measured on are"
    try:
        if source.where == FASHION_MNIST:
            dataset_found = load_fashion_mnist(data_dir, download=False, progress=progress)
        else:
            dataset_found = reordered(
                dataset_of(run, data_dir=data_dir, progress=progress), tuple(dataset.get("labels", ()))
            )
    except EdgefmError as error:
        # The message names folders of this machine, and the page may be passed on.
        progress.note(f"no pictures of single images: {error.message}")
        raise DataError(f"{missing} not found where the report is written") from error
    if dataset["sha256"] != dataset_found.sha256 or not np.array_equal(dataset_found.test.labels[: len(truth)], truth):
        raise DataError(f"the {name} found here is not the one that was measured on")
    images = dataset_found.test.images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in _PICTURES:
        raise DataError(f"samples of shape {list(images.shape[1:])} and dtype {images.dtype} are no pictures")
    return images
