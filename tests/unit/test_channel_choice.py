"""How many channels stay, which ones, and what the rest costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgefm.compression.channels.channel_choice import MEASUREMENTS, by_budget, by_share, kept_of, ladder
from edgefm.compression.channels.channel_cost import cost_of
from edgefm.compression.channels.channel_groups import Channels, channels_of
from edgefm.compression.channels.channel_removal import without_channels
from edgefm.compression.channels.latency_share import int8_file
from edgefm.compression.fine_tuning.task import Task
from edgefm.core.errors import ModelError, RecipeError
from edgefm.data.preprocessing import preprocessing
from edgefm.data.quality import quality
from edgefm.recipes import Budget
from edgefm.tflite.inspection import inspect
from tests.fixtures.residual_network import random_weights
from tests.fixtures.small_data import small_fashion_mnist


def network() -> Any:
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="first")(inputs)
    x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    y = layers.SeparableConv2D(16, 3, padding="same", activation="relu", name="apart")(x)
    x = layers.Add()([x, y])
    x = layers.DepthwiseConv2D(3, strides=2, name="depth")(x)
    x = layers.Dense(24, activation="relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="scores")(x))


@pytest.fixture(scope="module")
def channels() -> Channels:
    return channels_of(random_weights(network()))


def in_order(channels: Channels) -> dict[int, float]:
    """Scores 1, 2, 3, … in each group."""
    return {mark: index + 1.0 for group in channels.removable for index, mark in enumerate(group.marks)}


def sizes(channels: Channels, removed: frozenset[int]) -> list[int]:
    return [len(set(group.marks) - removed) for group in channels.removable]


@pytest.mark.parametrize(
    ("channels", "keep", "round_to", "kept"),
    [
        (32, 0.5, 8, 16),
        (32, 0.25, 8, 8),
        (32, 0.01, 8, 8),  # at least one multiple
        (32, 0.36, 8, 8),  # 11.5: the nearest multiple
        (32, 0.38, 8, 16),  # 12.2
        (20, 0.9, 8, 16),
        (20, 1.0, 8, 20),
        (14, 0.99, 8, 14),  # never more than there are
        (6, 0.5, 8, 3),  # narrower than a multiple
        (3, 0.1, 8, 1),
        (10, 0.5, 1, 5),
    ],
)
def test_kept_channels_are_rounded(channels: int, keep: float, round_to: int, kept: int) -> None:
    assert kept_of(channels, keep, round_to) == kept


def test_share_keeps_the_most_important_of_each_group(channels: Channels) -> None:
    scores = in_order(channels)
    removed = by_share(channels, scores, keep=0.5, round_to=8).removed
    assert sizes(channels, removed) == [8, 16]  # 12 of 24 goes up
    for group in channels.removable:
        kept = set(group.marks) - removed
        assert min(scores[mark] for mark in kept) > max(scores[mark] for mark in removed & set(group.marks))


def test_a_layer_with_a_share_of_its_own_keeps_it(channels: Channels) -> None:
    scores = in_order(channels)
    removed = by_share(channels, scores, keep=1.0, round_to=8, layers={"apart": 0.5, "hidden": 0.25}).removed
    assert sizes(channels, removed) == [8, 8]  # 'apart' and 'first' are added up: one group


@pytest.mark.parametrize(
    ("layers", "reason"),
    [({"hiden": 0.5}, "'hiden', of which no channels can leave"), ({"first": 0.5, "apart": 1.0}, "different shares")],
)
def test_a_share_that_no_group_can_have_is_refused(channels: Channels, layers: dict[str, float], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        by_share(channels, in_order(channels), keep=1.0, round_to=8, layers=layers)


def test_ladder_takes_the_globally_least_important_first(channels: Channels) -> None:
    tied, hidden = channels.removable
    assert (tied.layers, hidden.layers) == (("first", "apart"), ("hidden",))
    scores = in_order(channels) | {mark: 100.0 + mark for mark in tied.marks}
    found = [sizes(channels, removed) for removed in ladder(channels.removable, scores, round_to=8)]
    assert found == [[16, 24], [16, 16], [16, 8], [8, 8]]
    scores = {mark: score + 1000 * (mark in hidden.marks) for mark, score in scores.items()}
    found = [sizes(channels, removed) for removed in ladder(channels.removable, scores, round_to=8)]
    assert found == [[16, 24], [8, 24], [8, 16], [8, 8]]


@pytest.mark.parametrize("budget", [Budget(macs=0.5), Budget(size=0.4), Budget(macs=0.9, size=0.3)], ids=str)
def test_budget_is_met_by_the_first_step_that_meets_it(channels: Channels, budget: Budget) -> None:
    scores = in_order(channels)
    whole = cost_of(channels)

    def holds(removed: frozenset[int]) -> bool:
        built = cost_of(channels_of(without_channels(channels, removed)))
        macs = (built.macs or 0) / (whole.macs or 1)
        return macs <= (budget.macs or 1) and built.weight_bytes / whole.weight_bytes <= (budget.size or 1)

    removed = by_budget(channels, scores, budget, round_to=2).removed
    steps = ladder(channels.removable, scores, round_to=2)
    assert holds(removed)
    assert not holds(steps[steps.index(removed) - 1])


def test_budget_that_is_met_already_removes_nothing(channels: Channels) -> None:
    assert not by_budget(channels, in_order(channels), Budget(macs=1.0), round_to=8).removed


def test_impossible_budget_says_the_least_that_can_be_reached(channels: Channels) -> None:
    least = cost_of(channels, ladder(channels.removable, in_order(channels), round_to=8)[-1])
    share = least.weight_bytes / cost_of(channels).weight_bytes
    with pytest.raises(RecipeError) as error:
        by_budget(channels, in_order(channels), Budget(size=0.01, macs=0.99), round_to=8)
    assert "budget size 0.01 cannot be met" in error.value.message
    assert f"size {share:.3f} is the minimum" in error.value.message
    assert "scores (it is an output of the model)" in error.value.message


def latency_of(channels: Channels, calls: list[int]) -> Callable[[frozenset[int]], float]:
    def measure(removed: frozenset[int]) -> float:
        calls.append(len(removed))
        return 1 - len(removed) / 40

    return measure


def test_latency_budget_is_met_with_few_measurements(channels: Channels) -> None:
    calls: list[int] = []
    choice = by_budget(
        channels, in_order(channels), Budget(latency=0.5), round_to=1, latency=latency_of(channels, calls)
    )
    assert choice.latency is not None
    assert choice.latency == 1 - len(choice.removed) / 40 <= 0.5
    assert len(choice.removed) <= 22, "20 would do; 38 steps and six measurements leave an uncertainty of two"
    assert choice.measurements == len(calls) <= MEASUREMENTS


def test_impossible_latency_is_an_error_after_one_measurement(channels: Channels) -> None:
    calls: list[int] = []
    with pytest.raises(RecipeError, match=r"latency 0\.02 cannot be met: latency 0\.050"):
        by_budget(channels, in_order(channels), Budget(latency=0.02), round_to=1, latency=latency_of(channels, calls))
    assert len(calls) == 1


def test_macs_budget_of_a_dynamic_size_is_an_error() -> None:
    inputs = keras.Input((None, None, 3))
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(16, 3)(inputs))
    dynamic = channels_of(keras.Model(inputs, layers.Dense(2)(x)))
    assert cost_of(dynamic).macs is None
    with pytest.raises(ModelError, match="not fixed"):
        by_budget(dynamic, in_order(dynamic), Budget(macs=0.5), round_to=8)


@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_cost_is_what_the_int8_file_holds(channels: Channels, keep: float, tmp_path: Path) -> None:
    task = Task(
        dataset=small_fashion_mnist(train=32),
        encoding=preprocessing((0, 1)),
        quality=quality("accuracy", task="classification"),
    )
    removed = by_share(channels, in_order(channels), keep=keep, round_to=8).removed
    path = tmp_path / "int8.tflite"
    path.write_bytes(int8_file(without_channels(channels, removed), task))
    found, counted = inspect(path), cost_of(channels, removed)
    assert counted.macs == found.macs
    # The constants of a reshape may come beside kernels and biases.
    assert counted.weight_bytes <= found.weight_bytes <= counted.weight_bytes + 128
    assert np.isclose(cost_of(channels_of(without_channels(channels, removed))).macs or 0, counted.macs or -1)
