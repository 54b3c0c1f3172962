"""The loop on the device against Keras' own training, with models of all kinds."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import edgefm
from edgefm.core.errors import ArgumentError, RecipeError, RunError, TrainingDivergedError
from edgefm.core.progress import SILENT
from edgefm.data.dataset import Dataset, Split
from edgefm.recipes import Training
from edgefm.training.augmentation import epoch_order
from edgefm.training.device.optimizers import optimizer_of
from edgefm.training.device.session import Session
from edgefm.training.step import history_csv
from tests.fixtures.notes import Notes
from tests.fixtures.small_data import small_fashion_mnist
from tests.fixtures.small_networks import small_network, trained

PLAIN = Training(epochs=2, batch_size=32, flip=False)
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_fashion_mnist(train=160, validation=80)


def figures(result: Any) -> list[tuple[float, ...]]:
    return [tuple(epoch[name] for name in FIGURES) for epoch in result.epochs]


def by_keras(
    data: Dataset, recipe: Training, model: Any, optimizer: Any, loss: Any, weights: Any = None
) -> list[float]:
    """Return the loss of each epoch of keras.Model.train_on_batch on the batches of edgefm."""
    model.compile(optimizer, loss, jit_compile=False)
    losses = []
    for epoch in range(recipe.epochs):
        order, _ = epoch_order(len(data.train), seed=recipe.seed, epoch=epoch)
        targets = np.eye(len(data.labels), dtype=np.float32)[data.train.labels]
        each = []
        for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
            chosen = order[start : start + recipe.batch_size]
            model.reset_metrics()
            given = None if weights is None else weights[data.train.labels[chosen]]
            each.append(float(model.train_on_batch(data.train.images[chosen], targets[chosen], sample_weight=given)))
        losses.append(float(np.mean(each)))
    return losses


def network() -> Any:
    return small_network()


def seeded(seed: int = 0) -> Any:
    keras.utils.set_random_seed(seed)
    return network()


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_loop_makes_the_steps_of_keras(optimizer: str, data: Dataset, tmp_path: Path) -> None:
    recipe = Training(
        epochs=2, batch_size=32, flip=False, optimizer=optimizer, momentum=0.9, learning_rate=0.01, schedule="constant",
        weight_decay=0.0,
    )  # fmt: skip
    result = trained(data, recipe, tmp_path)
    own = {
        "adam": keras.optimizers.Adam(0.01),
        "rmsprop": keras.optimizers.RMSprop(0.01),
        "sgd": keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    }[optimizer]
    model = seeded()
    expected = by_keras(data, recipe, model, own, keras.losses.CategoricalCrossentropy(label_smoothing=0.1))
    np.testing.assert_allclose([epoch["loss"] for epoch in result.epochs], expected, rtol=1e-3)
    probabilities = np.asarray(model.predict_on_batch(data.validation.images))
    own_answers = np.asarray(result.model.predict_on_batch(data.validation.images))
    # The moving variance of the fused operator is the unbiased one.
    np.testing.assert_allclose(own_answers, probabilities, atol=5e-3)
    entropy = -np.log(own_answers[np.arange(80), data.validation.labels]).mean()
    assert result.epochs[-1]["val_loss"] == pytest.approx(float(entropy), rel=1e-4)


def test_l2_of_sgd_is_that_of_a_regularizer(data: Dataset, tmp_path: Path) -> None:
    def regular() -> Any:
        model = small_network()
        regularizer = keras.regularizers.L2(0.05)
        for layer in model.layers:
            if hasattr(layer, "kernel"):
                layer.kernel_regularizer = regularizer
                layer.kernel.regularizer = regularizer
        return model

    given = {"epochs": 1, "batch_size": 32, "flip": False, "optimizer": "sgd", "learning_rate": 0.05}
    decayed = trained(data, Training(**given, weight_decay=0.1), tmp_path / "decayed")
    regularized = trained(data, Training(**given, weight_decay=0.0), tmp_path / "regularized", model=regular)
    plain = trained(data, Training(**given, weight_decay=0.0), tmp_path / "plain")
    for mine, theirs in zip(decayed.model.get_weights(), regularized.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert regularized.epochs[0]["loss"] > decayed.epochs[0]["loss"] + 0.01, "what layers add is part of the loss"
    assert not np.allclose(plain.model.get_weights()[0], decayed.model.get_weights()[0], atol=1e-5)


def test_balanced_classes_weigh_samples_as_keras_does(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 12, 12, 3), np.uint8)
    labels = (np.arange(120) % 6 == 0).astype(np.int64)
    data = edgefm.data.from_arrays(pixels, labels, class_names=("many", "few"), progress=False)
    recipe = Training(
        epochs=1, batch_size=16, flip=False, optimizer="sgd", schedule="constant", weight_decay=0.0,
        class_weights="balanced", label_smoothing=0.0,
    )  # fmt: skip

    def model() -> Any:
        return small_network(shape=(12, 12, 3), classes=2)

    result = trained(data, recipe, tmp_path, model=model)
    counts = np.bincount(data.train.labels)
    weights = len(data.train) / (2 * counts)
    keras.utils.set_random_seed(0)
    expected = by_keras(
        data, recipe, model(), keras.optimizers.SGD(recipe.learning_rate), "categorical_crossentropy", weights
    )
    assert result.epochs[0]["loss"] == pytest.approx(expected[0], rel=1e-3)
    assert trained(data, PLAIN, tmp_path / "plain", model=model).epochs[0]["loss"] != result.epochs[0]["loss"]


def test_patience_ends_by_the_validation_loss_and_takes_the_best_weights(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels, labels = random.integers(0, 256, (120, 8, 8, 1), np.uint8), random.integers(0, 3, 120)
    data = edgefm.data.from_arrays(pixels, labels, class_names=("a", "b", "c"), progress=False)
    recipe = Training(
        epochs=30, batch_size=32, patience=2, learning_rate=0.1, optimizer="adam", schedule="constant", flip=False
    )
    notes = Notes()
    result = trained(data, recipe, tmp_path, progress=notes)
    losses = [epoch["val_loss"] for epoch in result.epochs]
    assert result.best_epoch == int(np.argmin(losses)) + 1
    assert len(result.epochs) == result.best_epoch + 2 < 30
    answers = np.asarray(result.model.predict_on_batch(data.validation.images))
    entropy = -np.log(np.maximum(answers[np.arange(len(answers)), data.validation.labels], 1e-7)).mean()
    assert float(entropy) == pytest.approx(min(losses), rel=1e-4)
    assert result.verdict.validation_accuracy == result.epochs[result.best_epoch - 1]["val_accuracy"]
    assert any(f"the weights of epoch {result.best_epoch} are taken" in note for note in notes.notes)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (data.validation.labels, answers.argmax(axis=1)), 1)
    np.testing.assert_array_equal(result.confusion, expected)


class StopIn:
    """Raises KeyboardInterrupt in the middle of an epoch, as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def step(self, label: str, done: int, total: int, figures: Any = None) -> None:
        if figures and figures["epoch"].startswith(f"{self.epoch}/"):
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        pass


