"""Models with layers of the user's own: later commands use them where this user trusts them, or they are refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgefm.core import trust
from edgefm.core.errors import DataError, ModelError
from edgefm.core.runs import RunDirectory
from edgefm.data.source import dataset_of
from edgefm.jobs.run import Run
from edgefm.recipes import Training
from tests.fixtures.untrusting_folder import untrusting_folder

LAYERS = """
import keras
from keras import layers


@keras.saving.register_keras_serializable(package="mine")
class Gate(layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")

    def call(self, inputs):
        return inputs * self.gain


class Power(layers.Layer):
    def __init__(self, power=1.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def call(self, inputs):
        return inputs * self.power

    def get_config(self):
        return {**super().get_config(), "power": self.power}


class Forgets(layers.Layer):
    def __init__(self, power=1.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def call(self, inputs):
        return inputs * self.power

    def get_config(self):
        return super().get_config()


class Calls(layers.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def swish(inputs):
    return inputs * keras.ops.sigmoid(inputs)
"""
BUILDERS = """
import keras
from keras import layers
from own_layers import Calls, Forgets, Gate, Power, swish


def _model(input_shape, classes, layer):
    inputs = keras.Input(input_shape)
    features = layers.Conv2D(6, 3, strides=2, activation="relu")(inputs)
    features = layer(layers.GlobalAveragePooling2D()(features))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(features))


def registered(input_shape, classes):
    return _model(input_shape, classes, Gate())


def plain(input_shape, classes):
    return _model(input_shape, classes, Power(2.0))


def activation(input_shape, classes):
    return _model(input_shape, classes, layers.Activation(swish))


def code(input_shape, classes):
    return _model(input_shape, classes, layers.Lambda(lambda x: x * 2))


class Subclassed(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.conv = layers.Conv2D(6, 3, strides=2, activation="relu")
        self.power = Power(1.5)
        self.pool = layers.GlobalAveragePooling2D()
        self.head = layers.Dense(classes)

    def call(self, inputs):
        return self.head(self.pool(self.power(self.conv(inputs))))


def subclassed(input_shape, classes):
    return Subclassed(classes)


def forgets(input_shape, classes):
    return _model(input_shape, classes, Forgets(3.0))


def no_config(input_shape, classes):
    return _model(input_shape, classes, Calls(lambda x: x * 2))


def within(input_shape, classes):
    class Within(layers.Layer):
        def call(self, inputs):
            return inputs * 2

    return _model(input_shape, classes, Within())
"""


def _forget() -> None:
    """Take the user's modules and what they registered away from this process, as in a new one."""
    for name in ("own_layers", "own_builders"):
        sys.modules.pop(name, None)
    keras.saving.get_custom_objects().clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the modules own_layers and own_builders and some data; nothing is trusted yet."""
    known = dict(keras.saving.get_custom_objects())
    work = untrusting_folder(
        tmp_path, monkeypatch, {"own_layers": LAYERS, "own_builders": BUILDERS}, count=120, side=12
    )
    _forget()
    yield work
    _forget()
    keras.saving.get_custom_objects().update(known)


def _train(folder: Path, name: str) -> Run:
    run = Run(folder / name)
    run.train(
        Training(model=f"own_builders:{name}", epochs=2, batch_size=16, learning_rate=0.01),
        data="d.npz",
        backend="tensorflow",
        progress=False,
    )
    return run


def _a_stranger_opens(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "stranger").mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "stranger"))
    monkeypatch.setattr(trust, "_now", [])


@pytest.mark.parametrize("name", ["registered", "plain", "activation", "code", "subclassed"])
def test_trained_model_is_quantised_as_keras_predicts(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _train(folder, name)
    data = dataset_of(RunDirectory.open(run.path))
    wanted = run.training.model.predict(data.validation.images, verbose=0)
    _forget()
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    files = Run(run.path).quantize("float32", progress=False)
    accuracy = float((wanted.argmax(axis=1) == data.validation.labels).mean())
    assert files["float32"].report["validation"]["value"] == pytest.approx(accuracy)
    _forget()
    again = Run(run.path).training.model
    np.testing.assert_allclose(again.predict(data.validation.images, verbose=0), wanted, atol=1e-6)


def test_passes_and_explain_keep_a_layer_of_ones_own(folder: Path) -> None:
    run = _train(folder, "plain")
    _forget()
    files = run.quantize(["pruned80_qat_int8"], progress=False)
    assert files["pruned80_qat_int8"].report["validation"]["samples"] == 12
    _forget()
    assert run.explain(progress=False).to_json()["folds"]["reason"] == "no folds were asked for"


def test_run_of_somebody_else_runs_no_layers_until_it_is_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _train(folder, "plain")
    _forget()
    _a_stranger_opens(monkeypatch, folder)
    words = (
        r"model\.keras holds layers of its maker's own \(own_layers\.Power\); you have not trusted this run\n.*trust"
    )
    with pytest.raises(ModelError, match=words):
        run.quantize("float32", progress=False)
    with pytest.raises(ModelError, match=words):
        run.explain(progress=False)
    with pytest.raises(ModelError, match=words):
        _ = run.training.model
    assert "own_layers" not in sys.modules
    assert run.trust()[0] == "own_builders:plain"
    assert run.quantize("float32", progress=False)["float32"].report["validation"]["samples"] == 12


def test_changed_layer_is_refused_until_it_is_trusted_again(folder: Path) -> None:
    run = _train(folder, "plain")
    _forget()
    (folder / "own_layers.py").write_text("open('called', 'w')\n" + LAYERS)
    with pytest.raises(DataError, match=r"own_builders:plain, which imports own_layers\.py, and that has changed"):
        run.quantize("float32", progress=False)
    assert not (folder / "called").exists()


def test_model_file_that_was_exchanged_is_refused(folder: Path) -> None:
    run, other = _train(folder, "plain"), _train(folder, "code")
    _forget()
    place = RunDirectory.open(run.path)
    shutil.copy(other.training.file, place.folder(place.require("train")) / "model.keras")
    trust._now.clear()
    trust.list_path().write_text(
        "".join(line for line in trust.list_path().read_text().splitlines(True) if ", of own_builders:code" not in line)
    )
    with pytest.raises(ModelError, match="you have not trusted this run"):
        run.quantize("float32", progress=False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "forgets",
            r"answers otherwise when it is saved .* \(own_layers\.Forgets\) does not keep all\D*\n.*get_config",
        ),
        ("no_config", r"of own_builders:no_config cannot be saved and loaded again: NotImplementedError"),
        ("within", r"own_builders\.Within in the model of own_builders:within is not found at the top of a module"),
    ],
)
def test_layer_that_would_not_come_back_is_refused_before_training(name: str, words: Any, folder: Path) -> None:
    with pytest.raises(ModelError, match=words):
        _train(folder, name)
    assert not (folder / name).exists()


def test_teacher_with_layers_of_ones_own_teaches(folder: Path) -> None:
    from edgefm.recipes import Distillation

    teacher = _train(folder, "plain")
    _forget()
    student = Run(folder / "student").train(
        Training(model="ds_cnn", epochs=1, distillation=Distillation(teachers=(str(teacher.path),))),
        data="d.npz",
        backend="tensorflow",
        progress=False,
    )
    assert len(student.history) == 1
