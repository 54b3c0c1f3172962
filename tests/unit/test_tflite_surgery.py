from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.core.errors import ModelError, RecipeError
from edgefm.tflite import flatbuffer
from edgefm_converters.tflite import quantizer, quantizing
from edgefm_converters.tflite.keras_to_tflite import float32_tflite
from edgefm_converters.tflite.metadata import Metadata, TensorNote, with_metadata
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
from edgefm_converters.tflite.surgery import operators, with_names, with_uint8_io
from tests.fixtures.classifiers import small_classifier
from tests.fixtures.metadata_reading import read_metadata

METADATA = Metadata(
    name="small int8",
    description="Tells ä from ö.",
    version="1",
    author="somebody",
    license="",
    input=TensorNote(name="image", description="A picture.", minimum=-1.0, maximum=1.0),
    height=10,
    width=12,
    channels=3,
    mean=127.5,
    std=127.5,
    output=TensorNote(name="probabilities", description="One a class.", minimum=0.0, maximum=1.0),
    labels=("ä", "ö/oe", "T-shirt/top"),
)


@pytest.fixture(scope="module")
def float32() -> bytes:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    return float32_tflite(small_classifier())


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(20, 230, (30, 28, 28, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def calibration(float32: bytes, pixels: NDArray[np.uint8]) -> quantizing.Calibration:
    return calibrate(float32, pixels.astype(np.float32), value_range=(0, 255))


def interpret(content: bytes, levels: NDArray[Any]) -> NDArray[Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    run = interpreter.get_signature_runner("serving_default")
    return np.stack([next(iter(run(image=image[None]).values()))[0] for image in levels])


def test_uint8_io_equals_int8_plus_128_level_by_level(
    float32: bytes, calibration: quantizing.Calibration, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizing, "with_uint8_io", lambda content, **_: content)
    inner = quantize_tflite(float32, "int8_w8a8", calibration=calibration)
    outer = with_uint8_io(inner)
    assert operators(outer) == ("QUANTIZE", *operators(inner), "QUANTIZE")
    expected = interpret(inner, (pixels.astype(np.int16) - 128).astype(np.int8))
    found = interpret(outer, pixels)
    assert found.dtype == np.uint8 and expected.dtype == np.int8
    np.testing.assert_array_equal(found, expected.astype(np.int16) + 128)
    assert len(np.unique(found)) > 10  # the model says something


def test_uint8_io_refuses_float_model(float32: bytes) -> None:
    with pytest.raises(ModelError, match=r"the input of the quantised model is float32, not int8: (CONV_2D|MUL)"):
        with_uint8_io(float32)


def test_input_scale_is_exact_whatever_the_pictures_hold(float32: bytes, calibration: quantizing.Calibration) -> None:
    model = flatbuffer.editable(quantize_tflite(float32, "int8_w8a8", calibration=calibration))
    graph = model.subgraphs[0]
    parameters = graph.tensors[graph.inputs[0]].quantization
    assert list(parameters.scale) == [1.0] and list(parameters.zeroPoint) == [0]


@pytest.mark.parametrize("variant", ["float32", "float16", "drq_w8", "int8_w8a8", "int8_w8a8_fc4"])
def test_weights_lie_in_the_flatbuffer_and_aligned(
    float32: bytes, calibration: quantizing.Calibration, variant: str
) -> None:
    from ai_edge_litert import schema_py_generated as schema

    content = quantize_tflite(float32, variant, calibration=calibration)
    model = schema.Model.GetRootAs(content, 0)
    sizes = []
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        assert buffer.Offset() == 0
        if buffer.DataLength():
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            assert start % 16 == 0
            sizes.append(buffer.DataLength())
    assert sum(sizes) > 3_000


def test_weights_behind_the_flatbuffer_are_brought_inside() -> None:
    """litert-quantizer puts weights behind the FlatBuffer from 256 KiB on."""
    import keras

    keras.utils.set_random_seed(0)
    wide = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(400)])
    float32 = float32_tflite(wide)
    raw = bytes(quantizer.configured(float32, "drq_w8").quantize(enable_progress_report=False).quantized_model)
    assert any(_offsets(raw)), "litert-quantizer has changed: this guard tests nothing"
    content = quantize_tflite(float32, "drq_w8")
    assert not any(_offsets(content))
    images = np.random.default_rng(0).random((5, 28, 28, 1), dtype=np.float32)
    np.testing.assert_array_equal(interpret(raw, images), interpret(content, images))


def _offsets(content: bytes) -> list[int]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    return [model.Buffers(index).Offset() for index in range(model.BuffersLength())]


def test_quantizing_gives_equal_bytes_for_equal_input(
    float32: bytes, calibration: quantizing.Calibration, capfd: pytest.CaptureFixture[str]
) -> None:
    first = quantize_tflite(float32, "int8_w8a8_fc4", calibration=calibration)
    assert first == quantize_tflite(float32, "int8_w8a8_fc4", calibration=calibration)
    assert capfd.readouterr() == ("", "")


def test_quantize_rejects_missing_calibration(float32: bytes) -> None:
    with pytest.raises(ModelError, match="'int8_w8a8' needs calibration images"):
        quantize_tflite(float32, "int8_w8a8")


def test_quantize_rejects_unknown_variant(float32: bytes) -> None:
    with pytest.raises(RecipeError, match="did you mean 'float16'"):
        quantize_tflite(float32, "flot16")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 28, 27, 1), np.float32), "have shape"),
        (np.zeros((0, 28, 28, 1), np.float32), "have shape"),
        (np.full((3, 28, 28, 1), np.nan, np.float32), "NaN"),
    ],
)
def test_calibrate_rejects(float32: bytes, images: NDArray[np.float32], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        calibrate(float32, images, value_range=(0, 255))


def test_names_are_given_to_both_ends(float32: bytes) -> None:
    named = flatbuffer.editable(with_names(float32, input_name="image", output_name="probabilities"))
    graph = named.subgraphs[0]
    names = [tensor.name for tensor in graph.tensors]
    assert names[graph.inputs[0]] == b"image" and names[graph.outputs[0]] == b"probabilities"
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("channels", [1, 3])
def test_metadata_round_trip(float32: bytes, channels: int) -> None:
    metadata = replace(METADATA, channels=channels)
    content = with_metadata(float32, metadata)
    assert read_metadata(content) == metadata
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None and archive.namelist() == ["labels.txt"]


def test_metadata_is_replaced_not_added(float32: bytes) -> None:
    once = with_metadata(float32, METADATA)
    other = replace(METADATA, name="other", labels=("a", "b"))
    assert with_metadata(with_metadata(float32, other), METADATA) == once


def test_metadata_changes_no_output(float32: bytes, pixels: NDArray[np.uint8]) -> None:
    images = pixels[:10].astype(np.float32)
    np.testing.assert_array_equal(interpret(float32, images), interpret(with_metadata(float32, METADATA), images))


def test_metadata_is_none_where_there_is_none(float32: bytes) -> None:
    assert read_metadata(float32) is None


@pytest.mark.parametrize("label", ["", "  ", "two\nlines"])
def test_metadata_rejects_label_that_is_no_line(float32: bytes, label: str) -> None:
    with pytest.raises(ModelError, match=r"cannot stand in labels\.txt"):
        with_metadata(float32, replace(METADATA, labels=("a", label)))