EVERYTHING: dict[str, Any] = {
    "shift_pixels": 2, "rotation_degrees": 10.0, "zoom": 0.1, "erasing": 0.5, "mixup": 0.3, "cutmix": 0.5,
    "class_weights": "balanced", "batch_size": 32,
}  # fmt: skip
RESUMED = {
    "everything": (Training(epochs=3, **EVERYTHING), ()),
    "patience": (Training(epochs=4, patience=1, optimizer="rmsprop", learning_rate=0.05), ()),
    "margin": (Training(epochs=3, loss="multi_margin", optimizer="sgd", momentum=0.9, weight_decay=1e-3), ()),
    "frozen": (Training(epochs=3, pretrained="x", frozen_epochs=1), ("conv", "bn")),
    "frozen until the stop": (Training(epochs=3, pretrained="x", frozen_epochs=2), ("conv", "bn")),
}


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_training_has_the_history_of_an_unbroken_one(name: str, data: Dataset, tmp_path: Path) -> None:
    recipe, frozen = RESUMED[name]
    whole = trained(data, recipe, tmp_path / "whole", frozen=frozen)
    with pytest.raises(KeyboardInterrupt):
        trained(data, recipe, tmp_path / "broken", frozen=frozen, progress=StopIn(min(3, len(whole.epochs))))
    resumed = trained(data, recipe, tmp_path / "broken", frozen=frozen)
    assert resumed.resumed_from > 0
    assert figures(resumed) == figures(whole) and resumed.best_epoch == whole.best_epoch
    for mine, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_frozen_layers_keep_their_weights_for_their_epochs(data: Dataset, tmp_path: Path) -> None:
    start = {layer.name: [w.copy() for w in layer.get_weights()] for layer in seeded().layers}
    kept: list[bool] = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            kept.append(
                all(
                    np.array_equal(before, after)
                    for name in ("conv", "bn")
                    for before, after in zip(start[name], self.model.get_layer(name).get_weights(), strict=True)
                )
            )

    recipe = Training(epochs=3, batch_size=32, pretrained="x", frozen_epochs=2)
    result = trained(data, recipe, tmp_path, frozen=("conv", "bn"), callbacks=[Watch()])
    assert kept == [True, True, False]
    assert not np.array_equal(start["answer"][0], result.model.get_layer("answer").get_weights()[0])
    with pytest.raises(RecipeError, match=r"'convv'.*did you mean 'conv'"):
        trained(data, recipe, tmp_path / "other", frozen=("convv",))


