"""Convolution, batch normalisation and ReLU in the orders that fold, and in He et al.'s pre-activation order.

No convolution here has a bias: its batch normalisation becomes one when it is folded.
Names of layers are short: the converter writes them into the file several times.
"""

from __future__ import annotations

from typing import Any


def convolution(x: Any, filters: int, size: int, name: str, *, strides: int = 1) -> Any:
    """Return a convolution without bias, padded to the same height and width (over `strides`).

    Args:
      x: Keras tensor [n, h, w, c].
      filters: number of channels of the result.
      size: side of the kernel.
      name: of the layer.
      strides: in both directions.
    """
    from keras import layers

    return layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)


def normalised(x: Any, name: str, *, relu: bool = True) -> Any:
    """Return a batch normalisation, with a ReLU behind it unless `relu` is False."""
    from keras import layers

    x = layers.BatchNormalization(momentum=0.9, name=f"{name}b")(x)
    return layers.ReLU(name=f"{name}r")(x) if relu else x


def separable(x: Any, filters: int, name: str, *, relu: bool = True, inner_relu: bool = True) -> Any:
    """Return a depthwise 3x3 and a 1x1 convolution, each with its batch normalisation (Howard et al. 2017).

    Args:
      x: Keras tensor [n, h, w, c].
      filters: number of channels of the result.
      name: beginning of the layers' names.
      relu: whether a ReLU ends it.
      inner_relu: whether the depthwise convolution is followed by batch normalisation and ReLU too.
    """
    from keras import layers

    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, depthwise_initializer="he_normal", name=f"{name}d")(x)
    if inner_relu:
        x = normalised(x, f"{name}d")
    return normalised(convolution(x, filters, 1, f"{name}p"), f"{name}p", relu=relu)


def preactivation_block(x: Any, filters: int, name: str, *, strides: int = 1) -> Any:
    """Return a residual block of [BN ReLU Conv 3x3] x 2 (He et al. 2016, arXiv:1603.05027).

    Where the number of channels or the size changes, the shortcut is a 1x1 convolution of what the first batch
    normalisation and ReLU give. The first batch normalisation follows an addition, so no convolution takes it in.
    """
    from keras import layers

    first = normalised(x, f"{name}1")
    same = strides == 1 and x.shape[-1] == filters
    shortcut = x if same else convolution(first, filters, 1, f"{name}s", strides=strides)
    branch = convolution(first, filters, 3, f"{name}1", strides=strides)
    branch = convolution(normalised(branch, f"{name}2"), filters, 3, f"{name}2")
    return layers.Add(name=f"{name}a")([branch, shortcut])


def postactivation_block(x: Any, filters: int, name: str, *, strides: int = 1) -> Any:
    """Return a residual block of Conv 3x3 BN ReLU Conv 3x3 BN, added, ReLU (He et al. 2015, arXiv:1512.03385).

    Each batch normalisation follows a convolution and folds into it; the shortcut is one of 1x1 where it must be.
    """
    from keras import layers

    same = strides == 1 and x.shape[-1] == filters
    shortcut = x
    if not same:
        shortcut = normalised(convolution(x, filters, 1, f"{name}s", strides=strides), f"{name}s", relu=False)
    branch = normalised(convolution(x, filters, 3, f"{name}1", strides=strides), f"{name}1")
    branch = normalised(convolution(branch, filters, 3, f"{name}2"), f"{name}2", relu=False)
    return layers.ReLU(name=f"{name}r")(layers.Add(name=f"{name}a")([branch, shortcut]))


def pictures(input_shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """Return the input, pixels 0 to 255, and the same scaled to 0 to 1."""
    import keras

    inputs = keras.Input(input_shape, name="image")
    return inputs, keras.layers.Rescaling(1 / 255, name="scale_pixels")(inputs)


def classified(inputs: Any, x: Any, *, classes: int, dropout: float, name: str) -> Any:
    """Return the keras.Model that ends in global average pooling, dropout and a dense layer with softmax."""
    import keras
    from keras import layers

    x = layers.GlobalAveragePooling2D(name="gap")(x)
    if dropout:
        x = layers.Dropout(dropout, name="drop")(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax", name="probabilities")(x), name=name)
