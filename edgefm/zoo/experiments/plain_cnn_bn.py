"""The Enhanced CNN with batch normalisation and without dropout, for S0's comparison."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE
from edgefm.zoo.experiments.plain_cnn import network

ARCHITECTURE = Architecture(
    name="plain_cnn_bn",
    title="Enhanced CNN without dropout",
    summary="[Conv 32, 64, 128 3x3 same, each BN, MaxPool 2] Dense 256, Dense 128, Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=422_474,
    non_trainable=448,
    claim=Claim(),
)


def build() -> Any:
    """Return the untrained keras.Model, 422,474 trainable and 448 non-trainable parameters."""
    return network("plain_cnn_bn", dropout=False, batch_norm=True)
