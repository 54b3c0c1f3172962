from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgefm.core.errors import ModelError
from edgefm.keras_graph import affine
from edgefm.keras_graph.affine import Affine, Linear

# Outputs are compared relative to the largest one: float32 rounds to 6e-8, a dozen layers and sums add up.
TOLERANCE = 1e-5


@pytest.fixture(autouse=True, scope="module")
def keras_backend() -> None:
    import os

    os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def randomise(model: Any, *, negative: bool = False) -> Any:
    """Give every weight of a model a random value; variances are positive, gammas too unless `negative`."""
    random = np.random.default_rng(7)
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ == "BatchNormalization":
            size = layer.moving_mean.shape
            gamma = random.uniform(0.3, 2.0, size)
            gamma[0] *= -1 if negative else 1
            values = {"gamma": gamma, "beta": random.normal(size=size), "moving_mean": random.normal(size=size)}
            values["moving_variance"] = random.uniform(0.2, 3.0, size)
            for name, value in values.items():
                if getattr(layer, name) is not None:
                    getattr(layer, name).assign(value)
        elif layer.weights and not hasattr(layer, "layers"):
            layer.set_weights([random.normal(size=w.shape) * 0.3 for w in layer.get_weights()])
    return model


def build(*network: Any, shape: tuple[int, int, int] = (12, 12, 3), negative: bool = False) -> Any:
    import keras

    return randomise(keras.Sequential([keras.Input(shape), *network]), negative=negative)


def check(model: Any, *, samples: int = 4) -> tuple[Any, dict[str, str], dict[str, str]]:
    """Fold a model, assert that it computes the same and was not changed; return it and the report by layer."""
    from edgefm.keras_graph.folding import fold

    x = np.random.default_rng(3).normal(size=(samples, *model.input_shape[1:])).astype(np.float32)
    before = [array.copy() for array in model.get_weights()]
    expected = np.asarray(model(x, training=False))
    folded, report = fold(model)
    found = np.asarray(folded(x, training=False))
    assert np.abs(expected - found).max() <= TOLERANCE * np.abs(expected).max()
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    np.testing.assert_array_equal(expected, np.asarray(model(x, training=False)))
    return folded, {f.layer: f.what for f in report.folded}, {f.layer: f.reason for f in report.left_out}


def kinds(model: Any) -> list[str]:
    return [type(layer).__name__ for layer in model.layers if type(layer).__name__ != "InputLayer"]


def test_fold_after_linear_conv_takes_scale_and_shift() -> None:
    from keras import layers

    model = build(
        layers.Conv2D(5, 3, padding="same", name="conv"),
        layers.BatchNormalization(name="bn"),
        layers.ReLU(name="relu"),
    )
    folded, done, left = check(model)
    assert kinds(folded) == ["Conv2D", "ReLU"]
    assert done == {"bn": "scale and shift into conv"} and not left
    # The textbook formula, written out independently.
    kernel, bias = model.get_layer("conv").get_weights()
    gamma, beta, mean, variance = model.get_layer("bn").get_weights()
    new_kernel, new_bias = folded.get_layer("conv").get_weights()
    deviation = np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(new_kernel, kernel * gamma / deviation, rtol=1e-6)
    np.testing.assert_allclose(new_bias, (bias - mean) * gamma / deviation + beta, rtol=1e-5, atol=1e-6)


def test_fold_takes_negative_gamma_where_no_relu_stands_between() -> None:
    from keras import layers

    _, done, left = check(build(layers.Conv2D(5, 3), layers.BatchNormalization(name="bn"), negative=True))
    assert "bn" in done and not left


def test_fold_gives_a_bias_to_conv_without() -> None:
    from keras import layers

    model = build(layers.Conv2D(5, 3, use_bias=False, name="conv"), layers.BatchNormalization(name="bn"))
    folded, done, _ = check(model)
    assert done == {"bn": "scale and shift into conv"}
    assert folded.get_layer("conv").use_bias and not model.get_layer("conv").use_bias


