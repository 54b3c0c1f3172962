"""The Tiny CNN: two strided convolutions, as small as a microcontroller likes it."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="tiny_cnn",
    title="Tiny CNN",
    summary="[Conv 8, 16 3x3 same stride 2] GlobalAveragePooling Dense 10",
    input_shape=(28, 28, 1),
    classes=10,
    trainable=1_418,
    non_trainable=0,
    claim=Claim(),  # its source states no figure
)


def build() -> Any:
    """Return the untrained keras.Model, 1,418 trainable parameters."""
    import keras
    from keras import layers

    network = [
        keras.Input((28, 28, 1), name="image"),
        layers.Rescaling(1 / 255, name="scale_pixels"),
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="conv1"),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="conv2"),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(10, activation="softmax", name="probabilities"),
    ]
    return keras.Sequential(network, name="tiny_cnn")