def test_layers_that_begin_to_learn_take_steps_of_the_rate_and_the_schedule_goes_on(data: Dataset) -> None:
    keras.config.set_dtype_policy("float32")
    recipe = Training(epochs=4, batch_size=8, flip=False, optimizer="adam", pretrained="x", frozen_epochs=2)
    model = seeded()
    session = Session(
        data, recipe, model=model, frozen=("conv",), teacher=None, batch_size=8, xla=False, progress=SILENT
    )
    session.begin(done=0)
    for epoch in (0, 1):
        session.before(epoch)
        session.draw(epoch)
        session.run(first=0, count=session.steps)
    session.before(2)
    session.draw(2)
    steps = session.steps * recipe.epochs
    warmup = int(steps * recipe.warmup_fraction)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 25, steps - warmup, warmup_target=recipe.learning_rate, warmup_steps=warmup
    )
    assert session.learning_rate() == pytest.approx(float(schedule(2 * session.steps)), rel=1e-6)
    before = [w.copy() for w in model.get_layer("conv").get_weights()]
    session.run(first=0, count=1)
    # Adam's first step is one of the rate's size for each weight, whatever the gradient is.
    moved = [np.abs(new - old) for new, old in zip(model.get_layer("conv").get_weights(), before, strict=True)]
    assert 0.9 < np.median(moved[0]) / session.learning_rate() < 1.1 and max(map(np.max, moved)) < 1.1e-2
    resumed = Session(
        data, recipe, model=seeded(), frozen=("conv",), teacher=None, batch_size=8, xla=False, progress=SILENT
    )
    resumed.begin(done=3)
    resumed.model.optimizer.iterations.assign(session.steps)
    assert resumed.learning_rate() == pytest.approx(float(schedule(3 * session.steps)), rel=1e-6)


