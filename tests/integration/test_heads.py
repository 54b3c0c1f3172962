"""Every kind of head through quantize and benchmark: the float32 file's quality is that of Keras's own answers.

The expected qualities are computed here from `model.predict` with numpy, sample by sample.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.core.errors import ModelError
from edgefm.recipes import FineTuning, Qat
from tests.fixtures.protocols import ONCE

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(400, 6)).astype(np.float32)
WEIGHTS = RANDOM.normal(size=(6, 5)).astype(np.float32)
NOISY = X @ WEIGHTS + RANDOM.normal(0, 0.7, size=(400, 5)).astype(np.float32)
ONE, IDS, HOT = (NOISY[:, 0] > 0.4).astype(np.int64), NOISY.argmax(axis=1), (NOISY > 0.6).astype(np.int64)
COUNTS = np.clip(np.round(NOISY[:, 0] * 2 + 4), 0, 9).astype(np.int64)
TRAIN, VALIDATION, TEST = slice(0, 250), slice(250, 320), slice(320, 400)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def right_of_one(answers: np.ndarray, targets: np.ndarray) -> float:
    return float(((answers[:, 0] > 0) == targets).mean())


def right(answers: np.ndarray, targets: np.ndarray) -> float:
    classes = targets.argmax(axis=1) if targets.ndim == 2 else targets
    return float((answers.argmax(axis=1) == classes).mean())


def mean_average_precision(answers: np.ndarray, targets: np.ndarray) -> float:
    areas = []
    for scores, positive in zip(answers.T, targets.T.astype(bool), strict=True):
        ranked = positive[np.argsort(-scores)]  # no ties: these are floats
        areas.append(np.mean([ranked[: place + 1].mean() for place in np.flatnonzero(ranked)]))
    return float(np.mean(areas))


def squared_error(answers: np.ndarray, targets: np.ndarray) -> float:
    return float(np.square(answers[:, 0].astype(np.float64) - targets).mean())


def model_of(*tail: str, loss: Any = None, units: int = 5) -> Any:
    """Return Dense(units) with weights that answer the labels, and activations of their own behind it."""
    import keras

    inputs = keras.Input((6,), name="features")
    dense = keras.layers.Dense(units, name="scores")
    output = dense(inputs)
    dense.set_weights([WEIGHTS[:, :units], np.full(units, -0.4, np.float32)])
    for activation in tail:
        output = keras.layers.Activation(activation)(output)
    model = keras.Model(inputs, output)
    if loss is not None:
        model.compile(loss=loss)
    return model


def logits_loss(name: str) -> Any:
    import keras

    return getattr(keras.losses, name)(from_logits=True)


def two_outputs() -> Any:
    """Return a model whose first output is one logit; the second is a vector."""
    import keras

    one = model_of(units=1)
    vector = keras.layers.Dense(3, name="vector")(one.inputs[0])
    return keras.Model(one.inputs, [one.outputs[0], vector])


def tflite_of(model: Any) -> bytes:
    """Return what the stock converter makes of a model, with a batch of 1."""
    import keras
    import tensorflow as tf

    one = keras.Input(batch_shape=(1, 6))
    return bytes(tf.lite.TFLiteConverter.from_keras_model(keras.Model(one, model(one))).convert())


def npz(folder: Path, labels: np.ndarray) -> Path:
    path = folder / "data.npz"
    parts = {"train": TRAIN, "val": VALIDATION, "test": TEST}
    arrays = {f"x_{name}": X[part] for name, part in parts.items()}
    np.savez(path, **arrays, **{f"y_{name}": labels[part] for name, part in parts.items()})  # type: ignore[arg-type]
    return path


def mean_f1(said: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean of the columns' F1 of answers of yes and no."""
    there = targets.astype(bool)
    hits, wrong = (said & there).sum(axis=0), (said != there).sum(axis=0)
    return float(np.mean(2 * hits / (2 * hits + wrong)))


