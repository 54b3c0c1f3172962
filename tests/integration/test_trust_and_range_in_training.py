"""`edgefm train --trust` and `--value-range`: what they mean with a model of one's own, and where they are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers

from edgefm.cli.main import cli
from edgefm.core import trust
from edgefm.core.errors import ModelError, RecipeError
from edgefm.jobs.run import Run
from edgefm.recipes import Training
from tests.fixtures.untrusting_folder import untrusting_folder

BUILDER = """
import keras
from keras import layers


def build(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape), layers.Conv2D(4, 3, strides=2, activation="relu"),
        layers.GlobalAveragePooling2D(), layers.Dense(classes, activation="softmax"),
    ])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with some data and the module ranged_net; nothing is trusted yet."""
    monkeypatch.delitem(sys.modules, "ranged_net", raising=False)
    return untrusting_folder(tmp_path, monkeypatch, {"ranged_net": BUILDER}, count=90, side=10)


def _train(*options: str) -> Any:
    arguments = ["train", "--data", "d.npz", "--epochs", "1", "--backend", "tensorflow", "--run", "run", *options]
    return CliRunner().invoke(cli, arguments)


def _file(path: Path, *, code: bool = False, scaled: bool = False) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((10, 10, 3)),
            *([layers.Rescaling(2.0, offset=-1.0)] if scaled else []),
            *([layers.Lambda(lambda x: x * 1.0)] if code else []),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(path)
    return model


def _without_its_scaling(model: Any) -> Any:
    """Return the trained model behind the layer that scales pixels, to be fed what its user said it takes."""
    (place,) = [number for number, layer in enumerate(model.layers) if layer.name == "scale_pixels"]
    inputs = keras.Input(model.input_shape[1:])
    outputs = inputs
    for layer in model.layers[place + 1 :]:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("model", ["ranged_net:build", "mine.keras", "scaled.keras"])
def test_model_gets_pixels_in_the_range_that_was_said(model: str, folder: Path) -> None:
    _file(folder / "mine.keras")
    _file(folder / "scaled.keras", scaled=True)  # it begins with a Rescaling of its own, of 0 to 1
    low, high = (0.0, 1.0) if model == "scaled.keras" else (-1.0, 1.0)
    done = _train("--model", model, "--value-range", f"{low},{high}")
    assert done.exit_code == 0, done.output
    trained = Run("run").training
    assert trained.recipe.value_range == (low, high)
    assert Training.from_json(trained.recipe.to_json()) == trained.recipe
    pixels = np.random.default_rng(1).integers(0, 256, (5, 10, 10, 3)).astype(np.uint8)
    given = low + pixels.astype(np.float32) / 255 * (high - low)
    wanted = _without_its_scaling(trained.model).predict(given, verbose=0)
    np.testing.assert_allclose(trained.model.predict(pixels, verbose=0), wanted, atol=1e-5)


def test_model_of_pixels_as_they_are_gets_no_scaling(folder: Path) -> None:
    done = _train("--model", "ranged_net:build", "--value-range", "0,255")
    assert done.exit_code == 0, done.output
    assert "Rescaling" not in [type(layer).__name__ for layer in Run("run").training.model.layers]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--value-range", "0,1"), "a value range was given, and 'enhanced_cnn' takes pixels 0 to 255"),
        (("--model", "ranged_net:build", "--value-range", "1,0"), "value_range 1 to 0 is not allowed"),
        (("--model", "ranged_net:build", "--value-range", "0,inf"), "value_range 0 to inf is not allowed"),
        (("--model", "ranged_net:build", "--value-range", "white"), "--value-range white is not allowed"),
    ],
    ids=["zoo", "turned round", "infinite", "words"],
)
def test_range_that_cannot_be_is_refused_before_a_run_is_made(
    options: tuple[str, ...], words: str, folder: Path
) -> None:
    done = CliRunner().invoke(cli, ["train", "--data", "d.npz", "--run", "run", "--image-size", "10", *options])
    assert done.exit_code != 0 and isinstance(done.exception, RecipeError), done.output
    assert words in str(done.exception)
    assert not (folder / "run").exists()


def test_file_with_a_lambda_is_trained_where_it_is_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _file(folder / "code.keras", code=True)
    with pytest.raises(ModelError, match=r"code\.keras holds a Lambda layer"):
        Run("run").train(model="code.keras", data="d.npz", progress=False)
    assert not (folder / "run").exists()
    done = _train("--model", "code.keras", "--trust")
    assert done.exit_code == 0, done.output
    run = Run("run")
    assert run.quantize("float32", progress=False)["float32"].report["validation"]["samples"] == 9
    (folder / "stranger").mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "stranger"))
    monkeypatch.setattr(trust, "_now", [])
    with pytest.raises(ModelError, match="you have not trusted this run"):
        run.quantize("float16", progress=False)
    code = run.trust()[0]
    assert "a Lambda layer" in code
    assert run.training.model.layers


def test_pickled_arrays_are_learnt_where_they_are_trusted(folder: Path) -> None:
    with np.load("d.npz") as data:
        np.savez("objects.npz", x=data["x"], y=data["y"], label_names=np.array(["red", "green", "blue"], object))
    refused = _train("--data", "objects.npz", "--model", "ds_cnn")
    assert refused.exit_code != 0 and "trust" in str(refused.exception).lower()
    done = _train("--data", "objects.npz", "--model", "ds_cnn", "--trust")
    assert done.exit_code == 0, done.output
    assert Run("run").quantize("float32", progress=False)["float32"].contract.labels == ("red", "green", "blue")
