from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from tests.fixtures.classifiers import small_classifier

SHAPE = (12, 12, 2)


@pytest.fixture(autouse=True, scope="module")
def keras_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def inputs(count: int = 48, *, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((count, *SHAPE), dtype=np.float32)


def chain(network: Callable[[Any], list[Any]]) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input(SHAPE), *network(layers), layers.Flatten(), layers.Dense(4, name="last")])
    random = np.random.default_rng(4)
    for layer in model.layers:  # no weight is zero, shifts and biases included
        layer.set_weights([random.normal(size=value.shape) * 0.3 for value in layer.get_weights()])
    return model


def outputs(model: Any, given: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(model(given, training=False))


def badly_scaled(model: Any, *, first: str, second: str, seed: int = 5) -> Any:
    """Scale the channels of one layer by 1/64 to 64 and the next layer's weights back: the function stays."""
    kernel, bias = model.get_layer(first).get_weights()
    scale = 2.0 ** np.random.default_rng(seed).integers(-6, 7, kernel.shape[-1])
    model.get_layer(first).set_weights([kernel * scale, bias * scale])
    taking, *rest = model.get_layer(second).get_weights()
    model.get_layer(second).set_weights([taking / scale[:, None], *rest])
    return model


def _shift() -> Any:
    from edgefm.keras_graph.folding import ChannelShift

    return ChannelShift()


NETWORKS: dict[str, Callable[[Any], list[Any]]] = {
    "relu inside": lambda k: [k.Conv2D(6, 3, activation="relu"), k.Conv2D(5, 3)],
    "relu behind": lambda k: [k.Conv2D(6, 3), k.ReLU(), k.Conv2D(5, 3)],
    "leaky relu": lambda k: [k.Conv2D(6, 3), k.LeakyReLU(negative_slope=0.1), k.Conv2D(5, 3)],
    "shift and pools": lambda k: [
        k.Conv2D(6, 3, activation="relu", padding="same"),
        k.MaxPooling2D(2),
        _shift(),
        k.ZeroPadding2D(1),
        k.AveragePooling2D(2, padding="same"),
        k.Conv2D(5, 3, padding="same"),
    ],
    "depthwise": lambda k: [
        k.Conv2D(6, 3, activation="relu"),
        k.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"),
        k.Conv2D(5, 1),
    ],
    "groups": lambda k: [k.Conv2D(6, 3, activation="relu"), k.Conv2D(4, 3, groups=2), k.Conv2D(5, 1)],
    "separable": lambda k: [k.SeparableConv2D(6, 3, activation="relu"), k.SeparableConv2D(5, 3)],
    "dense": lambda k: [k.Conv2D(6, 3), k.GlobalAveragePooling2D(), k.Dense(7, activation="relu")],
    "no bias": lambda k: [k.Conv2D(6, 3, use_bias=False, activation="relu"), k.Conv2D(5, 3, use_bias=False)],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_equalized_model_computes_the_same(name: str) -> None:
    from edgefm.compression.post_training.equalization import equalize

    model = chain(NETWORKS[name])
    equal, report = equalize(model)
    expected, found = outputs(model, inputs()), outputs(equal, inputs())
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert len(report["pairs"]) >= 2
    assert any(not np.array_equal(old, new) for old, new in zip(model.get_weights(), equal.get_weights(), strict=True))


def test_ranges_of_both_layers_meet_channel_by_channel() -> None:
    import keras

    from edgefm.compression.post_training.equalization import equalize

    model = chain(lambda k: [k.Conv2D(6, 3, activation="relu", name="first"), k.Conv2D(5, 3, name="second")])
    equal, report = equalize(keras.Model(model.inputs, model.get_layer("second").output))
    (pair,) = report["pairs"]
    assert (pair["first"], pair["second"]) == ("first", "second")
    given = np.abs(equal.get_layer("first").get_weights()[0]).max(axis=(0, 1, 2))
    taken = np.abs(equal.get_layer("second").get_weights()[0]).max(axis=(0, 1, 3))
    np.testing.assert_allclose(given, taken, rtol=1e-5)


def test_dead_channel_stays_as_it_is() -> None:
    from edgefm.compression.post_training.equalization import equalize

    model = chain(lambda k: [k.Conv2D(6, 3, activation="relu", name="first"), k.Conv2D(5, 3, name="second")])
    kernel, bias = model.get_layer("first").get_weights()
    kernel[..., 2] = 0
    model.get_layer("first").set_weights([kernel, bias])
    equal, _ = equalize(model)
    np.testing.assert_allclose(outputs(equal, inputs()), outputs(model, inputs()), rtol=1e-3, atol=1e-4)
    assert all(np.isfinite(value).all() for value in equal.get_weights())


def branched() -> Any:
    import keras
    from keras import layers

    source = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="stem")(source)
    y = layers.Conv2D(4, 3, padding="same", name="side")(x)
    return keras.Model(source, layers.Add(name="sum")([x, y]))


@pytest.mark.parametrize(
    ("model", "layer", "reason"),
    [
        (lambda: chain(lambda k: [k.Conv2D(4, 3, name="conv"), k.ReLU(6.0, name="cut")]), "conv", "ceiling of cut"),
        (
            lambda: chain(lambda k: [k.Conv2D(4, 3, activation="relu6", name="conv")]),
            "conv",
            "activation relu6 does not",
        ),
        (
            lambda: chain(lambda k: [k.Conv2D(4, 3, name="conv"), k.Activation("relu6", name="cut")]),
            "conv",
            r"cut \(relu6\) does not commute",
        ),
        (branched, "stem", "more than one layer takes the output of stem"),
        (branched, "side", r"sum \(Add\) follows it"),
        (lambda: chain(lambda k: [k.Conv2D(4, 3)]), "last", "gives the output of the model"),
    ],
    ids=["ReLU6", "relu6 inside", "relu6 activation", "branch", "add", "output"],
)
def test_equalization_stops_and_says_why(model: Any, layer: str, reason: str) -> None:
    import re

    from edgefm.compression.post_training.equalization import equalize

    _, report = equalize(model())
    reasons = {entry["layer"]: entry["reason"] for entry in report["left_out"]}
    assert re.search(reason, reasons[layer])


def tiny_error(model: Any, reference: Any, *, scheme: str = "int8_w8a8") -> float:
    """Return the error of a model's real int8 file relative to the size of the reference's outputs."""
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite
    from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
    from edgefm_converters.tflite.tflite_outputs import tflite_outputs

    float32 = float32_tflite(model)
    content = quantize_tflite(float32, scheme, calibration=calibrate(float32, inputs(), value_range=(0, 1)))
    expected = outputs(reference, inputs(seed=9))
    found = tflite_outputs(content, inputs(seed=9))[0]
    return float(np.sqrt(((found - expected) ** 2).mean() / expected.var()))


def test_equalization_saves_the_int8_file_of_a_badly_scaled_model() -> None:
    from edgefm.compression.post_training.equalization import equalize

    model = chain(lambda k: [k.Conv2D(16, 3, activation="relu", name="first"), k.Conv2D(8, 3, name="second")])
    model = badly_scaled(model, first="first", second="second")
    equal, report = equalize(model)
    before, after = tiny_error(model, model), tiny_error(equal, model)
    assert report["pairs"][0]["spread_before"] > 100 > 20 > report["pairs"][0]["spread_after"]
    assert after < before / 2, (before, after)
    assert after < 0.1


def test_weight_rounding_equals_the_int8_file() -> None:
    from edgefm.compression.post_training.weight_rounding import rounded
    from edgefm.tflite import flatbuffer
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite
    from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite

    model = chain(lambda k: [k.Conv2D(6, 3, activation="relu", name="first")])
    float32 = float32_tflite(model)
    for scheme, bits in (("int8_w8a8", 8), ("int8_w8a8_fc4", 4)):
        content = quantize_tflite(float32, scheme, calibration=calibrate(float32, inputs(), value_range=(0, 1)))
        read = flatbuffer.editable(content)
        (dense,) = [
            tensor
            for tensor in read.subgraphs[0].tensors
            if list(tensor.shape) == [4, 600] and flatbuffer.dtype(tensor) == f"int{bits}"
        ]
        scales = np.asarray(dense.quantization.scale)
        kernel = model.get_layer("last").get_weights()[0].astype(np.float64)
        ours = rounded(kernel, channels=4, bits=bits)
        np.testing.assert_allclose(ours.T / scales[:, None], np.round(ours.T / scales[:, None]), atol=1e-3)
        levels = np.asarray(read.buffers[dense.buffer].data).view(np.int8)
        if bits == 8:
            np.testing.assert_array_equal(np.round(ours.T / scales[:, None]).astype(np.int8).ravel(), levels)


def test_bias_correction_takes_the_mean_error_off_an_int4_file() -> None:
    """Seen on the real file: dense weights of 4 bits, mean output on fresh inputs."""
    from edgefm.compression.post_training.bias_correction import correct_bias
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite
    from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
    from edgefm_converters.tflite.tflite_outputs import tflite_outputs

    model = chain(lambda k: [k.Conv2D(8, 3, activation="relu"), k.MaxPooling2D(2)])
    corrected, report = correct_bias(model, inputs(), dense_bits=4)
    assert report["images"] == 48 and report["layers"][-1]["layer"] == "last" and len(report["layers"]) == 2

    def mean_error(candidate: Any) -> float:
        float32 = float32_tflite(candidate)
        ranges = calibrate(float32, inputs(), value_range=(0, 1))
        content = quantize_tflite(float32, "int8_w8a8_fc4", calibration=ranges)
        fresh = inputs(200, seed=11)
        return float(np.abs((tflite_outputs(content, fresh)[0] - outputs(model, fresh)).mean(axis=0)).max())

    assert mean_error(corrected) < mean_error(model) / 3


def test_bias_correction_equals_a_numpy_computation_on_one_dense_layer() -> None:
    import keras
    from keras import layers

    from edgefm.compression.post_training.bias_correction import correct_bias

    model = keras.Sequential([keras.Input((30,)), layers.Dense(5, use_bias=False, name="only")])
    given = np.random.default_rng(0).random((40, 30)).astype(np.float32)
    corrected, report = correct_bias(model, given, dense_bits=4)
    kernel = model.get_weights()[0].astype(np.float64)
    scale = np.abs(kernel).max(axis=0) / 7
    error = (given.astype(np.float64) @ (np.clip(np.round(kernel / scale), -8, 7) * scale - kernel)).mean(axis=0)
    np.testing.assert_allclose(corrected.get_layer("only").get_weights()[1], -error, atol=1e-6)
    assert report["layers"][0]["shift"] == pytest.approx(np.abs(error).max() / (given @ kernel).std(), rel=1e-4)


@pytest.mark.parametrize("behind", [False, True], ids=["relu inside", "relu behind"])
def test_bias_correction_counts_what_relu_lets_through(behind: bool) -> None:
    import keras
    from keras import layers

    from edgefm.compression.post_training.bias_correction import correct_bias

    network: list[Any] = [keras.Input((30,)), layers.Dense(5, activation=None if behind else "relu", name="only")]
    model = keras.Sequential([*network, *([layers.ReLU()] if behind else [])])
    given = np.random.default_rng(0).normal(0.3, 1, size=(400, 30)).astype(np.float32)
    corrected, _ = correct_bias(model, given, dense_bits=4)
    kernel = model.get_weights()[0].astype(np.float64)
    scale = np.abs(kernel).max(axis=0) / 7
    rounded = np.clip(np.round(kernel / scale), -8, 7) * scale
    exact, coarse = given @ kernel, given @ rounded
    let_through = exact > 0
    error = ((coarse - exact) * let_through).sum(axis=0) / let_through.sum(axis=0)
    found = corrected.get_layer("only").get_weights()[1]
    np.testing.assert_allclose(found, -error, atol=2e-3)

    def squared(bias: NDArray[Any]) -> NDArray[Any]:
        return ((np.maximum(coarse + bias, 0) - np.maximum(exact, 0)) ** 2).mean(axis=0)

    plain_mean = (coarse - exact).mean(axis=0)
    assert squared(found).sum() < squared(-plain_mean).sum() and squared(found).sum() < squared(0 * found).sum()


def test_bias_correction_leaves_kernels_and_names() -> None:
    from edgefm.compression.post_training.bias_correction import correct_bias
    from edgefm.keras_graph.folding import fold

    model, _ = fold(small_classifier())
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1)).astype(np.float32)
    corrected, report = correct_bias(model, pixels)
    assert [layer.name for layer in corrected.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(
        corrected.get_layer("conv").get_weights()[0], model.get_layer("conv").get_weights()[0]
    )
    assert [entry["layer"] for entry in report["layers"]] == ["conv", "dense", "scores"]
    np.testing.assert_allclose(outputs(corrected, pixels), outputs(model, pixels), atol=0.05)


def test_bias_correction_refuses_no_samples() -> None:
    from edgefm.compression.post_training.bias_correction import correct_bias

    with pytest.raises(ModelError, match="without samples"):
        correct_bias(small_classifier(), np.zeros((0, 28, 28, 1), np.float32))
