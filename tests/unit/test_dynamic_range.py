from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgefm.core.errors import NothingToQuantizeError
from edgefm.quantization.checks.scheme import check_scheme
from edgefm.recipes import SCHEMES
from edgefm.tflite import flatbuffer
from edgefm.tflite.weights import stored_kernels
from edgefm_converters.tflite.keras_to_tflite import Given, converted, float32_tflite
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def stock_dynamic_range(model: Any) -> bytes:
    """Return the file of TensorFlow's own converter with `Optimize.DEFAULT`."""
    import tensorflow as tf

    return converted(
        lambda image: {"answer": model(image, training=False)},
        inputs={"image": Given((1, *model.inputs[0].shape[1:]))},
        holds=[weight.value for weight in model.weights],
        options={"optimizations": [tf.lite.Optimize.DEFAULT]},
    )


def mixed() -> Any:
    """Return kernels on both sides of 1,024 weights, of every kind."""
    import keras
    from keras import layers

    source = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, activation="relu")(source)  # 432
    x = layers.DepthwiseConv2D(3)(x)  # 144
    x = layers.Conv2D(64, 1, activation="relu")(x)  # 1,024
    x = layers.Conv2D(33, 1, use_bias=False)(x)  # 2,112
    x = layers.DepthwiseConv2D(5)(x)  # 825
    x = layers.Conv2DTranspose(8, 3)(x)  # 2,376
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(x))  # 576
    x = layers.Dense(128, activation="relu")(x)  # 1,024
    return keras.Model(source, layers.Dense(7)(x))  # 896


def bottlenecks() -> Any:
    """Return blocks as in MobileNetV2, whose depthwise kernels are small at first."""
    import keras
    from keras import layers

    source = keras.Input((16, 16, 3))
    x = source
    for channels in (48, 120):
        x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(channels, 1, use_bias=False)(x)))
        x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        x = layers.Conv2D(channels // 4, 1)(x)
    return keras.Model(source, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def vectors() -> Any:
    import keras
    from keras import layers

    source = keras.Input((40,))
    x = source
    for units in (25, 26, 39, 40):
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(source, x)


def sequence() -> Any:
    import keras
    from keras import layers

    source = keras.Input((20, 8))
    x = layers.Conv1D(15, 8, activation="relu")(source)  # 960
    return keras.Model(source, layers.Conv1D(16, 5)(x))  # 1,200


@pytest.mark.parametrize("build", [mixed, bottlenecks, vectors, sequence], ids=lambda build: build.__name__)
def test_drq_w8_quantises_the_kernels_that_tensorflow_does(build: Any) -> None:
    model = build()
    ours = stored_kernels(quantize_tflite(float32_tflite(model), "drq_w8"))
    theirs = stored_kernels(stock_dynamic_range(model))
    assert [(kernel.operator, kernel.shape, kernel.dtype) for kernel in ours] == [
        (kernel.operator, kernel.shape, kernel.dtype) for kernel in theirs
    ]
    assert {kernel.dtype for kernel in ours} == {"float32", "int8"}
    assert all((kernel.dtype == "int8") == (np.prod(kernel.shape) >= 1024) for kernel in ours)


def convolutions(channels: int) -> Any:
    import keras
    from keras import layers

    source = keras.Input((8, 8, 2))
    return keras.Model(source, layers.GlobalMaxPooling2D()(layers.Conv2D(channels, 3, name="conv")(source)))


def pool() -> Any:
    import keras

    source = keras.Input((8, 8, 2))
    return keras.Model(source, keras.layers.GlobalAveragePooling2D()(source))


@pytest.mark.parametrize(
    ("model", "scheme", "reason"),
    [
        (lambda: convolutions(8), "int8_w8a8_fc4", "same file as int8_w8a8: it has no dense layer"),
        (lambda: convolutions(8), "drq_w8", "same file as float32: none of its kernels has 1,024 weights"),
        (pool, "float16", "same file as float32: it has no convolution and no dense layer"),
        (pool, "drq_w8", "same file as float32"),
    ],
    ids=["fc4-without-dense", "drq-of-small-kernels", "float16-without-weights", "drq-without-weights"],
)
def test_scheme_that_changes_nothing_is_refused(model: Any, scheme: str, reason: str) -> None:
    content = float32_tflite(model())
    inputs = np.random.default_rng(0).uniform(0, 1, (8, 8, 8, 2)).astype(np.float32)
    calibration = calibrate(content, inputs, value_range=(0, 1))
    other = "int8_w8a8" if scheme.endswith("fc4") else "float32"
    same, file = (quantize_tflite(content, name, calibration=calibration) for name in (other, scheme))
    assert kernels(same) == kernels(file)
    with pytest.raises(NothingToQuantizeError, match=reason):
        check_scheme(file, scheme, variant=scheme)


def test_scheme_that_changes_something_passes() -> None:
    content = float32_tflite(mixed())
    inputs = np.random.default_rng(0).uniform(0, 1, (4, 16, 16, 3)).astype(np.float32)
    calibration = calibrate(content, inputs, value_range=(0, 1))
    for scheme in SCHEMES:
        check_scheme(quantize_tflite(content, scheme, calibration=calibration), scheme, variant=scheme)


def kernels(content: bytes) -> list[tuple[str, bytes]]:
    """Return dtype and bytes of all that a file stores."""
    model = flatbuffer.read(content)
    return [
        (flatbuffer.dtype(tensor), bytes(model.buffers[tensor.buffer].data))
        for tensor in model.subgraphs[0].tensors
        if model.buffers[tensor.buffer].data is not None
    ]
