from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgefm.cli.train import command
from edgefm.core import artefacts
from edgefm.core.errors import ModelError, RecipeError, RunError
from edgefm.core.runs import RunDirectory
from edgefm.jobs.run import Run
from edgefm.jobs.train import training_recipe
from edgefm.recipes import Distillation, Training
from edgefm.report.drawing.curves import draw_curves
from edgefm.training.distillation import distillation_loss, label_accuracy, load_teacher, teacher_file
from edgefm.training.step import train_run
from edgefm.training.stopped import stopped_training
from tests.fixtures.classifiers import run_with, small_classifier
from tests.fixtures.small_data import small_fashion_mnist
from tests.unit.test_objective import distilled, softmax

RANDOM = np.random.default_rng(3)
SHAPE = (28, 28, 1)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run whose model has learnt a little."""
    import keras

    data, model = small_fashion_mnist(), small_classifier()
    keras.utils.set_random_seed(0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(data.train.images.astype(np.float32), data.train.labels, batch_size=16, epochs=6, verbose=0)
    return run_with(model, tmp_path_factory.mktemp("teacher"))


def saved(folder: Path, name: str, **options: Any) -> str:
    path = folder / f"{name}.keras"
    small_classifier(**options).save(path)
    return str(path)


def images(count: int = 20) -> np.ndarray:
    return small_fashion_mnist().validation.images[:count].astype(np.float32)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_loss_of_training_is_that_of_the_recipe(temperature: float) -> None:
    student, teacher = softmax(RANDOM.normal(size=(2, 8, 10)) * 2)
    labels = np.eye(10)[RANDOM.integers(0, 10, 8)]
    loss = distillation_loss(
        Distillation(teachers=("x",), weight=0.6, temperature=temperature), classes=10, label_smoothing=0.1
    )
    found = np.asarray(loss(np.float32(np.hstack([labels, teacher])), np.float32(student)))
    assert found.shape == (8,)
    expected = distilled(labels * 0.9 + 0.01, student, teacher, 0.6, temperature)
    assert found.mean() == pytest.approx(expected, rel=1e-5)
    right = np.asarray(label_accuracy(10)(np.float32(np.hstack([labels, teacher])), np.float32(student)))
    np.testing.assert_array_equal(right, labels.argmax(axis=1) == student.argmax(axis=1))


def test_an_ensemble_answers_the_mean_of_its_probabilities(tmp_path: Path) -> None:
    import keras

    paths = [saved(tmp_path, "one"), saved(tmp_path, "two")]
    for seed, path in enumerate(paths):
        model = keras.saving.load_model(path)
        generator = np.random.default_rng(seed)
        model.set_weights([array + generator.normal(size=array.shape) * 0.1 for array in model.get_weights()])
        model.save(path)
    members = [keras.saving.load_model(path) for path in paths]
    expected = np.mean([np.asarray(member.predict_on_batch(images(300))) for member in members], axis=0)
    teacher = load_teacher(paths, classes=10, input_shape=SHAPE)
    np.testing.assert_allclose(teacher(images(300)), expected, atol=1e-6)  # 300 is no multiple of the batch


def test_logits_become_probabilities(tmp_path: Path) -> None:
    import keras

    path = saved(tmp_path, "logits", activation=None)
    answers = load_teacher([path], classes=10, input_shape=SHAPE)(images())
    logits = np.asarray(keras.saving.load_model(path).predict_on_batch(images()))
    np.testing.assert_allclose(answers, softmax(logits.astype(np.float64)), atol=1e-6)
    values = load_teacher([path], classes=10, input_shape=SHAPE, task="regression")(images())
    np.testing.assert_allclose(values, logits, atol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", None], ids=["probability", "score"])
def test_a_teacher_of_one_unit_answers_for_two_classes(activation: str | None, tmp_path: Path) -> None:
    import keras

    path = saved(tmp_path, "one_unit", classes=1, activation=activation)
    own = np.asarray(keras.saving.load_model(path).predict_on_batch(images()), np.float64)
    second = own if activation else 1 / (1 + np.exp(-own))
    answers = load_teacher([path], classes=2, input_shape=SHAPE)(images())
    np.testing.assert_allclose(answers, np.concatenate([1 - second, second], axis=1), atol=1e-6)
    with pytest.raises(ModelError, match=r"answers 1 classes \(output \(1\)\), its student 2"):
        load_teacher([path], classes=2, input_shape=SHAPE, task="regression")  # two values of one


def test_source_is_the_given_model_and_no_teacher_of_a_training(tmp_path: Path) -> None:
    model = small_classifier()
    answers = load_teacher(["source"], source=model, classes=10, input_shape=SHAPE)(images())
    np.testing.assert_allclose(answers, np.asarray(model.predict_on_batch(images())), atol=1e-6)
    run = RunDirectory.create_at(tmp_path / "run")
    recipe = Training(epochs=1, distillation=Distillation())
    with pytest.raises(RecipeError, match="'source' is a model before its first compression pass"):
        train_run(run, small_fashion_mnist(), recipe=recipe, draw=draw_curves, backend="tensorflow")


def test_a_teacher_with_other_classes_or_inputs_is_refused(tmp_path: Path) -> None:
    seven = saved(tmp_path, "seven", classes=7)
    with pytest.raises(ModelError, match=r"answers 7 classes \(output \(7\)\), its student 10"):
        load_teacher([seven], classes=10, input_shape=SHAPE)
    colour = saved(tmp_path, "colour", shape=(32, 32, 3))
    with pytest.raises(ModelError, match=r"takes inputs of shape \(32, 32, 3\), its student \(28, 28, 1\)"):
        load_teacher([colour], classes=10, input_shape=SHAPE)


def test_a_teacher_that_wants_another_range_is_refused(tmp_path: Path, taught: RunDirectory) -> None:
    import keras

    data = small_fashion_mnist().validation
    sample = (data.images.astype(np.float32), data.labels.astype(np.int64))
    good = keras.saving.load_model(teacher_file(str(taught.path)))
    load_teacher([str(taught.path)], classes=10, input_shape=SHAPE, sample=sample)
    inner = keras.Input(SHAPE)
    value = inner
    for layer in good.layers[1:]:
        if type(layer).__name__ != "Rescaling":
            value = layer(value)
    wrong_range = tmp_path / "wrong_range.keras"
    keras.Model(inner, value).save(wrong_range)  # wants 0 to 1, gets 0 to 255
    with pytest.raises(ModelError, match=r"is surely wrong.* 0 to 255, and has no layer that scales them"):
        load_teacher([str(wrong_range)], classes=10, input_shape=SHAPE, sample=sample)


def test_teachers_that_are_not_there_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no teacher at"):
        teacher_file(str(tmp_path / "none.keras"))
    RunDirectory.create_at(tmp_path / "empty")
    with pytest.raises(RunError):
        teacher_file(str(tmp_path / "empty"))
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="is cut off"):
        load_teacher([str(tmp_path / "broken.keras")], classes=10, input_shape=SHAPE)


def test_training_with_a_teacher_resumes_to_the_history_of_an_unbroken_one(
    tmp_path: Path, taught: RunDirectory
) -> None:
    data = small_fashion_mnist(train=256, validation=100)
    distillation = Distillation(teachers=(str(taught.path),), weight=0.8)
    recipe = Training(model="basic_cnn", epochs=2, batch_size=64, distillation=distillation)
    whole = RunDirectory.create_at(tmp_path / "whole")
    step = train_run(whole, data, recipe=recipe, draw=draw_curves, backend="tensorflow")
    assert step.inputs["teacher 0"] == artefacts.sha256_file(teacher_file(str(taught.path)))
    broken = RunDirectory.create_at(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        train_run(broken, data, recipe=recipe, draw=draw_curves, backend="tensorflow", progress=_StopInEpoch(2))
    assert stopped_training(broken).recipe == recipe
    train_run(broken, data, recipe=recipe, draw=draw_curves, backend="tensorflow", resume=True)
    assert _losses(broken) == _losses(whole)
    assert step.key != taught.require("train").key


def test_command_takes_teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Training] = []

    def train(self: Run, recipe: str | None, *, changes: dict[str, Any], **_: Any) -> None:
        given.append(training_recipe(recipe, **changes))
        raise RunError("enough")

    monkeypatch.setattr("edgefm.jobs.run.Run.train", train)
    options = ["--teacher", "one", "--teacher", "two.keras", "--distillation-weight", "0.5", "--temperature", "4"]
    CliRunner().invoke(command, options)
    assert given[0].distillation == Distillation(teachers=("one", "two.keras"), weight=0.5, temperature=4.0)
    CliRunner().invoke(command, ["--teacher", "one"])
    assert given[1].distillation == Distillation(teachers=("one",))
    CliRunner().invoke(command, [])
    assert given[2].distillation is None
    alone = CliRunner().invoke(command, ["--temperature", "4"])
    assert alone.exit_code == 2
    assert "need a --teacher" in alone.output


@pytest.mark.jax
def test_jax_student_learns_from_a_teacher_that_tensorflow_trained(tmp_path: Path, taught: RunDirectory) -> None:
    _train_elsewhere("jax", tmp_path, taught)


@pytest.mark.torch
def test_torch_student_learns_from_a_teacher_that_tensorflow_trained(tmp_path: Path, taught: RunDirectory) -> None:
    _train_elsewhere("torch", tmp_path, taught)


_SCRIPT = """
import json, sys
from pathlib import Path
from edgefm.recipes import Distillation, Training
from edgefm.core.runs import RunDirectory
from edgefm.jobs.run import Run
from edgefm.report.drawing.curves import draw_curves
from edgefm.training.step import train_run
from tests.fixtures.small_data import small_fashion_mnist
backend, teacher = sys.argv[1:]
distillation = Distillation(teachers=(teacher,), weight=1.0, temperature=1.0)
recipe = Training(model="basic_cnn", epochs=1, batch_size=64, distillation=distillation)
train_run(RunDirectory.create_at(Path("run")), small_fashion_mnist(train=256, validation=100), recipe=recipe,
          draw=draw_curves, backend=backend)
print(json.dumps("tensorflow" in sys.modules))
"""


def _train_elsewhere(backend: str, folder: Path, taught: RunDirectory) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (root, root / "converters")))}
    environment.pop("KERAS_BACKEND", None)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, backend, str(taught.path)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) is False
    losses = _losses(RunDirectory.open(folder / "run"))
    assert all(np.isfinite(losses))


def _losses(run: RunDirectory) -> list[float]:
    history = json.loads((run.folder(run.require("train")) / "history.json").read_text())
    return [epoch["loss"] for epoch in history["epochs"]]


class _StopInEpoch:
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def step(self, label: str, done: int, total: int, figures: Any = None) -> None:
        if label == "train" and figures["epoch"].startswith(f"{self.epoch}/"):
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        pass
