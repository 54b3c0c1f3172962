"""MobileNetV3-Small: found by a search for phones; Howard et al. 2019, arXiv:1905.02244."""

from __future__ import annotations

from typing import Any

from edgefm.zoo.applications import with_short_memory
from edgefm.zoo.catalogue import Architecture, Claim

ARCHITECTURE = Architecture(
    name="mobilenet_v3_small",
    title="MobileNetV3-Small",
    summary="Conv 16 stride 2, 11 inverted residual blocks, Conv 576, global average, Conv 1024; of keras.applications",
    input_shape=(224, 224, 3),
    classes=1000,
    trainable=2_542_856,
    non_trainable=12_112,
    claim=Claim(),  # of ImageNet only
    options={"alpha": ("1.0", "0.75"), "minimalistic": ("no", "yes")},
    smallest=32,
)


def build(
    *,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    alpha: str = "1.0",
    minimalistic: str = "no",
) -> Any:
    """Return the untrained keras.Model; of ImageNet's classes it has 2,554,968 parameters, as Keras documents.

    The layers are those of keras.applications.MobileNetV3Small with its own scaling of pixels to -1 to 1, so that its
    weight files fit.

    Args:
      input_shape: (height, width, channels), height and width 32 or more.
      classes: number of outputs.
      alpha: factor of all numbers of channels.
      minimalistic: 'yes' leaves out squeeze-and-excite, hard-swish and 5x5 convolutions, for hardware without them.
    """
    import keras

    inputs = keras.Input(input_shape, name="image")
    model = keras.applications.MobileNetV3Small(
        input_tensor=inputs,
        alpha=float(alpha),
        minimalistic=minimalistic == "yes",
        weights=None,
        classes=classes,
        include_preprocessing=True,
        name="mobilenet_v3_small",
    )
    return with_short_memory(model)
