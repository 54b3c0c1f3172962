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
    smallest=4,  # a convolution without padding takes 2, a pooling halves the rest
)


def build(*, input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10) -> Any:
    """Return the untrained keras.Model; as documented it has 1,386,506 trainable parameters.

    Args:
      input_shape: (height, width, channels), height and width 4 or more.
      classes: number of outputs.
    """
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input(input_shape, name="image"),
            layers.Rescaling(1 / 255, name="scale_pixels"),
            layers.Conv2D(64, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Flatten(name="flatten"),
            layers.Dense(128, activation="relu", name="dense1"),
            layers.Dense(classes, activation="softmax", name="probabilities"),
        ],
        name="basic_cnn",
    )
