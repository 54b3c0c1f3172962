"""The Enhanced CNN without what keeps it from overfitting, for S0's comparison of regularisation."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, sequential

ARCHITECTURE = Architecture(
    name="plain_cnn",
    title="Enhanced CNN without batch normalisation",
    summary="[Conv 32, 64, 128 3x3 same, each MaxPool 2] Dense 256 (Drop .5) Dense 128 (Drop .5) Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=422_026,
    non_trainable=0,
    claim=Claim(),
    options={"dropout": ("none", "hidden")},
)


def build(*, dropout: str = "none") -> Any:
    """Return the untrained keras.Model, 422,026 trainable parameters.

    Args:
      dropout: 'none', or 'hidden': half of the units of both hidden dense layers are dropped.
    """
    return network("plain_cnn", dropout=dropout == "hidden", batch_norm=False)


def network(name: str, *, dropout: bool, batch_norm: bool) -> Any:
    """Return a keras.Model of the Enhanced CNN's convolutions and dense layers.

    Args:
      name: of the model.
      dropout: behind both hidden dense layers.
      batch_norm: behind the ReLU of each convolution.
    """
    from keras import layers

    network: list[Any] = []
    for block, filters in enumerate((32, 64, 128), start=1):
        network.append(layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{block}"))
        if batch_norm:
            network.append(layers.BatchNormalization(momentum=0.9, name=f"bn{block}"))
        network.append(layers.MaxPooling2D(2, name=f"pool{block}"))
    network.append(layers.Flatten(name="flatten"))
    for block, units in enumerate((256, 128), start=1):
        network.append(layers.Dense(units, activation="relu", name=f"dense{block}"))
        if dropout:
            network.append(layers.Dropout(0.5, name=f"dropout{block}"))
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential(name, network)
