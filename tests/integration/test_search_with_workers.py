"""Whole searches whose trials and finalists are trained elsewhere: by other processes, and on a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.compression.channels import slimming
from edgefm.core.errors import EdgefmError
from edgefm.data.dataset import Dataset
from edgefm.jobs import search as search_job
from edgefm.recipes import BenchmarkProtocol
from edgefm.searching import search
from edgefm.searching.executors import by_default
from edgefm.searching.space import Space
from tests.fixtures.notes import Notes
from tests.fixtures.search_driver import latency
from tests.fixtures.small_data import small_fashion_mnist

ONCE = BenchmarkProtocol(rounds=1, rounds_at_most=1, repeats_at_most=0, round_seconds=0.01)
SPACE = Space(groups={"keep:conv": ("conv",)}, sparsity=False, clusters=False, schemes=("int8_w8a8",))
TRIALS, SEEDS = 2, 2


def _network(*further: Any) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            *further,
            layers.Conv2D(32, 3, strides=3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ],
        name="mine",
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_fashion_mnist(train=256, validation=100, test=50)


@pytest.fixture
def trained_here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Search a small space; the epochs that this process has trained channels for."""
    here: list[int] = []
    slim = slimming.slim

    def noted(model: Any, recipe: Any, *arguments: Any, **options: Any) -> Any:
        if recipe.fine_tuning.epochs:  # a forecast trains nothing
            here.append(recipe.fine_tuning.epochs)
        return slim(model, recipe, *arguments, **options)

    monkeypatch.setattr(slimming, "slim", noted)
    monkeypatch.setattr(search, "space_of", lambda model: SPACE)
    monkeypatch.setattr(search_job, "_latency", lambda folder, progress: latency)
    monkeypatch.setattr(search_job, "_rough", lambda folder, budgets, progress: (None, {}))
    monkeypatch.setattr(by_default, "core_share", lambda: 2)
    return here


def _search(folder: Path, data: Dataset, *further: Any, **how: Any) -> edgefm.SearchResult:
    asked: dict[str, Any] = {"trials": TRIALS, "epochs": 1, "seeds": SEEDS, "protocol": ONCE, "progress": False}
    # A quarter of the channels keeps it, a half does not: the finalist is the second trial.
    return edgefm.search(_network(*further), {"small": {"max_macs": "6 K"}}, data=data, out=folder, **asked | how)


def _answers(path: Path, images: Any) -> Any:
    """Return the probabilities that the stock interpreter gives for images."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for image in images:
        interpreter.set_tensor(taken["index"], image.reshape(taken["shape"]).astype(taken["dtype"]))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(given["index"])[0].astype(np.float64))
    scale, zero_point = given["quantization"]
    return scale * (np.array(answers) - zero_point)


_RAY = {"executor": "ray", "address": "local", "workers": 2}


@pytest.mark.parametrize(
    "how",
    [{}, pytest.param(_RAY, marks=pytest.mark.ray)],
    ids=["by default", "ray"],
)
def test_finalists_are_trained_where_trials_are_and_are_those_of_one_process(
    how: dict[str, Any], data: Dataset, trained_here: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray leaves a token in the home folder, for all to come
    alone = _search(tmp_path / "alone", data, workers=1)
    assert trained_here == [1] * TRIALS + [2] * SEEDS
    trained_here.clear()
    elsewhere = _search(tmp_path / "elsewhere", data, **how)
    assert trained_here == []
    first, second = alone.document["finalists"][0], elsewhere.document["finalists"][0]
    assert (second["trial"], second["seed"]) == (first["trial"], first["seed"]) and elsewhere.met["small"]
    for one, other in zip(first["seeds"], second["seeds"], strict=True):
        assert other["seed"] == one["seed"] and other["figures"]["macs"] == one["figures"]["macs"]
        assert other["figures"]["accuracy_loss"] == pytest.approx(one["figures"]["accuracy_loss"], abs=1)  # a sample
    # The same seed and data; sums may be in another order where another number of threads was given.
    answers = [_answers(result.files["small"], data.test.images) for result in (alone, elsewhere)]
    np.testing.assert_allclose(answers[1], answers[0], atol=0.02)


def test_model_that_no_other_process_can_load_is_searched_in_this_one_or_refused_by_its_layer(
    data: Dataset, trained_here: list[int], tmp_path: Path
) -> None:
    from keras import layers, saving

    @saving.register_keras_serializable()
    class Mine(layers.Activation):
        """A layer that is defined where no other process can import it."""

    notes = Notes()
    result = _search(tmp_path / "one", data, Mine("relu"), seeds=0, progress=notes)
    assert trained_here == [1] * TRIALS and len(result.front) >= 1
    (said,) = [note for note in notes.notes if note.startswith("one trial at a time, in this process: ")]
    assert "cannot be handed to another process" in said and "Mine" in said
    kept = sum(path.stat().st_size for path in (tmp_path / "one" / "passes").glob("*/*"))
    assert notes.notes[-1].startswith(f"{tmp_path / 'one' / 'passes'} takes {kept / 1e6:,.1f} MB; where it is removed")
    trained_here.clear()
    with pytest.raises(EdgefmError, match=r"handed to another process: .*Mine.*\n.*Search with one worker"):
        _search(tmp_path / "two", data, Mine("relu"), seeds=0, workers=2)
    # No trial failed for it: another search in its place would know nothing of these points.
    assert "its worker ended" not in (tmp_path / "two" / "journal.log").read_text()
