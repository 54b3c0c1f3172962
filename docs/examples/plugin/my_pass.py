"""The pass `round`: weights keep a few binary digits, so that the file compresses better."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from edgefm.compression.fine_tuning.task import PassResult
from edgefm.recipes import FineTuning, Pass


@dataclass(frozen=True, kw_only=True)
class Round(Pass):
    """Recipe: how many digits of each weight stay."""

    kind: ClassVar[str] = "round"  # in JSON, and the name of the entry point
    place: ClassVar[int] = 25  # in the order of passes: between pruning (20) and clustering (30)
    description: ClassVar[str] = "weights rounded"  # in tables
    digits: int = 3
    fine_tuning: FineTuning = field(default_factory=lambda: FineTuning(epochs=0))


RECIPE = Round


def run(model, recipe: Round, task, *, seed, teacher=None, progress=None):
    """Return a new model with rounded weights; facts: how many different ones each layer has."""
    import keras

    rounded = keras.models.clone_model(model)
    rounded.set_weights([_rounded(array, recipe.digits) for array in model.get_weights()])
    layers = [layer for layer in rounded.layers if layer.weights]
    levels = {layer.name: len(np.unique(layer.get_weights()[0])) for layer in layers}
    return PassResult(model=rounded, facts={"levels": levels})


def _rounded(array, digits):
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(mantissa * 2**digits) / 2**digits, exponent)
