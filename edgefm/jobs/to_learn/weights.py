"""Pretrained weights of a recipe, taken over into the model that is to be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.progress import Progress, stated
from edgefm.recipes import Training


def take_over_pretrained(model: Any, recipe: Training, progress: Progress) -> tuple[str, ...]:
    """Set a model's backbone to the pretrained weights of a recipe; return the names of the layers frozen at first."""
    if recipe.pretrained is None:
        return ()
    from edgefm.keras_graph.pretrained import take_over
    from edgefm_converters.readers.weights_file import read_weights

    path = Path(recipe.pretrained)
    with stated(progress, f"reading {path.name}"):
        names = take_over(model, read_weights(path), source=str(path))
    progress.note(f"{len(names)} layers begin with the weights of {path.name}, up to '{names[-1]}'; the rest is new")
    # What its user froze in a model of their own never learns: it is not let go with the others.
    learning = {layer.name for layer in model._flatten_layers(include_self=False) if layer.trainable}
    return tuple(name for name in names if name in learning) if recipe.frozen_epochs else ()


def sha256_of_pretrained(recipe: Training) -> dict[str, str]:
    """Return the sha256 of the pretrained weights of a recipe, by what they are to the training."""
    return {} if recipe.pretrained is None else {"pretrained": artefacts.sha256_file(Path(recipe.pretrained))}
