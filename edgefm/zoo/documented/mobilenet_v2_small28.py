"""MobileNetV2 scaled to pictures of 28x28, as S2 cites Wang for it."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, WHOLE_TRAINING, DocumentedSystem, as_stated

_WIDTH = 0.5
_STEM, _HEAD = 16, 640
# Table 2 of Sandler et al.: expansion, channels, blocks, stride; fewer strides, since 28 pixels bear two halvings.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 1), (6, 320, 1, 1))

ARCHITECTURE = Architecture(
    name="mobilenet_v2_small28",
    title="MobileNetV2 for 28x28",
    summary="Conv 16, 17 inverted residual blocks at half width, Conv 640, GlobalAveragePooling, Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=586_890,
    non_trainable=17_056,
    claim=Claim(test_accuracy=93.0),
)

SYSTEMS = (
    DocumentedSystem(
        id="mobilenet_v2",
        document="S2",
        cites="Wang",
        recipe=as_stated("mobilenet_v2_small28", batch_size=128, epochs=20),
        assumed_training=WHOLE_TRAINING,
        assumed=(
            "Neither scaling nor training is stated: half the width, strides in the third and fourth stage only, Adam "
            "at 1e-3, batch 128 and 20 epochs are assumed, from random weights.",
        ),
        reading="Keras's own MobileNetV2 takes 32 pixels at least; this one has its blocks with three strides less.",
    ),
)


def build() -> Any:
    """Return the untrained keras.Model of 17 inverted residual blocks, 586,890 trainable and 17,056 other parameters.

    Source: Sandler et al. 2018, arXiv:1801.04381.
    """
    import keras
    from keras import layers

    image = keras.Input(SHAPE, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale_pixels")(image)
    x = _normalised(layers.Conv2D(_STEM, 3, padding="same", use_bias=False, name="stem")(x), "stem")
    number = 0
    for expansion, channels, blocks, stride in _STAGES:
        for block in range(blocks):
            number += 1
            x = _inverted_residual(
                x, expansion, round(_WIDTH * channels), stride if block == 0 else 1, name=f"block{number}"
            )
    x = _normalised(layers.Conv2D(_HEAD, 1, use_bias=False, name="head")(x), "head")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(
        image, layers.Dense(CLASSES, activation="softmax", name="probabilities")(x), name="mobilenet_v2_small28"
    )


def _inverted_residual(x: Any, expansion: int, channels: int, stride: int, *, name: str) -> Any:
    from keras import layers

    given = x
    if expansion > 1:
        wide = expansion * int(x.shape[-1])
        x = _normalised(layers.Conv2D(wide, 1, use_bias=False, name=f"{name}_expand")(x), f"{name}_expand")
    depthwise = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")
    x = _normalised(depthwise(x), f"{name}_depthwise")
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_project_bn")(x)
    if stride == 1 and int(given.shape[-1]) == channels:
        x = layers.Add(name=f"{name}_add")([given, x])
    return x


def _normalised(x: Any, name: str) -> Any:
    from keras import layers

    return layers.ReLU(6.0, name=f"{name}_relu")(layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x))
