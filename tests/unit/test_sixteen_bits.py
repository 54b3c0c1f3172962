from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite import quantizing
from edgefm_converters.tflite.biases import with_biases
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
from edgefm_converters.tflite.sixteen_bits import check_kernels
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

MANY = 8192


@pytest.fixture(scope="module", autouse=True)
def tensorflow_backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def dense(bias: bool) -> Any:
    import keras

    return keras.layers.Dense(3, use_bias=bias, name="dense"), (MANY,)


def dense_on_rows(bias: bool) -> Any:
    import keras

    return keras.layers.Dense(3, use_bias=bias, name="dense"), (2, MANY)


def conv(bias: bool) -> Any:
    import keras

    return keras.layers.Conv2D(3, 5, use_bias=bias, name="conv"), (6, 6, MANY // 25)


def depthwise(bias: bool) -> Any:
    import keras

    return keras.layers.DepthwiseConv2D(40, use_bias=bias, name="depthwise"), (41, 41, 2)


def separable(bias: bool) -> Any:
    import keras

    return keras.layers.SeparableConv2D(3, 3, use_bias=bias, name="separable"), (4, 4, 700)


def transposed(bias: bool) -> Any:
    import keras

    return keras.layers.Conv2DTranspose(3, 5, use_bias=bias, name="transposed"), (4, 4, MANY // 25)


def series(bias: bool) -> Any:
    import keras

    return keras.layers.Conv1D(3, 9, use_bias=bias, name="series"), (12, MANY // 9)


def einsum(bias: bool) -> Any:
    import keras

    axes = "c" if bias else None
    return keras.layers.EinsumDense("bf,fc->bc", output_shape=3, bias_axes=axes, name="einsum"), (MANY,)


LAYERS = (dense, dense_on_rows, conv, depthwise, separable, transposed, series, einsum)


def of(build: Any, bias: bool) -> tuple[Any, bytes, NDArray[np.float32]]:
    """Return a model of one layer with positive weights, its float file, and inputs near their greatest value."""
    import keras

    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    keras.utils.set_random_seed(0)
    layer, shape = build(bias)
    source = keras.Input(shape)
    model = keras.Model(source, layer(source))
    for weight in model.weights:
        if "bias" not in weight.path:
            weight.assign(np.abs(weight.numpy()) + 0.5 * np.abs(weight.numpy()).max())
    inputs = np.random.default_rng(0).uniform(0.9, 1, (4, *shape)).astype(np.float32)
    return model, float32_tflite(model), inputs


@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "zero-bias"])
@pytest.mark.parametrize("build", LAYERS, ids=lambda build: build.__name__)
def test_long_sums_do_not_overflow_on_a_phones_kernels(build: Any, bias: bool) -> None:
    model, content, inputs = of(build, bias)
    expected = np.asarray(model(inputs))
    file = quantize_tflite(content, "int16x8", calibration=calibrate(content, inputs, value_range=(0, 1)))
    for builtin in (False, True):
        answers = tflite_outputs(file, inputs, builtin_kernels=builtin)[0].reshape(expected.shape)
        # int8 weights: at most half a level of 127 of each, and these errors mostly cancel.
        assert np.abs(answers - expected).max() < 0.004 * np.abs(expected).max()
    shares = check_kernels(content, file, inputs)
    assert max(shares.values()) < 0.2


@pytest.mark.parametrize("operation", ["add", "subtract"])
def test_scales_near_powers_of_two_are_not_taken_for_them(operation: str) -> None:
    """As keras.applications bring their pixels to -1..1: 2 / 32767 and 1 / 32767 are nearly powers of two."""
    import keras

    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    given = keras.Input((50,))
    content = float32_tflite(
        keras.Model(given, getattr(keras.ops, operation)(given, -1.0 if operation == "add" else 1.0))
    )
    inputs = np.random.default_rng(0).uniform(0, 2, (20, 50)).astype(np.float32)
    file = quantize_tflite(content, "int16x8", calibration=calibrate(content, inputs, value_range=(0, 2)))
    for builtin in (False, True):
        answers = tflite_outputs(file, inputs, builtin_kernels=builtin)[0]
        assert np.abs(answers - (inputs - 1)).max() < 2e-4


def test_numpy_says_that_the_sum_needs_more_than_32_bits() -> None:
    model, _, inputs = of(dense, False)
    kernel = model.get_layer("dense").kernel.numpy().astype(np.float64)
    weights = np.round(kernel / np.abs(kernel).max(axis=0) * 127).astype(np.int64)
    levels = np.round(inputs.astype(np.float64) * 32_767).astype(np.int64)
    assert (levels @ weights).min() > 2**31


def test_file_without_the_bias_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, content, inputs = of(dense, False)
    calibration = calibrate(content, inputs, value_range=(0, 1))
    monkeypatch.setattr(quantizing, "with_biases", lambda content: content)
    wrong = quantize_tflite(content, "int16x8", calibration=calibration)
    operators = flatbuffer.editable(wrong).subgraphs[0].operators
    assert all(index < 0 for operator in operators for index in list(operator.inputs)[2:])
    monkeypatch.setattr("edgefm_converters.tflite.sixteen_bits.with_biases", lambda content: content)
    with pytest.raises(ModelError, match=r"int16x8 is wrong on LiteRT's default kernels: output 0 differs by"):
        check_kernels(content, wrong, inputs)


def test_with_biases_adds_zeros_and_changes_no_answer() -> None:
    _, content, inputs = of(dense, False)
    changed = with_biases(content)
    assert (tflite_outputs(changed, inputs)[0] == tflite_outputs(content, inputs)[0]).all()
    assert with_biases(changed) == changed


def test_with_biases_leaves_a_bias_alone() -> None:
    model, _, inputs = of(dense, True)
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    kernel, bias = model.get_layer("dense").get_weights()
    model.get_layer("dense").set_weights([kernel, bias + np.float32(3)])
    content = float32_tflite(model)
    assert with_biases(content) == content
    assert np.allclose(tflite_outputs(content, inputs)[0], np.asarray(model(inputs)), rtol=1e-5)
