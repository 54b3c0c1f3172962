"""What a report is made from: the newest finished step of each kind in a run, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm import contract
from edgefm.benchmarking import record as records
from edgefm.contract import Contract
from edgefm.errors import DataError, EdgefmError, RunError
from edgefm.progress import SILENT, Progress
from edgefm.runs import RunDirectory, Step

HISTORY_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A part of the report that cannot be made."""

    what: str
    why: str
    command: str | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
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
class Inputs:
    """What a run holds for a report.

    Attributes:
      record: the benchmark record, or None.
      truth: int64 [n], true classes of the benchmark's images, or None.
      predictions: by model name.
      images: uint8 [n, height, width, channels], the images of the benchmark, or None.
      history: the training history, or None.
      quantize: what the quantize step says of itself, or None.
      contracts: the contracts of the written files, in the order of their variants.
      steps: the steps that were used.
      missing: what could not be had, and why.
    """

    run_id: str
    steps: tuple[Step, ...] = ()
    record: Mapping[str, Any] | None = None
    truth: NDArray[np.int64] | None = None
    predictions: Mapping[str, Prediction] = field(default_factory=dict)
    images: NDArray[np.uint8] | None = None
    history: Mapping[str, Any] | None = None
    quantize: Mapping[str, Any] | None = None
    contracts: tuple[Contract, ...] = ()
    missing: tuple[Missing, ...] = ()


def read(run: RunDirectory, *, data_dir: Path | None = None, progress: Progress = SILENT) -> Inputs:
    """Return what a run holds for a report; steps that are not there are listed as missing.

    Raises:
      RunError: the run has no finished step at all, a file is damaged, or a newer edgefm wrote it.
    """
    train, quantize, benchmark = (run.last(kind) for kind in ("train", "quantize", "benchmark"))
    steps = tuple(step for step in (train, quantize, benchmark) if step is not None)
    if not steps:
        raise RunError(
            f"run {run.path} has no finished step, so there is nothing to report",
            hint=f"Run: edgefm train --run {run.path}",
        )
    missing: list[Missing] = []
    history = record = described = truth = images = None
    predictions: dict[str, Prediction] = {}
    contracts: tuple[Contract, ...] = ()
    place = str(run.path)
    if train is None:
        missing.append(_no_step("training curves", "training", f"edgefm train --run {place}"))
    else:
        history = _versioned(run.folder(train) / "history.json", HISTORY_VERSION)
    if quantize is None:
        missing.append(_no_step("how the files were made", "quantisation", f"edgefm quantize {place}"))
    else:
        described = _json(run.folder(quantize) / "quantize.json")
        contracts = _contracts(run.folder(quantize), described)
    if benchmark is None:
        missing.append(_no_step("all measurements", "benchmark", f"edgefm benchmark {place}"))
    else:
        record = records.read(run.folder(benchmark) / records.FILE_NAME)
        truth, predictions = _predictions(run.folder(benchmark) / records.PREDICTIONS_FILE_NAME, record)
        if truth is None:
            missing.append(Missing(what="pictures of single images", why="the benchmark kept no predictions"))
        else:
            try:
                images = _images(record, truth, data_dir=data_dir, progress=progress)
            except EdgefmError as error:
                missing.append(
                    Missing(what="pictures of single images", why=error.message, command="edgefm data fetch")
                )
    return Inputs(
        run_id=run.run_id,
        steps=steps,
        record=record,
        truth=truth,
        predictions=predictions,
        images=images,
        history=history,
        quantize=described,
        contracts=contracts,
        missing=tuple(missing),
    )


def _no_step(what: str, step: str, command: str) -> Missing:
    return Missing(what=what, why=f"the run has no finished {step} step", command=command)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing", hint="Restore it, or run the step again.") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}", hint="Restore it, or run the step again.") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: it holds no JSON object", hint="Restore it, or run the step again.")
    return value


def _versioned(path: Path, newest: int) -> dict[str, Any]:
    value = _json(path)
    version = value.get("schema_version")
    if not isinstance(version, int) or version > newest:
        raise RunError(
            f"{path} has schema version {version}; this edgefm reads up to {newest}",
            hint="A newer edgefm wrote it: upgrade with pip install -U edgefm.",
        )
    return value


def _contracts(folder: Path, described: Mapping[str, Any]) -> tuple[Contract, ...]:
    names = [one.get("variant", one.get("name")) for one in described.get("variants", []) if isinstance(one, dict)]
    found = []
    for path in folder.glob(f"*/{contract.FILE_NAME}"):
        try:
            found.append(Contract.from_json(_json(path)))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}", hint="Write it again with: edgefm quantize") from error
    order = {name: place for place, name in enumerate(names)}
    return tuple(sorted(found, key=lambda one: (order.get(one.variant, len(order)), one.variant)))


def _predictions(path: Path, record: Mapping[str, Any]) -> tuple[NDArray[np.int64] | None, dict[str, Prediction]]:
    if not path.is_file():
        return None, {}
    try:
        with np.load(path, allow_pickle=False) as held:
            if "truth" not in held:
                return None, {}
            truth = np.asarray(held["truth"], dtype=np.int64)
            predictions = {
                model["name"]: Prediction(
                    predicted=np.asarray(held[f"{model['name']}/predicted"], dtype=np.int64),
                    confidence=np.asarray(held[f"{model['name']}/confidence"], dtype=np.float32),
                )
                for model in record["models"]
                if f"{model['name']}/predicted" in held
            }
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise RunError(f"{path} is damaged: {error}", hint="Benchmark again with: edgefm benchmark") from error
    classes = len((record["dataset"] or {}).get("labels", ()))
    for name, one in predictions.items():
        if one.predicted.shape != truth.shape or one.confidence.shape != truth.shape:
            raise RunError(f"{path} is damaged: {name} has {one.predicted.size} predictions for {truth.size} images")
        if (
            truth.size
            and not 0 <= min(one.predicted.min(), truth.min()) <= max(one.predicted.max(), truth.max()) < classes
        ):
            raise RunError(f"{path} is damaged: {name} holds classes outside the {classes} labels")
    return truth, predictions


def _images(
    record: Mapping[str, Any], truth: NDArray[np.int64], *, data_dir: Path | None, progress: Progress
) -> NDArray[np.uint8]:
    """Return the images that a record was measured on; nothing is downloaded for a report."""
    from edgefm.data.fashion_mnist import load_fashion_mnist

    dataset = record["dataset"]
    if dataset["name"].lower().replace("_", "-") != "fashion-mnist":
        raise DataError(f"the images of the data set '{dataset['name']}' are not kept in the run")
    try:
        held = load_fashion_mnist(data_dir, download=False, progress=progress)
    except DataError as error:
        # The message names folders of this machine, and the page may be passed on.
        progress.note(f"no pictures of single images: {error.message}")
        raise DataError("Fashion-MNIST is not found where the report is written") from error
    if dataset["sha256"] != held.sha256 or not np.array_equal(held.test.labels[: len(truth)], truth):
        raise DataError("the Fashion-MNIST found here is not the one that was measured on")
    return held.test.images
