"""Two residual blocks of separable convolutions: at most 64 KB as int8 and 4.4 M multiply-accumulates."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.best import blocks
from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="small_residual",
    title="Small residual network",
    summary="Conv 24, Sep 32, MaxPool, residual of 2 x Sep 64, MaxPool, residual of 2 x Sep 84, global average, Dense",
    input_shape=(28, 28, 1),
    classes=10,
    trainable=31_782,
    non_trainable=1_536,
    claim=Claim(),
    smallest=4,  # two poolings halve it
    searchable=True,
)


def build(*, input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10) -> Any:
    """Return the untrained keras.Model.

    The limits are those of the smallest published network (µNAS, arXiv:2010.14246, 93.22 % at 63.6 KB): what an int8
    file weighs beside its weights is about 28 bytes a channel (scale, zero point and bias), so that channels are
    dearer than they look; 128 in the second block make 81 KB.

    Args:
      input_shape: (height, width, channels), height and width 4 or more.
      classes: number of outputs.
    """
    from keras import layers

    inputs, x = blocks.pictures(input_shape)
    x = blocks.normalised(blocks.convolution(x, 24, 3, "c"), "c")
    x = blocks.separable(x, 32, "e")
    for stage, filters in enumerate((64, 84), start=1):
        x = layers.MaxPooling2D(2, name=f"m{stage}")(x)
        shortcut = blocks.normalised(blocks.convolution(x, filters, 1, f"s{stage}"), f"s{stage}", relu=False)
        branch = blocks.separable(x, filters, f"x{stage}")
        branch = blocks.separable(branch, filters, f"y{stage}", relu=False)
        x = layers.ReLU(name=f"r{stage}")(layers.Add(name=f"a{stage}")([branch, shortcut]))
    return blocks.classified(inputs, x, classes=classes, dropout=0.0, name="small_residual")
