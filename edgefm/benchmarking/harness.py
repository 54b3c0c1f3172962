"""Measuring models side by side: each is loaded once, then they take interleaved rounds and answer the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm import runtimes
from edgefm.benchmarking import presence, record
from edgefm.benchmarking.answers import answer
from edgefm.benchmarking.bench import Attempts, Bench
from edgefm.benchmarking.loading import load
from edgefm.benchmarking.measured import MeasuredModel, ModelFile
from edgefm.benchmarking.rounds import take_rounds
from edgefm.benchmarking.session import BenchmarkSession
from edgefm.core import scratch
from edgefm.core.environment import environment
from edgefm.core.errors import RecipeError
from edgefm.core.progress import SILENT, Progress, stated
from edgefm.data.dataset import Dataset
from edgefm.data.quality import DEFAULTS, Quality
from edgefm.data.quality import quality as named_quality
from edgefm.recipes import BenchmarkProtocol
from edgefm.runtimes.base import Unavailable
from edgefm.targets import target as target_at
from edgefm.targets.base import Target, TargetError


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The result of `measure`.

    Attributes:
      record: benchmark record as JSON, validated against its schema.
      predictions: 'truth' int64 [n]; for each model '<name>/predicted' int32 [n] and '<name>/confidence'
        float32 [n]. Empty without a data set, or where its task is no classification.
    """

    record: dict[str, Any]
    predictions: dict[str, NDArray[Any]]


def measure(
    models: Sequence[ModelFile],
    *,
    dataset: Dataset | None,
    protocol: BenchmarkProtocol,
    quality: Quality | None = None,
    reference: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    progress: Progress = SILENT,
) -> Measurement:
    """Return the benchmark record of some models and their predictions on the test images.

    A model that crashes, hangs, exceeds its memory or cannot be read is a row with status 'failed' and the
    reason; the others go on.

    Args:
      models: files, each with a different name.
      dataset: its test split is classified, or answered as its task is; None measures latency alone.
      protocol: how to measure.
      quality: the measure of quality; by default that of the data's task.
      reference: name of the model that the others are compared with; None compares with none.
      mean: real input = (pixel - mean) / std, for files without a contract.
      std: see `mean`.
      progress: receives one step a piece of work.
    Raises:
      RecipeError: the target or the runtime has an unknown name, or they are incompatible.
      TargetError: the target cannot be used.
    """
    assert len({model.name for model in models}) == len(models), "names must differ"
    target = target_at(protocol.target)
    protocol = replace(protocol, runtime=_runtime(target, protocol.runtime))
    usable = target.availability()
    if isinstance(usable, Unavailable):
        raise TargetError(f"the target {target.name} cannot be used: {usable.reason}", hint="See: edgefm doctor")
    if dataset is not None and quality is None:
        quality = named_quality(DEFAULTS[dataset.task], task=dataset.task)
    session = BenchmarkSession(target=target, environment=environment())
    with scratch.folder("benchmark") as folder, ExitStack() as stack:
        stack.enter_context(presence.announced())
        place = stack.enter_context(target.open(protocol.runtime)) if target.runtimes else None
        attempts = Attempts(place=place, progress=progress)
        bench = None if place is None else Bench(place=place, folder=folder, protocol=protocol, attempts=attempts)
        if bench is not None and target.name != "host":
            session.environment = _environment_there(bench, session.environment["versions"])
        cores = int(session.environment["cores"])
        if protocol.threads > cores:
            progress.note(f"{protocol.threads} threads on {cores} cores: latencies will be worse than with fewer")
        if bench is None:
            measured = [MeasuredModel.of(model) for model in models]
        else:
            if dataset is not None:
                np.save(bench.pictures, dataset.test.images)
            measured = load(bench, models, latency=target.latency, dataset=dataset, quality=quality, mean=mean, std=std)
            take_rounds(bench, measured, session=session)
            if dataset is not None and quality is not None:
                answer(bench, measured, dataset=dataset, quality=quality)
        _estimate(target, measured, attempts=attempts)
    with stated(progress, "statistics"):
        value = record.build(
            measured,
            dataset=dataset,
            quality=quality,
            protocol=protocol,
            session=session,
            reference=reference,
        )
    return Measurement(record=value, predictions=_predictions(measured, dataset))


def _runtime(target: Target, wanted: str) -> str:
    """Return the name of the runtime to use on a target, or raise a RecipeError."""
    if not target.runtimes:
        if wanted:
            raise RecipeError(f"the target {target.name} runs no models: leave out the runtime '{wanted}'")
        return ""
    if not wanted:
        return target.runtimes[0]
    runtimes.module_of(wanted)
    if runtimes.split(wanted)[0] not in target.runtimes:
        raise RecipeError(
            f"the target {target.name} has no runtime '{wanted}'", hint=f"It has: {', '.join(target.runtimes)}."
        )
    return wanted


def _environment_there(bench: Bench, versions: Mapping[str, str]) -> dict[str, Any]:
    """Return what a worker tells of its machine, with the version of edgefm here."""
    with bench.worker() as worker:
        answer = worker.request("environment", doing="reading its environment", seconds=bench.protocol.model_seconds)
    there: dict[str, Any] = answer["environment"]
    return {**there, "versions": {**there["versions"], "edgefm": versions["edgefm"]}}


def _estimate(target: Target, models: Sequence[MeasuredModel], *, attempts: Attempts) -> None:
    """Ask the target for what it knows of each model beside what its workers measure."""
    for index, model in enumerate(models):

        def figures(model: MeasuredModel = model) -> None:
            model.figures = target.figures(model.path)

        attempts.attempt(model, figures)
        if attempts.place is None or model.figures:
            attempts.progress.step("figures", index + 1, len(models), {"model": model.name})


def _predictions(models: Sequence[MeasuredModel], dataset: Dataset | None) -> dict[str, NDArray[Any]]:
    """Return what `Measurement.predictions` holds."""
    classes = dataset is not None and dataset.task == "classification"
    predictions: dict[str, NDArray[Any]] = {"truth": dataset.test.labels} if dataset is not None and classes else {}
    for model in models:
        if model.predicted is not None and model.confidence is not None:
            predictions[f"{model.name}/predicted"] = model.predicted
            predictions[f"{model.name}/confidence"] = model.confidence
    return predictions
