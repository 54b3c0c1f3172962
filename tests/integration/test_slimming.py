"""Slimming a trained classifier: what is removed, what is said of it, and what a file of it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from edgefm.compression.channels.channel_groups import channels_of
from edgefm.compression.channels.channel_removal import without_channels
from edgefm.compression.channels.importance import importance_of, taylor_scores
from edgefm.compression.channels.latency_share import int8_latency_share
from edgefm.compression.channels.slimming import quality_of, slim
from edgefm.compression.fine_tuning.task import Task
from edgefm.core.errors import ModelError, NoQualityError, RecipeError
from edgefm.data.preprocessing import preprocessing
from edgefm.data.quality import quality
from edgefm.recipes import Budget, FineTuning, Slim
from tests.fixtures.residual_network import small_resnet
from tests.fixtures.small_data import small_fashion_mnist

NO_TRAINING = FineTuning(epochs=0)


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(
        dataset=small_fashion_mnist(train=1280, validation=400),
        encoding=preprocessing((0, 255)),
        quality=quality("accuracy", task="classification"),
    )


@pytest.fixture(scope="module")
def trained(task: Task) -> Any:
    """A small convolutional classifier after three epochs; its second convolution has channels without use."""
    keras.utils.set_random_seed(4)
    network = [
        keras.Input((28, 28, 1), name="image"),
        layers.Rescaling(1 / 255),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="conv1"),
        layers.BatchNormalization(momentum=0.8, name="bn1"),
        layers.Conv2D(24, 3, strides=2, padding="same", activation="relu", name="conv2"),
        layers.Flatten(),
        layers.Dense(32, activation="relu", name="dense1"),
        layers.Dropout(0.5, name="dropout1"),
        layers.Dense(10, activation="softmax", name="scores"),
    ]
    model = keras.Sequential(network, name="trained")
    model.compile("adam", "sparse_categorical_crossentropy")
    train = task.dataset.train
    model.fit(task.inputs(train.images), train.labels, batch_size=32, epochs=3, verbose=0)
    dense = model.get_layer("dense1")
    kernel = dense.kernel.numpy().reshape(7, 7, 24, 32)
    kernel[:, :, UNUSED] = 0
    dense.kernel.assign(kernel.reshape(-1, 32))
    return model


UNUSED = [1, 4, 5, 9, 12, 13, 20, 23]


def test_taylor_ranks_channels_without_use_last(trained: Any, task: Task) -> None:
    channels = channels_of(trained)
    group = channels.removable[1]
    scores = importance_of(channels, "taylor", task).scores
    assert [index for index, mark in enumerate(group.marks) if scores[mark] == 0] == UNUSED
    for group in channels.removable:
        assert np.mean([scores[mark] for mark in group.marks]) == pytest.approx(1)
    kept = quality_of(without_channels(channels, [channels.removable[1].marks[index] for index in UNUSED]), task)
    assert kept == quality_of(trained, task)


def test_taylor_predicts_the_change_of_the_loss(trained: Any, task: Task) -> None:
    """Scaling the slices that take a channel by 1 - e changes a batch's loss by e times the score."""
    few = replace(task, dataset=replace(task.dataset, validation=replace_first(task, 16)))
    channels = channels_of(trained)
    group = channels.removable[1]
    count = 1 + max(int(marks.max()) for marks in channels.tensors.values())
    found = taylor_scores(channels, few, count=count)[list(group.marks)]

    kernel = trained.get_layer("dense1").kernel
    whole, step = kernel.numpy(), 1e-2
    expected = []
    for index in range(24):
        changed = whole.reshape(7, 7, 24, 32).copy()
        losses = []
        for scale in (1 - step, 1 + step):
            changed[:, :, index] = scale * whole.reshape(7, 7, 24, 32)[:, :, index]
            kernel.assign(changed.reshape(-1, 32))
            losses.append(cross_entropy(trained, few))
        expected.append(abs(losses[1] - losses[0]) / (2 * step))
    kernel.assign(whole)
    # Central differences of a float32 loss: 1e-7 of the loss over twice the step.
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=1e-4)


def replace_first(task: Task, count: int) -> Any:
    split = task.dataset.validation
    return replace(split, images=split.images[:count], labels=split.labels[:count])


def cross_entropy(model: Any, task: Task) -> float:
    split = task.dataset.validation
    probabilities = np.asarray(model(task.inputs(split.images), training=False), np.float64)
    return float(-np.log(probabilities[np.arange(len(split)), split.labels]).mean())


def test_bn_scale_is_gamma_and_the_norm_where_there_is_none(trained: Any, task: Task) -> None:
    channels = channels_of(trained)
    found = importance_of(channels, "bn_scale", task)
    assert found.ranked_by == {("conv1",): "bn_scale", ("conv2",): "l1", ("dense1",): "l1"}
    gamma = np.abs(trained.get_layer("bn1").gamma.numpy())
    norm = np.abs(trained.get_layer("conv2").kernel.numpy()).sum(axis=(0, 1, 2))
    for group, expected in zip(channels.removable, (gamma, norm), strict=False):
        scores = [found.scores[mark] for mark in group.marks]
        np.testing.assert_allclose(scores, expected / expected.mean(), rtol=1e-5)


