from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.core.errors import ModelError
from edgefm.runtimes import litert
from edgefm.tflite.contract import Contract, Tensor, dequantize, quantize
from tests.fixtures import tiny_models

INPUT = Tensor(name="x", dtype="int8", shape=(1, 4), scale=0.1, zero_point=-3, value_range=(-12.5, 13.0))
FLOAT = Tensor(name="y", dtype="float32", shape=(1, 2), scale=None, zero_point=None, value_range=(-1.0, 1.0))
LEVELS = Tensor(name="z", dtype="uint8", shape=(1, 3, 5), scale=0.5, zero_point=7, value_range=(-3.5, 124.0))


def a_contract(**changes: Any) -> Contract:
    values: dict[str, Any] = {
        "name": "m", "variant": "int8", "file": "m.tflite", "sha256": "0" * 64, "size_bytes": 10, "input": INPUT,
        "outputs": (FLOAT, LEVELS), "mean": 0.0, "std": 1.0, "labels": (),
    }  # fmt: skip
    return Contract(**{**values, **changes})


def test_json_round_trip_keeps_all_outputs_and_shows_the_first() -> None:
    contract = a_contract(made_by={"a": 1})
    value = json.loads(json.dumps(contract.to_json()))
    assert value["schema_version"] == 3
    assert value["output"] == value["outputs"][0] and value["output"]["name"] == "y"
    assert value["postprocessing"] == {"formula": "value = y", "formulas": ["value = y", "value = (q - 7) * 0.5"]}
    assert Contract.from_json(value) == contract and contract.output is contract.outputs[0]


def test_contract_of_version_1_is_still_read() -> None:
    value = a_contract(outputs=(FLOAT,), labels=("a", "b")).to_json()
    del value["outputs"], value["postprocessing"]["formulas"]
    value["schema_version"] = 1
    value["preprocessing"] = {"formula": "", "pixel": None, "mean": 0.0, "std": 1.0, "picture_fit": "stretch"}
    assert Contract.from_json(value) == a_contract(outputs=(FLOAT,), labels=("a", "b"))


def test_contract_without_task_and_head_is_still_read_and_its_scores_are_probabilities() -> None:
    value = a_contract(outputs=(FLOAT,), labels=("a", "b"), task="multilabel", head="logits").to_json()
    assert (value["task"], value["head"]) == ("multilabel", "logits")
    del value["task"], value["head"]
    former = Contract.from_json(value)
    assert (former.task, former.head) == ("", "")
    scores = np.array([[0.2, 3.0]], np.float32)
    np.testing.assert_array_equal(former.probabilities(scores), scores)


def test_logits_become_probabilities_by_the_task() -> None:
    scores = np.array([[1.0, -2.0], [900.0, -900.0]], np.float32)
    classes = a_contract(outputs=(FLOAT,), labels=("a", "b"), task="classification", head="logits")
    several = a_contract(outputs=(FLOAT,), labels=("a", "b"), task="multilabel", head="logits")
    first = np.exp([1.0, -2.0]) / np.exp([1.0, -2.0]).sum()
    np.testing.assert_allclose(classes.probabilities(scores), [first, [1, 0]], atol=1e-6)
    np.testing.assert_allclose(several.probabilities(scores), [1 / (1 + np.exp([-1.0, 2.0])), [1, 0]], atol=1e-6)
    assert classes.output_formula() == "logit = y" and a_contract(outputs=(FLOAT,), labels=("a",)).output_formula() == (
        "probability = y"
    )


def test_shipped_contract_is_read() -> None:
    path = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "contract.json"
    assert len(Contract.from_json(json.loads(path.read_text())).labels) == 10


def test_newer_contract_says_upgrade() -> None:
    with pytest.raises(ModelError, match="schema version 4") as caught:
        Contract.from_json({**a_contract().to_json(), "schema_version": 4})
    assert caught.value.hint is not None and "Upgrade" in caught.value.hint


def test_labels_may_be_numbers() -> None:
    value = {**a_contract().to_json(), "labels": [0, 1]}
    assert Contract.from_json(value).labels == ("0", "1")


def test_encode_takes_floats_as_real_inputs() -> None:
    samples = np.array([[-20.0, -0.3, 0.04, 13.0]], np.float32)
    # round(x / 0.1) - 3, clamped to int8
    np.testing.assert_array_equal(a_contract().encode(samples), np.array([[-128, -6, -3, 127]], np.int8))
    np.testing.assert_array_equal(a_contract(mean=5.0, std=2.0).encode(samples), a_contract().encode(samples))


def test_encode_takes_pixels_by_the_formula() -> None:
    pixels = np.array([[0, 1, 128, 255]], np.uint8)
    contract = a_contract(mean=127.5, std=127.5)
    wanted = np.round((pixels - 127.5) / 127.5 / 0.1 - 3)
    np.testing.assert_array_equal(contract.encode(pixels), wanted.astype(np.int8))


@pytest.mark.parametrize(
    ("samples", "words"),
    [(np.zeros((1, 5), np.float32), "do not fit"), (np.zeros((1, 4), np.int64), "dtype int64")],
    ids=["shape", "dtype"],
)
def test_encode_rejects_what_does_not_fit(samples: np.ndarray[Any, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        a_contract().encode(samples)


def test_dequantize_undoes_quantize_to_half_a_step() -> None:
    real = np.random.default_rng(0).uniform(-3.5, 124.0, (50, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(dequantize(quantize(real, LEVELS), LEVELS), real, atol=0.25 + 1e-5)


def test_session_gives_all_outputs_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(tiny_models.two_heads(shape=(1, 6)))
    sample = np.array([[-1.0, 0.5, 2.0, -3.0, 7.0, -0.25]], np.float32)
    with litert.load(path) as session:
        assert [tensor.name for tensor in session.outputs] == ["relu", "absolute"]
        assert session.output == session.outputs[0]
        np.testing.assert_array_equal(session.run(sample), np.maximum(sample, 0))
        relu, absolute = session.get_outputs()
        np.testing.assert_array_equal(relu, np.maximum(sample, 0))
        np.testing.assert_array_equal(absolute, np.abs(sample))


def test_contract_of_no_pictures_says_so_and_takes_floats_alone() -> None:
    contract = a_contract(no_pixels="its samples are spectra", input=replace(INPUT, shape=(1, 2, 2, 1)))
    value = json.loads(json.dumps(contract.to_json()))
    assert value["preprocessing"]["no_pixels"] == "its samples are spectra"
    assert [step["step"] for step in value["preprocessing"]["steps"]] == ["quantise"]
    assert "pixel" not in value["preprocessing"]["formula"]
    assert Contract.from_json(value) == contract
    with pytest.raises(ModelError, match=r"m\.tflite takes no pixels: its samples are spectra") as caught:
        contract.encode(np.zeros((1, 2, 2, 1), np.uint8))
    assert "value range" in str(caught.value.hint)
    np.testing.assert_array_equal(contract.encode(np.full((1, 2, 2, 1), 0.5, np.float32)).reshape(-1), [2, 2, 2, 2])


def test_what_is_not_known_stands_in_no_contract() -> None:
    value = a_contract().to_json()
    assert value["task"] == value["head"] == "" and value["preprocessing"].keys() == {"formula", "steps"}
    known = a_contract(task="regression")
    value = json.loads(json.dumps(known.to_json()))
    assert value["task"] == "regression"
    assert Contract.from_json(value) == known
