"""Where NaN or infinity first appears in a Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgefm.keras_graph.ends import given_to
from edgefm.keras_graph.graph import Call, Graph


def first_non_finite_layer(model: Any, sample: NDArray[np.float32]) -> str | None:
    """Return the name of the first layer whose output for a sample is not finite, None where all are.

    Args:
      model: built Functional or Sequential model.
      sample: float32 [1, ...], finite; a structured array [1] of several inputs.
    """
    first: list[str] = []

    def computed(call: Call, _: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        output = call.layer(*args, **kwargs)
        values = [np.asarray(keras.ops.convert_to_numpy(value)) for value in keras.tree.flatten(output)]
        # bfloat16 is no kind of numpy's own: as float32 it is.
        if not first and not all(np.isfinite(value.astype(np.float32)).all() for value in values):
            first.append(call.name)
        return output

    inputs = keras.tree.flatten(given_to(model, sample))
    Graph(model).replay([keras.ops.convert_to_tensor(values) for values in inputs], computed)
    return first[0] if first else None
