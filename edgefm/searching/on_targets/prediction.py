"""What predicts the p50 of files, here and on targets: cost models, kept in the search's folder.

A target is needed at the beginning, when its operators are measured; trials time nothing, and go on without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefm import targets
from edgefm.core import artefacts
from edgefm.core.errors import ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.profiling.cost_model.build import build, measurable
from edgefm.profiling.cost_model.kept import of_this_machine
from edgefm.profiling.cost_model.model import CostModel, CostModelError, LatencyForecast
from edgefm.runtimes.base import Unavailable
from edgefm.searching.budget import on_target
from edgefm.searching.journal import SearchError
from edgefm.targets.base import TargetError

COST_MODEL_FILE, COST_MODELS_FOLDER = "cost-model.json", "cost-models"


@dataclass(frozen=True, kw_only=True)
class PredictedLatency:
    """Predicts the p50 of a file."""

    model: CostModel

    def __call__(self, content: bytes) -> LatencyForecast:
        """Return the prediction for a file's content, with its interval."""
        return self.model.latency(content)


def of_host(folder: Path, *, progress: Progress = SILENT) -> PredictedLatency:
    """Return what predicts p50 on this machine: one cost model for the whole search, kept with it."""
    path = folder / COST_MODEL_FILE
    if path.exists():
        model = CostModel.load(path)
    else:
        model = of_this_machine(progress=progress)
        artefacts.write_json(path, model.to_json())
    return PredictedLatency(model=model)


def check_reachable(folder: Path, addresses: Sequence[str]) -> None:
    """Raise a SearchError where a target cannot be reached, and the folder holds no cost model of it."""
    for address in addresses:
        usable = targets.target(address).availability()
        if isinstance(usable, Unavailable) and not _kept_at(folder, address).exists():
            raise SearchError(
                f"the target {address} cannot be reached: {usable.reason}",
                hint="Its operators are measured at the beginning: connect it. Once they are, trials need it no more.",
            )


def of_targets(
    folder: Path, addresses: Sequence[str], *, progress: Progress = SILENT
) -> Mapping[str, PredictedLatency]:
    """Return what predicts p50 on targets, by the name of the figure; cost models are built where none is kept.

    Args:
      folder: of the search.
      addresses: of the targets.
      progress: receives a step a turn where one is built.
    Raises:
      SearchError: a target went away before its operators were measured.
      CostModelError: a cost model that is kept is damaged, or of another target.
    """
    return {on_target(address): PredictedLatency(model=_of(folder, address, progress)) for address in addresses}


def _of(folder: Path, address: str, progress: Progress) -> CostModel:
    path = _kept_at(folder, address)
    if path.exists():
        model = CostModel.load(path)
        if model.target != address:
            raise CostModelError(f"{path} is of {model.target}, not of {address}", hint="Remove it: it is built again.")
        return model
    progress.note(f"building the cost model of {address}: some minutes, once; nothing else should run there")
    try:
        runtime = measurable(address).runtimes[0]
        model = build(runtime=runtime, target=address, progress=progress)
    except (TargetError, ModelError) as error:
        raise SearchError(
            f"the operators of {address} could not be measured: {error.message}",
            hint="Connect it, and resume the search: they are measured at the beginning.",
        ) from error
    for reason in model.disturbed:
        progress.note(f"the cost model of {address} was disturbed: {reason}")
    artefacts.write_json(path, model.to_json())
    return model


def _kept_at(folder: Path, address: str) -> Path:
    """Return where the cost model of a target lies in a search's folder."""
    return folder / COST_MODELS_FOLDER / f"{artefacts.sha256_bytes(address.encode())[:16]}.json"
