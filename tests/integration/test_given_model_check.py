"""Every file is held against the given model: its quality, its float32 file, each column of its outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.cli.main import cli
from edgefm.cli.main import run as run_command
from edgefm.core.errors import ModelError

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module", autouse=True)
def tensorflow() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def call(*args: object) -> int:
    return run_command(lambda: cli.main([str(arg) for arg in args], standalone_mode=False))


def bright_quarters(samples: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures whose class is the quarter that is bright."""
    random = np.random.default_rng(0)
    labels = np.arange(samples) % 4
    images = random.integers(0, 60, (samples, *SHAPE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[row : row + 4, column : column + 4] += np.uint8(120)
    return images, labels


def quarters_model(order: tuple[int, ...] = (0, 1, 2, 3)) -> Any:
    """Return a classifier that is right by construction: the mean of each quarter, sharpened; classes in an order."""
    import keras

    inputs = keras.Input(SHAPE)
    means = keras.layers.AveragePooling2D(4)(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = keras.layers.Dense(4, activation="softmax", name="head")(keras.layers.Flatten()(means))
    model = keras.Model(inputs, outputs, name="quarters")
    model.get_layer("head").set_weights([12 * np.eye(4)[:, list(order)], np.zeros(4)])
    return model


def saved(folder: Path, model: Any, **arrays: np.ndarray) -> tuple[Path, Path]:
    model.save(folder / "own.keras")
    np.savez(folder / "data.npz", **arrays)
    return folder / "own.keras", folder / "data.npz"


def test_table_has_the_quality_of_the_given_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = bright_quarters()
    labels[::7] = (labels[::7] + 1) % 4  # so that the quality is not all or nothing
    model, data = saved(tmp_path, quarters_model(), images=images, labels=labels)
    options = ["--data", data, "--run", tmp_path / "run", "--quick"]
    assert call("quantize", model, *options, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    dataset = edgefm.data.load(data)
    said = quarters_model().predict(dataset.validation.images.astype(np.float32), verbose=0).argmax(axis=1)
    assert report["given"]["quality"] == pytest.approx((said == dataset.validation.labels).mean())
    assert report["given"]["samples"] == len(dataset.validation.labels)
    for variant in report["variants"]:
        loss = 100 * (report["given"]["quality"] - variant["validation"]["value"])
        assert variant["validation"]["loss"] == pytest.approx(loss)
    assert call("quantize", model, *options) == 0
    table = capsys.readouterr().out
    assert "given model" in table and f"n = {len(dataset.validation.labels)}" in table


def test_order_of_classes_of_another_training_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = bright_quarters()
    model, data = saved(tmp_path, quarters_model(order=(1, 2, 3, 0)), images=images, labels=labels)
    assert call("quantize", model, "--data", data, "--run", tmp_path / "run", "--quick", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert [finding["code"] for finding in report["findings"]] == ["chance_level"]
    assert "order of classes" in report["findings"][0]["message"]


def test_float32_file_that_computes_otherwise_is_an_error() -> None:
    """A layer that does something else once it is traced stands for any fault of a conversion."""
    import keras
    import tensorflow as tf

    class OnlyEagerly(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs if tf.executing_eagerly() else inputs[..., ::-1]

    images, labels = bright_quarters()
    sound = quarters_model()
    model = keras.Model(sound.inputs, OnlyEagerly()(sound.outputs[0]), name="otherwise")
    with pytest.raises(ModelError, match="does not answer as the given model"):
        edgefm.quantize(model, data=edgefm.data.from_arrays(images, labels), quick=True)
    noise_only = keras.Model(sound.inputs, OnlyEagerly()(sound.outputs[0]), name="otherwise")
    with pytest.raises(ModelError, match="does not answer as the given model"):
        edgefm.quantize(noise_only, ["float32"])


def test_small_column_beside_a_large_one_is_found(tmp_path: Path) -> None:
    import keras

    random = np.random.default_rng(0)
    x = random.normal(size=(400, 6)).astype(np.float32)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="three")(inputs), name="scales")
    kernel = random.normal(size=(6, 3)).astype(np.float32) * [300.0, 1.0, 200.0]
    model.get_layer("three").set_weights([kernel, np.zeros(3)])
    y = model.predict(x, verbose=0)
    files = edgefm.quantize(
        model, ["float32", "float16", "int8_w8a8"], data=edgefm.data.from_arrays(x, y, task="regression")
    )
    assert [(finding["where"], finding["code"]) for finding in files.findings] == [("int8_w8a8", "few_levels")]
    assert "column 1" in files.findings[0]["message"] and not files.sound
    column = files["int8_w8a8"].report["worst_column"]
    assert column["column"] == 1 and column["levels"] < 8 and column["relative_error"] > 0.3
    assert files["float32"].report["worst_column"]["relative_error"] < 1e-3


def test_constant_output_of_the_given_model_is_found() -> None:
    images, labels = bright_quarters()
    dead = quarters_model()
    dead.get_layer("head").set_weights([np.zeros((4, 4)), np.arange(4.0)])
    files = edgefm.quantize(dead, ["float32"], data=edgefm.data.from_arrays(images, labels))
    assert [(finding["where"], finding["code"]) for finding in files.findings] == [("given model", "constant_output")]


def test_dead_unit_of_the_given_model_is_found() -> None:
    import keras

    random = np.random.default_rng(0)
    x = random.normal(size=(400, 6)).astype(np.float32)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="relu", name="three")(inputs), name="dead")
    kernel, bias = model.get_layer("three").get_weights()
    wanted = x @ kernel + np.array([9, 0, 9], np.float32)
    model.get_layer("three").set_weights([kernel, bias + np.array([9.0, -1e4, 9.0])])
    files = edgefm.quantize(model, ["float32"], data=edgefm.data.from_arrays(x, wanted, task="regression"))
    assert [(finding["where"], finding["code"]) for finding in files.findings] == [("given model", "dead_column")]
    assert "column 1 of output 0 is 0 for all" in files.findings[0]["message"]


def test_variant_that_is_refused_leaves_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, _ = saved(tmp_path, quarters_model(), unused=np.zeros(1))
    options = ["--run", tmp_path / "run", "--json"]
    names = ["--variant", "float32", "--variant", "qat_int8", "--variant", "float16"]
    assert call("quantize", model, *options, *names) == 1
    report = json.loads(capsys.readouterr().out)
    assert [variant["variant"] for variant in report["variants"]] == ["float32", "float16"]
    assert [entry["variant"] for entry in report["skipped"]] == ["qat_int8"]
    assert call("quantize", model, *options, "--quick") == 0
    assert call("quantize", model, *options, "--quick", "--strict") == 1
    assert call("quantize", model, *options, "--variant", "qat_int8") == 2


def test_variant_that_fails_on_its_way_leaves_the_others() -> None:
    """A weight that float16 cannot hold shows only once that file is made."""
    images, labels = bright_quarters()
    model = quarters_model()
    kernel, bias = model.get_layer("head").get_weights()
    kernel[0, 0] = 1e8
    model.get_layer("head").set_weights([kernel, bias])
    files = edgefm.quantize(
        model, ["float32", "float16", "int8_w8a8"], data=edgefm.data.from_arrays(images[:200], labels[:200])
    )
    assert list(files) == ["float32", "int8_w8a8"] and list(files.skipped) == ["float16"]
    assert "head" in files.skipped["float16"] and not files.held
    with pytest.raises(KeyError, match="float16"):
        files["float16"]
    assert {path.parent.name for path in files.folder.glob("*/model.tflite")} == set(files)
