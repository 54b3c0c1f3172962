from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgefm.compression.qat.fake_quant import places
from edgefm.compression.qat.fake_quant_graph import quantized
from edgefm.compression.qat.fake_quant_ranges import measured_ranges, set_ranges
from edgefm.compression.qat.qat_graph import INPUT_LAYER, prepare, with_weights
from edgefm.core.errors import ModelError
from edgefm.core.progress import SILENT
from edgefm.keras_graph.folding import fold
from edgefm_converters.bridge.bridge import to_tf_keras
from tests.fixtures.residual_network import random_weights, small_resnet


def _outputs(model, inputs):
    return np.asarray(model(inputs, training=False))


def _weights_of(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def test_prepare_computes_the_same_without_the_rescaling_it_starts_with():
    model = fold(small_resnet(), rescaling=False)[0]
    prepared = prepare(model)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype(np.float32)

    assert (prepared.scale, prepared.offset) == (pytest.approx(1 / 255), 0.0)
    found = _outputs(prepared.model, pixels * np.float32(prepared.scale))
    assert np.abs(found - _outputs(model, pixels)).max() < 1e-5
    assert not any(isinstance(layer, layers.SeparableConv2D) for layer in prepared.model.layers)


def test_prepare_takes_apart_what_computes_several_tensors():
    image = keras.Input((4, 4, 3), name="image")
    x = layers.Conv2D(4, 1, activation="tanh", name="conv")(image)
    x = layers.Add(name="sum")([x, layers.Conv2D(4, 1, name="a")(image), layers.Conv2D(4, 1, name="b")(image)])
    x = layers.BatchNormalization(name="bn")(layers.GlobalAveragePooling2D()(x))
    model = random_weights(keras.Model(image, x * 3.0 - 1.0))
    prepared = prepare(model)
    inputs = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype(np.float32)

    names = {layer.name for layer in prepared.model.layers}
    assert {"conv_tanh", "sum_1", "sum", INPUT_LAYER} <= names
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in prepared.model.layers)
    assert set(prepared.frozen) >= {"bn"}
    assert np.abs(_outputs(prepared.model, inputs) - _outputs(model, inputs)).max() < 1e-4


def test_with_weights_puts_learnt_weights_where_they_came_from():
    model = fold(small_resnet(), rescaling=False)[0]
    prepared = prepare(model)
    learnt = {name: [array * 2 for array in arrays] for name, arrays in _weights_of(prepared.model).items()}

    changed = _weights_of(with_weights(model, prepared, learnt))

    assert changed.keys() == _weights_of(model).keys()
    for name, arrays in _weights_of(model).items():
        for before, after in zip(arrays, changed[name], strict=True):
            assert np.array_equal(after, before * 2), name


def test_conv1d_becomes_a_convolution_of_one_row_and_its_weights_come_back():
    sequence = keras.Input((12, 3), name="sequence")
    x = layers.Conv1D(4, 3, strides=2, padding="same", activation="tanh", name="conv")(sequence)
    model = random_weights(keras.Model(sequence, layers.GlobalMaxPooling1D()(x)))
    prepared = prepare(model)
    inputs = np.random.default_rng(0).normal(size=(5, 12, 3)).astype(np.float32)

    assert isinstance(prepared.model.get_layer("conv"), layers.Conv2D)
    assert np.abs(_outputs(prepared.model, inputs) - _outputs(model, inputs)).max() < 1e-5
    back = with_weights(model, prepared, _weights_of(prepared.model))
    assert np.array_equal(back.get_layer("conv").get_weights()[0], model.get_layer("conv").get_weights()[0])


def test_prepare_rejects_two_inputs():
    ends = [keras.Input((3,)), keras.Input((3,))]
    with pytest.raises(ModelError, match="2 inputs"):
        prepare(keras.Model(ends, layers.Add()(ends)))


