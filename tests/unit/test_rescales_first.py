"""Whether a model takes pixels as they are: a Rescaling comes before anything that changes levels."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from edgefm.quantization.calibration_set import rescales_first


@pytest.mark.parametrize(
    ("before", "rescales"),
    [
        ([], True),
        (["RandomFlip"], True),
        (["RandomFlip", "RandomRotation", "Dropout"], True),
        (["Resizing"], True),
        (["CenterCrop"], True),
        (["ZeroPadding2D", "AveragePooling2D"], True),
        (["Reshape"], True),
        (["ReLU"], False),
        (["Conv2D"], False),
        (["RandomFlip", "BatchNormalization"], False),
    ],
)
def test_rescaling_behind_layers_that_leave_levels_as_they_are_is_seen(before: list[str], rescales: bool) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "RandomFlip": ("horizontal",),
        "RandomRotation": (0.1,),
        "Dropout": (0.2,),
        "Resizing": (6, 6),
        "CenterCrop": (6, 6),
        "Reshape": ((4, 16, 3),),
        "Conv2D": (3, 3),
        "AveragePooling2D": (2,),
    }
    inputs = x = keras.Input((8, 8, 3))
    for name in before:
        x = getattr(layers, name)(*arguments.get(name, ()))(x)
    x = layers.Rescaling(1 / 255)(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    assert rescales_first(model) is rescales
    nested = keras.Sequential([keras.Input((8, 8, 3)), model])
    assert rescales_first(nested) is rescales
    assert not rescales_first(keras.Sequential([keras.Input((8,)), layers.Dense(2)]))
