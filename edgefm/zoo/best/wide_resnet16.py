"""WRN-16-8, a wide residual network of 16 layers and 11 million parameters: a teacher."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.best import blocks
from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="wide_resnet16",
    title="Wide ResNet WRN-16-8",
    summary="Conv 16, 3 x 2 blocks of [BN ReLU Conv 3x3] x 2, 128, 256, 512 channels, BN ReLU, global average, Dense",
    input_shape=(28, 28, 1),
    classes=10,
    trainable=10_961_082,
    non_trainable=7_200,
    claim=Claim(),
    options={"dropout": ("0.0", "0.2")},
    smallest=4,  # two strides halve it
)


def build(*, input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10, dropout: str = "0.0") -> Any:
    """Return the untrained keras.Model (Zagoruyko & Komodakis 2016, arXiv:1605.07146).

    Args:
      input_shape: (height, width, channels), height and width 4 or more.
      classes: number of outputs.
      dropout: share of the last layer's inputs that is dropped in training.
    """
    inputs, x = blocks.pictures(input_shape)
    x = blocks.convolution(x, 16, 3, "c")
    for stage, filters in enumerate((128, 256, 512)):
        for place in range(2):
            x = blocks.preactivation_block(x, filters, f"r{stage}{place}", strides=2 if stage and not place else 1)
    x = blocks.normalised(x, "l")
    return blocks.classified(inputs, x, classes=classes, dropout=float(dropout), name="wide_resnet16")
