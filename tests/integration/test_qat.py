"""Quantisation-aware training of tiny models: what is promised is read back from the file."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from edgefm.compression.qat.fake_quant import places
from edgefm.compression.qat.fake_quant_graph import quantized
from edgefm.compression.qat.qat import quantization_aware_train
from edgefm.compression.qat.qat_graph import prepare
from edgefm.compression.qat.qat_parity import parity
from edgefm.data.preprocessing import preprocessing
from edgefm.data.quality import quality
from edgefm.keras_graph.folding import ChannelShift, fold
from edgefm.recipes import FineTuning, Qat
from edgefm.tflite import flatbuffer
from edgefm.tflite.weights import stored_kernels
from edgefm_converters.bridge.bridge import to_tf_keras
from edgefm_converters.tflite.fake_quant_to_tflite import cannot_convert
from edgefm_converters.tflite.surgery import operators
from edgefm_converters.tflite.tflite_outputs import tflite_outputs
from tests.fixtures.blobs import CHANNELS, CLASSES, SIZE, blobs
from tests.fixtures.classifiers import settle

ONCE = FineTuning(epochs=1, batch_size=32, learning_rate=1e-3, flip=False)


def _trained(model, task, *, epochs=8):
    """Return the model, trained a little and folded."""
    train = task.dataset.train
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(train.images.astype(np.float32), train.labels, batch_size=32, epochs=epochs, verbose=0)
    return fold(model, rescaling=False)[0]


def _network():
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, CHANNELS), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    x = layers.BatchNormalization(momentum=0.7, name="bn")(x)
    y = layers.SeparableConv2D(8, 3, padding="same", name="separable")(x)
    x = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([x, y]))
    left = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="left")(x)
    x = layers.Concatenate(name="both")([left, layers.AveragePooling2D(3, 1, padding="same", name="right")(x)])
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return settle(keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="scores")(x)))


@pytest.fixture(scope="module")
def task():
    return blobs()


@pytest.fixture(scope="module")
def branching(task):
    """The folded network and its result."""
    model = _trained(_network(), task)
    return model, quantization_aware_train(model, Qat(fine_tuning=ONCE), task, seed=0)


def _tensors(content, dtype):
    graph = flatbuffer.editable(content).subgraphs[0]
    return [tensor for tensor in graph.tensors if flatbuffer.dtype(tensor) == dtype]


def test_int8_file_takes_pixels_as_they_are_and_holds_int8_operators_only(branching):
    _, result = branching
    model = flatbuffer.editable(result.int8)
    graph = model.subgraphs[0]
    ends = [graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]]

    assert [flatbuffer.dtype(tensor) for tensor in ends] == ["uint8", "uint8"]
    assert float(ends[0].quantization.scale[0]) == np.float32(1 / 255)
    assert list(ends[0].quantization.zeroPoint) == [0]
    assert (result.encoding.mean, result.encoding.std) == (0.0, pytest.approx(255.0))
    assert _tensors(result.int8, "float32") == []
    assert [entry.name for entry in model.signatureDefs[0].inputs] == [b"image"]
    assert set(operators(result.int8)) == {
        "QUANTIZE", "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "MEAN",
        "FULLY_CONNECTED", "SOFTMAX",
    }  # fmt: skip


def test_ranges_of_relu_outputs_start_at_zero(branching):
    _, result = branching
    relus = [tensor for tensor in _tensors(result.int8, "int8") if b"Relu" in tensor.name and len(tensor.shape) == 4]
    computed = [tensor for tensor in relus if tensor.shape[0] == 1 and tensor.shape[1] == SIZE]

    assert len(computed) == 3
    assert all(tensor.quantization.zeroPoint[0] == -128 for tensor in computed)


def test_file_and_trained_graph_agree(branching, task):
    _, result = branching
    validation = task.dataset.validation
    (found,) = tflite_outputs(result.int8, result.encoding.encode(validation.images))

    assert result.parity.held
    assert result.parity.images == len(validation)
    assert result.parity.argmax_agreement >= 0.997
    assert result.facts["parity"] == result.parity.to_json()
    assert result.facts["bridge"]["max_abs_difference"] < 1e-5
    assert (found.argmax(1) == validation.labels).mean() > 0.9
    assert result.history[0]["val_quality"] > 0.9


def test_float_model_has_the_weights_that_were_learnt(branching, task):
    model, result = branching
    images = task.dataset.validation.images.astype(np.float32)
    (file,) = tflite_outputs(result.int8, result.encoding.encode(task.dataset.validation.images))

    assert [layer.name for layer in result.model.layers] == [layer.name for layer in model.layers]
    assert any(isinstance(layer, ChannelShift) for layer in result.model.layers)
    assert any(
        np.abs(before - after).max() > 1e-4
        for before, after in zip(model.get_weights(), result.model.get_weights(), strict=True)
    )
    assert np.abs(np.asarray(result.model(images)) - file).mean() < 0.02


def _with_weight_scale(content, layer, factor):
    """Return a file in which one kernel's scales are multiplied by a factor."""
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    for operator in graph.operators:
        named = layer.encode() in graph.tensors[operator.outputs[0]].name
        if named and flatbuffer.operator_name(model, operator) in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            parameters = graph.tensors[operator.inputs[1]].quantization
            parameters.scale = [float(scale) * factor for scale in parameters.scale]
    return flatbuffer.write(model)


