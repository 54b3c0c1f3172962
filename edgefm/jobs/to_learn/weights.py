"""Weights that a training begins with: pretrained ones, taken over into its model, and those that stay as they are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgefm.core import artefacts
from edgefm.core.errors import ModelError
from edgefm.core.progress import Progress, stated
from edgefm.core.text import few
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
    _check_names(model, names, frozen=bool(recipe.frozen_epochs), source=path.name)
    progress.note(f"{len(names)} layers begin with the weights of {path.name}, up to '{names[-1]}'; the rest is new")
    # What its user froze in a model of their own never learns: it is not let go with the others.
    learning = {layer.name for layer in model._flatten_layers(include_self=False) if layer.trainable}
    return tuple(name for name in names if name in learning) if recipe.frozen_epochs else ()


def _check_names(model: Any, names: Sequence[str], *, frozen: bool, source: str) -> None:
    """Raise a ModelError where layers that begin with pretrained weights cannot be told apart by their names."""
    called = Counter(names)
    if frozen:  # by the name; a new layer of the same one would be frozen in its place
        called = Counter(layer.name for layer in model._flatten_layers(include_self=False) if layer.name in called)
    if shared := [name for name, count in called.items() if count > 1]:
        raise ModelError(
            f"several layers of '{model.name}' share a name, {few(shared)}: which of them the weights of {source} are "
            "for cannot be told",
            hint="Give the layers around a nested model names of their own: keras.layers.Dense(..., name='head').",
        )


def check_learns(model: Any, *, source: str, progress: Progress) -> None:
    """Note which layers of a user's own model are frozen: they stay so.

    Raises:
      ModelError: nothing in it would learn.
    """
    learning = {id(weight) for weight in model.trainable_weights}
    layers = [layer for layer in model._flatten_layers(include_self=False) if layer._trainable_variables]
    frozen = [
        layer.name for layer in layers if all(id(weight) not in learning for weight in layer._trainable_variables)
    ]
    if not layers:
        raise ModelError(
            f"{source} has no weights that could learn", hint="Give it a layer such as keras.layers.Dense."
        )
    if not learning:
        raise ModelError(
            f"all layers of {source} are frozen, {few(frozen)}: nothing would learn",
            hint="Let them learn before the model is given: model.trainable = True, or layer.trainable = True of some.",
        )
    if frozen:
        count = sum(math.prod(weight.shape) for weight in model.trainable_weights)
        progress.note(
            f"{len(frozen)} of {len(layers)} layers with weights are frozen in {source} and stay so: {few(frozen)}; "
            f"{count:,} of {model.count_params():,} parameters learn"
        )


def sha256_of_pretrained(recipe: Training) -> dict[str, str]:
    """Return the sha256 of the pretrained weights of a recipe, by what they are to the training."""
    return {} if recipe.pretrained is None else {"pretrained": artefacts.sha256_file(Path(recipe.pretrained))}
