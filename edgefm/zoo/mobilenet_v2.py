"""MobileNetV2: inverted residuals with linear bottlenecks; Sandler et al. 2018, arXiv:1801.04381."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.applications import with_short_memory
from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="mobilenet_v2",
    title="MobileNetV2",
    summary="Conv 32 stride 2, 17 inverted residual blocks, Conv 1280, global average, Dense; of keras.applications",
    input_shape=(224, 224, 3),
    classes=1000,
    trainable=3_504_872,
    non_trainable=34_112,
    claim=Claim(),  # of ImageNet only
    options={"alpha": ("1.0", "0.35", "0.5", "0.75", "1.3", "1.4")},
    smallest=32,
)


def build(*, input_shape: tuple[int, int, int] = (224, 224, 3), classes: int = 1000, alpha: str = "1.0") -> Any:
    """Return the untrained keras.Model; of ImageNet's classes it has 3,538,984 parameters, as Keras documents.

    The layers are those of keras.applications.MobileNetV2, so that its weight files fit; pixels are brought to -1 to 1
    in front of them.

    Args:
      input_shape: (height, width, channels), height and width 32 or more.
      classes: number of outputs.
      alpha: factor of all numbers of channels.
    """
    import keras

    inputs = keras.Input(input_shape, name="image")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale_pixels")(inputs)
    model = keras.applications.MobileNetV2(
        input_tensor=scaled, alpha=float(alpha), weights=None, classes=classes, name="mobilenet_v2"
    )
    return with_short_memory(model)
