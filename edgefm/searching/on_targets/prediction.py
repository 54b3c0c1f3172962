"""What predicts the p50 of files, here and on targets: cost models, kept in the search's folder.

A target is needed at the beginning, when its operators are measured; trials time nothing, and go on without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefm import targets
from edgefm.core import artefacts
from edgefm.core.errors import ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.profiling.cost_model.build import build, measurable
from edgefm.profiling.cost_model.kept import kept_at, of_this_machine
from edgefm.profiling.cost_model.model import CostModel, CostModelError, LatencyForecast
from edgefm.runtimes.base import Unavailable
from edgefm.searching.budget import SearchBudget, on_target, targets_of
from edgefm.searching.journal import SearchError
from edgefm.targets.base import TargetError

COST_MODEL_FILE, COST_MODELS_FOLDER = "cost-model.json", "cost-models"
# What a rough cost model is built from, and the factor by which its intervals are widened.
_ROUGHLY: Mapping[str, Any] = {"share": 0.05, "network_count": 4}
_ROUGH_SLACK = 1.25


@dataclass(frozen=True, kw_only=True)
class PredictedLatency:
    """Predicts the p50 of a file.

    Attributes:
      model: that predicts.
      slack: factor by which its intervals are widened, either way.
    """

    model: CostModel
    slack: float = 1.0

    def __call__(self, content: bytes) -> LatencyForecast:
        """Return the prediction for a file's content, with its interval."""
        told = self.model.latency(content)
        return replace(told, low_ns=told.low_ns / self.slack, high_ns=told.high_ns * self.slack)


def of_host(folder: Path, *, progress: Progress = SILENT) -> PredictedLatency:
    """Return what predicts p50 on this machine: one cost model for the whole search, kept with it."""
    path = folder / COST_MODEL_FILE
    if path.exists():
        model = CostModel.load(path)
    else:
        model = of_this_machine(progress=progress)
        artefacts.write_json(path, model.to_json())
    return PredictedLatency(model=model)


def roughly(
    folder: Path, budgets: Sequence[SearchBudget], *, progress: Progress = SILENT
) -> tuple[PredictedLatency | None, Mapping[str, PredictedLatency]]:
    """Return what predicts p50 within seconds, in wide intervals: from a twentieth of the operators.

    For what budgets limit and the folder, or this machine, keeps no whole cost model of.

    Args:
      folder: of the search.
      budgets: of the search.
      progress: receives a step a turn.
    Returns:
      What predicts it here, or None; and on targets, by the name of the figure.
    Raises:
      SearchError: a target went away.
    """
    here = None
    limited = {budget.figure(key) for budget in budgets for key in budget.limits}
    if limited & {"p50_us", "p50_ratio"} and not ((folder / COST_MODEL_FILE).exists() or kept_at().is_file()):
        progress.note("forecast: a few operators are measured, for p50 limits that nothing can keep")
        here = PredictedLatency(model=build(**_ROUGHLY, progress=progress), slack=_ROUGH_SLACK)
    unknown = [address for address in targets_of(budgets) if not _kept_at(folder, address).exists()]
    return here, {
        on_target(address): PredictedLatency(model=_measured(address, progress, **_ROUGHLY), slack=_ROUGH_SLACK)
        for address in unknown
    }


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
    model = _measured(address, progress)
    for reason in model.disturbed:
        progress.note(f"the cost model of {address} was disturbed: {reason}")
    artefacts.write_json(path, model.to_json())
    return model


def _measured(address: str, progress: Progress, **sizes: Any) -> CostModel:
    """Return the cost model of a target, measured now; `sizes` as `build` takes them."""
    try:
        return build(runtime=measurable(address).runtimes[0], target=address, progress=progress, **sizes)
    except (TargetError, ModelError) as error:
        raise SearchError(
            f"the operators of {address} could not be measured: {error.message}",
            hint="Connect it, and resume the search: they are measured at the beginning.",
        ) from error


def _kept_at(folder: Path, address: str) -> Path:
    """Return where the cost model of a target lies in a search's folder."""
    return folder / COST_MODELS_FOLDER / f"{artefacts.sha256_bytes(address.encode())[:16]}.json"
