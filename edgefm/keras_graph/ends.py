"""The ends of a Keras model: its inputs by name, what it takes for them, and whether all have fixed sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import ModelError
from edgefm.keras_graph.graph import functional, packed_inputs

# What TensorFlow takes as a scope; the first one may not begin with some of these.
_NAME = re.compile(r"[A-Za-z0-9_.\\/>-]+")
_FIRST = re.compile(r"[A-Za-z0-9.]")
_FIXED = "Build the model with keras.Input of fixed sizes, e.g. (height, width, channels), and load the weights."


def input_names(model: Any) -> tuple[str, ...]:
    """Return a name for each input of a built model, in its order; () of a single input, which needs none.

    The keys of a model that takes a dictionary, else the names of its inputs.
    """
    if len(model.inputs) < 2:
        return ()
    struct = getattr(functional(model), "_inputs_struct", None)
    keys = {id(tensor): str(key) for key, tensor in struct.items()} if isinstance(struct, Mapping) else {}
    return tuple(keys.get(id(tensor), str(tensor.name)) for tensor in model.inputs)


def given_to(model: Any, samples: NDArray[Any]) -> Any:
    """Return samples [n, ...], or a structured array [n] of several inputs, as a model takes them."""
    if not joined.is_joined(samples):
        return samples
    by_name = joined.split(samples)
    return packed_inputs(model, [by_name[name] for name in input_names(model)])


def check_model_ends(model: Any, *, source: str) -> None:
    """Raise a ModelError unless a model is a graph of layers whose inputs and outputs have fixed sizes, of any rank."""
    functional(model)
    for end, tensors in (("input", model.inputs), ("output", model.outputs)):
        for tensor in tensors:
            if None in tuple(tensor.shape)[1:]:
                raise ModelError(
                    f"the {end} '{tensor.name}' of {source} has the dynamic size {tuple(tensor.shape)}; LiteRT needs "
                    "a fixed one",
                    hint=_FIXED,
                )
    for tensor in model.inputs:
        if len(tensor.shape) < 2:
            raise ModelError(
                f"the input '{tensor.name}' of {source} has shape {tuple(tensor.shape)}; [n, ...] is expected"
            )


def check_names(model: Any) -> None:
    """Raise a ModelError where TensorFlow does not take the name of a model, or of a layer in it, in its graphs."""
    check_name(model.name, f"the model '{model.name}'", first=True)
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ != "InputLayer":
            check_name(layer.name, f"the layer '{layer.name}'", first=False)
    for weight in model.weights:
        check_name(weight.path, f"the weight '{weight.path}'", first=True)


def check_name(name: str, what: str, *, first: bool) -> None:
    """Raise a ModelError unless TensorFlow takes a name; as the first of a path, if that is what it is."""
    if _NAME.fullmatch(name) and (not first or _FIRST.match(name)):
        return
    wrong = (
        "begins with none of A-Z, a-z, 0-9 and ." if _NAME.fullmatch(name) else "has others than A-Z a-z 0-9 _ . / > -"
    )
    raise ModelError(
        f"{what} has a name that TensorFlow does not take: it {wrong}",
        hint="Build the model with another name, and take over the weights: model.set_weights(given.get_weights()).",
    )
