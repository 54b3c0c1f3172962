from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from edgefm.compression.fine_tuning.loop import fine_tune, fine_tune_keras, learning_rates
from edgefm.compression.fine_tuning.task import Task
from edgefm.core.errors import ModelError, RecipeError, TrainingDivergedError
from edgefm.core.progress import SILENT
from edgefm.data.quality import quality
from edgefm.recipes import Distillation, FineTuning
from tests.fixtures.tiny_tasks import tiny_cnn, tiny_task

RECIPE = FineTuning(epochs=2, batch_size=16, learning_rate=5e-3)


def bridged(model: Any) -> Any:
    from edgefm_converters.bridge.bridge import to_tf_keras

    return to_tf_keras(model)


def answers(model: Any, task: Task, *, images: int = 64) -> np.ndarray:
    return np.asarray(model.predict_on_batch(task.inputs(task.dataset.validation.images[:images])))


def test_fine_tuning_learns_and_tells_of_each_epoch() -> None:
    task, model = tiny_task(train=600), tiny_cnn()
    trained, history = fine_tune_keras(model, RECIPE, task, seed=0, label="tune")
    assert [entry["epoch"] for entry in history] == [1, 2]
    assert set(history[0]) == {"epoch", "loss", "val_quality", "learning_rate", "seconds", "images_per_second"}
    assert history[1]["loss"] < history[0]["loss"]
    inputs = task.inputs(task.dataset.validation.images)
    measured = task.quality.function((trained.predict(inputs, verbose=0),), task.dataset.validation.labels)
    assert history[-1]["val_quality"] == pytest.approx(measured, abs=1e-6)
    assert measured > 0.3, "chance is 0.1"
    assert history[-1]["learning_rate"] == 0.0
    np.testing.assert_array_equal(answers(model, task), answers(tiny_cnn(), task), "the given model is unchanged")


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    task, recipe = tiny_task(), dataclasses.replace(RECIPE, batch_size=64)
    results = [fine_tune_keras(tiny_cnn(), recipe, task, seed=seed, label="tune") for seed in (5, 5, 6)]
    weights = [np.concatenate([array.ravel() for array in model.get_weights()]) for model, _ in results]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert results[0][1][0]["loss"] == results[1][1][0]["loss"]
    assert not np.array_equal(weights[0], weights[2])


def test_training_in_one_epoch_is_that_of_tf_keras() -> None:
    import tf_keras

    task = tiny_task()
    recipe = FineTuning(epochs=1, batch_size=32, learning_rate=1e-3, schedule="constant", flip=False)
    mine, theirs = bridged(tiny_cnn()), bridged(tiny_cnn())
    fine_tune(mine, recipe, task, seed=3, label="tune")
    order = np.random.default_rng([3, 0]).permutation(len(task.dataset.train))
    theirs.compile(tf_keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    images, labels = task.dataset.train.images[order], task.dataset.train.labels[order]
    theirs.fit(task.inputs(images), labels, batch_size=32, shuffle=False, verbose=0)
    for own, expected in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, expected, atol=2e-5)  # Adam divides rounding errors by small numbers


def test_no_epochs_train_nothing() -> None:
    task, model = tiny_task(), tiny_cnn()
    trained, history = fine_tune_keras(model, FineTuning(epochs=0), task, seed=0, label="tune")
    assert history == ()
    for own, given in zip(trained.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, given)


def test_fewer_samples_than_a_batch_are_one_batch() -> None:
    _, history = fine_tune_keras(
        tiny_cnn(), FineTuning(epochs=2, batch_size=64), tiny_task(train=20), seed=0, label="tune"
    )
    assert len(history) == 2


def test_a_student_of_a_teacher_alone_comes_to_answer_like_it() -> None:
    task = tiny_task(train=600)
    teacher, _ = fine_tune_keras(tiny_cnn(seed=1), RECIPE, task, seed=0, label="teacher")
    recipe = dataclasses.replace(RECIPE, epochs=3, distillation=Distillation(weight=1.0, temperature=2.0))
    student, history = fine_tune_keras(
        tiny_cnn(seed=2), recipe, task, seed=0, label="student", teacher=teacher.predict_on_batch
    )
    wanted = answers(teacher, task)
    before = np.abs(answers(tiny_cnn(seed=2), task) - wanted).mean()
    assert np.abs(answers(student, task) - wanted).mean() < before / 2
    assert history[-1]["loss"] < history[0]["loss"] / 2


def test_teacher_is_asked_about_the_augmented_images_in_their_order() -> None:
    task = tiny_task()
    asked: list[np.ndarray] = []

    def teacher(inputs: np.ndarray) -> np.ndarray:
        asked.append(inputs)
        return np.full((len(inputs), 10), 0.1, np.float32)

    recipe = FineTuning(epochs=2, batch_size=32, distillation=Distillation())
    fine_tune(bridged(tiny_cnn()), recipe, task, seed=4, label="tune", teacher=teacher)
    seen = np.concatenate(asked)
    order = np.random.default_rng([4, 0]).permutation(len(task.dataset.train))
    images = task.inputs(task.dataset.train.images[order])
    assert len(seen) == 2 * len(images)
    mirrored = 0
    for own, image in zip(seen[: len(images)], images, strict=True):
        assert np.array_equal(own, image) or np.array_equal(own, image[:, ::-1])
        mirrored += not np.array_equal(own, image)
    assert 0.3 < mirrored / len(images) < 0.7
    assert not np.array_equal(seen[: len(images)], seen[len(images) :]), "another order in each epoch"


