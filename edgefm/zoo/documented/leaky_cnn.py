"""S2's CNN with LeakyReLU and batch normalisation."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, DocumentedSystem, as_stated, sequential

_SLOPE = 0.1

ARCHITECTURE = Architecture(
    name="leaky_cnn",
    title="CNN with LeakyReLU",
    summary="Conv 32, Conv 64, MaxPool 2, Conv 64, MaxPool 2, Dense 128 (3x3 valid; each LeakyReLU, BN), Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=262_538,
    non_trainable=576,
    claim=Claim(
        train_accuracy=94.40, validation_accuracy=90.77, test_accuracy=90.0, train_loss=0.1467, validation_loss=0.2960
    ),
)

SYSTEMS = (
    DocumentedSystem(
        id="leaky_cnn",
        document="S2",
        recipe=as_stated("leaky_cnn", batch_size=128, epochs=10),
        assumed=(
            "S2 states 3x3 blocks with LeakyReLU and batch normalisation, max pools, a dense head and about 263,000 "
            "parameters: convolutions of 32, 64 and 64 filters and a hidden layer of 128 units are built, 263,114 "
            "parameters with the moving statistics.",
            f"The slope of LeakyReLU is not stated: {_SLOPE} is assumed.",
        ),
        reading=(
            "S2's discussion of strong and weak classes reverses its own F1 scores (Shirt .70, T-shirt .83; Sandal "
            ".96, Sneaker .95)."
        ),
    ),
)


def build() -> Any:
    """Return the untrained keras.Model, 262,538 trainable and 576 other parameters."""
    from keras import layers

    network: list[Any] = []
    for block, (filters, pooled) in enumerate(((32, False), (64, True), (64, True)), start=1):
        network.append(layers.Conv2D(filters, 3, name=f"conv{block}"))
        network.append(layers.LeakyReLU(negative_slope=_SLOPE, name=f"leaky{block}"))
        network.append(layers.BatchNormalization(momentum=0.9, name=f"bn{block}"))
        if pooled:
            network.append(layers.MaxPooling2D(2, name=f"pool{block}"))
    network.append(layers.Flatten(name="flatten"))
    network.append(layers.Dense(128, name="dense1"))
    network.append(layers.LeakyReLU(negative_slope=_SLOPE, name="leaky4"))
    network.append(layers.BatchNormalization(momentum=0.9, name="bn4"))
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential("leaky_cnn", network)
