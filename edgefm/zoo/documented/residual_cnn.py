"""The CNN with batch normalisation and residual skips of Bhatnagar et al., as S1 and S2 cite it."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim
from edgefm.zoo.documented.system import CLASSES, SHAPE, WHOLE_TRAINING, DocumentedSystem, as_stated

ARCHITECTURE = Architecture(
    name="residual_cnn",
    title="CNN with residual skips of Bhatnagar et al.",
    summary="Conv 32, residual blocks of 32, 64, 128 (two Conv 3x3, BN), strides 2, GlobalAveragePooling, Dense 10",
    input_shape=SHAPE,
    classes=CLASSES,
    trainable=308_074,
    non_trainable=1_344,
    claim=Claim(test_accuracy=(92.54, 92.74)),
)

SYSTEMS = (
    DocumentedSystem(
        id="residual_cnn",
        document="S1",
        cites="Bhatnagar, Ghosal and Kolekar 2017, ICIIP",
        recipe=as_stated("residual_cnn", batch_size=128, epochs=20),
        assumed_training=WHOLE_TRAINING,
        assumed=(
            "Neither layers nor training are stated beyond batch normalisation and residual skips: three residual "
            "blocks, Adam at 1e-3, batch 128 and 20 epochs are assumed.",
        ),
        reading="S1 and S2 cite the same work with 92.54 and 92.74 %: the claim is the range.",
    ),
)


def build() -> Any:
    """Return the untrained keras.Model of three residual blocks, 308,074 trainable and 1,344 other parameters.

    Source: Bhatnagar, Ghosal and Kolekar 2017, as S1 and S2 cite it; blocks of He et al. 2015, arXiv:1512.03385.
    """
    import keras
    from keras import layers

    image = keras.Input(SHAPE, name="image")
    x = layers.Rescaling(1 / 255, name="scale_pixels")(image)
    x = _normalised(layers.Conv2D(32, 3, padding="same", use_bias=False, name="stem")(x), "stem")
    x = layers.ReLU(name="stem_relu")(x)
    for block, (filters, stride) in enumerate(((32, 1), (64, 2), (128, 2)), start=1):
        x = _residual(x, filters, stride, name=f"block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="probabilities")(x), name="residual_cnn")


def _residual(x: Any, filters: int, stride: int, *, name: str) -> Any:
    from keras import layers

    skip = x
    if stride > 1 or int(x.shape[-1]) != filters:
        skip = layers.Conv2D(filters, 1, strides=stride, use_bias=False, name=f"{name}_skip")(x)
        skip = _normalised(skip, f"{name}_skip")
    x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False, name=f"{name}_conv1")(x)
    x = layers.ReLU(name=f"{name}_relu1")(_normalised(x, f"{name}_conv1"))
    x = _normalised(layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(x), f"{name}_conv2")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([skip, x]))


def _normalised(x: Any, name: str) -> Any:
    from keras import layers

    return layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