@pytest.mark.parametrize("as_layer", [False, True], ids=["fused relu", "relu layer"])
def test_fold_after_relu_splits_scale_and_shift(as_layer: bool) -> None:
    from keras import layers

    head = [layers.Conv2D(5, 3, padding="same", name="conv1", activation=None if as_layer else "relu")]
    relu = [layers.ReLU()] if as_layer else []
    folded, done, left = check(
        build(
            *head,
            *relu,
            layers.BatchNormalization(name="bn"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(4, 3, padding="same", name="conv2"),
        )
    )
    names = [layer.name for layer in folded.layers]
    assert "bn" not in names and names[names.index("pool") + 1] == "pool_shift"
    assert done["bn"].startswith("scale into conv1, shift added after pool: conv2 pads with zeros")
    assert not left


def test_fold_after_relu_moves_shift_into_valid_conv() -> None:
    from keras import layers

    folded, done, left = check(
        build(
            layers.Conv2D(5, 3, activation="relu", name="conv1"),
            layers.BatchNormalization(name="bn"),
            layers.AveragePooling2D(2),
            layers.Conv2D(4, 3, padding="valid", strides=2, name="conv2"),
        )
    )
    assert done["bn"] == "scale into conv1, shift into conv2" and not left
    assert kinds(folded) == ["Conv2D", "AveragePooling2D", "Conv2D"]


def test_fold_after_relu_moves_shift_through_pool_and_flatten_into_dense() -> None:
    from keras import layers

    folded, done, left = check(
        build(
            layers.Conv2D(5, 3, activation="leaky_relu", name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.5, name="dropout"),
            layers.Flatten(),
            layers.Dense(6, activation="relu", name="dense"),
        )
    )
    assert done["bn"] == "scale into conv, shift into dense" and not left
    assert done["dropout"].startswith("removed")
    assert kinds(folded) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]


def test_fold_leaves_out_negative_gamma_after_relu() -> None:
    from keras import layers

    folded, done, left = check(
        build(
            layers.Conv2D(5, 3, activation="relu", name="conv1"),
            layers.BatchNormalization(name="bn"),
            layers.Conv2D(4, 3, padding="same", name="conv2"),
            negative=True,
        )
    )
    assert "bn" not in done and "BatchNormalization" in kinds(folded)
    assert "a scale is negative" in left["bn"] and "conv2 pads with zeros" in left["bn"]


def test_fold_takes_zero_gamma_after_relu() -> None:
    from keras import layers

    model = build(
        layers.Conv2D(5, 3, activation="relu"),
        layers.BatchNormalization(name="bn"),
        layers.MaxPooling2D(2),
        layers.Conv2D(4, 3, padding="same"),
    )
    gamma = np.array(model.get_layer("bn").gamma)
    gamma[2] = 0
    model.get_layer("bn").gamma.assign(gamma)
    _, done, left = check(model)
    assert "bn" in done and not left