def test_further_outputs_are_compared_with_those_before_training() -> None:
    task = tiny_task(train=32)
    inputs, labels = task.inputs(task.dataset.train.images), task.dataset.train.labels

    def loss(model: Any, wanted: np.ndarray) -> float:
        first, second = (np.asarray(output, np.float64) for output in model.predict_on_batch(inputs))
        return float(-np.log(first[np.arange(32), labels]).mean() + ((second - wanted) ** 2).mean())

    model = tiny_cnn(outputs=2)
    before = np.asarray(model.predict_on_batch(inputs)[1])
    recipe = FineTuning(epochs=1, batch_size=32, learning_rate=3e-3, schedule="constant", flip=False)
    once, _ = fine_tune_keras(model, recipe, task, seed=0, label="tune")
    _, history = fine_tune_keras(model, dataclasses.replace(recipe, epochs=2), task, seed=0, label="tune")
    assert history[0]["loss"] == pytest.approx(loss(model, before), rel=1e-4)
    assert history[1]["loss"] == pytest.approx(loss(once, before), rel=1e-3)
    assert loss(once, before) > loss(once, np.asarray(once.predict_on_batch(inputs)[1])) + 1e-3


def test_regression_takes_pictures_as_they_are() -> None:
    import keras
    from keras import layers

    base = tiny_task()
    # The darkness of the left half: mirroring would change it.
    splits = {
        split.name: dataclasses.replace(
            split, labels=(split.images[:, :, :14].mean(axis=(1, 2, 3)) / 255).astype(np.float32)
        )
        for split in (base.dataset.train, base.dataset.validation)
    }
    task = dataclasses.replace(
        base,
        dataset=dataclasses.replace(base.dataset, task="regression", **splits),
        quality=quality("mse", task="regression"),
    )
    image = keras.Input((28, 28, 1))
    model = keras.Model(image, layers.Dense(1, name="darkness")(layers.Flatten(name="flat")(image)))
    left_half = np.zeros((28, 28), np.float32)
    left_half[:, :14] = 1 / (28 * 14)
    model.set_weights([left_half.reshape(-1, 1), np.zeros(1, np.float32)])  # the exact solution
    recipe = FineTuning(epochs=1, batch_size=16, learning_rate=1e-6, flip=True)
    _, history = fine_tune_keras(model, recipe, task, seed=0, label="tune")
    right_half = base.dataset.train.images[:, :, 14:].mean(axis=(1, 2, 3)) / 255
    assert np.mean((splits["train"].labels - right_half) ** 2) > 3e-3, "what mirrored pictures would cost"
    assert history[0]["loss"] < 1e-6
    assert history[0]["val_quality"] < 1e-6


def test_loss_that_is_not_finite_stops_with_a_hint() -> None:
    task = tiny_task()
    with pytest.raises(TrainingDivergedError, match="tune: the loss became NaN or infinite in epoch 1") as caught:
        fine_tune_keras(tiny_cnn(), FineTuning(epochs=1, learning_rate=1e30), task, seed=0, label="tune")
    assert "learning_rate below 1e+30" in str(caught.value)


def test_a_recipe_with_teachers_needs_one() -> None:
    with pytest.raises(RecipeError, match="learns from a teacher, but none is given"):
        fine_tune(bridged(tiny_cnn()), FineTuning(distillation=Distillation()), tiny_task(), seed=0, label="tune")


def test_a_teacher_of_other_classes_is_refused() -> None:
    with pytest.raises(ModelError, match="the teacher has 7 classes, the model 10"):
        fine_tune(
            bridged(tiny_cnn()),
            FineTuning(distillation=Distillation()),
            tiny_task(),
            seed=0,
            label="tune",
            teacher=lambda inputs: np.full((len(inputs), 7), 1 / 7, np.float32),
        )


def test_a_stop_in_the_middle_of_an_epoch_is_not_swallowed() -> None:
    class Stop:
        def __init__(self) -> None:
            self.calls = 0

        def step(self, label: str, done: int, total: int, figures: object = None) -> None:
            self.calls += 1
            raise KeyboardInterrupt

        note = SILENT.note

    stop = Stop()
    with pytest.raises(KeyboardInterrupt):
        fine_tune(bridged(tiny_cnn()), FineTuning(epochs=9), tiny_task(), seed=0, label="tune", progress=stop)
    assert stop.calls == 1


def test_one_cycle_rises_for_a_tenth_and_falls_to_zero() -> None:
    rates = learning_rates(FineTuning(epochs=2, learning_rate=1e-3), steps=50)
    assert len(rates) == 100
    assert rates.argmax() == 9
    assert rates.max() == pytest.approx(1e-3)
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[9:]) < 0).all()
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(rates[54], 5e-4, rtol=1e-3)  # half-way down the cosine
    constant = learning_rates(FineTuning(epochs=1, learning_rate=1e-3, schedule="constant"), steps=5)
    np.testing.assert_array_equal(constant, np.full(5, 1e-3, np.float32))


def test_pictures_marked_as_not_flippable_are_not_mirrored() -> None:
    task = tiny_task(train=128)
    marked = dataclasses.replace(task, dataset=dataclasses.replace(task.dataset, flippable=False))
    unflipped = dataclasses.replace(RECIPE, flip=False)
    kernels = [
        np.concatenate(
            [array.ravel() for array in fine_tune_keras(tiny_cnn(), recipe, of, seed=1, label="t")[0].get_weights()]
        )
        for of, recipe in ((marked, RECIPE), (task, unflipped), (task, RECIPE))
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
