"""A Keras model with its batch normalisation folded away, where that is proved to change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import NonFiniteError
from edgefm_converters.tflite.outputs import of_model

# Outputs of the folded and the given model may differ by this much, relative to their size, before the fold is
# distrusted.
FOLD_TOLERANCE = 1e-4


def folded_model(
    model: Any, inputs: NDArray[np.float32], expected: Sequence[NDArray[np.float32]]
) -> tuple[Any, Mapping[str, Any]]:
    """Return the folded model and what was done, or the given model where the outputs would change.

    Args:
      model: keras.Model.
      inputs: float32 [n, ...], on which outputs are compared.
      expected: the given model's outputs for them, float32 [n, ...] each.
    Returns:
      The model; and `used`, `max_abs_difference`, the `folded` and `left_out` layers, `reason` where it is not used.
    """
    from edgefm.keras_graph.folding import fold

    folded, report = fold(model)
    difference, size = 0.0, 1.0
    try:
        outputs = of_model(folded, inputs)
    except NonFiniteError as error:
        reason = f"{error.message[0].lower()}{error.message[1:]} once it is folded"
        return model, {"used": False, "reason": reason, "max_abs_difference": None, **report.to_json()}
    for output, wanted in zip(outputs, expected, strict=True):
        difference = float(np.maximum(difference, np.abs(output - wanted).max()))  # NaN stays NaN
        size = max(size, float(np.abs(wanted).max()))
    facts = {"max_abs_difference": difference, **report.to_json()}
    if not difference <= FOLD_TOLERANCE * size:
        reason = f"outputs differ by {difference:.1e} from the given model's; {FOLD_TOLERANCE * size:.0e} is allowed"
        return model, {"used": False, "reason": reason, **facts}
    return folded, {"used": True, **facts}
