"""S3's CNN of two convolutions."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, DocumentedSystem, as_stated, sequential

ARCHITECTURE = Architecture(
    name="two_conv_cnn",
    title="CNN of two convolutions",
    summary="[Conv 32, 64 3x3 same, each MaxPool 2] Dense 128 Drop .25 Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=421_642,
    non_trainable=0,
    claim=Claim(train_accuracy=98.4, validation_accuracy=92.6, test_accuracy=90.0),
)

SYSTEMS = (
    DocumentedSystem(
        id="two_conv_cnn",
        document="S3",
        recipe=as_stated("two_conv_cnn", batch_size=64, epochs=10),
        assumed=("The padding is not stated: 'same' gives the 421,642 parameters.",),
        reading=(
            "S3 gives the dense layer an input of 64 x 14 x 14, which two pools do not leave of 28 x 28: it is "
            "64 x 7 x 7, which gives the number of parameters."
        ),
    ),
)


def build() -> Any:
    """Return the untrained keras.Model, 421,642 trainable parameters."""
    from keras import layers

    network: list[Any] = []
    for block, filters in enumerate((32, 64), start=1):
        network.append(layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{block}"))
        network.append(layers.MaxPooling2D(2, name=f"pool{block}"))
    network.append(layers.Flatten(name="flatten"))
    network.append(layers.Dense(128, activation="relu", name="dense1"))
    network.append(layers.Dropout(0.25, name="dropout1"))
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential("two_conv_cnn", network)
