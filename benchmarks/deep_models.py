"""Deep networks as int8 files of TensorFlow's own converter: random, or trained briefly on Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import stock_converter

Network = Callable[[], Any]


def resnet8() -> Any:
    """Return ResNet-8 of MLPerf Tiny: 32 x 32 x 3, three stages of one block."""
    import keras
    from keras import layers

    image = keras.Input((32, 32, 3))
    x = layers.ReLU()(_convolution(image, 16))
    for stage, filters in enumerate((16, 32, 64)):
        strides = 2 if stage else 1
        y = _convolution(layers.ReLU()(_convolution(x, filters, strides)), filters)
        shortcut = layers.Conv2D(filters, 1, strides, "same")(x) if stage else x
        x = layers.ReLU()(layers.Add()([shortcut, y]))
    return keras.Model(image, _classes(x))


def mobilenet() -> Any:
    """Return MobileNetV1 0.25: 96 x 96 x 3."""
    import keras

    return keras.applications.MobileNet(input_shape=(96, 96, 3), alpha=0.25, weights=None, classes=10)


def plain20() -> Any:
    """Return 20 convolutions of 16 channels in a row: 32 x 32 x 3."""
    import keras
    from keras import layers

    image = x = keras.Input((32, 32, 3))
    for place in range(20):
        x = layers.ReLU()(_convolution(x, 16, 2 if place in (5, 12) else 1))
    return keras.Model(image, _classes(x))


def _convolution(x: Any, filters: int, strides: int = 1) -> Any:
    from keras import layers

    return layers.BatchNormalization()(layers.Conv2D(filters, 3, strides, "same", use_bias=False)(x))


def _classes(x: Any) -> Any:
    from keras import layers

    return layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def pictures(side: int, count: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return training images of Fashion-MNIST, float32 [count, side, side, 3] from 0 to 1, and their classes."""
    import tensorflow as tf

    from edgefm.data.reference.fashion_mnist import load_fashion_mnist

    split = load_fashion_mnist(download=False).train
    places = np.random.default_rng(seed).choice(len(split.images), count, replace=False)
    grey = tf.image.resize(split.images[places].astype(np.float32) / 255, (side, side)).numpy()
    return grey.reshape(count, side, side, 1).repeat(3, axis=3), split.labels[places]


def randomise(model: Any, *, seed: int) -> None:
    """Give the batch norms of a fresh model statistics as training would: nothing is folded to 1 and 0."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if "batch_normalization" in layer.name or layer.name.endswith("_bn"):
            n = len(layer.get_weights()[0])
            layer.set_weights(
                [random.uniform(0.5, 1.5, n), *random.normal(0, (0.3, 0.2), (n, 2)).T, random.uniform(0.3, 2, n)]
            )


def train(model: Any, images: int, *, epochs: int, seed: int) -> None:
    """Train a model on some images."""
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*pictures(model.input_shape[1], images, seed=seed), batch_size=64, epochs=epochs, verbose=0)


def int8(model: Any, *, seed: int) -> bytes:
    """Return the .tflite file that TensorFlow's converter makes of a model: int8 throughout, 100 calibration images."""
    calibration, _ = pictures(model.input_shape[1], 100, seed=seed)
    content, reason = stock_converter.int8(model, calibration)
    assert content is not None, reason
    return content
