"""What a Keras model answers; float32, one array an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import joined
from edgefm.core.errors import NonFiniteError
from edgefm.core.silence import silenced
from edgefm.data.batches import evaluation_batch

_BATCH = 64


def of_model(model: Any, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return a Keras model's outputs at inference, float32 [n, ...] each.

    Raises:
      NonFiniteError: an output is not finite; the sample and the first such layer are named.
    """
    import keras

    from edgefm.keras_graph.ends import given_to

    with silenced():
        size = min(_BATCH, evaluation_batch(inputs.shape[1:]))
        batches = np.split(inputs, range(size, len(inputs), size))
        answers = [keras.tree.flatten(model(given_to(model, batch), training=False)) for batch in batches]
        outputs = tuple(
            np.concatenate([np.asarray(keras.ops.convert_to_numpy(answer[index]), np.float32) for answer in answers])
            for index in range(len(answers[0]))
        )
    sample = first_non_finite_sample(outputs)
    if sample is not None:
        raise _not_finite(model, inputs, sample)
    return outputs


def first_non_finite_sample(outputs: Sequence[NDArray[np.float32]]) -> int | None:
    """Return the index of the first sample of [n, ...] arrays with NaN or infinity, None where there is none."""
    broken = np.zeros(len(outputs[0]), bool)
    for output in outputs:
        broken |= ~np.isfinite(output).reshape(len(output), -1).all(axis=1)
    return int(broken.argmax()) if broken.any() else None


def _not_finite(model: Any, inputs: NDArray[np.float32], sample: int) -> NonFiniteError:
    from edgefm.keras_graph.finite import first_non_finite_layer

    given = inputs[sample : sample + 1]
    if first_non_finite_sample(tuple(joined.split(given).values()) or (given,)) is not None:
        return NonFiniteError(f"input {sample} holds NaN or infinite values", hint="Remove the sample.", sample=sample)
    with silenced():
        layer = first_non_finite_layer(model, given)
    where = f"; its layer '{layer}' is the first that does" if layer else ""
    return NonFiniteError(
        f"the model '{model.name}' gives outputs that are not finite, first for input {sample}{where}",
        hint="Look for a division, a logarithm or an exponential there, or for weights that grew in training.",
        layer=layer,
        sample=sample,
    )
