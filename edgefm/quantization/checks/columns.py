"""How each column of a file's outputs compares with the given model's: its error and the levels left in it.

A column is one value of a vector, one channel of a map: [n, c] and [n, h, w, c] have c columns. An error over all
columns hides one that is lost beside larger ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Values of a column that are looked at for distinct levels.
_ROWS = 100_000
# Of a column's greatest value: float32 sums in another order differ by less.
ROUNDING = 1e-5


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of an output, compared.

    Attributes:
      output: place of the output.
      column: place of the column in it.
      label: of the class, '' without.
      max_abs_difference: greatest difference from the given model.
      relative_error: root mean square of the difference over the standard deviation of the given model's values;
        about 1 where nothing of them is left; None where they do not vary.
      levels: distinct values of the file.
      given_levels: distinct values of the given model, rounded to 1e-6 of its range and to 1e-5 of its greatest value.
      spread: greatest minus least value of the given model.
    """

    output: int
    column: int
    label: str
    max_abs_difference: float
    relative_error: float | None
    levels: int
    given_levels: int
    spread: float

    def __str__(self) -> str:
        name = f" ('{self.label}')" if self.label else ""
        return f"output {self.output}, column {self.column}{name}"

    def to_json(self) -> dict[str, Any]:
        """Return the column as a JSON object."""
        return asdict(self)


def columns(
    given: Sequence[NDArray[np.float32]], outputs: Sequence[NDArray[np.float32]], *, labels: Sequence[str] = ()
) -> list[Column]:
    """Return all columns of all outputs, compared.

    Args:
      given: the given model's outputs, float32 [n, ...] each.
      outputs: the file's, of the same shapes.
      labels: of the first output's columns.

    >>> wanted = np.linspace(0, 1, 64, dtype=np.float32).reshape(-1, 1)
    >>> kept, lost = columns([np.hstack([wanted, wanted])], [np.hstack([wanted, np.round(wanted)])])
    >>> kept.levels, lost.levels, round(lost.relative_error, 2)
    (64, 2, 0.99)
    """
    compared = []
    for place, (wanted, answer) in enumerate(zip(given, outputs, strict=True)):
        named = labels if place == 0 else ()
        for index, (before, after) in enumerate(zip(by_column(wanted), by_column(answer), strict=True)):
            compared.append(
                _compared(place, index, named[index] if index < len(named) else "", before=before, after=after)
            )
    return compared


def by_column(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an output [n, ..., c] as [c, rows]; [n] has one column."""
    rows = output.reshape(len(output), 1) if output.ndim < 2 else output.reshape(-1, output.shape[-1])
    return rows.T


def worst(compared: Sequence[Column]) -> Column | None:
    """Return the column with the greatest relative error, or None without any."""
    return max(compared, key=lambda column: column.relative_error or 0.0, default=None)


def _compared(place: int, index: int, label: str, *, before: NDArray[np.float32], after: NDArray[np.float32]) -> Column:
    difference = after.astype(np.float64) - before
    spread = float(before.std(dtype=np.float64))
    step = max(1, len(before) // _ROWS)
    resolution = max(float(np.ptp(before)) * 1e-6, float(np.abs(before).max()) * ROUNDING)
    rounded = np.round(before[::step] / resolution) if resolution > 0 else np.zeros(1)
    return Column(
        output=place,
        column=index,
        label=label,
        max_abs_difference=float(np.abs(difference).max()),
        relative_error=float(np.sqrt(np.square(difference).mean()) / spread) if spread > 0 else None,
        levels=len(np.unique(after[::step])),
        given_levels=len(np.unique(rounded)),
        spread=float(np.ptp(before)),
    )