def test_fold_moves_negative_gamma_forward_into_dense() -> None:
    from keras import layers

    _, done, left = check(
        build(
            layers.Conv2D(5, 3, activation="relu"),
            layers.BatchNormalization(name="bn"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(6, name="dense"),
            negative=True,
        )
    )
    assert done["bn"] == "scale and shift into dense" and not left


def test_fold_leaves_out_activation_that_scale_does_not_commute_with() -> None:
    from keras import layers

    _, _, left = check(
        build(
            layers.Conv2D(5, 3, activation="tanh", name="conv1"),
            layers.BatchNormalization(name="bn"),
            layers.Conv2D(4, 3, padding="same"),
        )
    )
    assert "the activation of conv1 does not commute" in left["bn"]


def test_fold_leaves_out_relu6() -> None:
    from keras import layers

    _, done, left = check(
        build(
            layers.Conv2D(5, 3),
            layers.ReLU(max_value=0.2, name="relu6"),
            layers.BatchNormalization(name="bn"),
            layers.Conv2D(4, 3, padding="same"),
        )
    )
    assert "relu6" in left["bn"] and "bn" not in done


def test_fold_leaves_out_conv_with_two_consumers() -> None:
    import keras
    from keras import layers

    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    y = layers.BatchNormalization(name="bn")(x)
    model = randomise(keras.Model(image, layers.Add(name="sum")([x, y])))
    folded, done, left = check(model)
    assert "the output of conv is also taken by another layer" in left["bn"]
    assert "bn" not in done and "BatchNormalization" in kinds(folded)


def test_fold_works_in_a_residual_graph_with_operations() -> None:
    import keras
    from keras import layers

    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")(image)
    x = layers.BatchNormalization(name="bn1")(x)  # two takers: the shift stays in its place
    y = layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv2")(x)
    y = layers.BatchNormalization(name="bn2")(y)
    z = keras.ops.relu(layers.Add(name="sum")([x, y]) * 2.0)
    z = layers.BatchNormalization(name="bn3")(z)
    z = layers.GlobalAveragePooling2D()(z)
    model = randomise(keras.Model(image, layers.Dense(3, name="head")(z)))
    folded, done, left = check(model)
    assert done["bn1"].startswith("scale into conv1, shift added in its place: more than one layer")
    assert done["bn2"] == "scale and shift into conv2"
    assert done["bn3"] == "scale and shift into head"
    assert not left and "BatchNormalization" not in kinds(folded)


def test_fold_leaves_out_shared_layers() -> None:
    import keras
    from keras import layers

    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    conv = layers.Conv2D(4, 3, name="conv")
    x = layers.BatchNormalization(name="bn")(conv(a))
    model = randomise(keras.Model([a, b], layers.Add()([x, conv(b)])))
    from edgefm.keras_graph.folding import fold

    folded, report = fold(model)
    inputs = [np.random.default_rng(i).normal(size=(2, 8, 8, 3)).astype(np.float32) for i in (0, 1)]
    assert "conv is called more than once" in report.left_out[0].reason
    assert [layer.name for layer in folded.layers].count("conv") == 1
    np.testing.assert_allclose(np.asarray(folded(inputs)), np.asarray(model(inputs)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_fold_depthwise_conv_takes_both_sides(multiplier: int) -> None:
    from keras import layers

    _, done, left = check(
        build(
            layers.Conv2D(3, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="bn1"),
            layers.DepthwiseConv2D(3, depth_multiplier=multiplier, use_bias=False, name="depthwise"),
            layers.BatchNormalization(name="bn2"),
            layers.ReLU(),
        )
    )
    assert done == {"bn1": "scale into conv, shift into depthwise", "bn2": "scale and shift into depthwise"}
    assert not left


def test_fold_separable_conv_takes_both_sides() -> None:
    from keras import layers

    _, done, left = check(
        build(
            layers.Conv2D(3, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="bn1"),
            layers.SeparableConv2D(6, 3, depth_multiplier=2, name="separable"),
            layers.BatchNormalization(name="bn2"),
        )
    )
    assert done == {"bn1": "scale into conv, shift into separable", "bn2": "scale and shift into separable"}
    assert not left


def test_fold_grouped_conv_takes_both_sides() -> None:
    from keras import layers

    _, done, left = check(
        build(
            layers.Conv2D(6, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="bn1"),
            layers.Conv2D(4, 3, groups=2, name="grouped"),
            layers.BatchNormalization(name="bn2", scale=False, center=False),
        )
    )
    assert done == {"bn1": "scale into conv, shift into grouped", "bn2": "scale and shift into grouped"}
    assert not left


def test_fold_dense_chain() -> None:
    from keras import layers

    _, done, left = check(
        build(
            layers.Flatten(),
            layers.Dense(7, use_bias=False, name="dense1"),
            layers.BatchNormalization(name="bn1"),
            layers.ReLU(),
            layers.BatchNormalization(name="bn2"),
            layers.Dense(5, activation="softmax", name="dense2"),
        )
    )
    assert done == {"bn1": "scale and shift into dense1", "bn2": "scale into dense1, shift into dense2"}
    assert not left


def test_fold_rescaling_without_offset_into_padded_conv() -> None:
    from keras import layers

    folded, done, left = check(
        build(layers.Rescaling(1 / 255, name="scale"), layers.Conv2D(4, 3, padding="same", name="conv"))
    )
    assert done == {"scale": "scale into conv"} and kinds(folded) == ["Conv2D"] and not left


def test_fold_leaves_out_rescaling_with_offset_before_padded_conv() -> None:
    from keras import layers

    folded, _, left = check(
        build(layers.Rescaling(1 / 127.5, offset=-1, name="scale"), layers.Conv2D(4, 3, padding="same", name="conv"))
    )
    assert "conv pads with zeros" in left["scale"] and kinds(folded) == ["Rescaling", "Conv2D"]


def test_fold_opens_nested_models() -> None:
    import keras
    from keras import layers

    inner = keras.Sequential(
        [keras.Input((10, 10, 3)), layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="bn")], name="body"
    )
    folded, done, left = check(build(inner, layers.Flatten(), layers.Dense(3, name="head"), shape=(10, 10, 3)))
    assert done == {"bn": "scale and shift into conv"} and not left
    assert kinds(folded) == ["Conv2D", "Flatten", "Dense"]


def test_fold_reports_nested_model_that_is_called_twice() -> None:
    import keras
    from keras import layers

    inner = keras.Sequential(
        [keras.Input((10, 10, 3)), layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization()], name="body"
    )
    image = keras.Input((10, 10, 3))
    _, done, left = check(randomise(keras.Model(image, inner(inner(image)))))
    assert not done and "called more than once" in left["body"]


def test_fold_keeps_names_order_and_shape() -> None:
    from edgefm import zoo

    model = randomise(zoo.build("enhanced_cnn", {"batch_norm": "after_relu"}))
    folded, done, left = check(model, samples=8)
    assert set(done) == {"scale_pixels", "bn1", "bn2", "bn3", "dropout1", "dropout2"} and not left
    kept = [layer.name for layer in folded.layers[1:] if not layer.name.endswith("_shift")]
    assert kept == [layer.name for layer in model.layers if layer.name not in done]
    assert folded.input_shape == model.input_shape and folded.output_shape == model.output_shape


def test_fold_refuses_subclassed_model() -> None:
    import keras

    from edgefm.keras_graph.folding import fold

    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ModelError, match="subclassed model \\(Own\\)"):
        fold(Own(name="mine"))


def test_fold_refuses_sequential_model_without_input() -> None:
    import keras

    from edgefm.keras_graph.folding import fold

    with pytest.raises(ModelError, match="has no input shape"):
        fold(keras.Sequential([keras.layers.Dense(2)]))


def _apply(linear: Linear) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """Return the layer as a plain function of one window: [kh, kw, c_in] to [c_out]."""
    (kernel,) = linear.kernels
    return lambda window: np.einsum("hwi,hwio->o", window, kernel) + linear.bias


def test_affine_merges_equal_numpy_on_one_window() -> None:
    random = np.random.default_rng(0)
    conv = Linear(kind="conv", kernels=(random.normal(size=(3, 3, 4, 5)),), bias=random.normal(size=5))
    window = random.normal(size=(3, 3, 4))
    ahead = Affine(scale=random.normal(size=5), shift=random.normal(size=5))
    behind = Affine(scale=random.normal(size=4), shift=random.normal(size=4))
    np.testing.assert_allclose(
        _apply(affine.then(conv, ahead))(window), _apply(conv)(window) * ahead.scale + ahead.shift
    )
    np.testing.assert_allclose(
        _apply(affine.after(behind, conv))(window), _apply(conv)(window * behind.scale + behind.shift)
    )
