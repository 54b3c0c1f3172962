"""S3's dense network."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, DocumentedSystem, as_stated, sequential

ARCHITECTURE = Architecture(
    name="ann",
    title="ANN",
    summary="Dense 256 Drop .2 Dense 128 Drop .2 Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=235_146,
    non_trainable=0,
    claim=Claim(train_accuracy=89.6, validation_accuracy=88.4, test_accuracy=85.0),
)

SYSTEMS = (
    DocumentedSystem(
        id="ann",
        document="S3",
        recipe=as_stated("ann", batch_size=64, epochs=10),
        assumed=("Dropout is taken to stand behind each hidden layer.",),
        reading=(
            "The claim for the test images is 3.4 points below that for the validation images, which are drawn from "
            "the training images; no difference of that size is seen between these two sets elsewhere."
        ),
    ),
)


def build() -> Any:
    """Return the untrained keras.Model, 235,146 trainable parameters."""
    from keras import layers

    network: list[Any] = [layers.Flatten(name="flatten")]
    for block, units in enumerate((256, 128), start=1):
        network.append(layers.Dense(units, activation="relu", name=f"dense{block}"))
        network.append(layers.Dropout(0.2, name=f"dropout{block}"))
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential("ann", network)