@pytest.mark.parametrize("done", [0, 2, 10, 25])
def test_what_is_left_of_a_schedule_is_one_of_keras(done: int) -> None:
    recipe = Training(learning_rate=0.5, warmup_fraction=0.25)
    saved = keras.optimizers.serialize(optimizer_of(recipe, steps=40, done=done))
    assert saved["config"]["learning_rate"]["module"] == "keras.optimizers.schedules"
    optimizer = keras.optimizers.deserialize(saved)
    step = np.arange(40)
    warm = 0.02 + 0.48 * step / 10
    expected = np.where(step < 10, warm, 0.25 * (1 + np.cos(np.pi * (step - 10) / 30)))
    for index in range(done, 40):
        optimizer.iterations.assign(index - done)
        assert float(optimizer.learning_rate) == pytest.approx(expected[index], rel=1e-5, abs=1e-7)


def test_layers_of_a_model_within_the_model_can_be_frozen(data: Dataset, tmp_path: Path) -> None:
    def nested() -> Any:
        body = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(4, 3, strides=2, name="inner")])
        layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, activation="softmax")]
        return keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255), body, *layers])

    keras.utils.set_random_seed(0)
    start = nested().get_weights()[0]
    recipe = Training(epochs=1, batch_size=32, pretrained="x", frozen_epochs=1)
    result = trained(data, recipe, tmp_path, model=nested, frozen=("inner",))
    np.testing.assert_array_equal(result.model.get_weights()[0], start)


def test_verdict_is_of_training_images_of_all_classes(tmp_path: Path) -> None:
    """A set in the order of its classes, longer than what is looked at."""
    labels = np.repeat(np.arange(3), 5_000)
    pixels = np.zeros((15_000, 6, 6, 1), np.uint8)
    pixels[labels == 2] = 255  # the first 12,000 hold few of it
    split = Split(name="train", images=pixels, labels=labels)
    few = Split(name="validation", images=pixels[::50], labels=labels[::50])
    sorted_set = Dataset(name="sorted", labels=("a", "b", "c"), train=split, validation=few, test=few, sha256="")
    keras.utils.set_random_seed(0)
    result = trained(sorted_set, Training(epochs=1, batch_size=500, flip=False), tmp_path)
    answers = np.asarray(result.model.predict(pixels, verbose=0)).argmax(axis=1)
    assert result.verdict.train_accuracy == pytest.approx(float((answers == labels).mean()), abs=0.02)