def test_slim_halves_each_layer_and_says_so(trained: Any, task: Task) -> None:
    before = [np.array(weight) for weight in trained.get_weights()]
    recipe = Slim(keep=0.5, fine_tuning=FineTuning(epochs=2, learning_rate=2e-3))
    result = slim(trained, recipe, task, seed=1)

    for old, new in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    kernels = {name: result.model.get_layer(name).kernel.shape for name in ("conv1", "conv2", "dense1", "scores")}
    assert kernels == {"conv1": (3, 3, 1, 8), "conv2": (3, 3, 8, 16), "dense1": (784, 16), "scores": (16, 10)}
    facts = result.facts
    assert [(group["layers"], group["channels"], group["kept"]) for group in facts["groups"]] == [
        (["conv1"], 16, 8),
        (["conv2"], 24, 16),  # 12 lies between 8 and 16: the half goes up
        (["dense1"], 32, 16),
    ]
    assert facts["frozen"] == [{"layers": ["scores"], "channels": 10, "frozen": "it is an output of the model"}]
    assert facts["parameters"]["after"] == result.model.count_params()
    assert facts["macs"]["before"] == 14 * 14 * 9 * 16 + 7 * 7 * 9 * 16 * 24 + 7 * 7 * 24 * 32 + 320
    assert facts["macs"]["after"] == 14 * 14 * 9 * 8 + 7 * 7 * 9 * 8 * 16 + 7 * 7 * 16 * 16 + 160
    assert len(result.history) == 2
    measured = facts["quality"]
    assert measured["before"] == quality_of(trained, task)
    assert measured["fine_tuned"] == quality_of(result.model, task) == result.history[-1]["val_quality"]
    assert measured["fine_tuned"] > max(0.65, measured["removed"])


def test_network_that_a_measure_has_no_number_for_before_it_is_trained_on_is_slimmed(trained: Any, task: Task) -> None:
    values = iter([None, 0.8, 0.7])

    def measured(outputs: Any, targets: Any) -> float:
        value = next(values)
        if value is None:
            raise NoQualityError("none")
        return value

    measure = replace(task.quality, function=measured)
    recipe = Slim(keep=0.5, importance="l1", fine_tuning=NO_TRAINING)
    facts = slim(trained, recipe, replace(task, quality=measure), seed=0).facts
    assert [facts["quality"][name] for name in ("before", "removed", "fine_tuned")] == [0.8, None, 0.7]


def test_slim_by_budget_meets_it(trained: Any, task: Task) -> None:
    recipe = Slim(keep=None, budget=Budget(macs=0.6, size=0.7), importance="l1", fine_tuning=NO_TRAINING)
    facts = slim(trained, recipe, task, seed=0).facts
    assert facts["macs"]["share"] <= 0.6
    assert facts["weight_bytes"]["share"] <= 0.7


def test_slim_by_latency_uses_the_measurement(trained: Any, task: Task) -> None:
    asked = []

    def measure(slimmed: Any, whole: Any) -> float:
        asked.append(slimmed.count_params())
        return float(slimmed.count_params() / whole.count_params())

    recipe = Slim(keep=None, budget=Budget(latency=0.5), importance="l1", fine_tuning=NO_TRAINING)
    result = slim(trained, recipe, task, seed=0, measure_latency=measure)
    assert result.model.count_params() in asked
    assert result.facts["latency"] == {
        "share": round(result.model.count_params() / trained.count_params(), 4),
        "measurements": len(asked),
    }
    assert result.facts["latency"]["share"] <= 0.5


@pytest.mark.serial
def test_latency_share_is_measured_on_int8_files(task: Task) -> None:
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(256, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(256, 3, padding="same", activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    channels = channels_of(model)
    narrow = without_channels(channels, [mark for group in channels.removable for mark in group.marks[8:]])
    # 0.2 % of the multiply-accumulates; half of the time leaves room for a disturbed machine. (Where the processor
    # multiplies tiles, AMX, 8 channels of 64 took 0.8 times as long as all of them.)
    assert int8_latency_share(narrow, model, task) < 0.5


def test_small_resnet_with_concatenation_is_slimmed_and_trained(task: Task) -> None:
    random = np.random.default_rng(0)
    model = small_resnet()
    dataset = task.dataset

    def generated(split: Any, count: int) -> Any:
        images: NDArray[np.uint8] = random.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        return replace(split, images=images, labels=random.integers(0, model.output_shape[-1], count))

    made = replace(
        dataset, train=generated(dataset.train, 64), validation=generated(dataset.validation, 32), sha256="generated"
    )
    recipe = Slim(keep=0.5, round_to=2, fine_tuning=FineTuning(epochs=1))
    result = slim(model, recipe, replace(task, dataset=made), seed=0)
    assert result.facts["macs"]["share"] < 0.4
    assert all(group["kept"] < group["channels"] for group in result.facts["groups"])
    assert result.model.output_shape == model.output_shape


def test_model_without_removable_channels_is_an_error(task: Task) -> None:
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10, name="scores")])
    with pytest.raises(ModelError, match=r"no channel of .* can be removed: scores: it is an output of the model"):
        slim(model, Slim(), task, seed=0)


def test_excluded_layers_keep_their_channels(trained: Any, task: Task) -> None:
    recipe = Slim(keep=0.5, exclude=("conv*",), importance="l1", fine_tuning=NO_TRAINING)
    result = slim(trained, recipe, task, seed=0)
    assert result.model.get_layer("conv1").filters == 16
    assert result.model.get_layer("dense1").units == 16


def test_unreachable_budget_names_the_least(trained: Any, task: Task) -> None:
    recipe = Slim(keep=None, budget=Budget(macs=0.01), importance="l1", fine_tuning=NO_TRAINING)
    with pytest.raises(RecipeError, match=r"macs 0\.01 cannot be met: macs 0\.1"):
        slim(trained, recipe, task, seed=0)
