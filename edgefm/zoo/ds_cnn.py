"""DS-CNN: depthwise separable convolutions, of Zhang et al. 2017, arXiv:1711.07128, and MLPerf Tiny."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="ds_cnn",
    title="DS-CNN (small)",
    summary="Conv 64 10x4 stride 2, 4 x [DepthwiseConv 3x3, Conv 64 1x1] each BN ReLU, global average, Dense",
    input_shape=(49, 10, 1),
    classes=12,
    trainable=23_756,
    non_trainable=1_152,
    claim=Claim(),  # of spoken words only
    smallest=10,
    searchable=True,
)


def build(*, input_shape: tuple[int, int, int] = (49, 10, 1), classes: int = 12) -> Any:
    """Return the untrained keras.Model; of MLPerf Tiny's shape and classes it has 24,908 parameters.

    The source takes 49 x 10 coefficients of sound; here it takes pixels, which it scales to 0 to 1 itself.

    Args:
      input_shape: (height, width, channels), height and width 10 or more.
      classes: number of outputs.
    """
    import keras
    from keras import layers

    network: list[Any] = [
        keras.Input(input_shape, name="image"),
        layers.Rescaling(1 / 255, name="scale_pixels"),
        layers.Conv2D(64, (10, 4), strides=2, padding="same", name="conv"),
        layers.BatchNormalization(momentum=0.9, name="bn"),
        layers.ReLU(name="relu"),
        layers.Dropout(0.2, name="dropout"),
    ]
    for block in range(1, 5):
        network += [
            layers.DepthwiseConv2D(3, padding="same", name=f"depthwise{block}"),
            layers.BatchNormalization(momentum=0.9, name=f"depthwise{block}_bn"),
            layers.ReLU(name=f"depthwise{block}_relu"),
            layers.Conv2D(64, 1, name=f"pointwise{block}"),
            layers.BatchNormalization(momentum=0.9, name=f"pointwise{block}_bn"),
            layers.ReLU(name=f"pointwise{block}_relu"),
        ]
    network += [
        layers.Dropout(0.4, name="last_dropout"),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(classes, activation="softmax", name="probabilities"),
    ]
    return keras.Sequential(network, name="ds_cnn")