def _branching():
    """A tf_keras graph with each reason for an output to have no range of its own."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="before_relu")(image)
    x = layers.ReLU(max_value=6, name="relu")(x)
    pooled = layers.AveragePooling2D(3, 1, padding="same", name="pooled")(x)
    left = layers.Conv2D(4, 1, activation="relu", name="left")(x)
    x = layers.Concatenate(name="both")([left, pooled])
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="gate")(x)
    x = layers.Multiply(name="gated")([x, gate])
    x = layers.Flatten(name="flat")(layers.MaxPooling2D(name="max")(x))
    x = layers.LayerNormalization(name="norm")(x)
    model = keras.Model(image, layers.Dense(3, activation="softmax", name="scores")(x))
    prepared = prepare(random_weights(model))
    return to_tf_keras(prepared.model), prepared


def test_places_give_ranges_only_to_outputs_that_tflite_sees():
    tf_model, prepared = _branching()
    found = places(tf_model, exclude=("lef*",), float32=prepared.float32)

    own = {name for name, place in found.items() if place.output == "own"}
    # 'left' would share the range of 'both', were it not kept in float32; its own is that of its float output.
    assert own == {INPUT_LAYER, "relu", "left", "both", "gate", "gated", "norm", "scores"} - {"left"}
    assert found["before_relu"].kernel == "kernel"
    assert (found["pooled"].output, found["pooled"].source) == ("shared", "relu")
    assert (found["gate_sigmoid"].output, found["gate_sigmoid"].limits) == ("fixed", (0.0, 255 / 256))
    assert found["scores_softmax"].output == "none"
    assert "excluded by 'lef*'" in found["left"].float32 and found["left"].kernel is None
    assert "LayerNormalization" in found["norm"].float32


def test_ranges_are_the_mean_extremes_of_the_float_models_batches():
    tf_model, prepared = _branching()
    found = places(tf_model, exclude=(), float32=prepared.float32)
    inputs = np.random.default_rng(1).normal(size=(128, 8, 8, 3)).astype(np.float32)

    ranges = measured_ranges(tf_model, found, inputs, label="", progress=SILENT)

    relu = keras.Model(prepared.model.inputs[0], prepared.model.get_layer("relu").output)
    batches = [_outputs(relu, inputs[:64]), _outputs(relu, inputs[64:])]
    assert ranges["relu"] == (0.0, pytest.approx(np.mean([batch.max() for batch in batches]), rel=1e-5))
    assert ranges["pooled"] == ranges["relu"]
    assert ranges[INPUT_LAYER] == (pytest.approx(inputs.min()), pytest.approx(inputs.max()))


def _rounded(kernel, axes):
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / 127
    return np.clip(np.round(kernel / scale), -127, 127) * scale


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (layers.Conv2D(5, 3, name="layer"), (0, 1, 2)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, name="layer"), (0, 1)),
        (layers.Dense(5, name="layer"), None),
    ],
    ids=["conv", "depthwise", "dense"],
)
def test_kernels_are_rounded_as_numpy_rounds_them(layer, axes):
    image = keras.Input((6, 6, 3))
    model = random_weights(keras.Model(image, layer(image)))
    prepared = prepare(model)
    tf_model = to_tf_keras(prepared.model)
    found = places(tf_model, exclude=(), float32={})
    graph = quantized(tf_model, found)
    set_ranges(graph, {})
    wrapper = graph.get_layer("quant_layer")
    kernel, quantizer, variables = wrapper._weight_vars[0]

    expected = _rounded(kernel.numpy(), axes)

    assert np.abs(quantizer(kernel, False, variables).numpy() - expected).max() < 1e-5


def test_causal_conv1d_has_one_scale_and_runs():
    sequence = keras.Input((12, 3))
    model = random_weights(keras.Model(sequence, layers.Conv1D(4, 3, padding="causal", name="conv")(sequence)))
    tf_model = to_tf_keras(prepare(model).model)
    graph = quantized(tf_model, places(tf_model, exclude=(), float32={}))
    set_ranges(graph, {})
    kernel, quantizer, variables = graph.get_layer("quant_conv")._weight_vars[0]

    expected = _rounded(kernel.numpy(), (0, 1, 2))

    assert np.abs(quantizer(kernel, False, variables).numpy() - expected).max() < 1e-5


def test_frozen_layers_do_not_learn():
    image = keras.Input((6, 6, 3))
    x = layers.BatchNormalization(name="bn")(image)
    model = random_weights(keras.Model(image, layers.Conv2D(2, 3, name="conv")(x)))
    prepared = prepare(model)
    tf_model = to_tf_keras(prepared.model)
    graph = quantized(tf_model, places(tf_model, exclude=(), float32={}), frozen=prepared.frozen)

    assert {tuple(variable.shape) for variable in graph.trainable_variables} == {(3, 3, 3, 2), (2,)}
