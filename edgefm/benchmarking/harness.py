"""Measuring models side by side: interleaved rounds of fresh workers, then the pictures one by one.

In each round every model has one turn, in an order that is drawn anew: what slows the machine down for a while slows
all of them down alike. Each turn is a process of its own, for where memory happens to lie makes one process a little
faster than the next for as long as it lives; and it gives the cold start each time. A disturbed turn is repeated at
once and stays in the record. Rounds end when each p50 is known well enough, or the time is up.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm import runtimes
from edgefm.benchmarking import feeding, presence, record
from edgefm.benchmarking.measured import ColdStart, Measured, ModelFile, Round
from edgefm.benchmarking.scores import score
from edgefm.benchmarking.session import Session
from edgefm.benchmarking.stopping import reason_to_stop
from edgefm.core.environment import environment
from edgefm.core.errors import DataError, EdgefmError, RecipeError
from edgefm.core.progress import SILENT, Progress
from edgefm.data.dataset import Dataset
from edgefm.data.quality import DEFAULTS, Quality, predicted_classes
from edgefm.data.quality import quality as named_quality
from edgefm.recipes import BenchmarkProtocol
from edgefm.runtimes.base import TensorDetails, Unavailable
from edgefm.targets import target as target_at
from edgefm.targets.base import Place, Target, TargetError
from edgefm.targets.host import HostPlace
from edgefm.targets.pieces import pieces
from edgefm.targets.worker_process import WorkerError, WorkerProcess

# A loop of samples ends after this share of the time limit, however slow the model is: three loops fit.
_SHARE_OF_LIMIT = 1 / 8
_FIRST_PICTURES = 8


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
      RecipeError: the target or the runtime has an unknown name, or they do not go together.
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
    with tempfile.TemporaryDirectory(prefix="edgefm-benchmark-") as name, ExitStack() as stack:
        stack.enter_context(presence.announced())
        bench = _Bench(Path(name), target, protocol, dataset, quality, mean, std, stack, progress)
        if bench.place is not None:
            bench.load(models)
            bench.take_rounds()
            bench.answer()
        else:
            bench.subjects = [_Subject(measured=Measured.of(model)) for model in models]
        bench.estimate()
        measured = [subject.measured for subject in bench.subjects]
        session = bench.session
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
            session=session,
            reference=reference,
        ),
        predictions=predictions,
    )


def _runtime(target: Target, wanted: str) -> str:
    """Return the name of the runtime to use on a target, or raise a RecipeError."""
    if not target.runtimes:
        if wanted:
            raise RecipeError(f"the target {target.name} runs nothing: leave out the runtime '{wanted}'")
        return ""
    if not wanted:
        return target.runtimes[0]
    runtimes.module_of(wanted)
    if runtimes.split(wanted)[0] not in target.runtimes:
        raise RecipeError(
            f"the target {target.name} has no runtime '{wanted}'", hint=f"It has: {', '.join(target.runtimes)}."
        )
    return wanted


def turn_order(models: int, *, rounds: int, seed: int) -> list[list[int]]:
    """Return the order of models in each round, drawn anew for each."""
    generator = np.random.default_rng(seed)
    return [[int(index) for index in generator.permutation(models)] for _ in range(rounds)]


@dataclass(kw_only=True)
class _Subject:
    """A model while it is measured; it is left alone once it has failed."""

    measured: Measured
    repeats: int = 0


class _Bench:
    """The models of one benchmark and the order of the work."""

    def __init__(
        self,
        folder: Path,
        target: Target,
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
        self._protocol = protocol
        self._dataset = dataset
        self._quality = quality
        self._mean, self._std = mean, std
        self._progress = progress
        self._pictures: Path | None = None
        self._lost: str | None = None
        self.session = Session(target=target, environment=environment())
        self.place: Place | None = stack.enter_context(target.open(protocol.runtime)) if target.runtimes else None
        if self.place is not None and target.name != "host":
            with WorkerProcess(place=self.place, folder=folder, name="worker") as worker:
                told = worker.request("environment", doing="telling of its machine", seconds=protocol.model_seconds)
            versions = {**told["environment"]["versions"], "edgefm": self.session.environment["versions"]["edgefm"]}
            self.session.environment = {**told["environment"], "versions": versions}
        if protocol.threads > int(self.session.environment["cores"]):
            cores = self.session.environment["cores"]
            progress.note(f"{protocol.threads} threads on {cores} cores: latencies will be worse than with fewer")
        if dataset is not None:
            self._pictures = folder / "pictures.npy"
            np.save(self._pictures, dataset.test.images)

    def load(self, models: Sequence[ModelFile]) -> None:
        """Load each model once: it tells what it takes and gives, and a bad one is found before the rounds."""
        for index, model in enumerate(models):
            subject = _Subject(measured=Measured.of(model))
            self.subjects.append(subject)
            self._attempt(subject, self._load)
            self._progress.step("load", index + 1, len(models), {"model": model.name})

    def take_rounds(self) -> None:
        """Let each model have its turn in each round, until every p50 is known well enough."""
        if not self.session.target.latency:
            self.session.stopped = f"times on {self.session.target.name} are no latencies"
            return
        protocol, count = self._protocol, len(self.subjects)
        started = time.monotonic()
        self._note_state()
        for index, order in enumerate(turn_order(count, rounds=protocol.rounds_at_most, seed=protocol.seed)):
            for position, place in enumerate(order):
                subject = self.subjects[place]

                def turn(subject: _Subject, index: int = index, position: int = position) -> None:
                    self._turns(subject, index=index, position=position)

                self._attempt(subject, turn)
                total = max(protocol.rounds, index + 1)
                done = index * count + position + 1
                figures = {"round": f"{index + 1}/{total}", "model": subject.measured.name}
                # The bar ends with the last round, which is not known before; so it stays one turn short of it.
                self._progress.step("latency", min(done, total * count - 1), total * count, figures)
            self._note_state()
            self._note_others()
            self.session.seconds = time.monotonic() - started
            alive = [subject.measured for subject in self.subjects if subject.measured.failure is None]
            stop = reason_to_stop(
                [_medians(one.calm) for one in alive],
                used=[_medians(one.used) for one in alive],
                pairs=_fewest_common([{turn.index for turn in one.calm} for one in alive]),
                rounds=index + 1,
                least=protocol.rounds,
                most=protocol.rounds_at_most,
                interval=protocol.interval,
                seconds=self.session.seconds,
                budget_seconds=protocol.budget_seconds,
            )
            if stop is not None:
                self.session.stopped = stop
                self._progress.step("latency", total * count, total * count)
                break

    def answer(self) -> None:
        """Let each model that can be fed answer the test images."""
        if self._dataset is None:
            return
        fed = [one for one in self.subjects if one.measured.failure is None and one.measured.contract]
        total = len(fed) * len(self._dataset.test)
        for index, subject in enumerate(fed):
            start = index * len(self._dataset.test)

            def answer(subject: _Subject, start: int = start) -> None:
                with self._worker() as worker:
                    self._start(subject, worker)
                    if self._label == "accuracy":
                        self._classify(subject, worker, done=start, total=total)
                    else:
                        self._score(subject, worker, done=start, total=total)

            self._attempt(subject, answer)
            self._progress.step(self._label, start + len(self._dataset.test), total, {"model": subject.measured.name})

    def estimate(self) -> None:
        """Ask the target for what it knows of each model beside what its workers measure."""
        for index, subject in enumerate(self.subjects):

            def figures(subject: _Subject) -> None:
                subject.measured.figures = self.session.target.figures(subject.measured.path)

            self._attempt(subject, figures)
            if self.place is None or subject.measured.figures:
                self._progress.step("figures", index + 1, len(self.subjects), {"model": subject.measured.name})

    @property
    def _label(self) -> str:
        """What is measured on the test images."""
        assert self._quality is not None
        return self._quality.name

    def _attempt(self, subject: _Subject, work: Callable[[_Subject], None]) -> None:
        """Do a piece of work; a failure is noted and ends this model, the others go on.

        Where the target itself is gone, no other model has a chance; what was measured so far stays.
        """
        measured = subject.measured
        if measured.failure is not None:
            return
        try:
            if self._lost is not None:
                raise TargetError(self._lost)
            work(subject)
        except (EdgefmError, OSError) as failure:
            lost = self._lost_place()
            if lost is not None:
                self._lost = lost.message
            error = lost or failure
            said = error.message if isinstance(error, EdgefmError) else str(error)
            # The file's name, not its place on this machine: records are passed on.
            measured.failure = said.replace(str(measured.path.resolve()), measured.path.name)
            self._progress.note(f"{measured.name} failed: {measured.failure}")

    def _lost_place(self) -> TargetError | None:
        """Return why the place is gone, where it is: a worker that ended can be the first sign of it."""
        if self.place is None or self._lost is not None:
            return None
        try:
            self.place.state()
        except TargetError as error:
            return error
        return None

    def _worker(self) -> WorkerProcess:
        assert self.place is not None
        return WorkerProcess(place=self.place, folder=self._folder, name="worker")

    def _start(self, subject: _Subject, worker: WorkerProcess) -> dict[str, Any]:
        """Load a model into a fresh worker and give it the pictures; return what it tells of the model."""
        protocol, measured = self._protocol, subject.measured
        told = worker.load(
            measured.path.resolve(),
            runtime=protocol.runtime,
            threads=protocol.threads,
            memory_bytes=protocol.model_memory_bytes,
            seconds=protocol.model_seconds,
        )
        if measured.contract is not None:
            assert self.place is not None and self._pictures is not None
            worker.request(
                "feed",
                doing="taking pictures",
                seconds=protocol.model_seconds,
                contract=measured.contract.to_json(),
                pictures=self.place.put(self._pictures),
            )
        return told

    def _load(self, subject: _Subject) -> None:
        measured = subject.measured
        with self._worker() as worker:
            measured.loaded = self._start(subject, worker)
            if not self.session.target.latency:  # an emulator's memory is not the model's
                measured.loaded |= {"bare_bytes": None, "peak_bytes": None}
            if isinstance(self.place, HostPlace):
                measured.macs = self._macs(measured, worker)
        if not isinstance(self.place, HostPlace):
            with HostPlace() as here, WorkerProcess(place=here, folder=self._folder, name="inspector") as inspector:
                measured.macs = self._macs(measured, inspector)
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

    def _macs(self, measured: Measured, worker: WorkerProcess) -> int | None:
        """Count the multiply-accumulates in a process of this machine: a damaged file can take its parser down."""
        path, seconds = str(measured.path.resolve()), self._protocol.model_seconds
        try:
            answer = worker.request("macs", doing="being inspected", seconds=seconds, path=path)
        except WorkerError as error:
            self._progress.note(f"{measured.name}: its operations could not be counted, because {error.message}")
            return None
        found: int | None = answer["macs"]
        return found

    def _turns(self, subject: _Subject, *, index: int, position: int) -> None:
        """Let a model have its turn, again where it was disturbed; every turn is kept."""
        turn = self._turn(subject, index=index, position=position, attempt=0)
        subject.measured.rounds.append(turn)
        if turn.disturbed and subject.repeats < self._protocol.repeats_at_most:
            subject.repeats += 1
            subject.measured.rounds.append(self._turn(subject, index=index, position=position, attempt=1))

    def _turn(self, subject: _Subject, *, index: int, position: int, attempt: int) -> Round:
        protocol = self._protocol
        most_ns = int(protocol.model_seconds * 1e9 * _SHARE_OF_LIMIT)
        with self._worker() as worker:
            told = self._start(subject, worker)
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
            peak = worker.request("peak", doing="being timed", seconds=protocol.model_seconds)
        energy = samples["energy"]
        return Round(
            index=index,
            position=position,
            attempt=attempt,
            warmup_ns=_compact(samples["warmup_ns"]),
            invoke_ns=_compact(samples["invoke_ns"]),
            end_to_end_ns=_compact(samples["end_to_end_ns"]),
            cold_start_ns=ColdStart(
                process=told["process_ns"],
                runtime=told["import_ns"],
                load=told["load_ns"],
                first_invoke=told["first_invoke_ns"],
            ),
            peak_bytes=peak["peak_bytes"],
            bare_bytes=told["bare_bytes"],
            disturbed=tuple(samples["disturbed"]),
            refused=samples["refused"],
            conditions=samples["conditions"],
            energy_j=energy["reason"] if energy["value"] is None else energy["value"],
        )

    def _note_state(self) -> None:
        """Keep what the place tells of itself now."""
        assert self.place is not None
        try:
            self.session.states.append(dict(self.place.state()))
        except EdgefmError:  # the next turn will tell that the target is gone
            return

    def _note_others(self) -> None:
        """Say once that another benchmark runs beside this one."""
        if self.session.target.name != "host" or self.session.notes:
            return
        beside = presence.others()
        if beside:
            several = (
                f"{len(beside)} other edgefm benchmarks run" if len(beside) > 1 else "another edgefm benchmark runs"
            )
            note = f"{several} on this machine at the same time: they disturb each other's times"
            self.session.notes.append(note)
            self._progress.note(f"{note} (process {', '.join(map(str, beside))})")

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
        assert self.place is not None
        name = "answers.npy" if command == "classify" else "answers.npz"
        there, here = self.place.scratch(name), self._folder / name
        for start, stop in pieces(images, limit_seconds=self._protocol.model_seconds, first=_FIRST_PICTURES):
            worker.request(
                command,
                doing=f"classifying test images {start} to {stop - 1}",
                seconds=self._protocol.model_seconds,
                start=start,
                stop=stop,
                out=there,
            )
            self.place.get(there, here)
            yield here
            if stop < images:
                self._progress.step(self._label, done + stop, total, {"model": measured.name})


def _medians(turns: Sequence[Round]) -> list[float]:
    return [float(np.median(turn.invoke_ns)) for turn in turns]


def _fewest_common(calm: Sequence[set[int]]) -> int:
    """Return how many undisturbed rounds those two models have in common which have the fewest."""
    return min((len(one & other) for one in calm for other in calm), default=0)


def _compact(samples: list[int]) -> NDArray[np.int64]:
    return np.asarray(samples, dtype=np.int64)