def test_weights_that_a_callback_chose_are_those_that_are_reported(data: Dataset, tmp_path: Path) -> None:
    class First(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                self.kept = self.model.get_weights()

        def on_train_end(self, logs: Any = None) -> None:
            self.model.set_weights(self.kept)

    recipe = Training(epochs=3, batch_size=32, learning_rate=0.02, schedule="constant")
    result = trained(data, recipe, tmp_path / "first", callbacks=[First()])
    assert result.best_epoch == 1
    answers = np.asarray(result.model.predict_on_batch(data.validation.images)).argmax(axis=1)
    accuracy = float((answers == data.validation.labels).mean())
    assert result.kept["val_accuracy"] == pytest.approx(accuracy)
    assert result.verdict.validation_accuracy == pytest.approx(accuracy)

    class Halves(keras.callbacks.Callback):
        def on_train_end(self, logs: Any = None) -> None:
            self.model.set_weights([weights / 2 for weights in self.model.get_weights()])

    other = trained(data, recipe, tmp_path / "halves", callbacks=[Halves()])
    assert other.best_epoch is None
    probabilities = np.asarray(other.model.predict_on_batch(data.validation.images))
    entropy = -np.log(probabilities[np.arange(80), data.validation.labels]).mean()
    assert other.kept["val_loss"] == pytest.approx(float(entropy), rel=1e-4)


def test_callbacks_are_told_what_keras_tells_them(data: Dataset, tmp_path: Path) -> None:
    class Log(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[tuple[str, Any]] = []

        def on_train_begin(self, logs: Any = None) -> None:
            self.calls.append(("train begins", sorted(logs or {})))

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.calls.append(("begins", epoch))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.calls.append(("ends", (epoch, sorted(logs))))

        def on_train_end(self, logs: Any = None) -> None:
            self.calls.append(("train ends", sorted(logs)))

    mine, theirs = Log(), Log()
    trained(data, PLAIN, tmp_path, callbacks=[mine])
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        data.train.images, data.train.labels, epochs=2, batch_size=32, verbose=0, callbacks=[theirs],
        validation_data=(data.validation.images, data.validation.labels),
    )  # fmt: skip
    assert mine.calls == theirs.calls


def test_callbacks_of_keras_work(data: Dataset, tmp_path: Path) -> None:
    halving = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=1, min_delta=100.0)
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), monitor="val_loss")
    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    recipe = Training(epochs=6, batch_size=32, schedule="constant", learning_rate=0.01)
    result = trained(data, recipe, tmp_path, callbacks=[halving, stop, checkpoint, log])
    assert [epoch["learning_rate"] for epoch in result.epochs] == pytest.approx([0.005, 0.0025])
    saved = keras.saving.load_model(tmp_path / "best.keras")
    assert type(saved.get_layer("bn")) is keras.layers.BatchNormalization
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_callbacks_that_cannot_be_served_are_refused(data: Dataset, tmp_path: Path) -> None:
    class EveryBatch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None: ...

    class Both(EveryBatch):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None: ...

    with pytest.raises(ArgumentError, match="EveryBatch has only on_train_batch_end, which is not called"):
        trained(data, PLAIN, tmp_path, callbacks=[EveryBatch()])
    with pytest.raises(ArgumentError, match=r"callbacks holds 3, no keras\.callbacks\.Callback"):
        edgefm.train("basic_cnn", data=data, epochs=1, callbacks=[3], progress=False)
    with pytest.raises(ArgumentError, match="a sequence of keras"):
        trained(data, PLAIN, tmp_path, callbacks=3)
    notes = Notes()
    trained(data, Training(epochs=1, batch_size=32), tmp_path, callbacks=[Both()], progress=notes)
    assert any("the callback Both is not called at batches" in note for note in notes.notes)


def test_tensorboard_files_hold_the_history(data: Dataset, tmp_path: Path) -> None:
    import tensorflow as tf

    result = trained(data, PLAIN, tmp_path / "run", tensorboard=tmp_path / "board")
    for folder, tag, name in (
        ("train", "epoch_loss", "loss"),
        ("train", "epoch_learning_rate", "learning_rate"),
        ("validation", "epoch_accuracy", "val_accuracy"),
    ):
        (path,) = (tmp_path / "board" / folder).glob("events.out.tfevents.*")
        events = list(tf.compat.v1.train.summary_iterator(str(path)))
        assert events[0].file_version == "brain.Event:2"
        found = {
            event.step: value.simple_value for event in events for value in event.summary.value if value.tag == tag
        }
        assert found == pytest.approx({epoch["epoch"] - 1: epoch[name] for epoch in result.epochs}, rel=1e-6)


def test_tensorboard_needs_a_folder(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for board in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="file is a file; tensorboard needs a folder"):
            edgefm.train("basic_cnn", data=data, tensorboard=board, progress=False)
        with pytest.raises(RunError, match="file is a file; tensorboard needs a folder"):
            edgefm.Run(tmp_path / "run").train(data=data, tensorboard=board, progress=False)
    assert not (tmp_path / "run").exists()


@keras.saving.register_keras_serializable("edgefm.tests")
class Spoils(keras.layers.Layer):
    """Spoils the loss of a step, or the gradient of a step, counted from 1; else it changes nothing."""

    def __init__(self, step: int = 0, gradient: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.step, self.gradient = step, gradient

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "step": self.step, "gradient": self.gradient}

    def build(self, shape: Any) -> None:
        self.done = self.add_weight(shape=(), initializer="zeros", trainable=False, name="done", autocast=False)
        self.scale = self.add_weight(shape=(), initializer="zeros", name="scale")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:
            return inputs + self.scale
        self.done.assign(self.done + 1)
        now = keras.ops.equal(self.done, self.step)
        if self.gradient:  # the root of 0 is 0, its slope is not finite
            return inputs + keras.ops.where(now, keras.ops.sqrt(keras.ops.where(now, self.scale**2 * 0, 1.0)), 0.0)
        return inputs + keras.ops.where(now, float("nan"), 0.0) + self.scale * 0


