"""Separable convolutions with at most 10,000 parameters."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.best import blocks
from edgefm.zoo.catalogue import Architecture, Claim

# Channels of the first convolution, of those before the first pooling, between the two, and behind the second.
_CHANNELS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "7k": (8, (), (16, 32), (32, 48, 48)),
    "10k": (12, (24,), (32, 40), (48, 56)),
}

ARCHITECTURE = Architecture(
    name="separable_tiny",
    title="Tiny separable CNN",
    summary="Conv 8, MaxPool, Sep 16, 32, MaxPool, Sep 32, 48, 48, global average, Dense",
    input_shape=(28, 28, 1),
    classes=10,
    trainable=7_658,
    non_trainable=368,
    claim=Claim(),
    options={"size": tuple(_CHANNELS)},
    smallest=4,  # two poolings halve it
    searchable=True,
)


def build(*, input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10, size: str = "7k") -> Any:
    """Return the untrained keras.Model, 8 to 48 channels.

    Args:
      input_shape: (height, width, channels), height and width 4 or more.
      classes: number of outputs.
      size: '7k' has about 0.5 M multiply-accumulates; '10k' spends what 10,000 parameters allow, with one separable
        convolution before the first pooling: about 1.2 M.
    """
    from keras import layers

    inputs, x = blocks.pictures(input_shape)
    first, *stages = _CHANNELS[size]
    x = blocks.normalised(blocks.convolution(x, first, 3, "c"), "c")
    for stage, channels in enumerate(stages):
        if stage:
            x = layers.MaxPooling2D(2, name=f"m{stage}")(x)
        for place, filters in enumerate(channels):
            x = blocks.separable(x, filters, f"s{stage}{place}", inner_relu=False)
    return blocks.classified(inputs, x, classes=classes, dropout=0.0, name="separable_tiny")
