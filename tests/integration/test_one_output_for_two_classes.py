"""A network with one output for two classes goes the whole line: what each step answers is what Keras predicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import edgefm
from edgefm.cli.main import cli
from edgefm.core.errors import ModelError
from edgefm.core.runs import RunDirectory
from edgefm.data.source import dataset_of
from edgefm.jobs.run import Run

BUILDERS = """
import keras
from keras import layers


def _features(input_shape):
    inputs = keras.Input(input_shape)
    return inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, strides=2, activation="relu")(inputs))


def sigmoid(input_shape):
    inputs, features = _features(input_shape)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(features))


def scores(input_shape):
    inputs, features = _features(input_shape)
    return keras.Model(inputs, layers.Dense(1)(features))


def softmax(input_shape):
    inputs, features = _features(input_shape)
    return keras.Model(inputs, layers.Dense(1, activation="softmax")(features))


def tanh(input_shape):
    inputs, features = _features(input_shape)
    return keras.Model(inputs, layers.Lambda(lambda x: x - 3)(layers.Dense(1, activation="tanh")(features)))


def mean_of_two(input_shape, classes):
    inputs, features = _features(input_shape)
    heads = [layers.Dense(classes, activation="softmax")(features) for _ in range(2)]
    return keras.Model(inputs, layers.Average()(heads))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the module two_net, and pictures of two classes that overlap."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "two_net", raising=False)
    (tmp_path / "two_net.py").write_text(BUILDERS)
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    pixels = generator.integers(0, 120, (200, 12, 12, 3)) + (12 + 30 * generator.random(200)).reshape(-1, 1, 1, 1) * (
        labels.reshape(-1, 1, 1, 1) * np.array([1, 0, -1])
    )
    np.savez(tmp_path / "d.npz", x=np.clip(pixels, 0, 255).astype(np.uint8), y=labels)
    return tmp_path


def _run(folder: Path, name: str, **changes: Any) -> Run:
    run = Run(folder / name)
    changes = {"epochs": 6, "batch_size": 16, "learning_rate": 0.02, **changes}
    run.train(model=f"two_net:{name}", data="d.npz", changes=changes, backend="tensorflow", progress=False)
    return run


@pytest.mark.parametrize("name", ["sigmoid", "scores"])
def test_every_step_answers_as_keras_does(name: str, folder: Path) -> None:
    run = _run(folder, name)
    data = dataset_of(RunDirectory.open(run.path))
    model = run.training.model
    assert model.output_shape == (None, 1)

    def accuracy(split: Any) -> float:
        return float(((model.predict(split.images, verbose=0)[:, 0] > 0.5) == split.labels).mean())

    assert run.training.validation_accuracy == pytest.approx(accuracy(data.validation)) and accuracy(data.test) > 0.6

    files = run.quantize(["float32", "int8_w8a8"], progress=False)
    assert files["float32"].contract.labels == ("0", "1")
    assert files["float32"].report["validation"]["value"] == pytest.approx(accuracy(data.validation))

    record = run.benchmark(rounds=1, rounds_at_most=1, budget_seconds=1, progress=False)
    (row,) = (row for row in record.to_json()["models"] if row["name"] == "float32")
    assert row["quality"]["value"] == pytest.approx(accuracy(data.test))
    assert "two_net_" + name in run.report(progress=False).read_text("utf-8")

    for place in range(4):
        path = folder / f"{place}.png"
        Image.fromarray(data.test.images[place]).save(path)
        wanted = float(model.predict(data.test.images[place : place + 1], verbose=0)[0, 0])
        done = CliRunner().invoke(cli, ["predict", str(path), "--model", str(files["float32"].path), "--json"])
        assert done.exit_code == 0, done.output
        top = json.loads(done.stdout)["predictions"][0]["top"]
        assert {score["label"]: score["probability"] for score in top} == pytest.approx(
            {"0": 1 - wanted, "1": wanted}, abs=1e-5
        )


def test_folds_of_one_output_are_judged_by_both_classes(folder: Path) -> None:
    run = _run(folder, "sigmoid")
    found = run.explain(folds=2, progress=False).to_json()["folds"]
    assert min(found["accuracies"]) > 0.6  # of one column twice it would be the share of class 0, a half


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("softmax", r"two_net:softmax ends in a softmax over one unit, which is always 1\n.*activation='sigmoid'"),
        ("tanh", r"the output of two_net:tanh is no probability: it goes from -\d.*\n.*End it with a sigmoid"),
    ],
)
def test_output_that_is_no_probability_is_refused_before_training(name: str, words: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=words):
        _run(folder, name)
    assert not (folder / name).exists()


def test_mean_of_two_softmaxes_is_trained_as_probabilities(folder: Path) -> None:
    data = edgefm.data.load("d.npz", progress=False)
    trained = edgefm.train(
        recipe=edgefm.Training(
            model="two_net:mean_of_two", epochs=2, batch_size=16, label_smoothing=0.0, flip=False, learning_rate=1e-9
        ),
        data=data,
        backend="tensorflow",
        progress=False,
    )
    probabilities = trained.model.predict(data.train.images, verbose=0)
    wanted = -np.log(probabilities[np.arange(len(data.train)), data.train.labels]).mean()
    # Taken for scores before a softmax, the loss would lie between 0.31 and 1.31 whatever the weights.
    assert trained.history[-1]["loss"] == pytest.approx(wanted, rel=0.02)
