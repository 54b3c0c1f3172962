"""A family of small networks: three stages of one kind of block, whose width, depth and first stride are options."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.best import blocks as made_of
from edgefm.zoo.catalogue import Architecture, Claim

# Channels of each stage, in those of the first one; a pooling stands before each but the first.
_STAGES = (1, 2, 2)

ARCHITECTURE = Architecture(
    name="staged_cnn",
    title="Staged CNN (a family)",
    summary="Conv w, stages of w, 2w, 2w channels and `depth` blocks, MaxPool between, global average, Dense",
    input_shape=(28, 28, 1),
    classes=10,
    trainable=65_834,
    non_trainable=384,
    claim=Claim(),
    options={
        "blocks": ("plain", "separable", "residual", "residual_separable"),
        "width": ("32", "8", "12", "16", "24", "48", "64"),
        "depth": ("1", "2", "3"),
        "stride": ("2", "1"),
    },
    smallest=8,  # a stride and two poolings halve it
    searchable=True,
)


def build(
    *,
    input_shape: tuple[int, int, int] = (28, 28, 1),
    classes: int = 10,
    blocks: str = "plain",
    width: str = "32",
    depth: str = "1",
    stride: str = "2",
) -> Any:
    """Return the untrained keras.Model; with default options it is `strided_cnn`.

    Args:
      input_shape: (height, width, channels), height and width 8 or more.
      classes: number of outputs.
      blocks: 'plain' is Conv 3x3; 'separable' a depthwise 3x3 and a 1x1; 'residual' two Conv 3x3 beside a shortcut;
        'residual_separable' two separable ones beside a shortcut. Batch normalisation follows every convolution.
      width: channels of the first convolution and of the first stage; the other two stages have twice as many.
      depth: blocks of each stage.
      stride: of the first convolution.
    """
    from keras import layers

    inputs, x = made_of.pictures(input_shape)
    x = made_of.normalised(made_of.convolution(x, int(width), 3, "c", strides=int(stride)), "c")
    for stage, share in enumerate(_STAGES):
        if stage:
            x = layers.MaxPooling2D(2, name=f"m{stage}")(x)
        for place in range(int(depth)):
            x = _BLOCKS[blocks](x, share * int(width), f"s{stage}{place}")
    return made_of.classified(inputs, x, classes=classes, dropout=0.0, name="staged_cnn")


def macs(options: dict[str, str], *, input_shape: tuple[int, int, int], classes: int) -> int:
    """Return the multiply-accumulates of a network of the family for one picture, without building it.

    >>> macs({"blocks": "plain", "width": "8", "depth": "1", "stride": "2"}, input_shape=(28, 28, 1), classes=10)
    204352
    """
    height, side, channels = input_shape
    width, stride = int(options["width"]), int(options["stride"])
    height, side = -(-height // stride), -(-side // stride)
    total = height * side * 9 * channels * width
    channels = width
    for stage, share in enumerate(_STAGES):
        if stage:
            height, side = height // 2, side // 2
        for _ in range(int(options["depth"])):
            total += height * side * _weights(options["blocks"], channels, share * width)
            channels = share * width
    return total + channels * classes


def _weights(blocks: str, inputs: int, outputs: int) -> int:
    """Return the weights of a block's convolutions, each of which is multiplied once a position."""
    if blocks == "plain":
        return 9 * inputs * outputs
    if blocks == "separable":
        return (9 + outputs) * inputs
    shortcut = inputs * outputs if inputs != outputs else 0
    kind = "plain" if blocks == "residual" else "separable"
    return _weights(kind, inputs, outputs) + _weights(kind, outputs, outputs) + shortcut


def _plain(x: Any, filters: int, name: str) -> Any:
    return made_of.normalised(made_of.convolution(x, filters, 3, name), name)


def _residual_separable(x: Any, filters: int, name: str) -> Any:
    from keras import layers

    shortcut = x
    if x.shape[-1] != filters:
        shortcut = made_of.normalised(made_of.convolution(x, filters, 1, f"{name}s"), f"{name}s", relu=False)
    branch = made_of.separable(x, filters, f"{name}1")
    branch = made_of.separable(branch, filters, f"{name}2", relu=False)
    return layers.ReLU(name=f"{name}r")(layers.Add(name=f"{name}a")([branch, shortcut]))


_BLOCKS = {
    "plain": _plain,
    "separable": made_of.separable,
    "residual": made_of.postactivation_block,
    "residual_separable": _residual_separable,
}
