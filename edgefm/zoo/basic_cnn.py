"""The Basic CNN: one convolution and one hidden dense layer; the source's example of overfitting."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="basic_cnn",
    title="Basic CNN",
    summary="Conv 64 3x3 valid, MaxPool 2, Dense 128, Dense 10",
    input_shape=(28, 28, 1),
    classes=10,
    trainable=1_386_506,
    non_trainable=0,
    claim=Claim(train_accuracy=100.0, validation_accuracy=91.7, train_loss=0.0005, validation_loss=0.6145),
)


def build() -> Any:
    """Return the untrained keras.Model, 1,386,506 trainable parameters."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            layers.Rescaling(1 / 255, name="scale_pixels"),
            layers.Conv2D(64, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="dense1"),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ],
        name="basic_cnn",
    )
