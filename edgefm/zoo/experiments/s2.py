"""S2's grid of optimiser and batch size for the deeper network on principal components."""

from __future__ import annotations

from dataclasses import replace

from edgefm.zoo.documented import documented_system
from edgefm.zoo.experiments.trials import Experiment, Trial

_SYSTEM = documented_system("pca_dnn_deep")

EXPERIMENTS = (
    Experiment(
        id="s2_grid",
        document="S2",
        title="optimiser and batch size",
        reading="S2 gives the range of the four validation accuracies, not which is whose: each is held against it.",
        trials=tuple(
            Trial(
                label=f"{name}, batch {size}",
                recipe=replace(_SYSTEM.recipe, optimizer=optimizer, batch_size=size),
                claim=_SYSTEM.claim,
            )
            for optimizer, name in (("adam", "Adam"), ("rmsprop", "RMSprop"))
            for size in (32, 64)
        ),
    ),
)
