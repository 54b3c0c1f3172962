"""Recurrent layers written out step by step: GRU, LSTM and their like as a chain of ordinary operators.

Keras runs a recurrent layer as a loop, and TFLite's loops are graphs of their own, which no quantiser enters. Over a
fixed number of steps the loop can be written out: the weights are the same tensors, the values are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from edgefm.core.errors import ModelError
from edgefm.keras_graph.graph import Call, Graph, call_copy

# Steps of all recurrent layers together; each is some ten operators, and a second of conversion at a hundred steps.
MOST_STEPS = 600
_OPTION = "unroll"


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """A recurrent layer of a model.

    Attributes:
      layer: its name.
      kind: its class.
      steps: that its loop takes; None where the length of its input is not fixed.
      stateful: it keeps its state from call to call.
    """

    layer: str
    kind: str
    steps: int | None
    stateful: bool


def recurrent_layers(model: Any) -> tuple[Recurrent, ...]:
    """Return the layers of a model that loop over the steps of their input, in the order of the graph."""
    return tuple(_recurrent(call) for call in Graph(model).calls if _loops(call.layer))


def unrolled(model: Any) -> Any:
    """Return a model whose recurrent layers are written out; the model itself where it has none.

    Args:
      model: built Functional or Sequential model; it is not changed. Layers keep their names and weights.
    Raises:
      ModelError: a length that is not fixed, a layer that keeps its state between calls, or more than MOST_STEPS steps.
    """
    found = recurrent_layers(model)
    if not found:
        return model
    check(found)
    copies: dict[int, Any] = {}

    def call_with(call: Call, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        config = _written_out(call.layer.get_config()) if _loops(call.layer) else None
        return call_copy(call, args, kwargs, copies=copies, config=config)

    return Graph(model).rebuild(call_with)


def check(found: tuple[Recurrent, ...]) -> None:
    """Raise a ModelError where recurrent layers cannot be written out; it names the layer and the way out."""
    for entry in found:
        what = f"the layer '{entry.layer}' ({entry.kind})"
        if entry.stateful:
            raise ModelError(
                f"{what} keeps its state between calls (stateful=True), which a .tflite file of edgefm does not",
                hint="Build it with stateful=False; or make the state an input and an output of the model.",
            )
        if entry.steps is None:
            raise ModelError(
                f"{what} takes any number of steps; a .tflite file needs a fixed one",
                hint="Build the model with keras.Input((steps, features)), and load the weights.",
            )
    steps = sum(entry.steps or 0 for entry in found)
    if steps > MOST_STEPS:
        names = ", ".join(f"'{entry.layer}' {entry.steps}" for entry in found)
        raise ModelError(
            f"the recurrent layers take {steps:,} steps together ({names}); they are written out step by step, and "
            f"{MOST_STEPS:,} are allowed",
            hint="Shorten the sequence before them, e.g. with a Conv1D or AveragePooling1D of a larger stride.",
        )


def _recurrent(call: Call) -> Recurrent:
    shape = call.input_shape
    inner = [part for part in _parts(call.layer.get_config()) if _OPTION in part]
    steps = shape[1] if len(shape) > 2 else None
    return Recurrent(
        layer=call.name,
        kind=type(call.layer).__name__,
        steps=None if steps is None else steps * max(1, len(inner) if _is_bidirectional(call.layer) else 1),
        stateful=any(bool(part.get("stateful")) for part in inner),
    )


def _is_bidirectional(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Bidirectional)


def _loops(layer: Any) -> bool:
    """Return whether a layer, or one within it, has the option to be written out."""
    return isinstance(layer, keras.Layer) and any(_OPTION in part for part in _parts(layer.get_config()))


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yield a configuration and all those within it."""
    if isinstance(config, dict):
        yield config
        for value in config.values():
            yield from _parts(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _parts(value)


def _written_out(config: Any) -> Any:
    """Return a configuration in which every loop is written out."""
    if isinstance(config, dict):
        return {key: True if key == _OPTION else _written_out(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_written_out(value) for value in config)
    return config
