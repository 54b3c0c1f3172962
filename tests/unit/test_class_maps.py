"""Grad-CAM against TensorFlow's tape on parts of the same model and finite differences, for models of many kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgefm.core.errors import ModelError
from edgefm.keras_graph.class_maps import Scored, enlarged


def _inputs(side: int = 10, channels: int = 1) -> Any:
    return keras.Input((side, side, channels))


def _global_average() -> tuple[Any, str]:
    given = _inputs()
    x = layers.Conv2D(4, 3, use_bias=False)(layers.Rescaling(1 / 255)(given))
    x = layers.ReLU(name="taken")(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(given, layers.Dense(3, activation="softmax")(x)), "taken"


def _two_branches() -> tuple[Any, str]:
    given = _inputs(channels=3)
    left, right = layers.Conv2D(4, 3, padding="same")(given), layers.Conv2D(2, 1)(given)
    x = layers.Concatenate(name="taken")([left, right])
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    return keras.Model(given, layers.Softmax()(layers.Dense(3)(x))), "taken"


def _separable() -> tuple[Any, str]:
    stack = [layers.SeparableConv2D(5, 3, name="taken"), layers.AveragePooling2D(2), layers.Flatten()]
    return keras.Sequential([_inputs(), *stack, layers.Dense(4), layers.Activation("softmax")]), "taken"


def _logits() -> tuple[Any, str]:
    stack = [layers.Conv2D(4, 3, activation="relu", name="taken"), layers.Flatten(), layers.Dense(4)]
    return keras.Sequential([_inputs(), *stack]), "taken"


def _sigmoid_of_one_unit() -> tuple[Any, str]:
    stack = [layers.DepthwiseConv2D(3, depth_multiplier=3, name="taken"), layers.Flatten()]
    return keras.Sequential([_inputs(), *stack, layers.Dense(1, activation="sigmoid")]), "taken"


def _hundred_classes() -> tuple[Any, str]:
    stack = [layers.Conv2D(6, 3, activation="relu"), layers.Conv2D(100, 1, name="taken")]
    return keras.Sequential([_inputs(), *stack, layers.GlobalAveragePooling2D(), layers.Softmax()]), "taken"


def _colour() -> tuple[Any, str]:
    stack = [layers.Conv2D(4, 3, strides=2, activation="relu"), layers.MaxPooling2D(2)]
    stack += [layers.Conv2D(6, 3, name="taken"), layers.Dropout(0.5), layers.GlobalMaxPooling2D()]
    return keras.Sequential([_inputs(64, 3), *stack, layers.Dense(5, activation="softmax")]), "dropout"


def _nested() -> tuple[Any, str]:
    inner = keras.Sequential([_inputs(), layers.Conv2D(4, 3), layers.ReLU()], name="taken")
    given = _inputs()
    x = layers.Flatten()(inner(given))
    return keras.Model(given, layers.Dense(3, activation="softmax")(x)), "taken"


def _residual() -> tuple[Any, str]:
    given = _inputs()
    first = layers.Conv2D(4, 3, padding="same", activation="relu")(given)
    second = layers.Conv2D(4, 3, padding="same")(first)
    x = layers.ReLU(name="taken")(layers.Add()([first, second]))
    return keras.Model(given, layers.Dense(3, activation="log_softmax")(layers.Flatten()(x))), "taken"


def _transposed() -> tuple[Any, str]:
    stack = [layers.Conv2D(4, 3, strides=2), layers.Conv2DTranspose(3, 3, strides=2, name="taken"), layers.Flatten()]
    return keras.Sequential([_inputs(), *stack, layers.Dense(2, activation="softmax")]), "taken"


KINDS: dict[str, Callable[[], tuple[Any, str]]] = {
    "global average pooling": _global_average,
    "two branches": _two_branches,
    "separable": _separable,
    "logits": _logits,
    "sigmoid of one unit": _sigmoid_of_one_unit,
    "hundred classes": _hundred_classes,
    "colour": _colour,
    "nested": _nested,
    "residual": _residual,
    "transposed": _transposed,
}


def _built(kind: str) -> tuple[Any, str, np.ndarray]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    model, taken = KINDS[kind]()
    shape = model.inputs[0].shape[1:]
    return model, taken, np.random.default_rng(4).random((4, *shape)).astype(np.float32) * 255


def _scores_of(model: Any, pictures: np.ndarray) -> np.ndarray:
    """Return scores whose softmax (sigmoid, for one unit) is the model's output, up to a number a sample."""
    outputs = np.asarray(model(pictures), np.float64)
    last = model.layers[-1]
    if type(last).__name__ == "Dense" and last.activation.__name__ in ("linear", "log_softmax"):
        return outputs
    if outputs.shape[1] == 1:
        logit = np.log(outputs / (1 - outputs))
        return np.hstack([-logit, logit])
    return np.log(outputs)


