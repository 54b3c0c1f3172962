"""Which samples a training had in its splits, by their content: what goes on from its model can tell what it learnt.

The file holds 8 bytes a sample: enough to find a sample again, too few to get anything of it back.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import artefacts
from edgefm.core.errors import RunError
from edgefm.core.given import npz
from edgefm.data.dataset import Dataset, digest

FILE = "splits.npz"
_BYTES = 8
_SHAPE = "sample_shape"


@dataclass(frozen=True, kw_only=True)
class SplitRecord:
    """The samples of each split, at the size at which they were learnt.

    Attributes:
      digests: uint64 [n] of 'train', 'validation' and 'test'.
      shape: of a sample; records of other shapes cannot be compared.
    """

    digests: Mapping[str, NDArray[np.uint64]]
    shape: tuple[int, ...]

    def shared(self, split: str, other: NDArray[np.uint64]) -> int:
        """Return how many samples of a split are among others."""
        return int(np.isin(self.digests[split], other).sum())


def record_of(dataset: Dataset) -> SplitRecord:
    """Return the record of a data set."""
    digests = {
        split.name: np.frombuffer(b"".join(digest(sample)[:_BYTES] for sample in split.images), "<u8").astype(np.uint64)
        for split in dataset.splits
    }
    return SplitRecord(digests=digests, shape=tuple(map(int, dataset.train.images.shape[1:])))


def write(folder: Path, dataset: Dataset) -> None:
    """Write the record of a training's data into the folder of its step."""
    record, content = record_of(dataset), io.BytesIO()
    arrays: dict[str, Any] = {**record.digests, _SHAPE: np.array(record.shape, np.int64)}
    np.savez(content, **arrays)
    artefacts.write_bytes(folder / FILE, content.getvalue())


def read(folder: Path) -> SplitRecord | None:
    """Return the record in the folder of a training; None where an older edgefm wrote none, or it is damaged."""
    names = ("train", "validation", "test")
    try:
        values = npz.read(folder / FILE, RunError, missing=f"no record of samples in {folder}")
    except RunError:
        return None
    if any(name not in values or values[name].dtype != np.uint64 or values[name].ndim != 1 for name in names):
        return None
    shape = values.get(_SHAPE)
    if shape is None or shape.dtype != np.int64 or shape.ndim != 1:
        return None
    return SplitRecord(digests={name: values[name] for name in names}, shape=tuple(shape.tolist()))
