"""What a Keras model answers; float32, one array an output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.core.silence import silenced

_BATCH = 64


def of_model(model: Any, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return a Keras model's outputs at inference, float32 [n, ...] each.

    Raises:
      ModelError: an output is not finite.
    """
    import keras

    with silenced():
        batches = np.split(inputs, range(_BATCH, len(inputs), _BATCH))
        answers = [keras.tree.flatten(model(batch, training=False)) for batch in batches]
        outputs = tuple(
            np.concatenate([np.asarray(answer[index], np.float32) for answer in answers])
            for index in range(len(answers[0]))
        )
    if not all(np.isfinite(output).all() for output in outputs):
        raise ModelError(f"the model '{model.name}' gives outputs that are not finite")
    return outputs
