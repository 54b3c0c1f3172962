"""Four convolutions, the first with a stride of two: made for the shortest latency."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.best import blocks
from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="strided_cnn",
    title="Strided CNN",
    summary="Conv 32 stride 2, Conv 32, MaxPool, Conv 64, MaxPool, Conv 64, global average, Dense",
    input_shape=(28, 28, 1),
    classes=10,
    trainable=65_834,
    non_trainable=384,
    claim=Claim(),
    smallest=8,  # a stride and two poolings halve it
    searchable=True,
)


def build(*, input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10) -> Any:
    """Return the untrained keras.Model.

    A 3x3 convolution of one channel uses a small part of a processor's int8 units; with a stride of two it has a
    quarter of the positions, and what follows it too.

    Args:
      input_shape: (height, width, channels), height and width 8 or more.
      classes: number of outputs.
    """
    from keras import layers

    inputs, x = blocks.pictures(input_shape)
    x = blocks.normalised(blocks.convolution(x, 32, 3, "c1", strides=2), "c1")
    x = blocks.normalised(blocks.convolution(x, 32, 3, "c2"), "c2")
    for stage in (3, 4):
        x = layers.MaxPooling2D(2, name=f"m{stage}")(x)
        x = blocks.normalised(blocks.convolution(x, 64, 3, f"c{stage}"), f"c{stage}")
    return blocks.classified(inputs, x, classes=classes, dropout=0.0, name="strided_cnn")