def _tape_map(model: Any, taken: str, pictures: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the layer's output and the gradient of the score by it, by TensorFlow's tape on the model's two parts."""
    for layer in model.layers:
        if getattr(getattr(layer, "activation", None), "__name__", "") in ("softmax", "sigmoid", "log_softmax"):
            layer.activation = keras.activations.linear
    end = model.outputs[0]
    if type(model.layers[-1]).__name__ == "Softmax":
        end = model.layers[-1].input
    both = keras.Model(model.inputs, [model.get_layer(taken).output, end])
    with tf.GradientTape() as tape:
        values, scores = both(pictures)
        if scores.shape[-1] == 1:
            scores = tf.concat([-scores, scores], axis=-1)
        score = tf.reduce_sum(tf.gather(scores, classes, batch_dims=1))
    return values.numpy(), tape.gradient(score, values).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_and_maps_are_those_of_the_tape(kind: str) -> None:
    model, taken, pictures = _built(kind)
    scored = Scored(model)
    classes = np.array([0, 1, 1, 0], np.int64)
    (values,), (slopes,), scores = scored.slopes(pictures, classes)
    maps = scored.class_maps(pictures, classes)
    assert len(scored.layers) == 1 and scored.no_maps is None
    assert np.allclose(scores, scored.scores(pictures)[np.arange(4), classes], atol=1e-4)
    expected_values, expected_slopes = _tape_map(model, taken, pictures, classes)
    assert np.allclose(values, expected_values, rtol=1e-4, atol=1e-4)
    assert np.allclose(slopes, expected_slopes, rtol=1e-4, atol=1e-6)
    weighted = (expected_slopes.mean(axis=(1, 2), keepdims=True) * expected_values).sum(axis=-1)
    whole = np.maximum(tf.image.resize(weighted[..., None], pictures.shape[1:3], "bilinear").numpy()[..., 0], 0)
    greatest = whole.max(axis=(1, 2), keepdims=True)
    expected = np.divide(whole, greatest, out=np.zeros_like(whole), where=greatest > 0)
    assert np.allclose(maps.maps, expected, atol=2e-3)
    assert maps.maps.min() >= 0 and maps.maps.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_before_the_last_softmax(kind: str) -> None:
    model, _, pictures = _built(kind)
    pictures /= 255
    given = [weight.numpy().copy() for weight in model.weights]
    scores, expected = Scored(model).scores(pictures).astype(np.float64), _scores_of(model, pictures)
    # A softmax forgets what is common to all classes of a sample.
    assert np.allclose(
        scores - scores.mean(axis=1, keepdims=True), expected - expected.mean(axis=1, keepdims=True), atol=1e-4
    )
    assert all(np.array_equal(weight, kept) for weight, kept in zip(model.weights, given, strict=True))


def test_maps_of_branches_that_never_join_are_added() -> None:
    keras.utils.set_random_seed(0)
    given = _inputs(channels=3)
    left = layers.Conv2D(4, 3, name="left")(given)
    right = layers.Conv2D(4, 5, activation="relu", name="right")(given)
    x = layers.Concatenate()([layers.GlobalMaxPooling2D()(left), layers.GlobalAveragePooling2D()(right)])
    model = keras.Model(given, layers.Dense(3, activation="softmax")(x))
    pictures = np.random.default_rng(1).random((3, 10, 10, 3)).astype(np.float32)
    scored, classes = Scored(model), np.array([0, 1, 2])
    assert set(scored.layers) == {"left", "right"}
    values, slopes, _ = scored.slopes(pictures, classes)
    parts = [
        enlarged((s.mean(axis=(1, 2), keepdims=True) * v).sum(-1), 10, 10) for v, s in zip(values, slopes, strict=True)
    ]
    whole = np.maximum(sum(parts), 0)
    assert np.allclose(
        scored.class_maps(pictures, classes).maps, whole / whole.max(axis=(1, 2), keepdims=True), atol=1e-5
    )


def test_slope_is_that_of_finite_differences() -> None:
    model, _, pictures = _built("logits")
    head = keras.Sequential([keras.Input((8, 8, 4)), *model.layers[1:]])
    (values,), (slopes,), _ = Scored(model).slopes(pictures[:1] / 255, np.array([2]))
    for place in [(0, 0, 0), (3, 4, 1), (7, 7, 3)]:
        moved = np.repeat(values.astype(np.float32), 2, axis=0)
        moved[0][place] += 0.5
        moved[1][place] -= 0.5
        high, low = np.asarray(head(moved))[:, 2]
        assert slopes[0][place] == pytest.approx(high - low, abs=1e-5)  # the head is linear


def test_features_are_what_the_last_layer_takes() -> None:
    model, _, pictures = _built("colour")
    scored = Scored(model)
    features, scores = scored.features(pictures)
    assert scored.feature_layer == model.layers[-1].name and features.shape == (4, 6)
    kernel, bias = model.layers[-1].get_weights()
    assert np.allclose(features @ kernel + bias, scores, atol=1e-3)


def test_features_with_places_are_averaged() -> None:
    model, _, pictures = _built("hundred classes")
    features, _ = Scored(model).features(pictures)
    inner = keras.Model(model.inputs, model.layers[0].output)
    assert np.allclose(features, np.asarray(inner(pictures)).mean(axis=(1, 2)), rtol=1e-4)


FLAT: dict[str, Callable[[], list[Any]]] = {
    "flatten": lambda: [layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3, activation="softmax")],
    "one place": lambda: [layers.Conv2D(4, 10), layers.Flatten(), layers.Dense(3)],
    "normalised only": lambda: [layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)],
}


