"""Whether a model scales pixels itself by other means than a Rescaling layer: operations, or a Normalization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from edgefm.keras_graph.graph import Call, Graph
from edgefm.keras_graph.inference import does_nothing

# Values of pixels of one level each; the last one shows that what is between them is a straight line.
_LEVELS = (0.0, 1.0, 255.0)
# Pixels are divided by 57 or more (the deviations of ImageNet's), or their middle is taken off; values of 0 to 1 never.
_LEAST_DEVIATION, _LEAST_MEAN = 10.0, 1.0


def scales_pixels(model: Any) -> bool:
    """Return whether a model of one input begins by scaling it as only pixels 0 to 255 are scaled.

    What comes first is run on pictures of one level: operations, such as `x / 127.5 - 1` and what the
    `preprocess_input` of keras.applications does, and Normalization layers, behind layers that work in training alone.
    """
    given = model.inputs[0]
    graph = Graph(model)
    shape = (1, *given.shape[1:])
    known = {id(given): [ops.convert_to_tensor(np.full(shape, level), dtype=given.dtype) for level in _LEVELS]}
    for call in graph.calls:
        if not call.inputs or len(call.outputs) != 1 or not all(tensor in known for tensor in call.inputs):
            continue
        if does_nothing(call):
            known[call.outputs[0]] = known[call.inputs[0]]
        elif not isinstance(call.layer, keras.Layer) or type(call.layer) is layers.Normalization:
            answers = [_answer(graph, call, known, place) for place in range(len(_LEVELS))]
            least, slope, most = (ops.convert_to_numpy(ops.cast(answer, "float32")) for answer in answers)
            slope = slope - least
            if np.allclose(most, least + _LEVELS[-1] * slope, rtol=1e-3, atol=1e-3):  # a ReLU is no scaling, say
                if _is_of_pixels(least, slope):
                    return True
                known[call.outputs[0]] = answers
    return False


def _answer(graph: Graph, call: Call, known: Mapping[int, Sequence[Any]], place: int) -> Any:
    """Return what a call gives of the level at a place among `_LEVELS`."""
    taken = {id(tensor): known[graph.root(id(tensor))][place] for tensor in call.arguments.keras_tensors}
    args, kwargs = call.arguments.fill_in(taken)
    return call.layer(*args, **kwargs)


def _is_of_pixels(least: NDArray[Any], slope: NDArray[Any]) -> bool:
    """Return whether slope * x + least is a scaling of pixels, by the deviation or the mean of any of its values."""
    slope = np.where(slope == 0, np.nan, slope)
    with np.errstate(divide="ignore", invalid="ignore"):
        return bool((1 / np.abs(slope) > _LEAST_DEVIATION).any() or (-least / slope > _LEAST_MEAN).any())