@pytest.mark.parametrize(
    ("layer", "factor", "held"), [("quant_first/", 0.01, False), ("quant_left/", 2.0, None)], ids=["first", "branch"]
)
def test_parity_names_the_layer_whose_weights_have_another_scale(branching, task, layer, factor, held):
    _, result = branching
    found = parity(
        result.graph.model,
        _with_weight_scale(result.int8, layer, factor),
        result.encoding.encode(task.dataset.validation.images),
        places=result.graph.places,
        ranges=result.graph.ranges,
        classes=True,
    )

    assert held is None or found.held == held
    assert f"quant_{found.first_divergence.layer}/" == layer
    assert found.first_divergence.error_lsb > 10


def test_parity_names_the_layer_in_a_graph_whose_layers_were_called_in_another_one_before(branching, task):
    import tf_keras

    _, result = branching
    again = tf_keras.models.clone_model(result.graph.model, clone_function=lambda layer: layer)
    assert all(len(layer.inbound_nodes) > 1 for layer in again.layers[1:])

    found = parity(
        again,
        _with_weight_scale(result.int8, "quant_left/", 2.0),
        result.encoding.encode(task.dataset.validation.images),
        places=result.graph.places,
        ranges=result.graph.ranges,
        classes=True,
    )

    assert found.first_divergence.layer == "left"


@pytest.fixture(scope="module")
def thinned(task):
    """A network of 80 % zeros and 8 values a kernel, and its result with both preserved."""
    keras.utils.set_random_seed(2)
    network = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, CHANNELS), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="dense"),
            layers.Dense(CLASSES, activation="softmax", name="scores"),
        ]
    )
    model = _trained(network, task)
    for name in ("conv", "dense"):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([_thinned(kernel), bias])
    recipe = Qat(preserve_sparsity=True, preserve_clusters=True, fine_tuning=ONCE)
    return model, quantization_aware_train(model, recipe, task, seed=0)


def _thinned(kernel):
    """Keep the largest fifth of the weights, each at the nearest of 7 values."""
    kept = np.where(np.abs(kernel) >= np.quantile(np.abs(kernel), 0.8), kernel, 0)
    values = np.quantile(kept[kept != 0], np.linspace(0, 1, 7)).astype(np.float32)
    nearest = values[np.abs(kept[..., None] - values).argmin(-1)]
    return np.where(kept == 0, 0, nearest).astype(np.float32)


