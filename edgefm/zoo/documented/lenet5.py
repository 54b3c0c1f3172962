"""LeNet-5, as S1 cites it."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, WHOLE_TRAINING, DocumentedSystem, as_stated, sequential

ARCHITECTURE = Architecture(
    name="lenet5",
    title="LeNet-5",
    summary="Conv 6 5x5 same, AvgPool 2, Conv 16 5x5 valid, AvgPool 2, Dense 120, Dense 84 (tanh), Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=61_706,
    non_trainable=0,
    claim=Claim(test_accuracy=98.0),
)

SYSTEMS = (
    DocumentedSystem(
        id="lenet5",
        document="S1",
        cites="LeCun et al. 1998",
        recipe=as_stated("lenet5", batch_size=128, epochs=20),
        assumed_training=WHOLE_TRAINING,
        assumed=(
            "The training is not stated: Adam at 1e-3, batch 128 and 20 epochs are assumed.",
            "Pools have no weights and the last layer is a softmax, as is common today.",
        ),
        reading="S1 says 'over 98 %': 98 % is taken as the claim.",
        doubt=(
            "LeNet-5 reaches about 99 % on MNIST, the digits; on Fashion-MNIST no clean published mark of any network "
            "is above 96.4 %, so that the figure will be that of the digits"
        ),
    ),
)


def build() -> Any:
    """Return the untrained keras.Model, 61,706 trainable parameters.

    Source: LeCun et al. 1998, Proceedings of the IEEE 86(11).
    """
    from keras import layers

    return sequential(
        "lenet5",
        [
            layers.Conv2D(6, 5, padding="same", activation="tanh", name="conv1"),
            layers.AveragePooling2D(2, name="pool1"),
            layers.Conv2D(16, 5, activation="tanh", name="conv2"),
            layers.AveragePooling2D(2, name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(120, activation="tanh", name="dense1"),
            layers.Dense(84, activation="tanh", name="dense2"),
            layers.Dense(CLASSES, activation="softmax", name="probabilities"),
        ],
    )
