"""The answers of models to the test images, and their quality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgefm.benchmarking.bench import Bench
from edgefm.benchmarking.measured import MeasuredModel
from edgefm.benchmarking.scores import score
from edgefm.core.errors import DataError
from edgefm.core.progress import Progress
from edgefm.data.dataset import Dataset, reordered
from edgefm.data.label_scores import label_figures
from edgefm.data.quality import THRESHOLD, Quality, predicted_classes
from edgefm.targets.pieces import pieces

_FIRST_PICTURES = 8

# command, name of its file -> the file of each piece
_Pieces: TypeAlias = Callable[[str, str], Iterator[Path]]


def answer(bench: Bench, models: Sequence[MeasuredModel], *, dataset: Dataset, quality: Quality) -> None:
    """Let each model that can be fed answer the test images; keep its predictions and its score.

    Args:
      bench: where.
      models: that were loaded.
      dataset: whose test images are answered. A model whose contract has its classes in another order is measured by
        its own; its predictions are kept in the order of the data set.
      quality: the measure of quality; the accuracy needs no more than the predicted classes.
    """
    fed = [model for model in models if model.failure is None and model.contract]
    images = len(dataset.test)
    for index, model in enumerate(fed):

        def answered(count: int, model: MeasuredModel = model, before: int = index * images) -> None:
            bench.progress.step(quality.name, before + count, len(fed) * images, {"model": model.name})

        work = partial(_answer, bench, model, dataset=dataset, quality=quality, answered=answered)
        bench.attempts.attempt(model, work)
        answered(images)


def _answer(
    bench: Bench, model: MeasuredModel, *, dataset: Dataset, quality: Quality, answered: Callable[[int], None]
) -> None:
    """Let a model answer in a fresh worker; `answered` receives how many images are, after each piece but the last."""

    def files(command: str, name: str) -> Iterator[Path]:
        with bench.worker() as worker:
            bench.start(model, worker)
            there, here = bench.place.scratch(name), bench.folder / name
            images, seconds = len(dataset.test), bench.protocol.model_seconds
            for start, stop in pieces(images, limit_seconds=seconds, first=_FIRST_PICTURES):
                doing = f"classifying test images {start} to {stop - 1}"
                worker.request(command, doing=doing, seconds=seconds, start=start, stop=stop, out=there)
                bench.place.get(there, here)
                yield here
                if stop < images:
                    answered(stop)

    assert model.contract is not None
    own = reordered(dataset, model.contract.labels)
    if own is not dataset:
        bench.progress.note(f"{model.name} is measured by the order of the classes in its own contract")
    if quality.name == "accuracy":
        _classify(model, files)
    else:
        _score(model, files, dataset=own, quality=quality, progress=bench.progress)
    if own is dataset:
        return
    if model.predicted is not None:
        places = np.array([dataset.labels.index(label) for label in own.labels], np.int32)
        model.predicted = places[model.predicted]
    model.labels = sorted(model.labels, key=lambda figures: dataset.labels.index(figures["label"]))


def _classify(model: MeasuredModel, files: _Pieces) -> None:
    whole = np.concatenate([np.load(path) for path in files("classify", "answers.npy")])
    model.predicted = np.ascontiguousarray(whole["predicted"])
    model.confidence = np.ascontiguousarray(whole["confidence"])


def _score(model: MeasuredModel, files: _Pieces, *, dataset: Dataset, quality: Quality, progress: Progress) -> None:
    """Measure a quality that needs all outputs; of a classifier keep the predictions too."""
    assert model.contract is not None
    test = dataset.test
    parts: list[list[Any]] = []
    for path in files("answer", "answers.npz"):
        with np.load(path) as arrays:
            parts.append([arrays[name] for name in arrays.files])
    outputs = tuple(np.concatenate(output) for output in zip(*parts, strict=True))
    targets = test.labels
    threshold = 0.0 if model.contract.head == "logits" else THRESHOLD
    if dataset.task == "classification":
        predicted = predicted_classes(outputs, threshold=threshold)
        scores = model.contract.probabilities(outputs[0].reshape(len(test), -1))
        scores = np.hstack([1 - scores, scores]) if scores.shape[1] == 1 else scores
        model.predicted = predicted.astype(np.int32)
        model.confidence = scores[np.arange(len(test)), predicted]
    elif dataset.task == "reconstruction":
        targets = model.contract.real(test.images)
    try:
        model.score = score(quality.at(threshold), outputs, targets)
        if dataset.task == "multilabel":
            scores = outputs[0].reshape(len(test), -1)
            model.labels = label_figures(scores, targets, dataset.labels, threshold=threshold)
    except DataError as error:  # the measure does not fit this model; it is no failure of the model
        model.unscored = error.message
        progress.note(f"{model.name}: no {quality.name}: {error.message}")
