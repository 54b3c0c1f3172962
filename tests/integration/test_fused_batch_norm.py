"""The fused batch normalisation against Keras' own and numpy, in float32 and bfloat16."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgefm.training.fused_batch_norm import fused_batch_norm

# Of values around 1: bfloat16 has 8 bits.
TOLERANCE = {"float32": 1e-4, "mixed_bfloat16": 3e-2}


def network(policy: str) -> Any:
    normalization = keras.layers.BatchNormalization(momentum=0.9, name="bn", dtype=policy)
    inner = keras.Sequential([keras.Input((6, 5, 3)), normalization], name="inner")
    outer = keras.Sequential([keras.Input((6, 5, 3)), inner])
    random = np.random.default_rng(1)
    normalization.gamma.assign(random.uniform(0.5, 1.5, 3))
    normalization.beta.assign(random.normal(size=3))
    return outer


def step(model: Any, images: Any) -> tuple[Any, list[Any]]:
    """Return outputs in training and the gradients of a loss of them."""
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        weights = np.random.default_rng(2).normal(size=images.shape).astype(np.float32)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * weights)
    values = [variable.value for variable in model.trainable_variables]
    return np.asarray(tf.cast(outputs, tf.float32)), [np.asarray(value) for value in tape.gradient(loss, values)]


@pytest.mark.parametrize("policy", TOLERANCE)
def test_fused_operator_is_keras_batch_normalisation(policy: str) -> None:
    images = np.random.default_rng(0).normal(1.5, 2.0, size=(64, 6, 5, 3)).astype(np.float32)
    plain, fused = network(policy), network(policy)
    expected, slopes = step(plain, images)
    with fused_batch_norm(fused) as count:
        assert count == 1, "in a model within the model"
        found, own_slopes = step(fused, images)
    tolerance = TOLERANCE[policy]
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    norm = fused.get_layer("inner").get_layer("bn")
    mean, variance = images.mean(axis=(0, 1, 2)), images.var(axis=(0, 1, 2))
    by_numpy = (images - mean) / np.sqrt(variance + norm.epsilon) * np.asarray(norm.gamma) + np.asarray(norm.beta)
    np.testing.assert_allclose(found, by_numpy, rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(own_slopes, slopes, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=10 * tolerance, atol=30 * tolerance)
    np.testing.assert_allclose(np.asarray(norm.moving_mean), 0.1 * mean, rtol=tolerance, atol=1e-3)
    np.testing.assert_allclose(np.asarray(norm.moving_variance), 0.9 + 0.1 * variance, rtol=tolerance)


def test_moving_variance_of_few_values_is_that_of_keras() -> None:
    images = np.random.default_rng(0).normal(1.5, 2.0, size=(2, 1, 2, 3)).astype(np.float32)
    moving = []
    for fused in (False, True):
        layer = keras.layers.BatchNormalization()
        model = keras.Sequential([keras.Input(images.shape[1:]), layer])
        with fused_batch_norm(model) if fused else nullcontext():
            model(images, training=True)
        moving.append(np.asarray(layer.moving_variance))
    np.testing.assert_allclose(moving[1], moving[0], rtol=1e-5)


def test_operator_is_in_the_graph_while_it_lasts_and_never_in_a_file(tmp_path: Path) -> None:
    for policy in TOLERANCE:
        model = network(policy)
        images = np.zeros((4, 6, 5, 3), np.float32)

        def operators(training: bool, model: Any = model, images: Any = images) -> set[str]:
            graph = tf.function(lambda inputs: model(inputs, training=training)).get_concrete_function(images).graph
            return {operation.type for operation in graph.get_operations()}

        with fused_batch_norm(model):
            assert "FusedBatchNormV3" in operators(True)
            assert "FusedBatchNormV3" not in operators(False)
            model.save(tmp_path / "model.keras")
        assert "FusedBatchNormV3" not in operators(True)
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert type(loaded.get_layer("inner").get_layer("bn")) is keras.layers.BatchNormalization


def test_frozen_and_other_normalisations_stay_as_they_are() -> None:
    shape = keras.Input((6, 5, 3))
    layers = [
        keras.layers.BatchNormalization(axis=1),
        keras.layers.BatchNormalization(scale=False),
        keras.layers.Flatten(),
        keras.layers.BatchNormalization(),
    ]
    with fused_batch_norm(keras.Sequential([shape, *layers])) as count:
        assert count == 0
    frozen = network("float32")
    frozen.trainable = False
    images = np.random.default_rng(0).normal(size=(8, 6, 5, 3)).astype(np.float32)
    expected = np.asarray(frozen(images, training=True))
    with fused_batch_norm(frozen):
        np.testing.assert_array_equal(np.asarray(frozen(images, training=True)), expected)
