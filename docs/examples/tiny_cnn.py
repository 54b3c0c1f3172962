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
    smallest=4,  # two strides halve it
)


def build(*, input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10) -> Any:
    """Return the untrained keras.Model; at 28 x 28 x 1 and 10 classes it has 1,418 trainable parameters."""
    import keras
    from keras import layers

    network = [
        keras.Input(input_shape, name="image"),
        layers.Rescaling(1 / 255, name="scale_pixels"),
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="conv1"),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="conv2"),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(classes, activation="softmax", name="probabilities"),
    ]
    return keras.Sequential(network, name="tiny_cnn")
