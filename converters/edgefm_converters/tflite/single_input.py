"""Checks that a model can become a .tflite file of one input of a fixed shape."""

from __future__ import annotations

from typing import Any

from edgefm.core.errors import ModelError

_FIXED = "Build the model with keras.Input of fixed sizes, e.g. (height, width, channels), and load the weights."


def check_single_input(model: Any, *, source: str) -> None:
    """Raise a ModelError unless a model is a graph of layers with one input of fixed size, of any rank."""
    from edgefm.keras_graph.graph import functional

    functional(model)
    if len(model.inputs) != 1:
        names = ", ".join(f"'{tensor.name}'" for tensor in model.inputs)
        raise ModelError(
            f"{source} has {len(model.inputs)} inputs ({names}); one is expected",
            hint="Put them into one tensor, and take it apart inside the model.",
        )
    check_ends(model, source=source)


def check_ends(model: Any, *, source: str) -> None:
    """Raise a ModelError unless a model's inputs and outputs have fixed sizes behind the batch."""
    inputs, outputs = model.inputs, model.outputs
    for tensor, end in (*((tensor, "input") for tensor in inputs), *((tensor, "output") for tensor in outputs)):
        if None in tuple(tensor.shape)[1:]:
            raise ModelError(
                f"the {end} of {source} has the dynamic size {tuple(tensor.shape)}; LiteRT needs a fixed one",
                hint=_FIXED,
            )
    for tensor in inputs:
        if len(tensor.shape) < 2:
            raise ModelError(f"the input of {source} has shape {tuple(tensor.shape)}; [n, ...] is expected")
