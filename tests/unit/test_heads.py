"""What a model's end, its stored loss and the labels say of its head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.core.errors import DataError, ModelError, RecipeError
from edgefm.data.head import ModelHead
from edgefm.data.own.tasks import task_of
from edgefm.quantization.heads import Head, head_of, task_without_data
from edgefm_converters.readers.stored_loss import stored_loss
from tests.fixtures.notes import Notes

IDS, TWO = np.arange(10) % 4, np.arange(10) % 2
HOT = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]] * 2)
ONE = ModelHead(shape=(1,), activation="linear")
FOUR = ModelHead(shape=(4,), activation="linear")


def head(units: int, activation: str = "linear", loss: str = "", *, logits: bool = False) -> ModelHead:
    return ModelHead(shape=(units,), activation=activation, loss=loss, from_logits=logits)


@pytest.mark.parametrize(
    ("labels", "end", "task"),
    [
        pytest.param(TWO, ONE, "classification", id="0 and 1 for one unit"),
        pytest.param(TWO.astype(np.float32), ONE, "classification", id="0.0 and 1.0 for one unit"),
        pytest.param(TWO.astype(np.float32)[:, None], head(1, "sigmoid"), "classification", id="column for a sigmoid"),
        pytest.param(TWO.astype(np.float32), head(1, loss="mean_squared_error"), "regression", id="0.0 and 1.0, mse"),
        pytest.param(TWO, head(1, loss="mean_absolute_error"), "regression", id="0 and 1, mae"),
        pytest.param(IDS, ONE, "regression", id="0 to 3 for one linear unit"),
        pytest.param(IDS, head(1, "sigmoid"), "classification", id="0 to 3 for one sigmoid: refused later"),
        pytest.param(IDS, FOUR, "classification", id="0 to 3 for four units"),
        pytest.param(IDS.astype(np.float32), FOUR, "classification", id="0.0 to 3.0 for four units"),
        pytest.param(IDS.astype(np.float32), None, "regression", id="0.0 to 3.0 for an unknown model"),
        pytest.param(IDS / 2, FOUR, "regression", id="fractions"),
        pytest.param(np.eye(4, dtype=np.float32)[IDS], head(4, "sigmoid"), "classification", id="one-hot floats"),
        pytest.param(HOT, head(3), "multilabel", id="several ones a row"),
        pytest.param(HOT.astype(np.float32), head(3, "sigmoid"), "multilabel", id="several ones a row, floats"),
        pytest.param(HOT.astype(bool), None, "multilabel", id="several ones a row, bool"),
        pytest.param(HOT, head(3, loss="mean_squared_error"), "regression", id="several ones a row, mse"),
        pytest.param(HOT, head(3, "sigmoid", "mean_squared_error"), "multilabel", id="sigmoids trained by mse"),
        pytest.param(HOT * 0.5, head(3, "sigmoid"), "regression", id="rows of other numbers"),
        pytest.param(2 * TWO - 1, head(1, loss="hinge"), "classification", id="-1 and 1, hinge"),
        pytest.param(2.0 * TWO - 1, head(1, "other"), "classification", id="-1.0 and 1.0 for a tanh"),
        pytest.param(2 * TWO - 1, head(1, loss="mean_squared_error"), "regression", id="-1 and 1, mse"),
        pytest.param(np.array(["no", "yes"] * 5), head(1), "classification", id="names"),
    ],
)
def test_task_follows_from_labels_and_head(labels: np.ndarray, end: ModelHead | None, task: str) -> None:
    assert task_of({"train": labels, "test": labels}, None, source="data", head=end) == task


def test_what_was_said_is_the_task_and_a_doubtful_one_is_noted() -> None:
    notes = Notes()
    assert task_of({"train": IDS}, "classification", source="data", head=ONE, progress=notes) == "classification"
    assert not notes.notes
    assert task_of({"train": IDS}, None, source="data", head=ONE, progress=notes) == "regression"
    assert notes.notes[0].startswith("the labels of data are used as targets of a regression: the model has one output")
    assert task_of({"train": IDS}, None, source="data", head=ONE, named=True) == "classification"
    with pytest.raises(DataError, match="the test samples of data have no labels"):
        task_of({"train": IDS, "test": None}, None, source="data")


@pytest.mark.parametrize(
    ("end", "task", "kind", "added"),
    [
        pytest.param(ONE, "classification", "sigmoid", "sigmoid", id="one logit"),
        pytest.param(head(1, loss="hinge"), "classification", "sigmoid", "sigmoid", id="one margin"),
        pytest.param(head(1, "sigmoid"), "classification", "sigmoid", "", id="one sigmoid"),
        pytest.param(head(1, loss="binary_crossentropy"), "classification", "sigmoid", "", id="bce, no from_logits"),
        pytest.param(FOUR, "classification", "softmax", "softmax", id="logits"),
        pytest.param(head(4, loss="mean_squared_error"), "classification", "softmax", "softmax", id="logits by mse"),
        pytest.param(head(4, "log_softmax"), "classification", "softmax", "softmax", id="log-softmax"),
        pytest.param(head(4, "softmax"), "classification", "softmax", "", id="softmax"),
        pytest.param(head(4, "sigmoid"), "classification", "sigmoid", "", id="one against the rest"),
        pytest.param(
            head(4, loss="binary_crossentropy", logits=True),
            "classification",
            "sigmoid",
            "sigmoid",
            id="same, logits",
        ),
        pytest.param(FOUR, "multilabel", "sigmoid", "sigmoid", id="several labels, logits"),
        pytest.param(head(4, "sigmoid"), "multilabel", "sigmoid", "", id="several labels"),
        pytest.param(head(4, "other"), "classification", "softmax", "", id="values that sum to 1"),
        pytest.param(ONE, "regression", "values", "", id="number"),
        pytest.param(head(4, "softmax"), "regression", "values", "", id="softmax that is a number"),
    ],
)
def test_head_adds_what_is_missing(end: ModelHead, task: str, kind: str, added: str) -> None:
    shares = np.full((3, end.shape[0]), 1 / end.shape[0], np.float32)
    notes = Notes()
    found = head_of(end, lambda: shares, task=task, file="m.keras", progress=notes)
    assert found == Head(kind=kind, added=added, task=task)
    assert bool(added) == any(f"a {added} is added" in note for note in notes.notes if added)


def mask(channels: int, activation: str = "linear", loss: str = "", *, logits: bool = False) -> ModelHead:
    return ModelHead(shape=(2, 2, channels), activation=activation, loss=loss, from_logits=logits)


@pytest.mark.parametrize(
    ("end", "values", "kind", "threshold"),
    [
        pytest.param(mask(1, loss="binary_crossentropy", logits=True), (-3, 4), "logits", 0.0, id="one logit"),
        pytest.param(mask(1), (-3, 4), "logits", 0.0, id="no activation, not compiled"),
        pytest.param(mask(1, loss="dice"), (-3, 4), "logits", 0.0, id="no activation, a loss of one's own"),
        pytest.param(mask(1, loss="hinge"), (-3, 4), "logits", 0.0, id="margin"),
        pytest.param(mask(1, "sigmoid"), (0, 1), "sigmoid", 0.5, id="sigmoid"),
        pytest.param(mask(1, "other"), (0.1, 0.9), "sigmoid", 0.5, id="values of probabilities"),
        pytest.param(mask(1, "other"), (-1, 1), "logits", 0.0, id="tanh"),
        pytest.param(mask(1, loss="binary_crossentropy"), (0, 1), "sigmoid", 0.5, id="bce, no from_logits"),
        pytest.param(mask(1, loss="mean_squared_error"), (0, 1), "values", 0.5, id="numbers"),
        pytest.param(mask(3, "softmax"), (0, 1), "softmax", 0.5, id="softmax"),
        pytest.param(mask(3, "sigmoid"), (0, 1), "sigmoid", 0.5, id="a sigmoid a channel"),
        pytest.param(mask(3), (-3, 4), "logits", 0.0, id="logits of classes"),
        pytest.param(mask(3, loss="binary_crossentropy", logits=True), (-3, 4), "logits", 0.0, id="logits by bce"),
    ],
)
def test_heads_of_masks_are_those_of_classes_with_nothing_added(
    end: ModelHead, values: tuple[float, float], kind: str, threshold: float
) -> None:
    answers = np.resize(np.array(values, np.float32), (5, *end.shape))
    found = head_of(end, lambda: answers, task="segmentation", file="m.keras")
    assert (found, found.threshold) == (Head(kind=kind, task="segmentation"), threshold)


def test_head_of_masks_that_was_asked_for_is_added_or_refused() -> None:
    def wanted(name: str, end: ModelHead) -> Head:
        return head_of(end, lambda: np.zeros((1, *end.shape)), task="segmentation", wanted=name, file="m.keras")

    assert wanted("sigmoid", mask(1)).added == "sigmoid" and wanted("logits", mask(1)).threshold == 0.0
    with pytest.raises(ModelError, match="a softmax over the one unit"):
        wanted("softmax", mask(1))


def test_values_tell_a_head_without_a_known_end() -> None:
    def kind(values: Any, task: str = "classification") -> tuple[str, str]:
        array = np.array(values, np.float32)
        found = head_of(head(array.shape[1], "other"), lambda: array, task=task, file="m")
        return found.kind, found.added

    assert kind([[0.25, 0.75], [1.00003, -0.00003]]) == ("softmax", "")  # rounding of a runtime
    assert kind([[0.2, 0.9]]) == ("sigmoid", "")
    assert kind([[0.2, 3.0]]) == ("softmax", "softmax")
    assert kind([[0.2], [0.9]]) == ("sigmoid", "")
    assert kind([[0.2], [-0.9]]) == ("sigmoid", "sigmoid")
    assert kind([[0.5, 0.5]], "multilabel") == ("sigmoid", "")


def test_head_that_was_asked_for_is_taken_or_refused() -> None:
    def wanted(name: str, end: ModelHead, task: str = "classification") -> Head:
        return head_of(end, lambda: np.zeros((1, end.shape[0]), np.float32), task=task, wanted=name, file="m.keras")

    assert wanted("logits", FOUR) == Head(kind="logits", task="classification")
    assert wanted("logits", ONE).threshold == 0.0 and wanted("sigmoid", ONE).threshold == 0.5
    assert wanted("sigmoid", FOUR).added == "sigmoid"
    assert wanted("sigmoid", head(1, loss="mean_squared_error")).added == "sigmoid"
    assert wanted("softmax", head(4, "softmax")).added == ""
    for name, end, task, words in (
        ("softmax", ONE, "classification", "a softmax over the one unit of m.keras is always 1"),
        ("auto", head(1, "softmax"), "classification", "a softmax over the one unit of m.keras is always 1"),
        ("logits", head(4, "softmax"), "classification", "'logits' was asked for, and m.keras ends in a softmax"),
        ("softmax", head(4, "sigmoid"), "classification", "ends in a sigmoid"),
        ("softmax", FOUR, "multilabel", "several labels a sample"),
        ("sigmoid", FOUR, "regression", "no scores of labels"),
        ("auto", head(1, "log_sigmoid"), "classification", "logarithms of probabilities"),
        ("auto", head(1, loss="mean_squared_error"), "classification", "it is not clear whether"),
    ):
        with pytest.raises(ModelError, match=words) as caught:
            wanted(name, end, task)
        assert caught.value.hint
    with pytest.raises(RecipeError, match="unknown head 'softmx'; did you mean 'softmax'"):
        wanted("softmx", FOUR)


@pytest.mark.parametrize(
    ("end", "labels", "task"),
    [
        (ONE, None, ""),
        (ONE, 2, "classification"),
        (head(1, loss="binary_crossentropy", logits=True), None, "classification"),
        (FOUR, None, "classification"),
        (head(4, loss="huber"), None, ""),
        (head(4, loss="huber"), 4, "classification"),
        (head(4, "sigmoid"), None, "multilabel"),
        (head(4, "sigmoid", "categorical_crossentropy"), None, "classification"),
        (head(4, loss="binary_crossentropy", logits=True), None, "multilabel"),
        (ModelHead(shape=(8, 8, 3), activation="sigmoid"), None, ""),
        (ModelHead(shape=(8, 8, 3), activation="sigmoid"), 3, "segmentation"),
        (ModelHead(shape=(8, 8, 3), activation="sigmoid"), 2, ""),
        (ModelHead(shape=(8, 8, 1), activation="linear"), 2, "segmentation"),
    ],
)
def test_task_of_a_model_without_data(end: ModelHead, labels: int | None, task: str) -> None:
    assert task_without_data(end, labels=labels) == task


@pytest.mark.parametrize(
    ("compiled", "expected"),
    [
        (None, ("", False)),
        ({"loss": None}, ("", False)),
        ({"loss": "bce"}, ("binary_crossentropy", False)),
        ({"loss": ["MSE", "mae"]}, ("mean_squared_error", False)),
        ({"loss": {"b": "mae", "a": "huber"}}, ("huber", False)),
        ({"loss": {"class_name": "function", "config": "mean_squared_error"}}, ("mean_squared_error", False)),
        (
            {"loss": {"a": {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}}}},
            ("sparse_categorical_crossentropy", True),
        ),
    ],
)
def test_loss_is_read_in_each_form_that_keras_writes(compiled: Any, expected: tuple[str, bool]) -> None:
    assert stored_loss(compiled, output="a") == expected


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_end_and_loss_are_read_from_files_and_memory(tmp_path: Path, suffix: str) -> None:
    import keras

    from edgefm.jobs.arguments import loaded_model
    from edgefm_converters.readers import model_file

    binary = keras.losses.BinaryCrossentropy(from_logits=True)
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    dense, activation = keras.layers.Dense, keras.layers.Activation
    inner = keras.Sequential([keras.Input((4,)), dense(3), keras.layers.Softmax()])
    for tail, loss, expected in (
        ([dense(1)], None, head(1)),
        ([dense(1)], binary, head(1, loss="binary_crossentropy", logits=True)),
        ([dense(3, activation="softmax")], "mse", head(3, "softmax", "mean_squared_error")),
        ([dense(3), activation("linear"), activation("sigmoid"), keras.layers.Dropout(0.1)], None, head(3, "sigmoid")),
        ([dense(3), activation("log_softmax")], sparse, head(3, "log_softmax", sparse.name, logits=True)),
        ([inner, keras.layers.Flatten()], None, head(3, "softmax")),
        ([dense(3, activation="relu")], keras.losses.Huber(), head(3, "other", "huber")),
    ):
        model = keras.Sequential([keras.Input((4,)), *tail])
        if loss is not None:
            model.compile(loss=loss)
        path = tmp_path / f"model{suffix}"
        model.save(path)
        assert model_file.head_of(model_file.load(path)) == expected
        assert model_file.head_of(loaded_model(model)[0]) == expected
    two = keras.Model(inner.inputs, [dense(1, name="yes")(inner.inputs[0]), dense(4, name="box")(inner.inputs[0])])
    two.compile(loss={"box": "mse", "yes": binary})
    two.save(tmp_path / f"two{suffix}")
    assert model_file.head_of(model_file.load(tmp_path / f"two{suffix}")) == head(
        1, loss="binary_crossentropy", logits=True
    )
