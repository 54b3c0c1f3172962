"""The inputs of a Keras model by name, and arrays or tensors for them as the model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.keras_graph.graph import functional, packed_inputs


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
