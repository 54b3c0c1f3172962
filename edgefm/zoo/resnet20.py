"""ResNet-20 for small pictures: He et al. 2016, section 4.2, arXiv:1512.03385."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="resnet20",
    title="ResNet-20",
    summary="Conv 16, 3 x [2 Conv 16], 3 x [2 Conv 32], 3 x [2 Conv 64] with shortcuts, global average, Dense",
    input_shape=(32, 32, 3),
    classes=10,
    trainable=272_474,
    non_trainable=1_568,
    claim=Claim(),  # of CIFAR-10 only: 91.25 % test
    smallest=8,
    searchable=True,
)


def build(*, input_shape: tuple[int, int, int] = (32, 32, 3), classes: int = 10) -> Any:
    """Return the untrained keras.Model; for CIFAR-10 it has 272,474 trainable parameters ("0.27 M").

    Where the number of channels grows, the shortcut is a 1x1 convolution with batch normalisation (option B of the
    paper). Option A, which pads with zeros, has 2,752 parameters less; it needs operators that not every runtime for
    microcontrollers has.

    Args:
      input_shape: (height, width, channels), height and width 8 or more.
      classes: number of outputs.
    """
    import keras
    from keras import layers

    def convolution(x: Any, filters: int, size: int, strides: int, name: str, *, relu: bool = True) -> Any:
        x = layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x) if relu else x

    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255, name="scale_pixels")(inputs)
    x = convolution(x, 16, 3, 1, "stem")
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, 4):
            name = f"stage{stage}_block{block}"
            strides = 2 if stage > 1 and block == 1 else 1
            branch = convolution(x, filters, 3, strides, f"{name}_1")
            branch = convolution(branch, filters, 3, 1, f"{name}_2", relu=False)
            shortcut = convolution(x, filters, 1, strides, f"{name}_shortcut", relu=False) if strides == 2 else x
            x = layers.Add(name=f"{name}_add")([branch, shortcut])
            x = layers.ReLU(name=f"{name}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="resnet20")
