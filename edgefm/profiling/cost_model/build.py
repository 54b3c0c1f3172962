"""Builds a cost model by measuring operators and networks on this machine."""

from __future__ import annotations

from edgefm.core.progress import SILENT, Progress
from edgefm.profiling.cost_model.model import CostModel


def build(*, runtime: str = "litert", seed: int = 0, progress: Progress = SILENT) -> CostModel:
    """Return the cost model of a runtime on one thread of this machine; takes up to three minutes."""
    raise NotImplementedError
