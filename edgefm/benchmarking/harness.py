"""Measuring models side by side: a worker each, interleaved rounds, then the pictures one by one.

All workers stay alive, but only one works at a time; the others wait for their next request and use no processor
time. (XNNPACK's threads end their spinning some milliseconds after an invoke.) In each round every model has one
turn, in an order that is drawn anew: what slows the machine down for a while slows all of them down alike.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm import runtimes
from edgefm.benchmarking import feeding, record
from edgefm.benchmarking.measured import Measured, ModelFile, Round
from edgefm.benchmarking.process import WorkerError, WorkerProcess
from edgefm.benchmarking.scores import score
from edgefm.data.dataset import Dataset
from edgefm.environment import environment
from edgefm.errors import DataError, ModelError
from edgefm.progress import SILENT, Progress
from edgefm.quality import DEFAULTS, Quality, predicted_classes
from edgefm.quality import quality as named_quality
from edgefm.recipes import BenchmarkProtocol
from edgefm.runtimes.base import TensorDetails

# A loop of samples ends after this share of the time limit, however slow the model is: three loops fit.
_SHARE_OF_LIMIT = 1 / 8
_PICTURES_AT_ONCE = 2000
_PIECE_NS = 1e9


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
      RecipeError: the runtime has an unknown name.
    """
    assert len({model.name for model in models}) == len(models), "names must differ"
    module = runtimes.module_of(protocol.runtime)
    if dataset is not None and quality is None:
        quality = named_quality(DEFAULTS[dataset.task], task=dataset.task)
    stamp = environment()
    if protocol.threads > int(stamp["cores"]):
        progress.note(f"{protocol.threads} threads on {stamp['cores']} cores: latencies will be worse than with fewer")
    with tempfile.TemporaryDirectory(prefix="edgefm-benchmark-") as name, ExitStack() as stack:
        bench = _Bench(Path(name), module, protocol, dataset, quality, mean, std, stack, progress)
        bench.load(models)
        bench.take_rounds()
        bench.gather()
        bench.answer()
        measured = [subject.measured for subject in bench.subjects]
    classes = dataset is not None and dataset.task == "classification"
    predictions: dict[str, NDArray[Any]] = {"truth": dataset.test.labels} if dataset is not None and classes else {}
    for one in measured:
        if one.predicted is not None and one.confidence is not None:
            predictions[f"{one.name}/predicted"] = one.predicted
            predictions[f"{one.name}/confidence"] = one.confidence
    return Measurement(
        record=record.build(
            measured,
            dataset=dataset,
            quality=quality,
            protocol=protocol,
            environment=stamp,
            reference=reference,
            module=module,
        ),
        predictions=predictions,
    )


def turn_order(models: int, *, rounds: int, seed: int) -> list[list[int]]:
    """Return the order of models in each round, drawn anew for each."""
    generator = np.random.default_rng(seed)
    return [[int(index) for index in generator.permutation(models)] for _ in range(rounds)]


@dataclass(kw_only=True)
class _Subject:
    """A model and its worker; no worker once it has failed."""

    measured: Measured
    worker: WorkerProcess | None


