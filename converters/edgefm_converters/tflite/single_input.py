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
    for tensor, end in ((model.inputs[0], "input"), *((output, "output") for output in model.outputs)):
        shape = tuple(tensor.shape)
        if None in shape[1:]:
            raise ModelError(
                f"the {end} of {source} has the dynamic size {shape}; LiteRT needs a fixed one",
                hint=_FIXED,
            )
    if len(model.inputs[0].shape) < 2:
        raise ModelError(f"the input of {source} has shape {tuple(model.inputs[0].shape)}; [n, ...] is expected")
