"""Whether a model scales pixels itself, found by running all that comes before its first trained layers.

That may be operations, such as `x / 127.5 - 1` and what the `preprocess_input` of keras.applications does, layers
without trained weights (Normalization, Lambda, layers of the user's own), resizing, and models nested in the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from edgefm.keras_graph.graph import Call, Graph, is_graph
from edgefm.keras_graph.inference import does_nothing

# Pictures of one level each: those of 0 to 1, and of pixels. Two more are of many levels, and 255 times as bright.
_LEVELS = (0.0, 0.5, 1.0, 128.0, 255.0)
_OF_UNIT = 3
# Pixels are divided by 57 or more (the deviations of ImageNet's), or their middle is taken off; values of 0 to 1 never.
_LEAST_DEVIATION, _LEAST_MEAN = 10.0, 2.0
# What gives pixels hardly more than values of 0 to 1 cuts them off: it is for the latter.
_LARGEST_GAIN = 4.0
_TOLERANCE = 0.02  # of bfloat16
# They have weights, and are run all the same.
_NORMALISING = (
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.Normalization,
)
# Layers of Keras that may scale among much else, and layers of it that run the code of others.
_SCALING = (layers.Lambda, layers.Normalization, layers.Rescaling)
_OF_OTHERS = ("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper")


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a model does to pixels before it learns from them.

    Attributes:
      scales: it scales them as only pixels 0 to 255 are scaled; None where that cannot be told.
      why: where that cannot be told the reason, in words.
    """

    scales: bool | None
    why: str = ""


def beginning_of(model: Any) -> Beginning:
    """Return whether a model of one input begins by scaling pixels.

    Layers that work in training alone are passed over. A layer of the user's own with trained weights, or one whose
    answers to pixels and to values of 0 to 1 are both no scaling, leaves it open where nothing before it scales.
    """
    given = model.inputs[0]
    if "int" in str(given.dtype):
        return Beginning(scales=True)
    shape = (1, *given.shape[1:])
    varied = np.random.default_rng(0).uniform(0.05, 1, shape)
    pictures = [*(np.full(shape, level) for level in _LEVELS), varied, 255 * varied]
    found, _ = _walked(model, [[ops.convert_to_tensor(picture, dtype=given.dtype) for picture in pictures]])
    scaling = [beginning for beginning in found if beginning.scales]
    open_ = [beginning for beginning in found if beginning.scales is None]
    return (scaling or open_ or found or [Beginning(scales=False)])[0]


def is_of_pixels(offset: Any, scale: Any) -> bool:
    """Return whether scale * x + offset is a scaling of pixels, by the deviation or the mean of any of its values.

    >>> is_of_pixels(0, 1 / 255), is_of_pixels(-103.9, 1), is_of_pixels(-1, 2)
    (True, True, False)
    """
    offset, scale = np.asarray(offset, np.float64), np.asarray(scale, np.float64)
    scale = np.where(scale == 0, np.nan, scale)
    with np.errstate(divide="ignore", invalid="ignore"):
        return bool((1 / np.abs(scale) > _LEAST_DEVIATION).any() or (-offset / scale > _LEAST_MEAN).any())


