from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.core.errors import ModelError, RecipeError
from edgefm.runtimes import litert
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite.float_file import float_file
from edgefm_converters.tflite.operator_layers import operator_layers
from edgefm_converters.tflite.quantizing import Calibration, calibrate, quantize_tflite, quantizer_recipe
from edgefm_converters.tflite.surgery import operators
from edgefm_converters.tflite.tflite_outputs import tflite_outputs
from tests.fixtures import tiny_models
from tests.fixtures.classifiers import small_classifier


def convert(model: Any) -> bytes:
    """Return a Keras model as float32 TFLite, the outputs named as TensorFlow likes."""
    import tensorflow as tf

    from edgefm.core.silence import silenced

    shape = [1, *model.inputs[0].shape[1:]]
    serve = tf.function(lambda image: model(image, training=False), autograph=False)
    with silenced(), tempfile.TemporaryDirectory() as folder:
        concrete = serve.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        module = tf.Module()
        module.variables_of_model = [weight.value for weight in model.variables]
        module.serve = serve
        tf.saved_model.save(module, folder, signatures=concrete)
        return bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


@pytest.fixture(scope="module")
def small() -> Any:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    return small_classifier()


@pytest.fixture(scope="module")
def float32(small: Any) -> bytes:
    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    return float32_tflite(small)


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    return np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def calibration(float32: bytes, images: NDArray[np.float32]) -> Calibration:
    return calibrate(float32, images, value_range=(0, 255))


@pytest.fixture(scope="module")
def branched() -> Any:
    """Return a network with default names, a grouped convolution, a branch, two outputs and one flat input."""
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    source = keras.Input((8, 8, 4), name="features")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2d")(source)
    y = layers.Conv2D(8, 3, padding="same", groups=2, name="conv2d_1")(x)
    x = layers.Add(name="add")([x, y])
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    first = layers.Dense(3, activation="softmax", name="dense")(x)
    second = layers.Dense(2, name="dense_1")(x)
    return keras.Model(source, [first, second], name="branched")


def kinds(content: bytes) -> dict[str, str]:
    """Return the dtype in which each operator of a model computes, by its own name and place."""
    model = flatbuffer.editable(content)
    graph = model.subgraphs[0]
    return {
        f"{flatbuffer.operator_name(model, operator)}{place}": flatbuffer.dtype(graph.tensors[operator.outputs[0]])
        for place, operator in enumerate(graph.operators)
    }


def ends(content: bytes) -> list[str]:
    graph = flatbuffer.editable(content).subgraphs[0]
    return [flatbuffer.dtype(graph.tensors[index]) for index in (*graph.inputs, *graph.outputs)]


def test_int16x8_is_near_float32_and_keeps_float_ends(
    float32: bytes, calibration: Calibration, images: NDArray[np.float32]
) -> None:
    content = quantize_tflite(float32, "int16x8", calibration=calibration)
    assert ends(content) == ["float32", "float32"]
    inner = [dtype for name, dtype in kinds(content).items() if not name.startswith("DEQUANTIZE")]
    assert set(inner) == {"int16"}
    assert "int8" in {flatbuffer.dtype(tensor) for tensor in flatbuffer.editable(content).subgraphs[0].tensors}
    expected = tflite_outputs(float32, images)[0]
    found = tflite_outputs(content, images)[0]
    coarse = tflite_outputs(quantize_tflite(float32, "int8_w8a8", calibration=calibration), images)[0]
    # The calibration images themselves: int16 leaves only the rounding of the weights and clipped extremes.
    assert np.abs(found - expected).mean() < 0.01
    assert np.abs(found - expected).mean() <= np.abs(coarse - expected).mean()


def test_kept_layer_stays_float_and_the_others_are_int8(
    float32: bytes, calibration: Calibration, images: NDArray[np.float32]
) -> None:
    content = quantize_tflite(float32, "int8_w8a8", calibration=calibration, keep_float=("den*",))
    computed = {name: dtype for name, dtype in kinds(content).items() if not name.startswith(("QUANT", "DEQUANT"))}
    assert sorted(name.rstrip("0123456789") for name, dtype in computed.items() if dtype == "float32") == [
        "FULLY_CONNECTED"
    ]
    assert ends(content) == ["uint8", "uint8"]
    assert np.abs(tflite_outputs(content, images)[0] - tflite_outputs(float32, images)[0]).max() < 0.2


def test_all_layers_kept_gives_the_float_answers(
    float32: bytes, calibration: Calibration, images: NDArray[np.float32]
) -> None:
    content = quantize_tflite(float32, "int8_w8a8", calibration=calibration, keep_float=("*",))
    # What is left of int8 is the input, which holds pixels exactly.
    np.testing.assert_allclose(tflite_outputs(content, images)[0], tflite_outputs(float32, images)[0], atol=0.01)


def test_keep_float_rejects_a_name_that_fits_no_layer(float32: bytes, calibration: Calibration) -> None:
    with pytest.raises(RecipeError, match="unknown layer to keep in float 'conf'; did you mean 'conv'"):
        quantize_tflite(float32, "int8_w8a8", calibration=calibration, keep_float=("conf",))


