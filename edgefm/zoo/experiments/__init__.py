"""The comparisons that the documents make: one network, trained in several ways."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from edgefm.core.errors import unknown_name

if TYPE_CHECKING:
    from edgefm.zoo.experiments.trials import Experiment

# Id of an experiment -> the module whose EXPERIMENTS has it.
_MODULES = {
    "s0_augmentation": "edgefm.zoo.experiments.s0",
    "s0_regularisation": "edgefm.zoo.experiments.s0",
    "s0_k_fold": "edgefm.zoo.experiments.s0",
    "s0_grid_search": "edgefm.zoo.experiments.s0",
    "s0_random_search": "edgefm.zoo.experiments.s0",
    "s1_augmentation": "edgefm.zoo.experiments.s1",
    "s2_grid": "edgefm.zoo.experiments.s2",
    "s4_optimizer": "edgefm.zoo.experiments.s4",
    "s4_batch": "edgefm.zoo.experiments.s4",
    "s4_epochs": "edgefm.zoo.experiments.s4",
    "s4_learning_rate": "edgefm.zoo.experiments.s4",
    "s4_pooling": "edgefm.zoo.experiments.s4",
    "s4_loss": "edgefm.zoo.experiments.s4",
}


def experiment_ids() -> tuple[str, ...]:
    """Return the ids of all experiments, in the order of the documents."""
    return tuple(_MODULES)


def experiment(experiment_id: str) -> Experiment:
    """Return an experiment, or raise a RecipeError that names the nearest one."""
    if experiment_id not in _MODULES:
        raise unknown_name("experiment", experiment_id, _MODULES)
    experiments: tuple[Experiment, ...] = importlib.import_module(_MODULES[experiment_id]).EXPERIMENTS
    (found,) = (entry for entry in experiments if entry.id == experiment_id)
    return found


def experiments() -> tuple[Experiment, ...]:
    """Return all experiments."""
    return tuple(map(experiment, _MODULES))
