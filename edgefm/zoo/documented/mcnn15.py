"""MCNN15 of Nocentini et al., as S0 cites it: fifteen convolutions."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, WHOLE_TRAINING, DocumentedSystem, as_stated, sequential

ARCHITECTURE = Architecture(
    name="mcnn15",
    title="MCNN15 of Nocentini et al.",
    summary="[5 x Conv 3x3 same, BN, ReLU of 32, 64, 128 filters, each five with MaxPool 2] Dense 128 Drop .5 Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=1_017_706,
    non_trainable=2_240,
    claim=Claim(test_accuracy=94.04),
)

SYSTEMS = (
    DocumentedSystem(
        id="mcnn15",
        document="S0",
        cites="Nocentini et al. 2022, Sensors 22(23), 9544",
        recipe=as_stated("mcnn15", batch_size=128, epochs=30),
        assumed_training=WHOLE_TRAINING,
        assumed=(
            "S0 states fifteen convolutions only: three stages of five with 32, 64 and 128 filters, batch "
            "normalisation and one hidden dense layer are built.",
            "The values that Ray Tune found are not stated: Adam at 1e-3, batch 128 and 30 epochs are assumed.",
        ),
        reading="It is the depth that is reproduced; neither the widths nor the tuned values are known.",
    ),
)


def build() -> Any:
    """Return the untrained keras.Model of 15 convolutions, 1,017,706 trainable and 2,240 other parameters.

    Source: Nocentini et al. 2022, Sensors 22(23), 9544, as S0 cites it.
    """
    from keras import layers

    network: list[Any] = []
    for stage, filters in enumerate((32, 64, 128), start=1):
        for place in range(1, 6):
            name = f"{stage}_{place}"
            network.append(layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{name}"))
            network.append(layers.BatchNormalization(momentum=0.9, name=f"bn{name}"))
            network.append(layers.ReLU(name=f"relu{name}"))
        network.append(layers.MaxPooling2D(2, name=f"pool{stage}"))
    network.append(layers.Flatten(name="flatten"))
    network.append(layers.Dense(128, activation="relu", name="dense1"))
    network.append(layers.Dropout(0.5, name="dropout1"))
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential("mcnn15", network)
