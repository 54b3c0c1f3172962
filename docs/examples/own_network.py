"""A network of one's own for `edgefm train --model own_network:build`."""

from __future__ import annotations

from typing import Any


def build(input_shape: tuple[int, int, int], classes: int, width: str = "8") -> Any:
    """Return the untrained keras.Model: pixels 0 to 255 in, a probability for each class out."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(int(width), 3, strides=2, activation="relu"),
            layers.Conv2D(2 * int(width), 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation="softmax"),
        ],
        name="own_network",
    )
