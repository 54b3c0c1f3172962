"""What fine-tuning made of files that were measured before it: written by `python -m benchmarks.forecast_outcomes`."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """One file before and after its training; losses in percentage points of accuracy on validation images."""

    model: str
    variant: str
    family: str
    untrained_loss: float
    loss: float
    untrained_gzip_bytes: int
    gzip_bytes: int


OUTCOMES: tuple[Outcome, ...] = ()