def _walked(model: Any, pictures: Sequence[Sequence[Any]]) -> tuple[list[Beginning], list[Sequence[Any] | None]]:
    """Return what decides in a model, and its answers, None of those behind trained layers.

    Args:
      model: Functional or Sequential.
      pictures: for each of its inputs the values that it gets.
    """
    graph = Graph(model, for_reading=True)
    known = {id(given): list(values) for given, values in zip(model.inputs, pictures, strict=True)}
    found: list[Beginning] = []
    for call in graph.calls:
        if not call.inputs or not all(tensor in known for tensor in call.inputs):
            continue
        if does_nothing(call):
            known[call.outputs[0]] = known[call.inputs[0]]
            continue
        name = f"'{call.name}' ({type(call.layer).__name__})"
        answers: list[Sequence[Any] | None]
        if is_graph(call.layer):  # called several times
            within, answers = _walked(call.layer, [known[tensor] for tensor in call.inputs])
            found += within
        elif not _is_run(call.layer):
            if _may_scale(call.layer):
                scales, why = None, f"its layer {name} may do that"
            else:
                scales, why = _judged(known[call.inputs[0]]), f"what comes before {name} follows no straight line"
            found.append(Beginning(scales=scales, why="" if scales is not None else why))
            continue
        else:
            try:
                answers = _answers(graph, call, known)
            except Exception as error:  # whatever a layer of the user's own raises
                found.append(Beginning(scales=None, why=f"its layer {name} raised {type(error).__name__}: {error}"))
                continue
        if any(answer is not None and _judged(answer) for answer in answers):
            found.append(Beginning(scales=True))
            break
        known |= {out: list(answer) for out, answer in zip(call.outputs, answers, strict=True) if answer is not None}
    return found, [known.get(output) for output in graph.outputs]


def _answers(graph: Graph, call: Call, known: Mapping[int, Sequence[Any]]) -> list[Sequence[Any] | None]:
    """Return what a call gives, for each of its outputs."""
    of_pictures = []
    for place in range(len(known[call.inputs[0]])):
        taken = {id(tensor): known[graph.root(id(tensor))][place] for tensor in call.arguments.keras_tensors}
        args, kwargs = call.arguments.fill_in(taken)
        of_pictures.append(keras.tree.flatten(call.layer(*args, **kwargs)))
    return [list(answers) for answers in zip(*of_pictures, strict=True)]


def _is_run(layer: Any) -> bool:
    """Return whether a layer is looked through: it has learnt nothing, or normalises."""
    if not isinstance(layer, keras.Layer) or type(layer) in _NORMALISING:
        return True
    if type(layer).__name__ in _OF_OTHERS:
        return False
    return not any(part._trainable_variables for part in layer._flatten_layers())


def _may_scale(layer: Any) -> bool:
    """Return whether a layer with weights may scale what it takes: it is no layer of Keras, or has such ones in it."""
    return any(
        not type(part).__module__.startswith("keras.")
        or type(part) in _SCALING
        or type(part).__name__ in _OF_OTHERS
        or isinstance(part, keras.Model)
        for part in layer._flatten_layers()
    )


def _judged(answers: Sequence[Any]) -> bool | None:
    """Return whether answers to the pictures are those of a scaling of pixels; None where that cannot be told."""
    values = [np.asarray(ops.convert_to_numpy(ops.cast(answer, "float32")), np.float64) for answer in answers]
    levels, (varied, bright) = np.array(values[: len(_LEVELS)]), values[len(_LEVELS) :]
    if np.isfinite(varied).all() and np.ptp(varied) > _TOLERANCE and np.allclose(varied, bright, rtol=0.05, atol=0.05):
        return True  # each picture is normalised by itself
    unit, whole = np.ptp(levels[:_OF_UNIT], axis=0), np.ptp(levels, axis=0)
    moves = whole > 0
    if not moves.any():  # a difference within a picture, say
        unit, whole = np.abs(varied - values[0]), np.abs(bright - values[0])
        if (whole > 0).any() and unit.max() < 1 / _LEAST_DEVIATION:
            return True
        return False if _are_close(bright - values[0], 255 * (varied - values[0])).all() else None
    if (unit[moves] < 1 / _LEAST_DEVIATION).any():
        return True
    slope = levels[2] - levels[0]
    straight = np.all([_are_close(levels[place], levels[0] + _LEVELS[place] * slope) for place in (3, 4)], axis=0)
    if is_of_pixels(levels[0][moves & straight], slope[moves & straight]):
        return True
    return False if (straight | ~moves | (whole < _LARGEST_GAIN * unit)).all() else None


def _are_close(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where values are equal, as far as 16 bits tell them apart."""
    return np.isclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE)
