"""Thirty classifiers that the cost model is judged by: the zoo's small ones, and ones drawn with layers of Keras.

They share nothing with the networks that the cost model draws but the kinds of their layers; each is converted as
`edgefm quantize` does it, to float32 and to int8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ZOO = (
    "enhanced_cnn",
    "basic_cnn",
    "ds_cnn",
    "resnet20",
    "lenet5",
    "tiny_vgg",
    "two_conv_cnn",
    "kadam_arch3",
    "mcnn15",
    "residual_cnn",
    "small_residual",
    "separable_tiny",
    "strided_cnn",
    "resnet14",
    "plain_cnn",
)
DRAWN = 15
_SAMPLES = 16


def networks() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the name of each, and what builds its untrained keras.Model."""
    from edgefm import zoo

    for name in ZOO:
        yield name, partial(zoo.build, name)
    for number in range(DRAWN):
        yield f"drawn {number}", partial(draw, np.random.default_rng((20_261_130, number)))


def draw(random: np.random.Generator) -> Any:
    """Return a CNN of a drawn family, depth and width; widths are any whole number."""
    import keras
    from keras import layers

    side, channels = ((28, 1), (32, 3), (24, 1), (40, 3))[int(random.integers(4))]
    family = ("plain", "separable", "bottleneck", "preactivated", "wide dense")[int(random.integers(5))]
    inputs = keras.Input((side, side, channels))
    width = int(random.integers(7, 35))
    x: Any = layers.Rescaling(1 / 255)(inputs)
    x = _convolved(x, width, int(random.choice((3, 3, 5, 7))), strides=int(random.integers(1, 3)))
    for _ in range(int(random.integers(2, 4))):
        width = int(width * random.uniform(1, 1.9))
        for _ in range(int(random.integers(1, 4))):
            x = _block(family, x, width)
        if random.random() < 0.5:
            x = layers.MaxPooling2D(int(random.choice((2, 2, 3))), strides=2, padding="same")(x)
        else:
            x = _convolved(x, width, 3, strides=2)
    x = layers.Flatten()(x) if family == "wide dense" or random.random() < 0.3 else layers.GlobalAveragePooling2D()(x)
    for _ in range(int(random.integers(0, 3))):
        x = layers.Dense(int(random.integers(20, 300)), activation="relu")(x)
    return keras.Model(inputs, layers.Dense(int(random.choice((3, 10, 20))), activation="softmax")(x))


def _convolved(x: Any, filters: int, size: int, *, strides: int = 1) -> Any:
    from keras import layers

    return layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, size, strides, "same", use_bias=False)(x)))


def _block(family: str, x: Any, width: int) -> Any:
    from keras import layers

    if family == "separable":
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        return _convolved(x, width, 1)
    if family == "bottleneck":
        y = _convolved(_convolved(x, max(4, width // 3), 1), max(4, width // 3), 3)
        y = layers.BatchNormalization()(layers.Conv2D(width, 1)(y))
        short = x if x.shape[-1] == width else layers.Conv2D(width, 1)(x)
        return layers.ReLU()(layers.Add()([y, short]))
    if family == "preactivated":
        y = layers.Conv2D(width, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
        return y if x.shape[-1] != width else layers.Add()([x, y])
    return _convolved(x, width, 3)


def convert(model: Any) -> dict[str, bytes]:
    """Return the content of a model's float32 and int8 files, its ranges set by random pictures."""
    from edgefm.keras_graph.folding import fold
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite
    from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite

    pictures = np.random.default_rng(0).uniform(0, 255, (_SAMPLES, *model.input_shape[1:])).astype(np.float32)
    floating = float32_tflite(fold(model)[0])
    calibration = calibrate(floating, pictures, value_range=(0.0, 255.0))
    return {
        "float32": floating,
        "int8_w8a8": quantize_tflite(floating, "int8_w8a8", calibration=calibration),
    }


def write(folder: Path) -> dict[str, Path]:
    """Write the files of all networks that are not there yet and return them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    for name, build in networks():
        paths = {variant: folder / f"{name.replace(' ', '-')}-{variant}.tflite" for variant in ("float32", "int8_w8a8")}
        if not all(path.is_file() for path in paths.values()):
            for variant, content in convert(build()).items():
                paths[variant].write_bytes(content)
        files |= {f"{name} {variant}": path for variant, path in paths.items()}
    return files