Case = tuple[Callable[[], Any], np.ndarray, str, str, str, Callable[[np.ndarray, np.ndarray], float]]
CASES: dict[str, Case] = {
    # model, labels, task, head, what is added, quality of Keras's answers
    "one logit": (lambda: model_of(units=1), ONE, "classification", "sigmoid", "sigmoid", right_of_one),
    "one logit, compiled": (
        lambda: model_of(units=1, loss=logits_loss("BinaryCrossentropy")),
        ONE.astype(np.float32), "classification", "sigmoid", "sigmoid", right_of_one,
    ),
    "one sigmoid apart": (
        lambda: model_of("linear", "sigmoid", units=1),
        ONE, "classification", "sigmoid", "", lambda answers, targets: right_of_one(answers - 0.5, targets),
    ),
    "number": (
        lambda: model_of(units=1), NOISY[:, 0], "regression", "values", "", squared_error,
    ),
    "whole numbers": (
        lambda: model_of(units=1), COUNTS, "regression", "values", "", squared_error,
    ),
    "two logits": (
        lambda: model_of(units=2), NOISY[:, :2].argmax(axis=1), "classification", "softmax", "softmax", right,
    ),
    "several labels": (
        lambda: model_of("sigmoid"), HOT, "multilabel", "sigmoid", "",
        lambda answers, targets: mean_f1(answers > 0.5, targets),
    ),
    "several labels, logits": (
        lambda: model_of(), HOT, "multilabel", "sigmoid", "sigmoid",
        lambda answers, targets: mean_f1(answers > 0, targets),
    ),
    "one against the rest": (lambda: model_of("sigmoid"), IDS, "classification", "sigmoid", "", right),
    "softmax": (
        lambda: model_of("softmax", loss="mean_squared_error"), np.eye(5, dtype=np.float32)[IDS],
        "classification", "softmax", "", right,
    ),
    "sparse loss of logits": (
        lambda: model_of(loss=logits_loss("SparseCategoricalCrossentropy")), IDS.astype(np.float32),
        "classification", "softmax", "softmax", right,
    ),
    "log-softmax": (lambda: model_of("log_softmax"), IDS, "classification", "softmax", "softmax", right),
    "two outputs": (two_outputs, ONE, "classification", "sigmoid", "sigmoid", right_of_one),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_quality_of_the_float32_file_is_that_of_keras(name: str, tmp_path: Path) -> None:
    build, labels, task, head, added, quality = CASES[name]
    model = build()
    path = tmp_path / "model.keras"
    model.save(path)
    data = npz(tmp_path, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        files = edgefm.quantize(path, ["float32", "int8_w8a8"], data=data, progress=False)
    contract = files["float32"].contract
    assert contract is not None and (contract.task, contract.head) == (task, head)
    assert files.report["source"]["head_added"] == added
    if name == "two outputs":
        assert [output.shape for output in contract.outputs] == [(1, 1), (1, 3)]
    answers = model.predict(X, verbose=0)
    first = answers[0] if isinstance(answers, list) else answers
    expected = {part: quality(first[at], labels[at]) for part, at in (("validation", VALIDATION), ("test", TEST))}
    assert files["float32"].report["validation"]["value"] == pytest.approx(expected["validation"], abs=1e-4)
    record = edgefm.benchmark(files, data=data, protocol=ONCE, progress=False).record
    float32, int8 = ({row["name"]: row for row in record["models"]}[kind] for kind in ("float32", "int8_w8a8"))
    assert record["dataset"]["task"] == task
    assert float32["quality"]["value"] == pytest.approx(expected["test"], abs=1e-4)
    assert int8["quality"]["value"] == pytest.approx(expected["test"], abs=0.06)
    if task == "multilabel":
        said = (first[TEST] > (0 if added else 0.5)) == HOT[TEST]
        assert [row["accuracy"] for row in float32["classes"]] == pytest.approx(said.mean(axis=0))
        assert [row["images"] for row in float32["classes"]] == HOT[TEST].sum(axis=0).tolist()
    if task == "classification":
        assert len(int8["confusion"]) == len(contract.labels)
        assert sum(map(sum, int8["confusion"])) == len(X[TEST])


@pytest.mark.parametrize(("units", "labels"), [(1, ONE), (5, IDS), (5, HOT)], ids=["one", "classes", "several labels"])
def test_logits_stay_logits_and_are_judged_as_such(units: int, labels: np.ndarray, tmp_path: Path) -> None:
    model = model_of(units=units)
    data = npz(tmp_path, labels)
    files = edgefm.quantize(model, ["float32", "int8_w8a8"], data=data, head="logits", progress=False)
    contract = files["int8_w8a8"].contract
    assert contract is not None and contract.head == "logits" and contract.output_formula().startswith("logit = ")
    assert contract.output.value_range[1] > 1
    expected = {1: right_of_one, 5: right}[units] if labels.ndim == 1 else mean_average_precision
    value = expected(model.predict(X[TEST], verbose=0), labels[TEST])
    named = "map" if labels.ndim == 2 else None
    rows = edgefm.benchmark(files, data=data, quality=named, protocol=ONCE, progress=False).record["models"]
    assert rows[0]["quality"]["value"] == pytest.approx(value, abs=1e-4)
    assert rows[1]["quality"]["value"] == pytest.approx(value, abs=0.06)


def test_contract_turns_logits_into_probabilities(tmp_path: Path) -> None:
    logits = np.array([[2.0, -1.0, 0.5]], np.float32)
    files = edgefm.quantize(model_of(), "float32", data=npz(tmp_path, IDS), head="logits", progress=False)
    contract = files["float32"].contract
    assert contract is not None
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(contract.probabilities(logits), powers / powers.sum(), atol=1e-6)
    np.testing.assert_allclose(contract.probabilities(logits[:, :1]), sigmoid(logits[:, :1]), atol=1e-6)


@pytest.mark.parametrize(("units", "labels"), [(1, ONE), (5, IDS), (5, HOT)], ids=["one", "classes", "several labels"])
def test_float_tflite_of_logits_gets_its_head_as_an_operator(units: int, labels: np.ndarray, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = model_of(units=units)
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_of(model))
    files = edgefm.quantize(path, ["float32", "int8_w8a8"], data=npz(tmp_path, labels), progress=False)
    logits = model.predict(X[TEST], verbose=0).astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = softmax if labels is IDS else sigmoid(logits)
    interpreter = Interpreter(model_content=files["float32"].content)
    interpreter.allocate_tensors()
    for sample, wanted in zip(X[TEST][:10], expected, strict=False):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample[None])
        interpreter.invoke()
        np.testing.assert_allclose(
            interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0], wanted, atol=1e-5
        )
    assert files.report["source"]["head_added"] == ("softmax" if labels is IDS else "sigmoid")