def test_zeros_and_clusters_stay_in_the_file(thinned):
    model, result = thinned
    found = {kernel.operator: kernel for kernel in stored_kernels(result.int8)[:2]}

    for name, kernel in zip(("conv", "dense"), found.values(), strict=True):
        before = model.get_layer(name).get_weights()[0]
        after = result.model.get_layer(name).get_weights()[0]
        assert ((before == 0) <= (after == 0)).all()
        assert len(np.unique(after)) == len(np.unique(before)) == 8
        assert not np.array_equal(before, after)
        assert kernel.sparsity >= (before == 0).mean()
        assert len(kernel.scales) == 1
        assert kernel.levels <= 8
    assert result.parity.held


def test_excluded_and_unknown_layers_stay_float32_and_are_named(task):
    keras.utils.set_random_seed(3)
    network = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, CHANNELS), name="image"),
            layers.Conv2D(4, 3, 2, activation="relu", name="first"),
            layers.LayerNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(CLASSES, activation="softmax", name="scores"),
        ]
    )
    recipe = Qat(exclude=("hid*",), fine_tuning=FineTuning(epochs=0))

    result = quantization_aware_train(network, recipe, task, seed=0)

    assert [kernel.dtype for kernel in stored_kernels(result.int8)] == ["int8", "float32", "int8"]
    assert result.facts["float32"] == {
        "norm": "no int8 rule is known for LayerNormalization",
        "hidden": "excluded by 'hid*'",
    }
    assert set(result.facts["float32_operators"]) >= {"FULLY_CONNECTED", "RSQRT"}
    assert "CONV_2D" not in result.facts["float32_operators"]
    assert result.history == ()


def test_autoencoder_with_float_inputs_agrees_within_two_levels(task):
    keras.utils.set_random_seed(4)
    image = keras.Input((SIZE, SIZE, CHANNELS), name="image")
    x = layers.Conv2D(8, 3, 2, "same", activation="relu", name="down")(image)
    x = layers.UpSampling2D(interpolation="bilinear", name="up")(x)
    x = layers.Conv2DTranspose(8, 3, padding="same", activation="relu", name="transposed")(x)
    network = keras.Model(image, layers.Conv2D(CHANNELS, 3, padding="same", name="again")(x))
    encode = preprocessing((-1, 1)).encode
    splits = {
        split.name: dataclasses.replace(split, images=encode(split.images), labels=encode(split.images))
        for split in task.dataset.splits
    }
    dataset = dataclasses.replace(task.dataset, task="reconstruction", labels=(), **splits)
    floats = dataclasses.replace(
        task, dataset=dataset, encoding=preprocessing((-1, 1)), quality=quality("mse", task="reconstruction")
    )

    result = quantization_aware_train(network, Qat(fine_tuning=ONCE), floats, seed=0)

    assert result.parity.argmax_agreement is None
    assert result.parity.held
    assert result.facts["float32_operators"] == []
    low, high = dataset.train.images.min(), dataset.train.images.max()
    graph = flatbuffer.editable(result.int8).subgraphs[0]
    assert float(graph.tensors[graph.inputs[0]].quantization.scale[0]) == pytest.approx((high - low) / 255, rel=1e-3)


# As TensorFlow 2.21 said it of a Maximum whose inputs had other scales than its output.
_REFUSAL = (
    '<unknown>:0: error: loc(callsite(fused["Maximum:", "functional/quant_larger/Maximum@__inference_serve_7226"] at '
    'callsite(fused["StatefulPartitionedCall:", "StatefulPartitionedCall"]))): '
    "'tfl.maximum' op quantization parameters violate the same scale constraint\n<unknown>:0: note: called from\n"
)


def test_converter_error_names_the_layer():
    image = keras.Input((4, 4, 2), name="image")
    x = layers.Maximum(name="larger")([image, layers.Conv2D(2, 1, name="conv")(image)])
    prepared = prepare(keras.Model(image, x))
    tf_model = to_tf_keras(prepared.model)
    found = places(tf_model, exclude=(), float32={})

    error = cannot_convert(quantized(tf_model, found), _REFUSAL)

    assert "Maximum" in found["larger"].float32
    assert "the layer 'larger' (Maximum)" in error.message
    assert error.message.endswith("violate the same scale constraint")
    assert "exclude" in str(error.hint)
