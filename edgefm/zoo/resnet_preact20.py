"""ResNet-20 with pre-activation: He et al. 2016, arXiv:1603.05027, as hysts/pytorch_image_classification builds it."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="resnet_preact20",
    title="ResNet-preact-20",
    summary="Conv 16, 3 x [BN ReLU Conv] x 2 of 16, 32 and 64 channels with shortcuts, BN ReLU, global average, Dense",
    input_shape=(28, 28, 1),
    classes=10,
    trainable=271_994,
    non_trainable=1_376,
    claim=Claim(),  # 95.51 % test with Cutout is of other hyper-parameters; see docs/zoo.md
    options={"width": ("1", "2", "4")},
    smallest=8,
)


def build(*, input_shape: tuple[int, int, int] = (28, 28, 1), classes: int = 10, width: str = "1") -> Any:
    """Return the untrained keras.Model.

    Where a stage begins, the shortcut takes what its first batch normalisation and ReLU give (`preact_stage` of the
    source is true throughout); where the number of channels grows, it is a 1x1 convolution alone.

    Args:
      input_shape: (height, width, channels), height and width 8 or more.
      classes: number of outputs.
      width: factor of all numbers of channels.
    """
    import keras
    from keras import layers

    def convolution(x: Any, filters: int, size: int, strides: int, name: str) -> Any:
        return layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
            name=name,
        )(x)

    def activated(x: Any, name: str) -> Any:
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255, name="scale_pixels")(inputs)
    x = convolution(x, 16 * int(width), 3, 1, "stem_conv")
    for stage, filters in enumerate((16, 32, 64), start=1):
        channels = filters * int(width)
        for block in range(1, 4):
            name = f"stage{stage}_block{block}"
            strides = 2 if stage > 1 and block == 1 else 1
            first = activated(x, f"{name}_1")
            shortcut = first if block == 1 else x
            if strides == 2:
                shortcut = convolution(shortcut, channels, 1, strides, f"{name}_shortcut")
            branch = convolution(first, channels, 3, strides, f"{name}_1_conv")
            branch = convolution(activated(branch, f"{name}_2"), channels, 3, 1, f"{name}_2_conv")
            x = layers.Add(name=f"{name}_add")([branch, shortcut])
    x = layers.GlobalAveragePooling2D(name="pool")(activated(x, "last"))
    outputs = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="resnet_preact20")
