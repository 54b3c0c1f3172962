"""The optimiser of a recipe, and which weights decay."""

from __future__ import annotations

from typing import Any

import keras

from edgefm.recipes import Training

# As edgefm has always done: biases and the scales and shifts of normalisations do not decay.
_DO_NOT_DECAY = ("bias", "gamma", "beta")


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
        rate = _one_cycle(rate, warmup=int(steps * recipe.warmup_fraction), steps=steps, done=done)
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    if recipe.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=list(_DO_NOT_DECAY))
    return optimizer


def _one_cycle(rate: float, *, warmup: int, steps: int, done: int) -> Any:
    """Return what is left of a schedule of so many steps, a plain one of Keras, which loads files that hold it.

    Smith & Topin 2018, arXiv:1708.07120, with a cosine instead of a linear descent.
    """
    first = rate / 25
    if done < warmup:
        first += (rate - first) * done / warmup
    # Keras counts the descent from the end of the warm-up, which may lie before the first step.
    return keras.optimizers.schedules.CosineDecay(
        first, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup - done
    )


def l2_rates(recipe: Training, variables: list[Any]) -> list[float]:
    """Return the share of each weight that is added to its gradient: L2 of 'sgd', 0 for other optimisers."""
    rate = recipe.weight_decay if recipe.optimizer == "sgd" else 0.0
    return [0.0 if any(name in variable.name for name in _DO_NOT_DECAY) else rate for variable in variables]
