"""What is known of one model while it is measured, and at the end."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm import artefacts
from edgefm import contract as contracts
from edgefm.benchmarking.scores import Score
from edgefm.contract import Contract
from edgefm.errors import ModelError
from edgefm.runtimes.base import TensorDetails


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A file to measure, and the name of its row."""

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Round:
    """One turn of one model: raw nanoseconds of each call.

    Attributes:
      index: number of the round.
      position: place of this model in the order of the round.
      warmup_ns: invokes before the samples.
      invoke_ns: invokes alone.
      end_to_end_ns: one picture encoded, set, invoked, and the output fetched; empty where no picture fits.
    """

    index: int
    position: int
    warmup_ns: list[int]
    invoke_ns: list[int]
    end_to_end_ns: list[int]


@dataclass(kw_only=True)
class Measured:
    """One model: it gathers facts until its worker is done or has failed.

    Attributes:
      name: of its row.
      path: the file.
      sha256: of the file.
      size_bytes: of the file.
      size_gzip_bytes: compressed with gzip -9, as a download would be.
      failure: why it failed; None while it has not.
      loaded: the worker's answer to `load`.
      input: as loaded.
      outputs: as loaded.
      contract: by which it is fed.
      unfed: why it is fed no pictures; None where it is.
      rounds: one for each turn that it finished.
      peak_bytes: greatest resident set until the end of the last round.
      macs: of one inference.
      predicted: int32 [n], class of each test image.
      confidence: float32 [n], the output of that class.
      score: of the quality measure; None where it is the accuracy, or could not be had.
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
    peak_bytes: int | None = None
    macs: int | None = None
    predicted: NDArray[np.int32] | None = None
    confidence: NDArray[np.float32] | None = None
    score: Score | None = None
    unscored: str | None = None

    @classmethod
    def of(cls, file: ModelFile) -> Measured:
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
    found: list[ModelFile] = []
    for path, name in zip(paths, names, strict=True):
        before = names[: len(found)].count(name)
        found.append(ModelFile(name=f"{name}#{before + 1}" if before else name, path=path))
    return tuple(found)


def _name(path: Path) -> str:
    try:
        contract = contracts.read(path)
    except ModelError:
        contract = None  # told again, as the reason of its row
    return path.stem if contract is None else contract.variant
