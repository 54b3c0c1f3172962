"""Whether a model takes pixels as they are: a Rescaling comes before anything that changes levels."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from edgefm.keras_graph.own_scaling import scales_pixels
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


SCALING = {
    "preprocess_input": lambda x: keras.applications.mobilenet_v2.preprocess_input(x),
    "of caffe": lambda x: keras.applications.resnet50.preprocess_input(x),
    "of torch": lambda x: keras.applications.imagenet_utils.preprocess_input(x, mode="torch"),
    "division": lambda x: layers.RandomFlip()(x) / 255.0,
    "cast": lambda x: keras.ops.cast(x, "float32") * (1 / 255),
    "Normalization": lambda x: layers.Normalization(mean=[120.0, 110.0, 100.0], variance=[3e3, 3e3, 0.0])(x),
    "black pixels": lambda x: layers.Normalization(mean=0.3, variance=400.0)(x),
    "of 0 to 1": lambda x: (x - 0.5) * 2,
    "of 0 to 1, Normalization": lambda x: layers.Normalization(mean=[0.5] * 3, variance=[0.06, 0.0, 0.07])(x),
    "into pixels": lambda x: x * 255.0 - 100.0,
    "none": lambda x: x,
    "a ReLU": lambda x: keras.ops.relu(x - 0.5) / 255.0,
    "later": lambda x: layers.Conv2D(3, 1)(x) / 255.0,
    "two ways": lambda x: keras.ops.add(x / 255.0, x),
}


@pytest.mark.parametrize("name", SCALING)
def test_scaling_of_pixels_by_operations_is_seen(name: str) -> None:
    inputs = keras.Input((8, 8, 3))
    scaled = SCALING[name](inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(scaled)))
    taken = list(SCALING).index(name) < list(SCALING).index("of 0 to 1") or name == "two ways"
    assert scales_pixels(model) is taken
    assert scales_pixels(keras.Sequential([keras.Input((8, 8, 3)), model])) is taken
