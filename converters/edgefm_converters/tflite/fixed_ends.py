"""Checks that a model can become a .tflite file: inputs and outputs of fixed shapes."""

from __future__ import annotations

from typing import Any

from edgefm.core.errors import ModelError

_FIXED = "Build the model with keras.Input of fixed sizes, e.g. (height, width, channels), and load the weights."


def check_model_ends(model: Any, *, source: str) -> None:
    """Raise a ModelError unless a model is a graph of layers whose inputs and outputs have fixed sizes, of any rank."""
    from edgefm.keras_graph.graph import functional

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
