"""How a cell is asked: a fresh worker process on its target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgefm import targets
from edgefm.agreement.cells import AgreementCell
from edgefm.agreement.comparison import Outputs
from edgefm.targets import raw_outputs as answers


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a cell gives.

    Attributes:
      outputs: [n, ...] each in its own dtype.
      version: of the runtime, as the worker there tells it; None where it does not.
    """

    outputs: Outputs
    version: str | None = None


def ask(cell: AgreementCell, model: Path, inputs: NDArray[Any]) -> Answers:
    """Return a model's outputs in a cell, and the version of the runtime that gave them.

    Raises:
      EdgefmError: the runtime or the target is not there, or the model crashed, hung or was refused.
    """
    loaded: dict[str, Any] = {}
    outputs = answers.raw_outputs(
        model, inputs, runtime=cell.runtime, target=targets.target(cell.target), on_loaded=loaded.update
    )
    version = loaded.get("version")
    return Answers(outputs=outputs, version=str(version) if version else None)
