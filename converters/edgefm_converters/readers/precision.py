"""How far a model that computes in half precision lies from the float32 model that is converted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.progress import SILENT, Progress
from edgefm_converters.readers.model_file import Loaded
from edgefm_converters.tflite.outputs import of_model


def given_precision(loaded: Loaded, inputs: NDArray[np.float32], progress: Progress = SILENT) -> dict[str, Any] | None:
    """Return how the given model's own outputs differ from those of its float32 recast; None where it is float32.

    Args:
      loaded: the model.
      inputs: float32 [n, ...], on which outputs are compared.
      progress: told that files are compared with the recast.
    Returns:
      `given`: its dtype policies, or 'float32 on uint8 input' where only what goes in is of another type;
      `compared_with`: what the files' differences are taken from; `samples`; `max_abs_difference` of an output
      between the two.
    """
    if loaded.given is None:
        return None
    computing = [
        layer for layer in loaded.given._flatten_layers(include_self=False) if type(layer).__name__ != "InputLayer"
    ]
    policies = sorted({layer.dtype_policy.name for layer in computing} - {"float32"})
    given, recast = of_model(loaded.given, inputs), of_model(loaded.keras, inputs)
    difference = max(float(np.abs(one - other).max()) for one, other in zip(given, recast, strict=True))
    policies = policies or [f"float32 on {loaded.given.inputs[0].dtype} input"]
    progress.note(
        f"the given model computes in {', '.join(policies)}; files are made from and compared with its float32 recast, "
        f"whose outputs differ from its own by up to {difference:.1e} (n = {len(inputs)})"
    )
    return {
        "given": policies,
        "compared_with": "the given model's weights, computed in float32",
        "samples": len(inputs),
        "max_abs_difference": difference,
    }
