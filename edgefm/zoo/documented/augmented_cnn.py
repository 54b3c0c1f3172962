"""S1's network of pairs of convolutions."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, DocumentedSystem, as_stated, sequential

ARCHITECTURE = Architecture(
    name="augmented_cnn",
    title="CNN of pairs of convolutions",
    summary="[2 x Conv 64, 2 x Conv 128 3x3 valid, each two with MaxPool 2, Drop .25] Dense 256 Drop .5 Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=786_122,
    non_trainable=0,
    claim=Claim(test_accuracy=92.74),
)

SYSTEMS = (
    DocumentedSystem(
        id="augmented_cnn",
        document="S1",
        recipe=as_stated("augmented_cnn", batch_size=64, epochs=20),
        assumed=("The strengths of the augmentation are not stated, so that none is used.",),
        reading=(
            "S1's text claims batch normalisation; its table of layers has none, and its 786,122 parameters leave no "
            "room for it: it is built without. The text claims rotation, shift, zoom and flip, but neither their "
            "strengths nor where they are used: it is trained without, see the experiment s1_augmentation for both."
        ),
    ),
)


def build() -> Any:
    """Return the untrained keras.Model, 786,122 trainable parameters."""
    from keras import layers

    network: list[Any] = []
    for block, filters in enumerate((64, 128), start=1):
        for place in (1, 2):
            network.append(layers.Conv2D(filters, 3, activation="relu", name=f"conv{block}_{place}"))
        network.append(layers.MaxPooling2D(2, name=f"pool{block}"))
        network.append(layers.Dropout(0.25, name=f"dropout{block}"))
    network.append(layers.Flatten(name="flatten"))
    network.append(layers.Dense(256, activation="relu", name="dense1"))
    network.append(layers.Dropout(0.5, name="dropout3"))
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential("augmented_cnn", network)
