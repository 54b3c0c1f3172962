"""EfficientNetV2-B0: fused inverted residuals, scaled together; Tan & Le 2021, arXiv:2104.00298."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.applications import with_short_memory
from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="efficientnetv2_b0",
    title="EfficientNetV2-B0",
    summary="Conv 32 stride 2, 21 (fused) inverted residual blocks, Conv 1280, global average, Dense; of "
    "keras.applications",
    input_shape=(224, 224, 3),
    classes=1000,
    trainable=7_139_704,
    non_trainable=60_608,
    claim=Claim(),  # of ImageNet only
    smallest=32,
)


def build(*, input_shape: tuple[int, int, int] = (224, 224, 3), classes: int = 1000) -> Any:
    """Return the untrained keras.Model; of ImageNet's classes it has 7,200,312 parameters, as Keras documents.

    The layers are those of keras.applications.EfficientNetV2B0 with its own scaling of pixels: by the mean and the
    deviation of ImageNet's colours, or to -1 to 1 for grey pictures. So its weight files fit.

    Args:
      input_shape: (height, width, channels), height and width 32 or more.
      classes: number of outputs.
    """
    import keras

    inputs = keras.Input(input_shape, name="image")
    model = keras.applications.EfficientNetV2B0(
        input_tensor=inputs, input_shape=input_shape, weights=None, classes=classes, include_preprocessing=True
    )
    return with_short_memory(model)