@pytest.mark.parametrize("kind", FLAT)
def test_model_without_places_says_so(kind: str) -> None:
    scored = Scored(keras.Sequential([_inputs(), *FLAT[kind]()]))
    assert scored.layers == () and "no convolution" in str(scored.no_maps)
    with pytest.raises(ModelError, match="no convolution"):
        scored.class_maps(np.zeros((1, 10, 10, 1), np.float32), np.array([0]))
    assert scored.features(np.ones((2, 10, 10, 1), np.float32))[0].ndim == 2


def test_model_of_several_inputs_is_refused() -> None:
    one, other = _inputs(), _inputs()
    x = layers.Flatten()(layers.Add()([one, other]))
    with pytest.raises(ModelError, match="2 inputs; one picture is expected"):
        Scored(keras.Model([one, other], layers.Dense(2)(x)))


def test_enlarging_is_that_of_tensorflow() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 5))
    expected = tf.image.resize(maps[..., None], (28, 12), "bilinear").numpy()[..., 0]
    assert np.allclose(enlarged(maps, 28, 12), expected, atol=1e-6)


_ELSEWHERE = """
import sys
import keras, numpy as np
sys.path.insert(0, sys.argv[1])
from keras import layers
from edgefm.keras_graph.class_maps import Scored
assert keras.config.backend() == sys.argv[2]
given = keras.Input((6, 6, 2))
x = layers.Conv2D(3, 3, activation="relu")(given)
model = keras.Model(given, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))
generator = np.random.default_rng(0)
model.set_weights([generator.normal(size=weight.shape) for weight in model.weights])
pictures = generator.random((2, 6, 6, 2)).astype(np.float32)
scored = Scored(model)
(values,), (slopes,), scores = scored.slopes(pictures, np.array([0, 1]))
kernel = model.get_weights()[2]
assert np.allclose(slopes, kernel.T[[0, 1]].reshape(2, 4, 4, 3), atol=1e-6), "not the kernel of the linear head"
maps = scored.class_maps(pictures, np.array([0, 1])).maps
print("MAPS", *np.round(maps.sum(axis=(1, 2)), 3))
"""


@pytest.mark.parametrize(
    "backend", [pytest.param("jax", marks=pytest.mark.jax), pytest.param("torch", marks=pytest.mark.torch)]
)
def test_other_backends_give_the_same_maps(backend: str) -> None:
    pytest.importorskip(backend)
    outputs = []
    for name in ("tensorflow", backend):
        environment = {**os.environ, "KERAS_BACKEND": name, "PYTHONPATH": os.pathsep.join(sys.path)}
        argv = [sys.executable, "-c", _ELSEWHERE, str(Path.cwd()), name]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        outputs.append(done.stdout.split("MAPS")[1].split())
    assert np.allclose(np.array(outputs[0], float), np.array(outputs[1], float), atol=0.01)


