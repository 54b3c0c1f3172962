"""Callbacks of Keras in trainings that are stopped and gone on with; keras.Model.fit says what they are to be told."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import edgefm
from edgefm.core.errors import ArgumentError
from edgefm.core.progress import SILENT
from edgefm.core.runs import RunDirectory
from edgefm.data.dataset import Dataset, Split
from edgefm.recipes import Training
from edgefm.report.text import reproduce
from edgefm.training import step as training_step
from edgefm.training.callbacks import check_callbacks
from edgefm.training.stopped import stopped_training
from tests.fixtures import small_networks
from tests.fixtures.notes import Notes
from tests.fixtures.small_networks import small_network

RECIPE = Training(epochs=4, batch_size=16, flip=False, schedule="constant", learning_rate=0.01)


def some_data() -> Dataset:
    random = np.random.default_rng(3)
    labels = np.arange(96) % 3
    pixels = (random.integers(0, 120, (96, 8, 8, 1)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    parts = {"train": slice(0, 48), "validation": slice(48, 72), "test": slice(72, 96)}
    splits = {name: Split(name=name, images=pixels[part], labels=labels[part]) for name, part in parts.items()}
    return Dataset(name="bright", labels=("dark", "grey", "bright"), sha256="0" * 64, **splits)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return some_data()


def network() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def trained(*given: Any, model: Any = network, **options: Any) -> Any:
    return small_networks.trained(*given, model=model, **options)


class Log(keras.callbacks.Callback):
    """Keeps what it is told; raises an error at the end of some epoch."""

    def __init__(self, told: list[Any], *, error: BaseException | None = None, at: int = -1) -> None:
        super().__init__()
        self.told, self.error, self.at = told, error, at

    def on_train_begin(self, logs: Any = None) -> None:
        self.told.append(("train begins", sorted(logs or {}), self.params["epochs"], self.params["steps"]))

    def on_train_end(self, logs: Any = None) -> None:
        self.told.append(("train ends", sorted(logs)))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        assert self.model.stop_training is False and self.model.history is not None
        self.told.append(("begins", epoch))

    def on_test_begin(self, logs: Any = None) -> None:
        self.told.append(("test begins", sorted(logs or {})))

    def on_test_end(self, logs: Any = None) -> None:
        self.told.append(("test ends", sorted(logs)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.told.append(("ends", epoch, sorted(logs)))
        if self.error is not None and epoch == self.at:
            raise self.error


def by_keras(data: Dataset, callbacks: list[Any], *, epochs: int = 4, first: int = 0) -> Any:
    """Train by keras.Model.fit."""
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return model.fit(
        data.train.images, data.train.labels, batch_size=16, verbose=0, callbacks=callbacks, epochs=epochs,
        validation_data=(data.validation.images, data.validation.labels), initial_epoch=first,
    )  # fmt: skip


def figures(result: Any) -> list[tuple[float, ...]]:
    names = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    return [tuple(entry[name] for name in names) for entry in result.epochs]


def test_run_that_is_stopped_twice_tells_callbacks_what_keras_tells_them(data: Dataset, tmp_path: Path) -> None:
    run = edgefm.Run(tmp_path / "run")
    begin: dict[str, Any] = {"model": "basic_cnn", "image_size": 28, "data": data, "recipe": RECIPE}
    mine: list[Any] = []
    theirs: list[Any] = []
    disk, stop = OSError("no space left"), KeyboardInterrupt()
    notes = Notes()
    with pytest.raises(OSError) as caught:
        run.train(callbacks=[Log(mine, error=disk, at=0)], progress=notes, **begin)
    assert caught.value is disk
    assert stopped_training(RunDirectory.open(run.path)).callbacks == ("Log",)
    assert any("stopped by OSError; resume the run" in note for note in notes.notes)
    with pytest.raises(KeyboardInterrupt):
        run.train(resume=True, callbacks=[Log(mine, error=stop, at=1)], progress=False)
    assert run.steps == ()
    result = run.train(resume=True, callbacks=[Log(mine)], progress=False)

    with pytest.raises(OSError):
        by_keras(data, [Log(theirs, error=disk, at=0)])
    with pytest.raises(KeyboardInterrupt):
        by_keras(data, [Log(theirs, error=stop, at=1)], first=1)
    by_keras(data, [Log(theirs)], first=2)
    assert mine == theirs
    assert [entry["epoch"] for entry in result.history] == [1, 2, 3, 4]

    (step,) = run.steps
    assert step.inputs["callbacks"] == "Log"
    (line,) = reproduce.commands(run.steps)
    assert line.endswith("# with callbacks Log, for which there is no option")
    # The same training with callbacks of the same classes is not done twice, and that is said.
    notes, told = Notes(), len(mine)
    run.train(callbacks=[Log(mine)], progress=notes, **begin)
    assert any("already holds this training, with callbacks of the same classes (Log); they" in n for n in notes.notes)
    assert len(mine) == told and len(run.steps) == 1


def test_resumed_training_with_callbacks_has_the_history_of_an_unbroken_one(data: Dataset, tmp_path: Path) -> None:
    """An error in a callback, even one that has half changed the weights, loses nothing of the epoch."""
    whole = trained(data, RECIPE, tmp_path / "whole")

    class Breaks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                self.model.layers[1].set_weights([0 * weights for weights in self.model.layers[1].get_weights()])
                raise ValueError("halfway")

    with pytest.raises(ValueError, match="halfway"):
        trained(data, RECIPE, tmp_path / "broken", callbacks=[Breaks()])
    told: list[Any] = []
    resumed = trained(data, RECIPE, tmp_path / "broken", callbacks=[Log(told)])
    assert resumed.resumed_from == 2 and ("begins", 2) in told and ("begins", 1) not in told
    assert figures(resumed) == figures(whole)


def test_what_a_callback_changed_is_kept_over_a_resume(data: Dataset, tmp_path: Path) -> None:
    class Changes(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.set_weights([0.9 * weights for weights in self.model.get_weights()])
            self.model.optimizer.learning_rate = 0.01 / (epoch + 2)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == self.stop_at:
                raise KeyboardInterrupt

        stop_at = -1

    whole = trained(data, RECIPE, tmp_path / "whole", callbacks=[Changes()])
    stopping = Changes()
    stopping.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        trained(data, RECIPE, tmp_path / "broken", callbacks=[stopping])
    resumed = trained(data, RECIPE, tmp_path / "broken", callbacks=[Changes()])
    assert figures(resumed) == figures(whole)
    rates = [entry["learning_rate"] for entry in whole.epochs]
    assert rates == pytest.approx([0.01, 0.005, 0.01 / 3, 0.0025])


def test_early_stopping_counts_from_the_resume_as_in_keras(data: Dataset, tmp_path: Path) -> None:
    recipe = Training(epochs=9, batch_size=16, flip=False, schedule="constant", learning_rate=0.01)

    def stopping() -> Any:  # nothing is better by 100: the first epoch that it hears of is the best
        return keras.callbacks.EarlyStopping(patience=2, min_delta=100.0, restore_best_weights=True)

    with pytest.raises(KeyboardInterrupt):
        trained(data, recipe, tmp_path, callbacks=[stopping(), Log([], error=KeyboardInterrupt(), at=1)])
    mine, theirs = stopping(), stopping()
    told: list[Any] = []
    result = trained(data, recipe, tmp_path, callbacks=[mine, Log(told)])
    by_keras(data, [theirs], epochs=9, first=2)
    assert (mine.stopped_epoch, mine.best_epoch) == (theirs.stopped_epoch, theirs.best_epoch) == (4, 2)
    assert len(result.epochs) == 5 and told[-1][0] == "train ends"
    assert result.best_epoch == 3
    answers = np.asarray(result.model.predict_on_batch(data.validation.images))
    entropy = -np.log(answers[np.arange(24), data.validation.labels]).mean()
    assert result.kept["val_loss"] == pytest.approx(float(entropy), rel=1e-4)


def test_rates_of_callbacks_are_kept_over_a_resume(data: Dataset, tmp_path: Path) -> None:
    def callbacks() -> list[Any]:
        return [keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=100.0)]

    stop = Log([], error=KeyboardInterrupt(), at=1)
    with pytest.raises(KeyboardInterrupt):  # epoch 0 is the best, 1 waits: the rate is halved at its end
        trained(data, RECIPE, tmp_path / "plateau", callbacks=[*callbacks(), Log([]), stop_after(1, begin=2)])
    resumed = trained(data, RECIPE, tmp_path / "plateau", callbacks=callbacks())
    assert [entry["learning_rate"] for entry in resumed.epochs] == pytest.approx([0.01, 0.01, 0.005, 0.005])

    def by_epoch() -> Any:
        return keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))

    with pytest.raises(KeyboardInterrupt):
        trained(data, RECIPE, tmp_path / "scheduler", callbacks=[by_epoch(), stop])
    resumed = trained(data, RECIPE, tmp_path / "scheduler", callbacks=[by_epoch()])
    assert [entry["learning_rate"] for entry in resumed.epochs] == pytest.approx([0.01, 0.005, 0.01 / 3, 0.0025])


def stop_after(_: int, *, begin: int) -> Any:
    def stop(epoch: int, logs: Any = None) -> None:
        if epoch == begin:
            raise KeyboardInterrupt

    return keras.callbacks.LambdaCallback(on_epoch_begin=stop)


def test_rate_that_a_callback_set_stays_when_frozen_layers_begin_to_learn(data: Dataset, tmp_path: Path) -> None:
    recipe = Training(
        epochs=3, batch_size=16, flip=False, schedule="constant", learning_rate=0.01, pretrained="x", frozen_epochs=2
    )

    def smaller() -> Any:
        return small_network(shape=(8, 8, 1), classes=3)

    class Lower(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                self.model.optimizer.learning_rate = 0.002

    result = trained(data, recipe, tmp_path, frozen=("conv", "bn"), callbacks=[Lower()], model=smaller)
    assert [entry["learning_rate"] for entry in result.epochs] == pytest.approx([0.01, 0.002, 0.002])


def test_files_of_callbacks_go_on_over_a_resume(data: Dataset, tmp_path: Path) -> None:
    def callbacks() -> list[Any]:
        best = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), monitor="val_loss", save_best_only=True)
        each = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True)
        log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"), append=True)
        return [best, each, log]

    with pytest.raises(KeyboardInterrupt):
        trained(data, RECIPE, tmp_path, callbacks=[*callbacks(), stop_after(1, begin=2)])
    result = trained(data, RECIPE, tmp_path, callbacks=callbacks())
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    for row, entry in zip(rows, result.epochs, strict=True):
        assert [float(row[name]) for name in ("loss", "val_loss")] == [entry["loss"], entry["val_loss"]]
    assert sorted(path.name for path in tmp_path.glob("*.weights.h5")) == [f"{n}.weights.h5" for n in (1, 2, 3, 4)]
    # As in Keras, the best is sought anew: among the epochs since the resume.
    best = keras.saving.load_model(tmp_path / "best.keras")
    answers = np.asarray(best.predict_on_batch(data.validation.images))
    entropy = -np.log(answers[np.arange(24), data.validation.labels]).mean()
    assert float(entropy) == pytest.approx(min(entry["val_loss"] for entry in result.epochs[2:]), rel=1e-4)


def test_patience_takes_the_weights_of_the_best_epoch_whatever_a_callback_set(data: Dataset, tmp_path: Path) -> None:
    class Halves(keras.callbacks.Callback):
        def on_train_end(self, logs: Any = None) -> None:
            self.model.set_weights([weights / 2 for weights in self.model.get_weights()])

    result = trained(data, replace(RECIPE, epochs=1, patience=1), tmp_path, callbacks=[Halves()])
    answers = np.asarray(result.model.predict_on_batch(data.validation.images))
    entropy = -np.log(answers[np.arange(24), data.validation.labels]).mean()
    assert result.best_epoch == 1 and result.kept["val_loss"] == pytest.approx(float(entropy), rel=1e-4)


def test_callback_that_stops_at_the_beginning_leaves_an_epoch_as_in_keras(data: Dataset, tmp_path: Path) -> None:
    class Stops(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.model.stop_training = True

    result = trained(data, RECIPE, tmp_path, callbacks=[Stops()])
    assert len(result.epochs) == len(by_keras(data, [Stops()]).epoch) == 1


def test_callbacks_that_cannot_be_served_are_refused_before_a_run_is_made(data: Dataset, tmp_path: Path) -> None:
    callbacks = keras.callbacks
    for callback, message in (
        (
            callbacks.BackupAndRestore(str(tmp_path / "backup")),
            r"BackupAndRestore would set .*\n  Leave it out: edgefm\.Run",
        ),
        (
            callbacks.TerminateOnNaN(),
            r"TerminateOnNaN has only on_batch_end, .*\n  Leave it out: a training ends by itself",
        ),
        (callbacks.ModelCheckpoint(str(tmp_path / "x.keras"), save_freq=10), "ModelCheckpoint saves every 10 batches"),
        (callbacks.ReduceLROnPlateau(), "ReduceLROnPlateau sets the learning rate, and so does .* 'one_cycle'"),
        (callbacks.LearningRateScheduler(lambda epoch: 0.1), "LearningRateScheduler sets the learning rate"),
        (callbacks.LambdaCallback(on_train_batch_end=print), "LambdaCallback has only on_train_batch_end"),
        (3, r"callbacks holds 3, no keras\.callbacks\.Callback"),
    ):
        run = edgefm.Run(tmp_path / "run")
        with pytest.raises(ArgumentError, match=message):
            run.train(data=data, model="basic_cnn", image_size=28, callbacks=[callback], progress=False)
        assert not run.path.exists()
    with pytest.raises(ArgumentError, match="callbacks is None; a sequence"):
        edgefm.Run(tmp_path / "run").train(data=data, model="basic_cnn", image_size=28, callbacks=None, progress=False)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="BackupAndRestore would set"):
        trained(data, RECIPE, tmp_path, callbacks=[callbacks.BackupAndRestore(str(tmp_path / "backup"))])


def test_tensorboard_without_its_package_is_refused(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [keras.callbacks.TensorBoard(str(tmp_path / "board"))]
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(ArgumentError, match=r"needs the package tensorboard.*\n  Give the folder as tensorboard="):
        check_callbacks(given, RECIPE, SILENT)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: name)
    assert check_callbacks(given, RECIPE, SILENT) == tuple(given)


def test_tensorboard_of_keras_on_another_backend_needs_tensorflow_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [keras.callbacks.TensorBoard(str(tmp_path / "board"))]
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: name)
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    assert check_callbacks(given, RECIPE, SILENT) == tuple(given)
    monkeypatch.delitem(sys.modules, "tensorflow")
    with pytest.raises(
        ArgumentError, match=r"training on jax does not load\n  Give the folder as tensorboard=.*before"
    ):
        check_callbacks(given, RECIPE, SILENT)


def test_what_is_not_called_is_said_of_functions_of_the_user(data: Dataset, tmp_path: Path) -> None:
    class TestsAlone(keras.callbacks.Callback):
        def on_test_batch_end(self, batch: int, logs: Any = None) -> None: ...

    with pytest.raises(ArgumentError, match="TestsAlone has only on_test_batch_end, which is not called"):
        trained(data, RECIPE, tmp_path, callbacks=[TestsAlone()])
    both = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None, on_train_batch_end=print)
    notes = Notes()
    trained(data, Training(epochs=1, batch_size=16), tmp_path, callbacks=[both], progress=notes)
    assert any("the callback LambdaCallback is not called at batches" in note for note in notes.notes)


def test_other_callbacks_than_a_training_was_begun_with_are_said() -> None:
    notes = Notes()
    assert training_step._names((), begun_with=("Log",), progress=notes) == ("Log",)
    assert training_step._names([keras.callbacks.History()], begun_with=("Log",), progress=notes) == ("History",)
    assert training_step._names([Log([])], begun_with=("Log",), progress=notes) == ("Log",)
    assert notes.notes == [
        "the training was begun with the callbacks Log; none are told of the rest",
        "the training was begun with the callbacks Log; History are told of the rest",
    ]


_ON_BACKEND = """
import sys
from pathlib import Path
import keras
import numpy as np
from tests.unit import test_callbacks_of_keras as here
from tests.fixtures.small_networks import trained
data = here.some_data()
class Watch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        answers = self.model.predict(data.validation.images, verbose=0)
        assert np.isclose((answers.argmax(axis=1) == data.validation.labels).mean(), logs["val_accuracy"])
        entropy = -np.log(answers[np.arange(24), data.validation.labels]).mean()
        np.testing.assert_allclose(entropy, logs["val_loss"], rtol=1e-4)
        self.model.optimizer.learning_rate = 0.01 / (epoch + 2)
        if epoch == 1:
            self.model.set_weights(self.kept)
            raise KeyboardInterrupt
        self.kept = self.model.get_weights()
try:
    trained(data, here.RECIPE, Path("broken"), backend=sys.argv[1], callbacks=[Watch()])
except KeyboardInterrupt:
    pass
told = []
result = trained(data, here.RECIPE, Path("broken"), backend=sys.argv[1], callbacks=[here.Log(told)])
assert [call[1] for call in told if call[0] == "begins"] == [2, 3], told
rates = [entry["learning_rate"] for entry in result.epochs]
np.testing.assert_allclose(rates, [0.01, 0.005, 0.005, 0.005], rtol=1e-6)
whole = trained(data, here.RECIPE, Path("whole"), backend=sys.argv[1])
assert [e["val_loss"] for e in result.epochs][0] == [e["val_loss"] for e in whole.epochs][0]
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", [pytest.param("jax", marks=pytest.mark.jax), pytest.param("torch", marks=pytest.mark.torch)]
)
def test_callbacks_see_and_set_the_state_on_other_backends(backend: str, tmp_path: Path) -> None:
    for name in ("broken", "whole"):
        (tmp_path / name).mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": backend}
    program = [sys.executable, "-c", _ON_BACKEND, backend]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
