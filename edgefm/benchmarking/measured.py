"""What is known of one model while it is measured, and at the end."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.benchmarking.scores import QualityScore
from edgefm.core import artefacts
from edgefm.core.errors import ModelError
from edgefm.runtimes.base import TensorDetails
from edgefm.statistics.estimates import Samples
from edgefm.targets.base import Figure
from edgefm.tflite import contract as contracts
from edgefm.tflite.contract import Contract


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A file to measure, and the name of its row."""

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """What the first answer costs after nothing was there, in nanoseconds.

    Attributes:
      process: from the start of the process to its first line: the interpreter and numpy.
      runtime: import of the runtime's library.
      load: from the file to a session that is ready.
      first_invoke: the first inference.
    """

    process: int
    runtime: int
    load: int
    first_invoke: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.process + self.runtime + self.load + self.first_invoke


@dataclass(frozen=True, kw_only=True)
class Round:
    """One turn of one model in a process of its own: raw nanoseconds of each call.

    Attributes:
      index: number of the round.
      position: place of this model in the order of the round.
      attempt: 0, or how often the turn was repeated because the one before was disturbed.
      warmup_ns: invokes before the samples.
      invoke_ns: invokes alone.
      end_to_end_ns: one picture encoded, set, invoked, and the output fetched; empty where no picture fits.
      cold_start_ns: None where it was not measured (records of older versions).
      peak_bytes: greatest resident set of the process until the end of the turn.
      bare_bytes: its resident set with the runtime imported, before the model.
      disturbed: why the turn counts as disturbed; empty where it does not.
      refused: the turn is never used: the device throttled, say; `disturbed` says why.
      conditions: what was seen of the machine meanwhile, see `edgefm.worker.disturbance`.
      energy_j: of one inference, in joules, or the reason why it is not known.
    """

    index: int
    position: int
    warmup_ns: Samples
    invoke_ns: Samples
    end_to_end_ns: Samples
    attempt: int = 0
    cold_start_ns: ColdStart | None = None
    peak_bytes: int | None = None
    bare_bytes: int | None = None
    disturbed: tuple[str, ...] = ()
    refused: bool = False
    conditions: Mapping[str, Any] = field(default_factory=dict)
    energy_j: float | str = "it was not measured"

    def to_json(self, *, used: bool) -> dict[str, Any]:
        """Return the turn as a JSON object; `used`: the statistics are made of it."""
        energy = self.energy_j
        return {
            "index": self.index,
            "position": self.position,
            "attempt": self.attempt,
            "used": used,
            "disturbed": list(self.disturbed),
            "refused": self.refused,
            "conditions": dict(self.conditions),
            "cold_start_ns": None if self.cold_start_ns is None else asdict(self.cold_start_ns),
            "peak_bytes": self.peak_bytes,
            "energy_j": {"value": None, "reason": energy} if isinstance(energy, str) else {"value": energy},
            "warmup_ns": np.asarray(self.warmup_ns, np.int64).tolist(),
            "invoke_ns": np.asarray(self.invoke_ns, np.int64).tolist(),
            "end_to_end_ns": np.asarray(self.end_to_end_ns, np.int64).tolist(),
        }


