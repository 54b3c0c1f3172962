"""A residual network of 14 layers with 26, 52 and 104 channels: at most 500,000 parameters."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.best import blocks
from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="resnet14",
    title="ResNet-14",
    summary="Conv 26, 3 x 2 residual blocks of two Conv 3x3, 26, 52 and 104 channels, global average, Dense",
    input_shape=(28, 28, 1),
    classes=10,
    trainable=460_080,
    non_trainable=1_820,
    claim=Claim(),
    options={"order": ("postactivation", "preactivation")},
    smallest=4,  # two strides halve it
    searchable=True,
)


def build(*, input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10, order: str = "postactivation") -> Any:
    """Return the untrained keras.Model.

    Args:
      input_shape: (height, width, channels), height and width 4 or more.
      classes: number of outputs.
      order: 'postactivation' is Conv BN ReLU (He et al. 2015, arXiv:1512.03385), of which every batch normalisation
        folds; 'preactivation' is BN ReLU Conv (He et al. 2016, arXiv:1603.05027), of which 7 of 13 follow an addition
        and stay in the graph as MUL and ADD.
    """
    before = order == "preactivation"
    inputs, x = blocks.pictures(input_shape)
    x = blocks.convolution(x, 26, 3, "c")
    if not before:
        x = blocks.normalised(x, "c")
    block = blocks.preactivation_block if before else blocks.postactivation_block
    for stage, filters in enumerate((26, 52, 104)):
        for place in range(2):
            x = block(x, filters, f"r{stage}{place}", strides=2 if stage and not place else 1)
    if before:
        x = blocks.normalised(x, "l")
    return blocks.classified(inputs, x, classes=classes, dropout=0.0, name="resnet14")
