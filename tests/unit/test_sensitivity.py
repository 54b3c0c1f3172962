from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.core.errors import DataError, RecipeError
from edgefm.data.quality import Quality, quality
from edgefm.quantization.analysis.mixed_precision import choose_mixed_precision, portable_recipe
from edgefm.quantization.analysis.sensitivity import Sensitivity, sensitivity
from edgefm_converters.tflite.float_file import float_file
from edgefm_converters.tflite.operator_layers import operator_layers
from edgefm_converters.tflite.partly_quantised import OperatorPairs
from edgefm_converters.tflite.quantizing import Calibration, calibrate, quantize_tflite
from edgefm_converters.tflite.surgery import with_uint8_io
from edgefm_converters.tflite.tflite_outputs import tflite_outputs
from tests.fixtures import tiny_models

SHAPE = (8, 8, 1)
NAMES = ("first", "second", "pool", "flatten", "scores")


@pytest.fixture(scope="module")
def float32() -> bytes:
    """Return a network whose layer 'first' has channels of very different size: int8 can't hold them together."""
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    import keras
    from keras import layers

    from edgefm_converters.tflite.keras_to_tflite import float32_tflite

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, activation="relu", name="first"),
            layers.Conv2D(8, 3, activation="relu", name="second"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    kernel, bias = model.get_layer("first").get_weights()
    scale = np.array([1, 1, 1, 1, 1, 1, 1, 3000.0], np.float32)
    model.get_layer("first").set_weights([kernel * scale, bias * scale])
    taking, rest = model.get_layer("second").get_weights()
    taking[:, :, 7] = 0
    model.get_layer("second").set_weights([taking, rest])
    last, rest = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([last * 20, rest])
    return float_file(float32_tflite(model))


@pytest.fixture(scope="module")
def inputs() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((80, *SHAPE), dtype=np.float32)


@pytest.fixture(scope="module")
def targets(float32: bytes, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the float model's own answers: its accuracy is 1."""
    return tflite_outputs(float32, inputs)[0].argmax(axis=1).astype(np.int64)


@pytest.fixture(scope="module")
def accuracy() -> Quality:
    return quality("accuracy", task="classification")


@pytest.fixture(scope="module")
def calibration(float32: bytes) -> Calibration:
    images = np.random.default_rng(1).random((40, *SHAPE), dtype=np.float32)
    return calibrate(float32, images, value_range=(0, 1))


@pytest.fixture(scope="module")
def found(
    float32: bytes,
    inputs: NDArray[np.float32],
    targets: NDArray[np.int64],
    accuracy: Quality,
    calibration: Calibration,
) -> Sensitivity:
    return sensitivity(float32, inputs, targets, quality=accuracy, calibration=calibration, layer_names=NAMES)


def test_layer_that_int8_ruins_is_ranked_first(found: Sensitivity) -> None:
    assert tuple(layer.layer for layer in found.layers) == NAMES
    assert found.float32 == 1.0
    worst = found.ranked[0]
    assert worst.layer == "first"
    assert worst.activations_only is not None and worst.weights_only is not None
    assert worst.activations_only.loss > 5 * max(worst.weights_only.loss, 0.1)
    assert found.int8.loss > 5


def test_layers_that_only_move_values_round_nothing(found: Sensitivity) -> None:
    by_name = {layer.layer: layer for layer in found.layers}
    assert by_name["pool"].activations_only is None and by_name["flatten"].activations_only is None
    assert by_name["pool"].weights == 0 and by_name["first"].weights == 3 * 3 * 8
    assert by_name["scores"].operators == ("FULLY_CONNECTED", "SOFTMAX")


def test_weights_only_equals_rounding_in_numpy(
    float32: bytes, calibration: Calibration, inputs: NDArray[np.float32]
) -> None:
    """A linear model, whose outputs with rounded weights are one matrix product away."""
    matrix = np.random.default_rng(3).normal(size=(5, 64)).astype(np.float32)
    content = float_file(tiny_models.dense(matrix, picture=SHAPE))
    ranges = calibrate(content, inputs, value_range=(0, 1), pixels=False)
    pair = OperatorPairs(content, quantize_tflite(content, "int8_w8a8", calibration=ranges))
    scale = np.abs(matrix).max(axis=1, keepdims=True) / 127
    rounded = np.round(matrix / scale) * scale
    flat = inputs.reshape(len(inputs), -1)
    np.testing.assert_allclose(tflite_outputs(pair.with_weights([0]), inputs)[0], flat @ rounded.T, atol=1e-5)
    assert np.abs(flat @ rounded.T - flat @ matrix.T).max() > 1e-3, "nothing was rounded"


def test_activations_only_puts_outputs_on_the_int8_grid(inputs: NDArray[np.float32]) -> None:
    matrix = np.random.default_rng(3).normal(size=(5, 64)).astype(np.float32)
    content = float_file(tiny_models.dense(matrix, picture=SHAPE))
    ranges = calibrate(content, inputs, value_range=(0, 1), pixels=False)
    int8 = quantize_tflite(content, "int8_w8a8", calibration=ranges)
    outputs = tflite_outputs(OperatorPairs(content, int8).with_activations([0]), inputs)[0]
    exact = inputs.reshape(len(inputs), -1) @ matrix.T
    step = (exact.max() - exact.min()) / 255
    assert 0.3 * step < np.abs(outputs - exact).max() < 0.55 * step
    assert len(np.unique(outputs)) <= 256


def test_rounding_all_at_once_is_near_the_int8_file(
    float32: bytes, calibration: Calibration, inputs: NDArray[np.float32]
) -> None:
    from dataclasses import replace

    int8 = quantize_tflite(float32, "int8_w8a8", calibration=replace(calibration, pixels=False))
    pair = OperatorPairs(float32, int8)
    every = list(operator_layers(float32, NAMES))
    both = OperatorPairs(pair.with_weights(every), int8).with_activations(every)
    imitated, real = tflite_outputs(both, inputs)[0], tflite_outputs(int8, inputs)[0]
    exact = tflite_outputs(float32, inputs)[0]
    assert np.abs(imitated - real).mean() < 0.3 * np.abs(exact - real).mean()


def test_greedy_exclusion_keeps_the_bad_layer_and_stops(
    float32: bytes,
    inputs: NDArray[np.float32],
    targets: NDArray[np.int64],
    accuracy: Quality,
    calibration: Calibration,
    found: Sensitivity,
) -> None:
    chosen = choose_mixed_precision(
        float32,
        inputs,
        targets,
        layers=found,
        quality=accuracy,
        calibration=calibration,
        drop_at_most=found.int8.loss - 0.1,
        layer_names=NAMES,
    )
    assert chosen.held and chosen.keep_float[0] == "first"
    assert [len(step.keep_float) for step in chosen.steps] == list(range(len(chosen.keep_float) + 1))
    assert chosen.steps[-1].measured.loss <= chosen.drop_at_most < chosen.steps[-2].measured.loss
    assert chosen.steps[0].measured.quality == pytest.approx(found.int8.quality)


def test_exclusion_that_never_holds_says_so(
    float32: bytes,
    inputs: NDArray[np.float32],
    targets: NDArray[np.int64],
    accuracy: Quality,
    calibration: Calibration,
    found: Sensitivity,
) -> None:
    options: dict[str, Any] = {"layers": found, "quality": accuracy, "calibration": calibration}
    chosen = choose_mixed_precision(float32, inputs, targets, **options, drop_at_most=-1000.0, layer_names=NAMES)
    assert not chosen.held and set(chosen.keep_float) == {"first", "second", "scores"}
    with pytest.raises(RecipeError, match="finite"):
        choose_mixed_precision(float32, inputs, targets, **options, drop_at_most=float("nan"))


def test_portable_recipe_gives_the_same_file_in_litert_quantizer(float32: bytes, calibration: Calibration) -> None:
    from litert_quantizer.quantizer import Quantizer

    recipe = json.loads(json.dumps(portable_recipe(float32, ["first"], layer_names=NAMES)))
    theirs = Quantizer(bytearray(float32))
    theirs.load_quantization_recipe(recipe["quantizer_recipe"])
    inner = bytes(theirs.quantize(dict(calibration.ranges), enable_progress_report=False).quantized_model)
    ours = quantize_tflite(float32, "int8_w8a8", calibration=calibration, keep_float=("first",), layer_names=NAMES)
    assert with_uint8_io(inner) == ours


def test_portable_recipe_is_read_by_edgefm(float32: bytes, tmp_path: Path) -> None:
    from edgefm.recipes.files import load

    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(portable_recipe(float32, ["first", "scores"], layer_names=NAMES)["recipe"]))
    (variant,) = load(str(path)).variants
    assert variant.quantization is not None and variant.quantization.keep_float == ("first", "scores")


def test_sensitivity_rejects_no_samples(float32: bytes, accuracy: Quality, calibration: Calibration) -> None:
    nothing = np.zeros((0, *SHAPE), np.float32)
    with pytest.raises(DataError, match="0 samples"):
        sensitivity(float32, nothing, np.zeros(0, np.int64), quality=accuracy, calibration=calibration)


def test_command_writes_table_picture_and_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edgefm.cli.main import cli, run
    from tests.fixtures.classifiers import run_with, small_classifier

    folder = run_with(small_classifier(), tmp_path / "run").path
    args = ["sensitivity", str(folder), "--images", "40", "--calibration-images", "20", "--json"]
    code = run(lambda: cli.main([*args, "--accuracy-drop-at-most", "-200"], standalone_mode=False))
    assert code == 1  # nothing can be 200 points better than float32
    value = json.loads(capsys.readouterr().out)
    names = [layer["layer"] for layer in value["layers"]]
    assert names[:2] + names[3:] == ["conv", "pool", "dense", "scores"] and names[2].startswith("flatten")
    out = folder / "sensitivity"
    assert sorted(path.name for path in out.iterdir()) == [
        "quantizer_recipe.json",
        "recipe.json",
        "sensitivity.json",
        "sensitivity.png",
    ]
    assert (out / "sensitivity.png").read_bytes()[:4] == b"\x89PNG"
    assert value["mixed_precision"]["held"] is False and value["images"] == 40