@pytest.mark.parametrize(
    ("step", "gradient", "where"),
    [
        (8, False, "epoch 2, step 3"),
        (9, True, "epoch 2, step 5"),
        (10, True, "epoch 2, step 5"),
        (15, True, "epoch 3, step 5"),
    ],
    ids=["in the middle", "by an update", "by an epoch's last update", "by the very last update"],
)
def test_nan_stops_with_a_clear_error_and_keeps_the_last_good_weights(
    data: Dataset, tmp_path: Path, step: int, gradient: bool, where: str
) -> None:
    recipe = Training(epochs=3, batch_size=32, optimizer="sgd", weight_decay=0.0)
    with pytest.raises(TrainingDivergedError, match=f"became NaN or infinite in {where}") as caught:
        trained(data, recipe, tmp_path, model=lambda: small_network(extra=[Spoils(step, gradient)]))
    assert "learning rate below" in str(caught.value)
    model = keras.saving.load_model(tmp_path / "last-good.keras")
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_nan_in_the_first_epoch_keeps_nothing(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match="No epoch had been finished"):
        trained(data, PLAIN, tmp_path, model=lambda: small_network(extra=[Spoils(2)]))
    assert not (tmp_path / "last-good.keras").exists()


class TooLarge(keras.layers.Layer):
    """Raises what TensorFlow raises where memory runs out, for batches above a size."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        import tensorflow as tf

        if training and inputs.shape[0] is not None and inputs.shape[0] > self.most:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[512,32,28,28]")
        return inputs


def test_out_of_memory_halves_the_batch_once_and_says_so(data: Dataset, tmp_path: Path) -> None:
    notes = Notes()
    recipe = Training(epochs=2, batch_size=64, flip=False)
    halved = trained(data, recipe, tmp_path, model=lambda: small_network(extra=[TooLarge(32)]), progress=notes)
    assert "out of memory with 64 images a step: beginning again with 32" in notes.notes
    assert [epoch["batch_size"] for epoch in halved.epochs] == [32, 32]
    expected = trained(data, PLAIN, tmp_path / "small")
    assert figures(halved) == figures(expected), "the training is that of the smaller batch from its beginning"
    assert halved.peak_memory["process_bytes"] > 100e6

    with pytest.raises(RunError, match=r"^out of memory with 32 images a step and 0 MB of them on the device\n"):
        trained(data, recipe, tmp_path / "never", model=lambda: small_network(extra=[TooLarge(8)]))


def test_out_of_memory_in_a_later_epoch_keeps_the_finished_ones(data: Dataset, tmp_path: Path) -> None:
    recipe = Training(epochs=3, batch_size=64)
    with pytest.raises(KeyboardInterrupt):
        trained(data, recipe, tmp_path / "run", model=small_network, progress=StopIn(2))
    with pytest.raises(
        RunError,
        match=r"out of memory with 64 .*; the 1 finished epochs are kept",
    ):
        trained(data, recipe, tmp_path / "run", model=lambda: small_network(extra=[TooLarge(32)]))
    assert len(trained(data, recipe, tmp_path / "run", model=small_network).epochs) == 3


def test_training_of_a_halved_batch_is_resumed_with_it(data: Dataset, tmp_path: Path) -> None:
    recipe = Training(epochs=2, batch_size=64)

    def model() -> Any:
        return small_network(extra=[TooLarge(32)])

    whole = trained(data, recipe, tmp_path / "whole", model=model)
    with pytest.raises(KeyboardInterrupt):
        trained(data, recipe, tmp_path / "broken", model=model, progress=StopIn(2))
    assert figures(trained(data, recipe, tmp_path / "broken", model=model)) == figures(whole)


def test_large_pictures_are_evaluated_in_batches_that_a_training_step_could_take(tmp_path: Path) -> None:
    sizes: set[int] = set()

    class Sees(keras.layers.Layer):
        def call(self, inputs: Any, training: bool | None = None) -> Any:
            sizes.update({inputs.shape[0]} - {None} if not training else ())
            return inputs

    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    pixels = random.integers(0, 80, (300, 112, 112, 3), np.uint8) + (80 * labels).astype(np.uint8)[:, None, None, None]
    train, few = (
        Split(name=name, images=pixels[::-1][:n], labels=labels[::-1][:n]) for name, n in (("a", 300), ("b", 95))
    )
    data = Dataset(name="large", labels=("a", "b", "c"), train=train, validation=few, test=few, sha256="")
    recipe = Training(epochs=1, batch_size=8, learning_rate=0.01)
    result = trained(
        data, recipe, tmp_path, model=lambda: small_network(shape=(112, 112, 3), classes=3, extra=[Sees()])
    )
    assert sizes == {500 * 32 * 32 // 112**2}
    for split, said in ((train, result.verdict.train_accuracy), (few, result.kept["val_accuracy"])):
        answers = np.asarray(result.model.predict(split.images, batch_size=32, verbose=0)).argmax(axis=1)
        assert said == pytest.approx(float((answers == split.labels).mean()), abs=1e-9) and said > 0.3


@pytest.mark.parametrize("activation", ["softmax", None], ids=["probabilities", "logits"])
def test_colour_pictures_of_any_size_and_classes(activation: str | None, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 150)
    pixels = (random.integers(0, 64, (150, 11, 17, 3)) + 48 * labels[:, None, None, None]).astype(np.uint8)
    data = edgefm.data.from_arrays(pixels, labels, class_names=tuple("abcd"), progress=False)
    recipe = Training(epochs=20, learning_rate=0.03, **{**EVERYTHING, "cutmix": 0.2})
    result = trained(
        data, recipe, tmp_path, model=lambda: small_network(shape=(11, 17, 3), classes=4, activation=activation)
    )
    assert result.epochs[-1]["loss"] < result.epochs[0]["loss"]
    assert result.epochs[-1]["val_accuracy"] > 0.6


def test_two_classes_by_one_unit_and_inputs_that_are_no_pictures(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(200, 5)).astype(np.float32)
    data = edgefm.data.from_arrays(values, (values[:, 0] > 0).astype(int), class_names=("no", "yes"), progress=False)
    notes = Notes()
    for activation in ("sigmoid", None):

        def model(activation: str | None = activation) -> Any:
            return keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, activation=activation)])

        recipe = Training(epochs=12, batch_size=16, learning_rate=0.1)
        result = trained(data, recipe, tmp_path / str(activation), model=model, progress=notes)
        answers = np.asarray(result.model.predict_on_batch(data.validation.images))[:, 0]
        right = (answers > (0.5 if activation else 0)) == data.validation.labels
        assert result.epochs[-1]["val_accuracy"] == pytest.approx(right.mean()) and right.mean() > 0.85
    assert "the inputs are no pictures: nothing is flipped" in notes.notes


def test_a_model_of_other_outputs_is_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"gives outputs of shape \(None, 7\); the data have 10 classes"):
        trained(data, PLAIN, tmp_path, model=lambda: small_network(classes=7))


def test_history_csv_holds_the_history(data: Dataset, tmp_path: Path) -> None:
    result = trained(data, PLAIN, tmp_path)
    rows = list(csv.DictReader(history_csv(result.epochs).splitlines()))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == list(result.epochs)


_ON_BACKEND = """
import json, sys
from pathlib import Path
import numpy as np
from edgefm.keras_graph.backend import use_backend
use_backend(sys.argv[1])
import keras
from edgefm.recipes import Training
from tests.fixtures.small_data import small_fashion_mnist
from tests.fixtures.small_networks import trained
def model():
    network = keras.Sequential([
        keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, strides=2),
        keras.layers.BatchNormalization(momentum=0.9), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
    random = np.random.default_rng(5)
    for weight in network.trainable_weights:
        weight.assign(random.normal(size=weight.shape) * 0.1 + 1.0 * weight.path.endswith("gamma"))
    return network
recipe = Training(epochs=2, batch_size=32, shift_pixels=2, rotation_degrees=10.0, zoom=0.1, erasing=0.5, mixup=0.3,
                  cutmix=0.5, class_weights="balanced", optimizer="sgd", momentum=0.9, weight_decay=1e-3)
result = trained(small_fashion_mnist(train=160, validation=80), recipe, Path("run"), model=model, backend=sys.argv[1])
print(json.dumps([[epoch["loss"], epoch["val_loss"]] for epoch in result.epochs]))
"""


def _on(backend: str, folder: Path) -> list[list[float]]:
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", _ON_BACKEND, backend], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return result


_RESUMED_ON_TORCH = """
from pathlib import Path
import numpy as np
from edgefm.keras_graph.backend import use_backend
use_backend("torch")
from edgefm.core.errors import RunError
from edgefm.recipes import Training
from tests.fixtures.small_data import small_fashion_mnist
from tests.fixtures.small_networks import trained
from tests.integration.test_training_loop import StopIn, figures
data, recipe = small_fashion_mnist(train=96, validation=32), Training(epochs=3, batch_size=32)
whole = trained(data, recipe, Path("whole"), backend="torch")
try:
    trained(data, recipe, Path("broken"), backend="torch", progress=StopIn(3))
except KeyboardInterrupt:
    resumed = trained(data, recipe, Path("broken"), backend="torch")
assert resumed.resumed_from == 2 and figures(resumed) == figures(whole), (figures(resumed), figures(whole))
state = dict(np.load("whole/checkpoint.npz"))
np.savez("whole/checkpoint.npz", **{**state, "chance_on_cpu": np.zeros(3, np.uint8)})
try:
    trained(data, recipe, Path("whole"), backend="torch")
except RunError as error:
    assert "checkpoint.npz is damaged: " in str(error), error
else:
    raise AssertionError("a damaged state was taken")
"""


@pytest.mark.torch
@pytest.mark.slow
def test_resumed_training_on_pytorch_drops_out_as_an_unbroken_one(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", _RESUMED_ON_TORCH], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.jax
@pytest.mark.torch
@pytest.mark.slow
def test_every_backend_takes_the_same_steps_from_the_same_weights(tmp_path: Path) -> None:
    expected = _on("tensorflow", tmp_path / "tensorflow")
    for backend in ("jax", "torch"):
        # Rounding apart, and the fused operator's variance on TensorFlow.
        np.testing.assert_allclose(_on(backend, tmp_path / backend), expected, rtol=2e-3, err_msg=backend)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_low_precision_learns_as_float32_does(precision: str, data: Dataset, tmp_path: Path) -> None:
    recipe = Training(epochs=2, batch_size=32, learning_rate=0.02, mixup=0.2, rotation_degrees=5.0)
    expected = trained(data, recipe, tmp_path / "float32")
    try:
        result = trained(data, recipe, tmp_path / precision, precision=precision)
    finally:
        keras.config.set_dtype_policy("float32")
    assert result.model.get_layer("conv").compute_dtype == precision.removeprefix("mixed_")
    sums = keras.ops.convert_to_numpy(result.model(data.test.images)).sum(axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)  # a softmax in 16 bits is off by up to 4e-3
    losses, wanted = ([epoch["loss"] for epoch in each.epochs] for each in (result, expected))
    # Eight bits a value: a tenth of what two epochs gain.
    np.testing.assert_allclose(losses, wanted, rtol=0.02)
