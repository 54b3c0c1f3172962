"""Kadam et al.'s Architecture 3, as S0 cites it: three convolutions with 2x2 kernels."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, DocumentedSystem, as_stated, sequential

ARCHITECTURE = Architecture(
    name="kadam_arch3",
    title="Architecture 3 of Kadam et al.",
    summary="[Conv 32, 64, 128 2x2 same, each MaxPool 2, Drop .25] Dense 128, Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=190_186,
    non_trainable=0,
    claim=Claim(train_accuracy=93.09, test_accuracy=93.56),
)

SYSTEMS = (
    DocumentedSystem(
        id="kadam_arch3",
        document="S0",
        cites="Kadam, Adamuthe and Patil 2020, Journal of Scientific Research 64(2)",
        recipe=as_stated("kadam_arch3", batch_size=128, epochs=50),
        assumed_training=("learning_rate",),
        assumed=(
            "S0 states the kernels, the dropout and the number of layers, not their widths: 32, 64 and 128 filters and "
            "128 units are built.",
            "The learning rate is not stated: Adam's default, 1e-3, is assumed.",
        ),
        reading="The claim for the test images is above that for the training images, which dropout can explain.",
    ),
)


def build() -> Any:
    """Return the untrained keras.Model, 190,186 trainable parameters.

    Source: Kadam, Adamuthe and Patil 2020, Journal of Scientific Research 64(2), Architecture 3, as S0 cites it.
    """
    from keras import layers

    network: list[Any] = []
    for block, filters in enumerate((32, 64, 128), start=1):
        network.append(layers.Conv2D(filters, 2, padding="same", activation="relu", name=f"conv{block}"))
        network.append(layers.MaxPooling2D(2, name=f"pool{block}"))
        network.append(layers.Dropout(0.25, name=f"dropout{block}"))
    network.append(layers.Flatten(name="flatten"))
    network.append(layers.Dense(128, activation="relu", name="dense1"))
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential("kadam_arch3", network)
