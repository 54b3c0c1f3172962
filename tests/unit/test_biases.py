from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgefm_converters.tflite.keras_to_tflite import Given, converted, float32_tflite
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

SHAPE = (6, 6, 3)
BIASES = (0.5, 2.0, -0.3)


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def one_layer(kind: str, *, size: float, biases: tuple[float, ...] = BIASES) -> tuple[Any, NDArray[np.float32]]:
    """Return a model of one layer whose second output channel has weights of about `size`, and inputs."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    made = {
        "conv": lambda: layers.Conv2D(3, 3),
        "depthwise": lambda: layers.DepthwiseConv2D(3),
        "transposed": lambda: layers.Conv2DTranspose(3, 3),
        "dense": lambda: layers.Dense(3),
    }
    layer, source = made[kind](), keras.Input(SHAPE)
    model = keras.Model(source, layer(layers.Flatten()(source) if kind == "dense" else source))
    kernel = layer.get_weights()[0]
    channel = {"depthwise": np.s_[..., 1, :], "transposed": np.s_[..., 1, :]}.get(kind, np.s_[..., 1])
    kernel[channel] *= np.float32(size)
    layer.set_weights([kernel, np.asarray(biases, np.float32)])
    return model, np.random.default_rng(0).uniform(0, 1, (16, *SHAPE)).astype(np.float32)


def stock_int8(model: Any, inputs: NDArray[np.float32]) -> bytes:
    """Return the file of TensorFlow's own converter, calibrated on the same inputs."""
    import tensorflow as tf

    return converted(
        lambda image: {"answer": model(image, training=False)},
        inputs={"image": Given((1, *SHAPE))},
        holds=[weight.value for weight in model.weights],
        options={
            "optimizations": [tf.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([sample[None]] for sample in inputs),
        },
    )


def error(content: bytes, model: Any, inputs: NDArray[np.float32]) -> float:
    return float(np.abs(tflite_outputs(content, inputs)[0] - np.asarray(model(inputs))).max())


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-5])
@pytest.mark.parametrize("kind", ["conv", "depthwise", "transposed", "dense"])
def test_channel_of_tiny_weights_keeps_its_bias(kind: str, size: float) -> None:
    model, inputs = one_layer(kind, size=size)
    content = float32_tflite(model)
    calibration = calibrate(content, inputs, value_range=(0, 1))
    # One level of 255 of the output's range, and what int8 weights cost: the biases are a hundred times that.
    allowed = 0.02 * np.ptp(np.asarray(model(inputs)))
    for scheme in ("int8_w8a8", "int16x8"):
        assert error(quantize_tflite(content, scheme, calibration=calibration), model, inputs) < allowed


@pytest.mark.parametrize("scheme", ["int8_w8a8", "int16x8"])
@pytest.mark.parametrize("kind", ["conv", "depthwise", "transposed", "dense"])
def test_no_weights_that_nothing_reads_are_left_in_the_file(kind: str, scheme: str) -> None:
    model, inputs = one_layer(kind, size=0.0)
    content = float32_tflite(model)
    file = quantize_tflite(content, scheme, calibration=calibrate(content, inputs, value_range=(0, 1)))
    written = schema.Model.GetRootAs(file)
    graph = written.Subgraphs(0)
    read = {graph.Tensors(index).Buffer() for index in range(graph.TensorsLength())}
    read |= {written.Metadata(index).Buffer() for index in range(written.MetadataLength())}
    assert [index for index in range(written.BuffersLength()) if written.Buffers(index).DataLength() > 0] == sorted(
        index for index in read if written.Buffers(index).DataLength() > 0
    )


def test_dead_channel_is_as_right_as_in_tensorflows_file() -> None:
    model, inputs = one_layer("conv", size=0.0)
    content = float32_tflite(model)
    ours = quantize_tflite(content, "int8_w8a8", calibration=calibrate(content, inputs, value_range=(0, 1)))
    assert error(ours, model, inputs) <= 1.1 * error(stock_int8(model, inputs), model, inputs)


def test_dead_channel_of_an_int4_layer_keeps_its_bias() -> None:
    model, inputs = one_layer("dense", size=0.0)
    content = float32_tflite(model)
    file = quantize_tflite(content, "int8_w8a8_fc4", calibration=calibrate(content, inputs, value_range=(0, 1)))
    answers, expected = tflite_outputs(file, inputs)[0], np.asarray(model(inputs))
    assert np.abs(answers[:, 1] - 2.0).max() < 0.02
    assert np.abs(answers - expected).max() < 0.1 * np.ptp(expected)  # four bits


@pytest.mark.parametrize("kind", ["conv", "depthwise", "transposed", "dense"])
def test_bias_of_more_than_32_bits_is_whole_in_int16x8(kind: str) -> None:
    model, inputs = one_layer(kind, size=1.0, biases=(300.0, -250.0, 301.0))
    content = float32_tflite(model)
    kernel = model.layers[-1].get_weights()[0]
    # q = bias / (input scale x weight scale), in numpy: beyond 32 bits for every channel.
    assert 250.0 / ((1 / 32_767) * (np.abs(kernel).max() / 127)) > 2**31
    file = quantize_tflite(content, "int16x8", calibration=calibrate(content, inputs, value_range=(0, 1)))
    assert error(file, model, inputs) < 0.05