def test_foreign_file_of_one_logit_is_judged_at_zero(tmp_path: Path) -> None:
    model = model_of(units=1)
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_of(model))
    row = edgefm.benchmark(path, data=npz(tmp_path, ONE), protocol=ONCE, progress=False).record["models"][0]
    expected = right_of_one(model.predict(X[TEST], verbose=0), ONE[TEST])
    assert row["quality"]["value"] == pytest.approx(expected, abs=1e-9)
    assert abs(expected - right_of_one(model.predict(X[TEST], verbose=0) - 0.5, ONE[TEST])) > 0.02


@pytest.mark.parametrize("labels", [ONE, HOT], ids=["one logit", "several labels"])
def test_quantisation_aware_training_learns_a_head(labels: np.ndarray, tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(1)
    units = 1 if labels.ndim == 1 else 5
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(12, activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(units)(hidden))  # knows nothing yet
    tuning = FineTuning(epochs=12, learning_rate=0.02, batch_size=25)
    data = npz(tmp_path, labels)
    result = edgefm.compress(model, [Qat(fine_tuning=tuning)], data=data, progress=False)
    assert result.head_added == "sigmoid" and result.int8 is not None
    answers = result.model.predict(X[TEST], verbose=0)
    assert answers.min() >= 0 and answers.max() <= 1
    accuracy = ((answers > 0.5) == labels[TEST].reshape(len(answers), -1)).mean()
    assert accuracy > 0.8  # always the commoner answer: 0.6
    losses = [epoch["loss"] for epoch in result.passes[0].history]
    assert losses[-1] < 0.7 * losses[0]
    parity = result.facts["parity"]
    assert parity["within_two_levels"] > 0.95


def test_head_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    data = npz(tmp_path, ONE)
    with pytest.raises(ModelError, match=r"'logits' was asked for, and .* ends in a sigmoid"):
        edgefm.quantize(model_of("sigmoid", units=1), "float32", data=data, head="logits", progress=False)
    with pytest.raises(ModelError, match=r"a softmax over the one unit of .* is always 1"):
        edgefm.quantize(model_of("softmax", units=1), "float32", data=data, progress=False)
