"""The networks of `edgefm.zoo.best`: parameters counted by hand, other pictures and classes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edgefm import zoo
from edgefm.core.errors import RecipeError

NETWORKS = ("small_residual", "separable_tiny", "strided_cnn", "resnet14", "wide_resnet16")


def _conv(size: int, inputs: int, outputs: int) -> int:
    """Return the parameters of a convolution without bias and of its batch normalisation."""
    return size * size * inputs * outputs + 2 * outputs


def _separable(inputs: int, outputs: int, *, inner: bool) -> int:
    return 9 * inputs + (2 * inputs if inner else 0) + _conv(1, inputs, outputs)


def _preactivation(inputs: int, outputs: int) -> int:
    first = 2 * inputs + 9 * inputs * outputs + 2 * outputs + 9 * outputs * outputs
    return first + (inputs * outputs if inputs != outputs else 0)


def _by_hand(name: str) -> int:
    """Return the trainable parameters that the summary of a network comes to."""
    if name == "strided_cnn":
        return _conv(3, 1, 32) + _conv(3, 32, 32) + _conv(3, 32, 64) + _conv(3, 64, 64) + 65 * 10
    if name == "separable_tiny":
        widths = (8, 16, 32, 32, 48, 48)
        pairs = itertools.pairwise(widths)
        return _conv(3, 1, 8) + sum(_separable(a, b, inner=False) for a, b in pairs) + 49 * 10
    if name == "small_residual":
        total = _conv(3, 1, 24) + _separable(24, 32, inner=True)
        for inputs, outputs in ((32, 64), (64, 84)):
            total += _conv(1, inputs, outputs) + _separable(inputs, outputs, inner=True)
            total += _separable(outputs, outputs, inner=True)
        return total + 85 * 10
    if name == "resnet14":  # post-activation: a batch normalisation behind every convolution
        total = _conv(3, 1, 26) + 4 * _conv(3, 26, 26)
        for inputs, outputs in ((26, 52), (52, 104)):
            total += _conv(1, inputs, outputs) + _conv(3, inputs, outputs) + 3 * _conv(3, outputs, outputs)
        return total + 105 * 10
    widths = (16, 128, 128, 256, 256, 512, 512)
    blocks = sum(_preactivation(a, b) for a, b in itertools.pairwise(widths))
    return 9 * 16 + blocks + 2 * 512 + 513 * 10


def _staged(blocks: str, width: int, depth: int, channels: int, classes: int) -> int:
    """Return the trainable parameters of a network of the family."""

    def block(inputs: int, outputs: int) -> int:
        plain = "separable" not in blocks
        once = _conv(3, inputs, outputs) if plain else _separable(inputs, outputs, inner=True)
        if "residual" not in blocks:
            return once
        twice = _conv(3, outputs, outputs) if plain else _separable(outputs, outputs, inner=True)
        return once + twice + (_conv(1, inputs, outputs) if inputs != outputs else 0)

    widths = [width, *depth * [width], *2 * depth * [2 * width]]
    stages = sum(block(a, b) for a, b in itertools.pairwise(widths))
    return _conv(3, channels, width) + stages + (2 * width + 1) * classes


@pytest.mark.parametrize(
    ("blocks", "width", "depth", "stride"),
    [("plain", 12, 2, 1), ("separable", 24, 3, 2), ("residual", 8, 2, 2), ("residual_separable", 16, 1, 1)],
)
def test_family_has_the_parameters_and_multiplications_of_its_options(
    blocks: str, width: int, depth: int, stride: int
) -> None:
    from edgefm.compression.channels.channel_cost import cost_of
    from edgefm.compression.channels.channel_groups import channels_of
    from edgefm.zoo.best import staged_cnn

    options = {"blocks": blocks, "width": str(width), "depth": str(depth), "stride": str(stride)}
    model = zoo.build("staged_cnn", options, input_shape=(33, 47, 3), classes=4)
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained == _staged(blocks, width, depth, 3, 4)
    macs = staged_cnn.macs(options, input_shape=(33, 47, 3), classes=4)
    assert macs == cost_of(channels_of(model)).macs
    first = model.get_layer("cr").output.shape
    assert first == (None, -(-33 // stride), -(-47 // stride), width)


@pytest.mark.parametrize("name", NETWORKS)
def test_number_of_parameters_is_the_one_counted_by_hand(name: str) -> None:
    assert zoo.architecture(name).trainable == _by_hand(name)
    if name != "wide_resnet16":  # 11 million random numbers take a second
        assert sum(int(np.prod(weight.shape)) for weight in zoo.build(name).trainable_weights) == _by_hand(name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("small_residual", {}),
        ("separable_tiny", {"size": "7k"}),
        ("separable_tiny", {"size": "10k"}),
        ("strided_cnn", {}),
        ("staged_cnn", {"blocks": "residual_separable", "width": "8", "depth": "2"}),
        ("resnet14", {"order": "preactivation"}),
        ("resnet14", {"order": "postactivation"}),
        ("enhanced_cnn", {"batch_norm": "before_relu", "dropout": "0.2"}),
    ],
)
@pytest.mark.parametrize(("shape", "classes"), [((48, 40, 3), 37), ((8, 8, 1), 2)], ids=["colour", "smallest"])
def test_networks_take_other_pictures_and_classes(
    name: str, options: dict[str, str], shape: tuple[int, int, int], classes: int
) -> None:
    model = zoo.build(name, options, input_shape=shape, classes=classes)
    probabilities = np.asarray(model(np.full((2, *shape), 200.0, np.float32)))
    assert probabilities.shape == (2, classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_picture_below_the_smallest_size_is_refused() -> None:
    with pytest.raises(RecipeError, match="at least 8 x 8 pixels; 6 x 6"):
        zoo.build("strided_cnn", input_shape=(6, 6, 1), classes=10)


def test_ten_thousand_parameters_are_spent_and_not_exceeded() -> None:
    count: Any = zoo.build("separable_tiny", {"size": "10k"}).count_params()
    assert 9_500 <= count <= 10_000


def test_dropout_of_the_enhanced_cnn_is_the_option() -> None:
    model = zoo.build("enhanced_cnn", {"dropout": "0.2"})
    assert [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"] == [0.2, 0.2]
    with pytest.raises(RecipeError, match="value of dropout"):
        zoo.build("enhanced_cnn", {"dropout": "0.3"})
