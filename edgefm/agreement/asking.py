"""How a cell is asked: a fresh worker process on its target."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgefm import runtimes, targets
from edgefm.agreement.cells import Cell
from edgefm.agreement.comparison import Outputs
from edgefm.benchmarking import answers
from edgefm.errors import EdgefmError

# Targets whose workers run under this Python: its modules tell the version without another process.
_DRIVEN_FROM_HERE = ("host", "browser", "cortex-m")


def ask(cell: Cell, model: Path, inputs: NDArray[Any]) -> Outputs:
    """Return a model's outputs in a cell, [n, ...] each in its own dtype.

    Raises:
      EdgefmError: the runtime or the target is not there, or the model crashed, hung or was refused.
    """
    return answers.raw_outputs(model, inputs, runtime=cell.runtime, target=targets.target(cell.target))


def version(cell: Cell, model: Path) -> str | None:
    """Return the version of a cell's runtime as it tells it there, or None where it does not."""
    kind = cell.target.partition(":")[0]
    try:
        if kind in _DRIVEN_FROM_HERE and runtimes.interpreter_of(cell.runtime) is None:
            return runtimes.runtime(cell.runtime).version()
        with (
            tempfile.TemporaryDirectory(prefix="edgefm-agree-") as folder,
            targets.target(cell.target).open(cell.runtime) as place,
            answers.loaded(model, place=place, folder=Path(folder), runtime=cell.runtime) as (_, told),
        ):
            return str(told["version"])
    except (EdgefmError, OSError, ImportError):
        return None