def _behind_a_nested_model(head: str) -> Any:
    """Return a convolution, a nested network with another one and a layer `dense`, and a head."""
    keras.utils.set_random_seed(0)
    inner = keras.Sequential(
        [keras.Input((10, 10, 3)), layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(5, name="dense")]
    )
    given = _inputs(channels=3)
    x = layers.Conv2D(3, 3, padding="same", name="before")(given)
    return keras.Model(given, layers.Dense(3, activation="softmax", name=head)(inner(x)))


def test_names_of_layers_do_not_decide_where_the_maps_are_from() -> None:
    pictures, classes = np.random.default_rng(0).random((3, 10, 10, 3)).astype(np.float32), np.array([0, 1, 2])
    models = [_behind_a_nested_model(head) for head in ("dense", "head")]
    given = models[0].get_weights()
    for one, other in zip(given, models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    found = [Scored(model).class_maps(pictures, classes) for model in models]
    assert found[0].layers == found[1].layers == ("conv",)
    np.testing.assert_array_equal(found[0].maps, found[1].maps)
    assert models[0].layers[-1].activation is keras.activations.softmax
    for one, other in zip(given, models[0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_map_of_a_picture_that_is_turned_behind_the_convolution_is_of_the_convolution() -> None:
    given = _inputs(channels=3)
    x = layers.ReLU()(layers.Permute((2, 1, 3))(layers.Conv2D(4, 3, name="taken")(given)))
    assert Scored(keras.Model(given, layers.Dense(3)(layers.Flatten()(x)))).layers == ("taken",)


_CHANNELS_FIRST = """
import keras, numpy as np
from keras import layers
from edgefm.keras_graph.class_maps import Scored


def network(channels, form, given, join):
    first = form == "channels_first"
    x = inputs = keras.Input((3, 12, 16) if given else (12, 16, 3))
    if first and not given:
        x = layers.Permute((3, 1, 2))(x) if channels != 5 else keras.ops.transpose(x, (0, 3, 1, 2))
    x = layers.Rescaling(2.0)(x)
    x = layers.Conv2D(channels, 3, padding="same", data_format=form)(x)
    x = layers.BatchNormalization(axis=1 if first else -1)(x)
    x = layers.ReLU(name="taken")(layers.Add()([x, layers.Conv2D(channels, 1, data_format=form)(x)]) if join else x)
    if channels == 4:
        x = layers.Conv2D(3, 1, data_format=form, name="scores")(x)
        return keras.Model(inputs, layers.Softmax()(layers.GlobalAveragePooling2D(data_format=form)(x)))
    x = layers.GlobalAveragePooling2D(data_format=form)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


generator = np.random.default_rng(0)
pictures, classes = generator.random((2, 12, 16, 3)).astype("float32"), np.array([0, 1])
kinds = ((16, False, False), (12, False, True), (5, False, False), (4, False, False), (12, True, False))
for channels, given, join in kinds:
    last, first = (network(channels, form, given and form == "channels_first", join)
                   for form in ("channels_last", "channels_first"))
    last.set_weights([generator.uniform(0.1, 1, weight.shape) - (weight.ndim == 4) * 0.4 for weight in last.weights])
    first.set_weights(last.get_weights())
    moved = pictures.transpose(0, 3, 1, 2) if given else pictures
    wanted, answers = last.predict(pictures, verbose=0), first.predict(moved, verbose=0)
    assert np.allclose(wanted, answers, atol=1e-5), "no twins"
    scored, twin = Scored(last), Scored(first)
    assert scored.layers == twin.layers, (scored.layers, twin.layers)
    maps, others = scored.class_maps(pictures, classes).maps, twin.class_maps(moved, classes).maps
    assert maps.shape == others.shape == (2, 12, 16) and np.abs(maps - others).max() < 1e-3, (channels, maps - others)
    assert maps.max() > 0
    assert np.allclose(scored.features(pictures)[0], twin.features(moved)[0], atol=1e-4), channels
"""


@pytest.mark.parametrize(
    "backend", [pytest.param("jax", marks=pytest.mark.jax), pytest.param("torch", marks=pytest.mark.torch)]
)
def test_channels_first_gives_the_maps_and_features_of_channels_last(backend: str) -> None:
    pytest.importorskip(backend)
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _CHANNELS_FIRST], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
