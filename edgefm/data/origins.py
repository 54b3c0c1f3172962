"""Where samples come from in what a user gave: a file of a folder, or a row of an array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Origins:
    """Where the samples of a split come from.

    Attributes:
      given: the split that they were given in: 'train' of those that edgefm cut from the training samples, too.
      rows: int64 [n], the place of each sample among those that were given in this split.
      files: of all samples that were given in it, paths relative to the data's folder; None of arrays.
    """

    given: str
    rows: NDArray[np.int64]
    files: tuple[str, ...] | None = None

    def taken(self, places: NDArray[np.int64]) -> Origins:
        """Return the origins of some of the samples, in their order."""
        return replace(self, rows=self.rows[places])

    def of(self, place: int) -> dict[str, Any]:
        """Return the origin of a sample as JSON: its file, or the row of the array that was given.

        >>> Origins(given="train", rows=np.array([4, 2])).of(1)
        {'array': 'train', 'row': 2}
        """
        row = int(self.rows[place])
        return {"array": self.given, "row": row} if self.files is None else {"file": self.files[row]}