@dataclass(kw_only=True)
class MeasuredModel:
    """One model: it gathers facts until its worker is done or has failed.

    Attributes:
      name: of its row.
      path: the file.
      sha256: of the file.
      size_bytes: of the file.
      size_gzip_bytes: compressed with gzip -9, as a download would be.
      failure: why it failed; None while it has not.
      loaded: the worker's answer to the first `load`.
      input: as loaded.
      outputs: as loaded.
      contract: by which it is fed.
      unfed: why it is fed no pictures; None where it is.
      rounds: one for each turn that it finished.
      figures: what the target tells of the model beside that.
      macs: of one inference.
      on_micro: whether TensorFlow Lite Micro refuses it, see `file_facts`; None where that was not tried.
      predicted: int32 [n], class of each test image.
      confidence: float32 [n], the output of that class.
      score: of the quality measure; None where it is the accuracy, or could not be had.
      labels: figures of each label, where a sample has several.
      unscored: why there is no score, where that is not for want of answers.
    """

    name: str
    path: Path
    sha256: str
    size_bytes: int
    size_gzip_bytes: int
    failure: str | None = None
    loaded: dict[str, Any] | None = None
    input: TensorDetails | None = None
    outputs: tuple[TensorDetails, ...] = ()
    contract: Contract | None = None
    unfed: str | None = None
    rounds: list[Round] = field(default_factory=list)
    figures: tuple[Figure, ...] = ()
    macs: int | None = None
    on_micro: dict[str, str | None] | None = None
    predicted: NDArray[np.int32] | None = None
    confidence: NDArray[np.float32] | None = None
    score: QualityScore | None = None
    labels: list[dict[str, Any]] = field(default_factory=list)
    unscored: str | None = None

    @property
    def calm(self) -> list[Round]:
        """The undisturbed turns, at most one of each round."""
        return list({turn.index: turn for turn in self.rounds if not turn.disturbed}.values())

    @property
    def taken(self) -> int:
        """The number of rounds in which the model had a turn."""
        return len({turn.index for turn in self.rounds})

    @property
    def disturbed(self) -> bool:
        """Whether too few turns were undisturbed, so that disturbed ones are used too."""
        return len(self.calm) < self.taken and len(self.calm) < max(3, (self.taken + 1) // 2)

    @property
    def used(self) -> list[Round]:
        """The turns that statistics are made of, at most one of each round, in the order of the rounds.

        The undisturbed ones; where those are fewer than three or than half of the rounds, the last turn of every
        round, and the model counts as disturbed. A turn that the device refused is never among them.
        """
        if not self.disturbed:
            return self.calm
        allowed = [turn for turn in self.rounds if not turn.refused]
        last = {turn.index: turn for turn in allowed} | {turn.index: turn for turn in self.calm}
        return [last[index] for index in sorted(last)]

    @classmethod
    def of(cls, file: ModelFile) -> MeasuredModel:
        """Return a model of which only the file's facts are known."""
        content = file.path.read_bytes()
        return cls(
            name=file.name,
            path=file.path,
            sha256=artefacts.sha256_bytes(content),
            size_bytes=len(content),
            size_gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
        )


def name_files(paths: list[Path]) -> tuple[ModelFile, ...]:
    """Return files with the names of their rows: the variant in the contract, or the file's own name.

    Names that would occur twice get the folder before them, then a number behind them.

    Raises:
      ModelError: no file is given, or one is missing.
    """
    if not paths:
        raise ModelError("no model file is given", hint="Give .tflite files or a run folder.")
    for path in paths:
        if not path.is_file():
            raise ModelError(f"no model file at {path}", hint="Give .tflite files or a run folder.")
    names = [_name(path) for path in paths]
    names = [
        f"{path.resolve().parent.name}/{name}" if names.count(name) > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]
    named: list[ModelFile] = []
    for path, name in zip(paths, names, strict=True):
        before = names[: len(named)].count(name)
        named.append(ModelFile(name=f"{name}#{before + 1}" if before else name, path=path))
    return tuple(named)


def named_files(files: Sequence[Path | ModelFile]) -> tuple[ModelFile, ...]:
    """Return files under the names that they were given, else under those of `name_files`.

    Raises:
      ModelError: no file is given, or one is missing.
    """
    paths = [file.path if isinstance(file, ModelFile) else file for file in files]
    pairs = zip(files, name_files(paths), strict=True)
    return tuple(file if isinstance(file, ModelFile) else own for file, own in pairs)


def _name(path: Path) -> str:
    try:
        contract = contracts.read(path)
    except ModelError:
        contract = None  # told again, as the reason of its row
    return path.stem if contract is None else contract.variant
