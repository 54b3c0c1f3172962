"""What a reproduction trains: systems and the trials of experiments, each with its recipe and its claim."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgefm.core.arguments import check_items
from edgefm.core.errors import RecipeError, unknown_name
from edgefm.recipes import Training
from edgefm.zoo.catalogue import Claim
from edgefm.zoo.documented import documented_system, documented_systems, system_ids
from edgefm.zoo.documented.system import DocumentedSystem
from edgefm.zoo.experiments import experiment, experiment_ids
from edgefm.zoo.experiments.trials import Trial


@dataclass(frozen=True, kw_only=True)
class PlannedTraining:
    """One row of a reproduction.

    Attributes:
      key: its folder, e.g. 'tiny_vgg' or 's4_batch/batch-8'; trials that are trained as a system is have the system's.
      label: as tables name it.
      recipe: the training, shortened where that was asked for; its seed is set for each run.
      stated_epochs: of the document.
      claim: what is claimed of it.
      doubt: why that is not credible; '' where it may be true.
      searched: it is one of several of which one is chosen: no test figure of its own.
      folds: of a cross-validation, which trains once for each and has no test figure; None of a plain training.
    """

    key: str
    label: str
    recipe: Training
    stated_epochs: int
    claim: Claim
    doubt: str = ""
    searched: bool = False
    folds: int | None = None

    @property
    def epochs(self) -> int:
        """Epochs of one seed, over all folds."""
        return self.recipe.epochs * (self.folds or 1)

    @property
    def shortened(self) -> str:
        """Say that fewer epochs are trained than the document states; '' where they are not."""
        if self.recipe.epochs == self.stated_epochs:
            return ""
        return f"shortened: {self.recipe.epochs} of {self.stated_epochs} epochs"


def checked_ids(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return ids of systems and experiments, each once; None stands for all systems.

    Raises:
      ArgumentError: of another type.
      RecipeError: one is unknown, or the list is empty.
    """
    if given is None:
        return system_ids()
    names = [given] if isinstance(given, str) else given
    check_items(names, "systems", str, "the id of a documented system or experiment")
    if not names:
        raise RecipeError("no system was named", hint="Leave it out for all systems, see: edgefm zoo list")
    by_model = _by_model()
    ids = [by_model.get(name, name) for name in names]
    for name in ids:
        if name not in system_ids() and name not in experiment_ids():
            raise unknown_name("documented system or experiment", name, (*system_ids(), *experiment_ids()))
    return tuple(dict.fromkeys(ids))


def known_ids() -> tuple[str, ...]:
    """Return all names that `checked_ids` takes: of systems, of their architectures, and of experiments."""
    return tuple(dict.fromkeys((*system_ids(), *_by_model(), *experiment_ids())))


def _by_model() -> dict[str, str]:
    return {system.recipe.model: system.id for system in documented_systems()}


def document_of(name: str) -> str:
    """Return the document of a system or an experiment, e.g. 'S2'."""
    return documented_system(name).document if name in system_ids() else experiment(name).document


def planned(ids: Sequence[str], *, epochs: int | None) -> tuple[PlannedTraining, ...]:
    """Return what these systems and experiments train, with at most `epochs` epochs each."""
    rows: list[PlannedTraining] = []
    for name in ids:
        rows += [planned_system(name, epochs)] if name in system_ids() else planned_trials(name, epochs)
    return tuple(rows)


def planned_system(system_id: str, epochs: int | None) -> PlannedTraining:
    """Return what a documented system trains."""
    system = documented_system(system_id)
    return PlannedTraining(
        key=system.id,
        label=system.id,
        recipe=_short(system.recipe, epochs),
        stated_epochs=system.recipe.epochs,
        claim=system.claim,
        doubt=system.doubt,
    )


def planned_trials(experiment_id: str, epochs: int | None) -> list[PlannedTraining]:
    """Return what the trials of an experiment train."""
    entry = experiment(experiment_id)
    same = {} if entry.search else {system.recipe.model: system for system in documented_systems()}
    return [
        PlannedTraining(
            key=_key(entry.id, trial, same.get(trial.recipe.model)),
            label=trial.label,
            recipe=_short(trial.recipe, epochs),
            stated_epochs=trial.recipe.epochs,
            claim=trial.claim,
            doubt=trial.doubt,
            searched=entry.search,
            folds=trial.folds,
        )
        for trial in entry.trials
    ]


def _key(experiment_id: str, trial: Trial, system: DocumentedSystem | None) -> str:
    if system is not None and trial.recipe == system.recipe and trial.folds is None:
        return system.id
    return f"{experiment_id}/{re.sub('[^a-z0-9.]+', '-', trial.label.lower()).strip('-')}"


def _short(recipe: Training, epochs: int | None) -> Training:
    return recipe if epochs is None else replace(recipe, epochs=min(epochs, recipe.epochs))
