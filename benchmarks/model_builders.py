"""The models of docs/models.md that the tests have not: MLPerf Tiny, keras.applications, heads, maps, branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 32
Build = Callable[[], Any]


def ds_cnn() -> Any:
    """Return the keyword spotter of MLPerf Tiny: a depthwise separable CNN on 49 x 10 spectra, 12 words.

    Source: Zhang et al. 2017, arXiv:1711.07128; github.com/mlcommons/tiny, keyword_spotting.
    """
    import keras
    from keras import layers

    def block(x: Any) -> Any:
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        return layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(64, 1, padding="same")(x)))

    inputs = keras.Input((49, 10, 1))
    x = layers.Conv2D(64, (10, 4), strides=2, padding="same")(inputs)
    x = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization()(x)))
    for _ in range(4):
        x = block(x)
    x = layers.Flatten()(layers.AveragePooling2D((25, 5))(layers.Dropout(0.4)(x)))
    return keras.Model(inputs, layers.Dense(12, activation="softmax")(x))


def resnet8() -> Any:
    """Return the image classifier of MLPerf Tiny, a ResNet of 8 layers on CIFAR-10's size.

    Source: github.com/mlcommons/tiny, image_classification.
    """
    import keras
    from keras import layers

    def normalised(x: Any, filters: int, size: int, strides: int = 1) -> Any:
        return layers.BatchNormalization()(layers.Conv2D(filters, size, strides, "same")(x))

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(normalised(inputs, 16, 3))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = normalised(layers.ReLU()(normalised(x, filters, 3, strides)), filters, 3)
        x = layers.ReLU()(layers.Add()([x if strides == 1 else layers.Conv2D(filters, 1, strides, "same")(x), y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def mobilenet_v1() -> Any:
    """Return the person detector of MLPerf Tiny: MobileNetV1 with a quarter of its channels on 96 x 96 pixels."""
    import keras

    return keras.applications.MobileNet((96, 96, 3), alpha=0.25, weights=None, classes=2)


def anomaly_autoencoder() -> Any:
    """Return the anomaly detector of MLPerf Tiny: a dense autoencoder of 640 values.

    Source: github.com/mlcommons/tiny, anomaly_detection.
    """
    import keras
    from keras import layers

    inputs = x = keras.Input((640,))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(units)(x)))
    return keras.Model(inputs, layers.Dense(640)(x))


def _application(name: str, **options: Any) -> Build:
    def build() -> Any:
        import keras

        return getattr(keras.applications, name)(
            input_shape=(SIDE, SIDE, 3), weights=None, include_top=True, classes=5, **options
        )

    return build


def unet() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((SIDE, SIDE, 3))
    first = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    second = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(first))
    bottom = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(second))
    x = layers.Concatenate()([layers.UpSampling2D()(bottom), second])
    x = layers.Conv2DTranspose(8, 2, strides=2, activation="relu")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Concatenate()([x, first]))
    return keras.Model(inputs, layers.Conv2D(4, 1, activation="softmax")(x))


def picture_autoencoder() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


def _trunk(side: int = 16) -> tuple[Any, Any]:
    import keras
    from keras import layers

    inputs = keras.Input((side, side, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    return inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3, activation="relu")(x))


def classes_and_boxes() -> Any:
    import keras
    from keras import layers

    inputs, x = _trunk()
    outputs = [layers.Dense(3, activation="softmax", name="classes")(x), layers.Dense(4, name="boxes")(x)]
    return keras.Model(inputs, outputs)


def _headed(units: int, activation: str | None) -> Build:
    def build() -> Any:
        import keras
        from keras import layers

        inputs, x = _trunk()
        return keras.Model(inputs, layers.Dense(units, activation=activation)(x))

    return build


def densely_connected() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    for _ in range(3):
        y = layers.Conv2D(6, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
        x = layers.Concatenate()([x, y])
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def branches() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((16, 16, 3))
    paths = [layers.Conv2D(6, size, padding="same", activation="relu")(inputs) for size in (1, 3, 5)]
    paths.append(layers.Conv2D(6, 1)(layers.MaxPooling2D(3, strides=1, padding="same")(inputs)))
    x = layers.GlobalMaxPooling2D()(layers.Concatenate()(paths))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x))


def unusual_convolutions() -> Any:
    """Return separable, dilated, grouped and depthwise convolutions, the last with a multiplier."""
    import keras
    from keras import layers

    inputs = keras.Input((16, 16, 4))
    x = layers.SeparableConv2D(8, 3, activation="relu")(inputs)
    x = layers.Conv2D(8, 3, dilation_rate=2, activation="relu")(x)
    x = layers.Conv2D(8, 3, groups=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu6")(x))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x))


def dense_layers() -> Any:
    import keras
    from keras import layers

    inputs = x = keras.Input((64,))
    for units, activation in ((256, "relu"), (256, "gelu"), (128, "swish"), (64, "elu")):
        x = layers.Dropout(0.1)(layers.Dense(units, activation=activation)(x))
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(x))


def text_cnn() -> Any:
    import keras
    from keras import layers

    inputs = keras.Input((24,), dtype="int32")
    x = layers.Embedding(50, 16)(inputs)
    paths = [layers.GlobalMaxPooling1D()(layers.Conv1D(8, size, activation="relu")(x)) for size in (2, 3, 4)]
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Concatenate()(paths)))


def vision_transformer() -> Any:
    """Return a ViT of two blocks on 16 patches. Source: Dosovitskiy et al. 2020, arXiv:2010.11929."""
    import keras
    from keras import layers

    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Reshape((16, 24))(layers.Conv2D(24, 8, strides=8)(inputs))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 12)(y, y)])
        y = layers.Dense(48, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(24)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(x))


MLPERF_TINY: dict[str, Build] = {
    "DS-CNN": ds_cnn,
    "ResNet-8": resnet8,
    "MobileNetV1 0.25": mobilenet_v1,
    "autoencoder of 640": anomaly_autoencoder,
}
APPLICATIONS: dict[str, Build] = {
    "MobileNetV2": _application("MobileNetV2", alpha=0.35),
    "MobileNetV3Small": _application("MobileNetV3Small"),
    "EfficientNetV2B0": _application("EfficientNetV2B0"),
    "ResNet50V2": _application("ResNet50V2"),
    "ConvNeXtTiny": _application("ConvNeXtTiny"),
}
OTHERS: dict[str, Build] = {
    "U-Net": unet,
    "picture autoencoder": picture_autoencoder,
    "classes and boxes": classes_and_boxes,
    "one logit": _headed(1, None),
    "one sigmoid": _headed(1, "sigmoid"),
    "several labels": _headed(4, "sigmoid"),
    "logits": _headed(4, None),
    "dense connections": densely_connected,
    "branches": branches,
    "unusual convolutions": unusual_convolutions,
    "dense layers": dense_layers,
    "text CNN": text_cnn,
    "vision transformer": vision_transformer,
}


def samples_of(model: Any, count: int, *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return samples by input: tokens below 50 for integers, else smooth numbers from 0 to 1 (pixels for Rescaling)."""
    from edgefm.keras_graph.ends import input_names
    from edgefm.keras_graph.graph import Graph

    generator, calls = np.random.default_rng(seed), Graph(model).calls
    pixels = 255.0 if type(calls[0].layer).__name__ == "Rescaling" else 1.0
    samples = {}
    for name, tensor in zip(input_names(model) or ("",), model.inputs, strict=True):
        shape = (count, *tensor.shape[1:])
        if "int" in str(tensor.dtype):
            samples[name] = generator.integers(0, 50, shape).astype(str(tensor.dtype))
            continue
        levels = generator.uniform(0.1, 0.9, (count, *[1] * (len(shape) - 2), shape[-1]))
        samples[name] = (np.clip(levels + generator.normal(0, 0.15, shape), 0, 1) * pixels).astype(np.float32)
    return samples
