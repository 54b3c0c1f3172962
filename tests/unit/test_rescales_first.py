"""Whether a model takes pixels as they are: a Rescaling comes before anything that changes levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras import layers

from edgefm.keras_graph.own_scaling import beginning_of
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


@pytest.mark.parametrize(("scale", "offset", "rescales"), [(255.0, 0.0, False), (2.0, -1.0, False), (1.0, 0.0, True)])
def test_rescaling_of_values_of_0_to_1_is_none_of_pixels(scale: float, offset: float, rescales: bool) -> None:
    assert rescales_first(_of(lambda x: layers.Rescaling(scale, offset)(x))) is rescales


def _of(begins: Callable[[Any], Any], **given: Any) -> Any:
    """Return a model that begins so, and goes on with a convolution."""
    inputs = keras.Input((8, 8, 3), **given)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.Conv2D(2, 3)(begins(inputs)))))


class Divides(layers.Layer):
    """Scales pixels, and has no weights."""

    def call(self, values: Any) -> Any:
        """Scale."""
        return values / 127.5 - 1


class Standardises(layers.Layer):
    """Scales pixels by weights that are not trained."""

    def build(self, _: Any) -> None:
        """Make the weights."""
        made = {"initializer": keras.initializers.Constant(60.0), "trainable": False}
        self.mean, self.deviation = (self.add_weight(shape=(3,), **made) for _ in range(2))

    def call(self, values: Any) -> Any:
        """Scale."""
        return (values - self.mean) / self.deviation


class Stem(layers.Layer):
    """Scales pixels and convolves them."""

    def build(self, shape: Any) -> None:
        """Make the convolution."""
        self.convolution = layers.Conv2D(3, 1)
        self.convolution.build(shape)

    def call(self, values: Any) -> Any:
        """Scale and convolve."""
        return self.convolution(values / 255.0)


class OnlyInTraining(layers.Layer):
    """Augmentation."""

    def call(self, values: Any, training: bool | None = None) -> Any:
        """Brighten in training."""
        return values * 1.1 if training else values


class Raises(layers.Layer):
    """Takes no single picture."""

    def call(self, values: Any) -> Any:
        """Return nothing of one picture."""
        if values.shape[0] == 1:
            raise ValueError("a batch is wanted")
        return values


def _steps(*steps: Any) -> Any:
    return keras.Sequential([keras.Input((8, 8, 3)), *steps])


_OF_TORCH = keras.applications.imagenet_utils.preprocess_input
SCALING: dict[str, Callable[[Any], Any]] = {
    "Rescaling": lambda x: layers.Rescaling(1 / 127.5, -1)(x),
    "resized, Rescaling": lambda x: layers.Rescaling(1 / 255)(layers.Resizing(6, 6)(x)),
    "preprocess_input": lambda x: keras.applications.mobilenet_v2.preprocess_input(x),
    "of caffe": lambda x: keras.applications.resnet50.preprocess_input(x),
    "of torch": lambda x: _OF_TORCH(x, mode="torch"),
    "division": lambda x: layers.RandomFlip()(x) / 255.0,
    "resized, division": lambda x: layers.Resizing(6, 6)(x) / 255.0,
    "cropped, turned, division": lambda x: layers.RandomRotation(0.1)(layers.CenterCrop(6, 6)(x)) / 127.5 - 1,
    "padded, division": lambda x: layers.ZeroPadding2D()(x) / 255.0,
    "cast": lambda x: keras.ops.cast(x, "float32") * (1 / 255),
    "cast to bytes": lambda x: keras.ops.cast(keras.ops.cast(x, "uint8"), "float32") / 255.0,
    "grey": lambda x: keras.ops.image.rgb_to_grayscale(x) / 255.0,
    "channels apart": lambda x: keras.ops.concatenate([part / 255.0 for part in keras.ops.split(x, 3, -1)], -1),
    "Normalization": lambda x: layers.Normalization(mean=[120.0, 110.0, 100.0], variance=[3e3, 3e3, 0.0])(x),
    "black pixels": lambda x: layers.Normalization(mean=0.3, variance=400.0)(x),
    "Lambda": lambda x: layers.Lambda(lambda values: values / 255.0)(x),
    "Lambda of TensorFlow": lambda x: layers.Lambda(tf.image.per_image_standardization)(x),
    "own layer": lambda x: Divides()(x),
    "own layer, augmented": lambda x: Divides()(OnlyInTraining()(x)),
    "own layer with fixed weights": lambda x: Standardises()(x),
    "nested": lambda x: _steps(layers.Resizing(6, 6), layers.Rescaling(1 / 255))(x),
    "nested twice": lambda x: _steps(_steps(layers.RandomFlip(), Divides()))(x),
    "nested, twice called": lambda x: _twice(_steps(layers.Rescaling(1 / 255), layers.Conv2D(3, 1)), x),
    "within a wrapper": lambda x: layers.TimeDistributed(layers.Rescaling(1 / 255))(x),
    "squeezed": lambda x: keras.ops.tanh(x / 127.5 - 1),
    "gamma": lambda x: (x / 255.0) ** 2.2,
    "cut off at 255": lambda x: keras.ops.clip(x, 0, 255) / 255.0,
    "by the brightest": lambda x: x / keras.ops.max(x, axis=(1, 2, 3), keepdims=True),
    "a ReLU": lambda x: keras.ops.relu(x - 0.5) / 255.0,
    "there and back": lambda x: x / 255.0 * 255.0,
    "two ways": lambda x: keras.ops.add(x / 255.0, x),
}
NOT_SCALING: dict[str, Callable[[Any], Any]] = {
    "of 0 to 1": lambda x: (x - 0.5) * 2,
    "of 0 to 1, Normalization": lambda x: layers.Normalization(mean=[0.5] * 3, variance=[0.06, 0.0, 0.07])(x),
    "of 0 to 1, Lambda": lambda x: layers.Lambda(lambda values: values * 2 - 1)(x),
    "of 0 to 1, cut off": lambda x: keras.ops.clip(x, 0, 1),
    "of 0 to 1, turned round": lambda x: 1 - x,
    "into pixels": lambda x: x * 255.0 - 100.0,
    "into pixels and back": lambda x: layers.Rescaling(1 / 127.5, -1)(layers.Rescaling(255.0)(x)),
    "none": lambda x: x,
    "resized": lambda x: layers.Resizing(6, 6)(layers.RandomFlip()(x)),
    "own augmentation": lambda x: OnlyInTraining()(x),
    "batch normalisation": lambda x: layers.BatchNormalization()(x),
    "brightness taken off": lambda x: x - keras.ops.mean(x, axis=(1, 2, 3), keepdims=True),
    "later": lambda x: layers.Conv2D(3, 1)(x) / 255.0,
    "nested without": lambda x: _steps(layers.RandomFlip(), layers.Conv2D(3, 1))(x),
}
OPEN: dict[str, Callable[[Any], Any]] = {
    "own layer with weights": lambda x: Stem()(x),
    "own layer that raises": lambda x: Raises()(x),
    "wrapped": lambda x: layers.TimeDistributed(
        keras.Sequential([keras.Input((8, 3)), layers.Rescaling(1 / 255), layers.Conv1D(3, 1)])
    )(x),
    "a root": lambda x: keras.ops.sqrt(x),
}


def _twice(model: Any, given: Any) -> Any:
    return layers.Add()([model(given), model(layers.Permute((2, 1, 3))(given))])


@pytest.mark.parametrize("name", [*SCALING, *NOT_SCALING, *OPEN])
def test_scaling_of_pixels_is_seen_whatever_does_it(name: str) -> None:
    model = _of((SCALING | NOT_SCALING | OPEN)[name])
    wanted = True if name in SCALING else False if name in NOT_SCALING else None
    assert beginning_of(model).scales is wanted
    assert beginning_of(keras.Sequential([keras.Input((8, 8, 3)), model])).scales is wanted
    assert bool(beginning_of(model).why) is (wanted is None)


def test_networks_of_keras_scale_pixels_where_they_are_built_to() -> None:
    for build in (keras.applications.MobileNetV3Small, keras.applications.ConvNeXtTiny):
        for scales in (True, False):
            model = build(weights=None, input_shape=(32, 32, 3), classes=2, include_preprocessing=scales)
            assert beginning_of(model).scales is scales


def test_model_that_takes_bytes_takes_pixels() -> None:
    assert beginning_of(_of(lambda x: keras.ops.cast(x, "float32"), dtype="uint8")).scales


@pytest.mark.parametrize("head", ["dense", "head"])
def test_names_of_layers_do_not_decide_whether_a_nested_model_scales(head: str) -> None:
    base = _steps(layers.Rescaling(1 / 255), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(4, name="dense"))
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Dense(2, name=head)(base(inputs)))
    assert rescales_first(model) and beginning_of(model).scales