class _Bench:
    """The models of one benchmark and the order of the work."""

    def __init__(
        self,
        folder: Path,
        module: str,
        protocol: BenchmarkProtocol,
        dataset: Dataset | None,
        quality: Quality | None,
        mean: float | None,
        std: float | None,
        stack: ExitStack,
        progress: Progress,
    ) -> None:
        self.subjects: list[_Subject] = []
        self._folder = folder
        self._module = module
        self._protocol = protocol
        self._dataset = dataset
        self._quality = quality
        self._mean, self._std = mean, std
        self._stack = stack
        self._progress = progress
        self._pictures: Path | None = None
        if dataset is not None:
            self._pictures = folder / "pictures.npy"
            np.save(self._pictures, dataset.test.images)

    def load(self, models: Sequence[ModelFile]) -> None:
        """Start a worker for each model and load the model into it."""
        for index, model in enumerate(models):
            subject = _Subject(measured=Measured.of(model), worker=None)
            self.subjects.append(subject)
            subject.worker = self._stack.enter_context(WorkerProcess(folder=self._folder, name=f"worker-{index}"))
            self._attempt(subject, self._load)
            self._progress.step("load", index + 1, len(models), {"model": model.name})

    def take_rounds(self) -> None:
        """Let each model have its turn in each round."""
        rounds, count = self._protocol.rounds, len(self.subjects)
        for index, order in enumerate(turn_order(count, rounds=rounds, seed=self._protocol.seed)):
            for position, place in enumerate(order):
                subject = self.subjects[place]

                def turn(
                    subject: _Subject, worker: WorkerProcess, index: int = index, position: int = position
                ) -> None:
                    subject.measured.rounds.append(self._turn(worker, index=index, position=position))

                self._attempt(subject, turn)
                done = index * count + position + 1
                figures = {"round": f"{index + 1}/{rounds}", "model": subject.measured.name}
                self._progress.step("latency", done, rounds * count, figures)

    def gather(self) -> None:
        """Ask for the peak of memory, before pictures come into it, and for the MACs."""
        for subject in self.subjects:
            self._attempt(subject, self._gather)

    def answer(self) -> None:
        """Let each model that can be fed answer the test images."""
        if self._dataset is None:
            return
        fed = [subject for subject in self.subjects if subject.worker is not None and subject.measured.contract]
        total = len(fed) * len(self._dataset.test)
        for index, subject in enumerate(fed):
            start = index * len(self._dataset.test)

            def answer(subject: _Subject, worker: WorkerProcess, start: int = start) -> None:
                if self._label == "accuracy":
                    self._classify(subject, worker, done=start, total=total)
                else:
                    self._score(subject, worker, done=start, total=total)

            self._attempt(subject, answer)
            self._progress.step(self._label, start + len(self._dataset.test), total, {"model": subject.measured.name})

    @property
    def _label(self) -> str:
        """What is measured on the test images."""
        assert self._quality is not None
        return self._quality.name

    def _attempt(self, subject: _Subject, work: Callable[[_Subject, WorkerProcess], None]) -> None:
        """Do a piece of work; a failure ends this model's worker and is noted, the others go on."""
        if subject.worker is None:
            return
        try:
            work(subject, subject.worker)
        except (WorkerError, ModelError) as error:
            subject.worker.close()
            subject.worker = None
            # The file's name, not its place on this machine: records are passed on.
            path = subject.measured.path
            subject.measured.failure = error.message.replace(str(path.resolve()), path.name)
            self._progress.note(f"{subject.measured.name} failed: {subject.measured.failure}")

    def _load(self, subject: _Subject, worker: WorkerProcess) -> None:
        protocol, measured = self._protocol, subject.measured
        measured.loaded = worker.load(
            measured.path.resolve(),
            runtime_module=self._module,
            threads=protocol.threads,
            memory_bytes=protocol.model_memory_bytes,
            seconds=protocol.model_seconds,
        )
        measured.input = TensorDetails.from_json(measured.loaded["input"])
        measured.outputs = tuple(TensorDetails.from_json(output) for output in measured.loaded["outputs"])
        if self._dataset is None:
            measured.unfed = "no test images were given"
        else:
            found = feeding.contract_for(
                measured.path,
                source=measured.input,
                sinks=measured.outputs,
                labels=self._dataset.labels,
                pixels=self._dataset.test.images.dtype == np.uint8,
                mean=self._mean,
                std=self._std,
            )
            if isinstance(found, str):
                measured.unfed = found
            else:
                measured.unfed = feeding.misfit(found, measured.input, self._dataset.test.images.shape[1:])
                measured.contract = None if measured.unfed else found
        if measured.unfed and self._dataset is not None:
            self._progress.note(f"{measured.name}: no {self._label}, because {measured.unfed}")
        fed = measured.contract is not None
        worker.request(
            "feed",
            doing="taking pictures",
            seconds=protocol.model_seconds,
            contract=measured.contract.to_json() if measured.contract else None,
            pictures=str(self._pictures) if fed else None,
        )

    def _turn(self, worker: WorkerProcess, *, index: int, position: int) -> Round:
        protocol = self._protocol
        most_ns = int(protocol.model_seconds * 1e9 * _SHARE_OF_LIMIT)
        samples = worker.request(
            "samples",
            doing="being timed",
            seconds=protocol.model_seconds,
            warmup_calls=protocol.warmup_invokes,
            least_calls=protocol.round_invokes,
            # Half of the turn for invokes alone, half for end to end.
            least_ns=min(int(protocol.round_seconds * 1e9 / 2), most_ns),
            most_calls=max(protocol.round_invokes, protocol.round_invokes_at_most),
            most_ns=most_ns,
        )
        return Round(
            index=index,
            position=position,
            warmup_ns=samples["warmup_ns"],
            invoke_ns=samples["invoke_ns"],
            end_to_end_ns=samples["end_to_end_ns"],
        )

    def _gather(self, subject: _Subject, worker: WorkerProcess) -> None:
        seconds = self._protocol.model_seconds
        subject.measured.peak_bytes = worker.request("peak", doing="being timed", seconds=seconds)["peak_bytes"]
        answer = worker.request(
            "macs", doing="being inspected", seconds=seconds, path=str(subject.measured.path.resolve())
        )
        subject.measured.macs = answer["macs"]

    def _classify(self, subject: _Subject, worker: WorkerProcess, *, done: int, total: int) -> None:
        whole = np.concatenate([np.load(path) for path in self._pieces(subject, worker, "classify", done, total)])
        subject.measured.predicted = np.ascontiguousarray(whole["predicted"])
        subject.measured.confidence = np.ascontiguousarray(whole["confidence"])

    def _score(self, subject: _Subject, worker: WorkerProcess, *, done: int, total: int) -> None:
        """Measure a quality that needs all outputs; of a classifier keep the predictions too."""
        assert self._dataset is not None and self._quality is not None
        measured, test = subject.measured, self._dataset.test
        assert measured.contract is not None
        pieces = []
        for path in self._pieces(subject, worker, "answer", done, total):
            with np.load(path) as held:
                pieces.append([held[name] for name in held.files])
        outputs = tuple(np.concatenate(parts) for parts in zip(*pieces, strict=True))
        targets = test.labels
        if self._dataset.task == "classification":
            predicted = predicted_classes(outputs)
            scores = outputs[0].reshape(len(test), -1)
            scores = np.hstack([1 - scores, scores]) if scores.shape[1] == 1 else scores
            measured.predicted = predicted.astype(np.int32)
            measured.confidence = scores[np.arange(len(test)), predicted]
        elif self._dataset.task == "reconstruction":
            targets = measured.contract.real(test.images)
        try:
            measured.score = score(self._quality, outputs, targets)
        except DataError as error:  # the measure does not fit this model; it is no failure of the model
            measured.unscored = error.message
            self._progress.note(f"{measured.name}: no {self._label}, because {error.message}")

    def _pieces(self, subject: _Subject, worker: WorkerProcess, command: str, done: int, total: int) -> Iterator[Path]:
        """Let a worker work through the test images in pieces; yield the file with the answers of each."""
        assert self._dataset is not None
        measured, images = subject.measured, len(self._dataset.test)
        typical_ns = float(np.median(measured.rounds[-1].end_to_end_ns))
        piece = max(1, min(_PICTURES_AT_ONCE, int(_PIECE_NS / max(typical_ns, 1.0))))
        out = self._folder / ("answers.npy" if command == "classify" else "answers.npz")
        for start in range(0, images, piece):
            stop = min(start + piece, images)
            worker.request(
                command,
                doing=f"classifying test images {start} to {stop - 1}",
                seconds=self._protocol.model_seconds,
                start=start,
                stop=stop,
                out=str(out),
            )
            yield out
            if stop < images:
                self._progress.step(self._label, done + stop, total, {"model": measured.name})
