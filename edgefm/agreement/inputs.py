"""The inputs of an agreement matrix: test samples as the model wants them, or repeatable random ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.agreement.arithmetic import ModelTensors
from edgefm.benchmarking import feeding
from edgefm.core import artefacts, joined
from edgefm.core.errors import DataError, ModelError
from edgefm.data.dataset import Dataset, reordered
from edgefm.data.quality import THRESHOLD
from edgefm.runtimes import tflite_ends
from edgefm.runtimes.base import TensorDetails
from edgefm.tflite import contract as contracts
from edgefm.tflite import vocabulary
from edgefm.tflite.contract import Contract

# What a float input without a contract is given: pixels scaled to 0 to 1, as most models are.
_FLOAT_RANGE = (0.0, 1.0)
_LEAST, _GREATEST = 0, 1  # of whole numbers that may be places in a table that is not known: these are in every one


@dataclass(frozen=True, kw_only=True)
class MatrixInputs:
    """What goes into every cell.

    Attributes:
      values: [n, ...] in the dtype and shape of the model's input, without the batch of 1.
      labels: int64 [n] true classes, or the targets of another task; None where there are none.
      task: of the data; None for random inputs.
      source: 'data' or 'random'.
      name: of the data set; None for random inputs.
      available: samples that the data set has; None for random inputs.
      reason: why the inputs are random; None where they are data.
      seed: that drew the samples or the numbers.
      threshold: a single score above it means yes.
      sha256: of the values.
    """

    values: NDArray[Any] = field(repr=False)
    labels: NDArray[Any] | None = field(repr=False)
    task: str | None
    source: str
    name: str | None
    available: int | None
    reason: str | None
    seed: int
    threshold: float = THRESHOLD

    def __len__(self) -> int:
        return len(self.values)

    @property
    def sha256(self) -> str:
        """Sum over the values: equal sums mean the same inputs."""
        return artefacts.sha256_bytes(np.ascontiguousarray(self.values).tobytes())

    def to_json(self) -> dict[str, Any]:
        """Return how the inputs came about as a JSON object, without their values."""
        facts = {name: value for name, value in asdict(self).items() if name not in ("values", "labels", "threshold")}
        return {**facts, "samples": len(self), "labelled": self.labels is not None, "sha256": self.sha256}


def from_data(
    model: Path,
    dataset: Dataset,
    *,
    ends: ModelTensors,
    samples: int,
    seed: int = 0,
    mean: float | None = None,
    std: float | None = None,
) -> MatrixInputs:
    """Return test samples of a data set, encoded by the model's contract (see `edgefm.benchmarking.feeding`).

    Args:
      model: the model file.
      dataset: its test split is drawn from; all of it where it has no more than `samples`.
      ends: of the model.
      samples: how many.
      seed: of the draw; the order of the data set is kept.
      mean: real input = (pixel - mean) / std, for files without a contract.
      std: see `mean`.
    Raises:
      DataError: the samples cannot be fed to the model.
      ModelError: the contract beside the file is damaged or belongs to another content.
    """
    written = contracts.read(model)
    if written:
        dataset = reordered(dataset, written.labels)
    pictures = dataset.test.images
    if len(pictures) == 0:
        raise DataError(f"{dataset.name} has no test samples")
    contract = feeding.contract_for(
        model,
        source=ends.source,
        sinks=ends.sinks,
        labels=dataset.labels,
        task=dataset.task,
        pixels=pictures.dtype == np.uint8,
        mean=mean,
        std=std,
    )
    reason = contract if isinstance(contract, str) else feeding.misfit(contract, ends.source, pictures)
    if reason is not None or isinstance(contract, str):
        raise DataError(
            f"{dataset.name} cannot be fed to {model}: {reason}",
            hint="Give other data, or none: then inputs are random.",
        )
    places = _drawn(len(pictures), samples, seed)
    return MatrixInputs(
        values=contract.encode(pictures[places]),
        labels=dataset.test.labels[places],
        task=dataset.task,
        source="data",
        name=dataset.name,
        available=len(pictures),
        reason=None,
        seed=seed,
        threshold=0.0 if contract.head == "logits" else THRESHOLD,
    )


def from_chance(model: Path, *, ends: ModelTensors, samples: int, reason: str, seed: int = 0) -> MatrixInputs:
    """Return random inputs: uniform over what the input can hold.

    Over all levels of an integer; of floats over pixels or real inputs, whichever the contract says, else from 0 to 1.
    Of tokens over all rows of the table that they are places in; where there is none, over 0 and 1. `reason` says it.

    Args:
      model: the model file; a contract beside it says what its real inputs are.
      ends: of the model.
      samples: how many.
      reason: why they are random.
      seed: equal seeds give equal inputs.
    Raises:
      ModelError: the dtype of the input is none that can be drawn, or its contract is damaged.
    """
    generator = np.random.default_rng(seed)
    written = contracts.read(model)
    if written is not None and written.input.shape != ends.source.shape:
        written = None
    rows = _token_rows(model, ends.source)
    parts = {part.name: _random(part, samples, None, rows, generator) for part in ends.source.parts}
    return MatrixInputs(
        values=joined.join(parts) if parts else _random(ends.source, samples, written, rows, generator),
        labels=None,
        task=None,
        source="random",
        name=None,
        available=None,
        reason="; ".join([reason, *(_range_words(name, count) for name, count in rows.items())]),
        seed=seed,
    )


def _token_rows(model: Path, source: TensorDetails) -> dict[str, int | None]:
    """Return, of each input of whole numbers without a scale, how many rows the table has that it holds places of."""
    tokens = [part.name for part in source.parts or (source,) if _holds_tokens(part)]
    if not tokens:
        return {}
    names = tflite_ends.input_names(model)
    rows = {names.get(tensor, source.name): count for tensor, count in vocabulary.table_rows(model).items()}
    return {name: rows.get(name) for name in tokens}


def _holds_tokens(source: TensorDetails) -> bool:
    dtype = np.dtype(_drawable(source))
    return dtype.kind in "iu" and dtype.itemsize > 1 and source.scale is None


def _range_words(name: str, rows: int | None) -> str:
    if rows is None:
        return f"'{name}' holds 0 and 1 alone, as no table says how many whole numbers it may hold"
    return f"'{name}' holds whole numbers from 0 to {rows - 1:,}, the rows of a table"


def _random(
    source: TensorDetails,
    samples: int,
    written: Contract | None,
    rows: Mapping[str, int | None],
    generator: np.random.Generator,
) -> NDArray[Any]:
    """Return random values of one input, [samples, ...]."""
    dtype, shape = np.dtype(_drawable(source)), (samples, *source.shape[1:])
    if dtype.kind == "f" and written is not None and written.no_pixels is not None:
        return generator.uniform(*written.input.value_range, shape).astype(dtype)
    if dtype.kind == "f" and written is not None:
        return written.encode(generator.integers(0, 255, shape, endpoint=True, dtype=np.uint8))
    if dtype.kind == "f":
        return generator.uniform(*_FLOAT_RANGE, shape).astype(dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    low, high = limits.min, limits.max
    if source.name in rows:
        count = rows[source.name]
        low, high = _LEAST, _GREATEST if count is None else min(max(count - 1, _LEAST), limits.max)
    return generator.integers(low, high, shape, endpoint=True).astype(dtype)


def _drawable(source: TensorDetails) -> str:
    try:
        dtype = np.dtype(source.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        raise ModelError(f"random inputs of dtype {source.dtype} are not supported", hint="Give data.")
    return dtype.name


def _drawn(count: int, samples: int, seed: int) -> NDArray[np.int64]:
    if samples >= count:
        return np.arange(count)
    chosen = np.random.default_rng(seed).choice(count, size=samples, replace=False)
    return np.sort(chosen)
