"""Networks of keras.applications as the zoo has them: pixels 0 to 255 in, no weights from the network."""

from __future__ import annotations

from typing import Any

# Keras has 0.99 or 0.999, for the hundreds of thousands of steps of ImageNet: of a training of some hundreds of steps
# the moving statistics would still be those at the beginning.
BATCH_NORM_MOMENTUM = 0.9


def with_short_memory(model: Any) -> Any:
    """Return a model whose batch normalisations settle within a training of some hundreds of steps."""
    from keras import layers

    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    return model
