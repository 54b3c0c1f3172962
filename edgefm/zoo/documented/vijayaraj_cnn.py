"""The plain CNN of Vijayaraj et al., as S0 cites it."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, DocumentedSystem, as_stated, sequential

ARCHITECTURE = Architecture(
    name="vijayaraj_cnn",
    title="CNN of Vijayaraj et al.",
    summary="[Conv 32, 64 3x3 same, each MaxPool 2] Dense 128 Drop .5 Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=421_642,
    non_trainable=0,
    claim=Claim(train_accuracy=95.72, test_accuracy=94.52),
)

SYSTEMS = (
    DocumentedSystem(
        id="vijayaraj_cnn",
        document="S0",
        cites="Vijayaraj et al. 2022, Wireless Communications and Mobile Computing",
        recipe=as_stated("vijayaraj_cnn", batch_size=512, epochs=20, learning_rate=5e-3),
        assumed=(
            "S0 calls it a plain CNN and states no layer: two convolutions and one hidden dense layer are built.",
        ),
        reading=(
            "The training is stated in full, the network not at all; what is measured here is what that training "
            "gives a plain CNN of common widths."
        ),
    ),
)


def build() -> Any:
    """Return the untrained keras.Model, 421,642 trainable parameters.

    Source: Vijayaraj et al. 2022, Wireless Communications and Mobile Computing, as S0 cites it.
    """
    from keras import layers

    network: list[Any] = []
    for block, filters in enumerate((32, 64), start=1):
        network.append(layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{block}"))
        network.append(layers.MaxPooling2D(2, name=f"pool{block}"))
    network.append(layers.Flatten(name="flatten"))
    network.append(layers.Dense(128, activation="relu", name="dense1"))
    network.append(layers.Dropout(0.5, name="dropout1"))
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential("vijayaraj_cnn", network)
