"""The optimiser of a recipe, and which weights decay."""

from __future__ import annotations

from typing import Any

import keras

from edgefm.recipes import Training

# As edgefm has always done: biases and the scales and shifts of normalisations do not decay.
_DO_NOT_DECAY = ("bias", "gamma", "beta")


@keras.saving.register_keras_serializable(package="edgefm")
class Later(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule whose first step is not its own: of an optimiser that begins anew within a training."""

    def __init__(self, schedule: Any, done: int) -> None:
        """Take a schedule of which so many steps are done."""
        self._schedule, self._done = schedule, done

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, counted from the optimiser's first."""
        return self._schedule(step + self._done)

    def get_config(self) -> dict[str, Any]:
        """Return what it is made of."""
        return {"schedule": keras.saving.serialize_keras_object(self._schedule), "done": self._done}


def optimizer_of(recipe: Training, *, steps: int, done: int = 0) -> Any:
    """Return a new keras optimiser.

    Its moments are 0, so it counts its own steps from 0: what corrects their bias reads the number.

    Args:
      recipe: names it and its rates.
      steps: of all epochs together.
      done: steps of the schedule that another optimiser has made.
    """
    rate: Any = recipe.learning_rate
    if recipe.schedule == "one_cycle":
        warmup = int(steps * recipe.warmup_fraction)
        # Smith & Topin 2018, arXiv:1708.07120, with a cosine instead of a linear descent.
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 25, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
        )
        rate = Later(rate, done) if done else rate
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    if recipe.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=list(_DO_NOT_DECAY))
    return optimizer


def l2_rates(recipe: Training, variables: list[Any]) -> list[float]:
    """Return the share of each weight that is added to its gradient: L2 of 'sgd', 0 for other optimisers."""
    rate = recipe.weight_decay if recipe.optimizer == "sgd" else 0.0
    return [0.0 if any(name in variable.name for name in _DO_NOT_DECAY) else rate for variable in variables]