def test_dense_layer_that_keeps_eight_bits_stands_beside_others_of_four() -> None:
    import keras
    import tensorflow as tf

    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    keras.utils.set_random_seed(0)
    named = [keras.layers.Dense(24, "relu", name="wide"), keras.layers.Dense(4, "softmax", name="last")]
    model = keras.Sequential([keras.Input((6, 5, 3)), keras.layers.Flatten(), *named])
    pixels = np.random.default_rng(0).random((40, 6, 5, 3)).astype(np.float32)
    float_file = float32_tflite(model)
    ranges = calibrate(float_file, pixels, value_range=(0, 1))
    asked: dict[str, Any] = {"calibration": ranges, "layer_names": ("flatten", "wide", "last")}

    def weights(content: bytes) -> dict[tuple[int, ...], str]:
        graph = flatbuffer.editable(content).subgraphs[0]
        return {
            shape: dtype
            for tensor in graph.tensors
            if (shape := tuple(map(int, tensor.shape))) in ((24, 90), (4, 24))
            and (dtype := flatbuffer.dtype(tensor)) in ("int4", "int8")
        }

    content = quantize_tflite(float_file, "int8_w8a8_fc4", keep_int8=("last",), **asked)
    assert weights(content) == {(24, 90): "int4", (4, 24): "int8"}
    assert set(weights(quantize_tflite(float_file, "int8_w8a8_fc4", **asked)).values()) == {"int4"}
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (taken,), (answered,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = answered["quantization"]
    for image, exact in zip(pixels, model.predict(pixels, verbose=0), strict=True):
        interpreter.set_tensor(taken["index"], np.round(255 * image[None]).astype(taken["dtype"]))
        interpreter.invoke()
        answer = scale * (interpreter.get_tensor(answered["index"])[0].astype(np.float64) - zero_point)
        np.testing.assert_allclose(answer, exact, atol=0.1)
    with pytest.raises(RecipeError, match="unknown dense layer to keep in int8 'lest'; did you mean 'last'"):
        quantize_tflite(float_file, "int8_w8a8_fc4", keep_int8=("lest",), **asked)


def test_operator_layers_tells_conv2d_from_conv2d_1(branched: Any) -> None:
    content = convert(branched)
    names = [layer.name for layer in branched.layers if layer.name != "features"]
    found = operator_layers(content, names)
    assert list(found.values()) == ["conv2d", "conv2d_1", "add", "mean", "dense", "dense", "dense_1"] or list(
        found.values()
    ) == ["conv2d", "conv2d_1", "add", "mean", "dense_1", "dense", "dense"]


def test_operator_layers_knows_the_last_operator_by_its_weights(float32: bytes, small: Any) -> None:
    found = operator_layers(float32)
    assert found == operator_layers(float32, [layer.name for layer in small.layers])
    assert list(dict.fromkeys(found.values())) == ["conv", "bn", "pool", "flatten", "dense", "scores"]


def test_several_outputs_and_inputs_that_are_no_pixels_are_int8(branched: Any) -> None:
    content = convert(branched)
    inputs = np.random.default_rng(2).normal(size=(30, 8, 8, 4)).astype(np.float32)
    ranges = calibrate(content, inputs, value_range=None)
    quantised = quantize_tflite(content, "int8_w8a8", calibration=ranges)
    assert ends(quantised) == ["int8", "int8", "int8"]
    for found, expected in zip(tflite_outputs(quantised, inputs), tflite_outputs(content, inputs), strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).mean() < 0.05 * max(1.0, float(np.abs(expected).max()))


def test_uint8_io_of_several_outputs_equals_int8(branched: Any) -> None:
    content = convert(branched)
    inputs = np.random.default_rng(2).integers(0, 256, (20, 8, 8, 4)).astype(np.float32)
    as_int8 = calibrate(content, inputs, value_range=(0, 255), pixels=False)
    as_uint8 = calibrate(content, inputs, value_range=(0, 255))
    inner = quantize_tflite(content, "int8_w8a8", calibration=as_int8)
    outer = quantize_tflite(content, "int8_w8a8", calibration=as_uint8)
    assert ends(outer) == ["uint8"] * 3
    assert operators(outer) == ("QUANTIZE", *operators(inner), "QUANTIZE", "QUANTIZE")
    for found, expected in zip(tflite_outputs(outer, inputs), tflite_outputs(inner, inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_vector_input_is_quantised() -> None:
    content = tiny_models.dense(np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32), picture=(4, 4, 1))
    inputs = np.random.default_rng(1).normal(size=(20, 4, 4, 1)).astype(np.float32)
    quantised = quantize_tflite(content, "int8_w8a8", calibration=calibrate(content, inputs, value_range=None))
    expected = tflite_outputs(content, inputs)[0]
    assert np.abs(tflite_outputs(quantised, inputs)[0] - expected).mean() < 0.02 * np.abs(expected).max()


def test_file_without_signature_gets_one_and_a_fixed_batch() -> None:
    prepared = flatbuffer.editable(float_file(tiny_models.dynamic(batch=True)))
    assert [signature.signatureKey for signature in prepared.signatureDefs] == [b"serving_default"]
    assert all(tensor.shapeSignature is None for tensor in prepared.subgraphs[0].tensors)
    ready = float_file(tiny_models.dynamic(batch=True))
    assert float_file(ready) == ready


@pytest.mark.parametrize("scheme", ["int8_w8a8", "int16x8", "drq_w8", "float16"])
def test_quantised_model_is_refused(float32: bytes, calibration: Calibration, scheme: str) -> None:
    content = quantize_tflite(float32, scheme, calibration=calibration)
    with pytest.raises(ModelError, match=r"(quantised|compressed) already"):
        quantize_tflite(content, "drq_w8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiny_models.endless_loop(), "3 graphs"),
        (tiny_models.relu((2, 4)), "a batch of 1 is expected"),
        (tiny_models.variable(), "holds variables"),
    ],
    ids=["control flow", "batch of 2", "variables"],
)
def test_float_file_refuses(content: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        float_file(content)


def test_calibration_in_two_parts_equals_one(float32: bytes, images: NDArray[np.float32]) -> None:
    whole = calibrate(float32, images, value_range=(0, 255))
    half = calibrate(float32, images[:20], value_range=(0, 255))
    both = calibrate(float32, images[20:], value_range=(0, 255), earlier=half)
    assert both.images == whole.images == len(images)
    for name, values in whole.ranges.items():
        for end in values:
            np.testing.assert_allclose(both.ranges[name][end], values[end], rtol=1e-6, atol=1e-6)


def test_ranges_are_extremes_over_all_images(
    float32: bytes, images: NDArray[np.float32], calibration: Calibration
) -> None:
    interpreter = litert.with_all_tensors(float32)
    indices = {tensor["name"]: tensor["index"] for tensor in interpreter.get_tensor_details()}
    seen: dict[str, list[float]] = {name: [] for name in calibration.ranges}
    source = interpreter.get_input_details()[0]
    for image in images:
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        for name, values in seen.items():
            tensor = interpreter.get_tensor(indices[name])
            values += [float(tensor.min()), float(tensor.max())]
    assert len(seen) == len(operators(float32)) + 1
    for name, values in seen.items():
        found = [float(np.ravel(calibration.ranges[name][end])[0]) for end in ("min", "max")]
        expected = [0, 255] if name == source["name"] else [min(values), max(values)]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_calibrating_changes_nothing_for_the_next_scheme(float32: bytes, calibration: Calibration) -> None:
    first = quantize_tflite(float32, "int8_w8a8", calibration=calibration)
    quantize_tflite(float32, "int16x8", calibration=calibration)
    assert quantize_tflite(float32, "int8_w8a8", calibration=calibration) == first


def test_regression_output_covers_what_calibration_showed() -> None:
    """A moving average of one value a sample would leave next to nothing of the output's range."""
    content = tiny_models.dense(np.ones((1, 16), np.float32), picture=(4, 4, 1))
    inputs = np.random.default_rng(1).normal(size=(50, 4, 4, 1)).astype(np.float32)
    quantised = quantize_tflite(content, "int8_w8a8", calibration=calibrate(content, inputs, value_range=None))
    expected = inputs.reshape(50, -1).sum(axis=1)
    step = (expected.max() - expected.min()) / 255
    assert np.abs(tflite_outputs(quantised, inputs)[0][:, 0] - expected).max() < 4 * step + 16 * 0.02


def test_quantizer_recipe_loaded_by_litert_quantizer_gives_the_same_weights(
    float32: bytes, calibration: Calibration
) -> None:
    from litert_quantizer.quantizer import Quantizer

    recipe = quantizer_recipe(float32, "int8_w8a8", keep_float=("dense",))
    theirs = Quantizer(bytearray(float32))
    theirs.load_quantization_recipe(recipe)
    content = bytes(theirs.quantize(dict(calibration.ranges), enable_progress_report=False).quantized_model)
    inner = list(operators(content))
    ours = quantize_tflite(float32, "int8_w8a8", calibration=calibration, keep_float=("dense",))
    assert ["QUANTIZE", *inner, "QUANTIZE"] == list(operators(ours))


def test_quantising_a_tflite_file_imports_no_tensorflow(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.enhanced_cnn())
    code = f"""
import sys, numpy as np
for name in ("tensorflow", "keras", "tf_keras"):
    sys.modules[name] = None
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
content = open({str(path)!r}, "rb").read()
images = np.random.default_rng(0).random((8, 28, 28, 1), dtype=np.float32)
ranges = calibrate(content, images, value_range=(0, 1))
for scheme in ("float32", "float16", "drq_w8", "int8_w8a8", "int8_w8a8_fc4", "int16x8"):
    print(scheme, len(quantize_tflite(content, scheme, calibration=ranges)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
