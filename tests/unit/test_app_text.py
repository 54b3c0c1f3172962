from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.core.picture_steps import LETTERBOX, PictureSteps
from edgefm.core.runs import RunDirectory
from edgefm.data.reference.fashion_mnist import LABELS
from edgefm.jobs.export.card import model_card
from edgefm.jobs.export.facts import Learnt, learnt
from edgefm.tflite.contract import Contract, Tensor
from edgefm_converters.bundles.golden import FamilyAnswers, GoldenVectors, Tolerance
from tests.fixtures.app_models import Out, app_model

# Words that only some models' pages may hold.
PICTURE_WORDS = ("pixel", "grey", "background", "invert", "red, green")


def contract(*, dtype: str) -> Contract:
    quantised = dtype == "uint8"
    return Contract(
        name="enhanced_cnn",
        variant="int8_w8a8" if quantised else "float32",
        file="model.tflite",
        sha256="ab" * 32,
        size_bytes=443_210,
        input=Tensor(
            name="image",
            dtype=dtype,
            shape=(1, 28, 28, 1),
            scale=1.0 if quantised else None,
            zero_point=0 if quantised else None,
            value_range=(0, 255),
        ),
        outputs=(
            Tensor(
                name="probabilities",
                dtype=dtype,
                shape=(1, 10),
                scale=1 / 256 if quantised else None,
                zero_point=0 if quantised else None,
                value_range=(0, 1),
            ),
        ),
        mean=0.0,
        std=1.0,
        labels=tuple("abcdefghij"),
    )


def page(model: Contract, *, advice: str = "", learnt: Learnt | None = None) -> str:
    """Return the model card, without what follows from other things than the contract."""
    answers = np.zeros((1, model.output.size), model.output.dtype)
    family = FamilyAnswers(
        name="float", title="kernels", made_by="a test", tolerance=Tolerance(largest=0, share=0), outputs=(answers,)
    )
    golden = GoldenVectors(inputs=answers, families=(family,), labels=None, source={"kind": "data", "name": "samples"})
    card = model_card(model, measured=None, advice=advice, golden=golden, use="", version="0", learnt=learnt)
    return card.partition("## What it learnt from")[0] if not advice else card


@pytest.mark.parametrize(
    ("dtype", "wanted", "unwanted"),
    [
        ("uint8", ["q = pixel", "443.2 KB", "q * 0.00390625", "Don't scale it"], []),
        ("float32", ["x = pixel", "443.2 KB"], ["Don't scale it"]),
    ],
)
def test_card_says_what_the_contract_says(dtype: str, wanted: list[str], unwanted: list[str]) -> None:
    shown = page(contract(dtype=dtype))
    for text in [*wanted, "ab" * 32]:
        assert text in shown
    for text in unwanted:
        assert text not in shown


def test_card_says_what_the_verdict_says_and_names_in_it_are_escaped() -> None:
    shown = page(contract(dtype="uint8"), advice="Ship int8_w8a8. This is <b>it</b>.")
    assert "This is &lt;b&gt;it&lt;/b&gt;." in shown
    assert "Ship int8" not in page(contract(dtype="uint8"))


def test_a_dark_background_is_told_where_the_data_have_one_and_nowhere_else() -> None:
    model = contract(dtype="uint8")
    assert "dark background" in page(replace(model, pictures=PictureSteps(invert="light_border")))
    for other in (model, replace(model, pictures=LETTERBOX), replace(model, labels=LABELS)):
        assert "background" not in page(other) and "invert" not in page(other) and "Fashion" not in page(other)


@pytest.mark.parametrize(
    ("pictures", "wanted"),
    [
        (PictureSteps(), "is stretched to this one, its aspect is not kept (bilinear, with antialiasing); transparent"),
        (LETTERBOX, "is fitted into this one with its aspect kept (Lanczos, with antialiasing), and centred on black;"),
        (PictureSteps(fit="contain", background=114), "centred on level 114; transparent parts are white."),
        (PictureSteps(fit="cover", filter="nearest"), "(nearest pixels, without antialiasing): its middle is taken"),
        (replace(LETTERBOX, over="black"), "transparent parts are black."),
    ],
)
def test_card_says_how_pictures_of_another_size_get_in_as_the_contract_does(
    pictures: PictureSteps, wanted: str
) -> None:
    model = replace(contract(dtype="uint8"), pictures=pictures)
    assert wanted in page(model) and "EXIF orientation" in page(model)
    assert Contract.from_json(model.to_json()).pictures == pictures


def test_card_says_the_order_of_colours_and_that_all_pictures_are_inverted() -> None:
    _, model = app_model(shape=(1, 5, 4, 3), outputs=[Out(shape=(1, 3))], labels="abc", std=255.0)
    assert "red, green or blue" in page(model) and "inverted" not in page(model)
    other = page(replace(model, pictures=PictureSteps(channel_order="bgr", invert="always")))
    assert "a level of blue, green or red, in this order" in other and "Every picture is inverted" in other


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pixels_are_called_what_they_are(channels: int) -> None:
    _, model = app_model(shape=(1, 5, 4, channels), outputs=[Out(shape=(1, 3))], labels="abc", std=255.0)
    names = {1: "grey level", 3: "red, green or blue"}
    for count, name in names.items():
        assert (name in page(model)) == (count == channels)
    assert "4 x 5 pixels" in page(model)


@pytest.mark.parametrize(
    "model",
    [
        {"shape": (1, 10), "no_pixels": "an input of shape [10] is no picture"},
        {"shape": (1, 10), "ends": ("uint8", 1.0, 0)},
        {"shape": (1, 6), "whole": "int32"},
        {"shape": (1, 4, 4, 3), "no_pixels": "its samples are floats from -2 to 3"},
    ],
    ids=["features", "levels", "tokens", "standardised"],
)
def test_pages_of_models_that_take_no_pictures_say_nothing_of_them(model: dict[str, Any]) -> None:
    _, app = app_model(outputs=[Out(shape=(1, 2))], task="regression", **model)
    shown = page(app)
    reason = app.no_pixels or ""
    for word in PICTURE_WORDS:
        assert word not in shown.replace(reason, "")
    assert reason in shown


@pytest.mark.parametrize(
    ("outputs", "labels", "task", "wanted"),
    [
        (Out(shape=(1, 3)), "abc", "", "one probability a class"),
        (Out(shape=(1, 3), value_range=(-9.0, 8.0)), "abc", "", "one score a class"),
        (Out(shape=(1, 1)), "ab", "", "a single probability, that of the second class"),
        (Out(shape=(1, 3)), "abc", "multilabel", "each for itself"),
        (Out(shape=(1, 2, 2, 3)), "abc", "", "at each place"),
        (Out(shape=(1, 2, 2, 3)), "", "segmentation", "one probability a class at each place, numbered from 0"),
        (
            Out(shape=(1, 2, 2, 1)),
            "ab",
            "segmentation",
            "the second class of `labels.txt` where the value is above 0.5",
        ),
        (Out(shape=(1, 2, 2, 1)), "", "segmentation", "class 1, not 0, where the value is above 0.5"),
        (Out(shape=(1, 4)), "", "regression", "4 real values"),
        (Out(shape=(1, 12)), "", "reconstruction", "the input given back"),
    ],
    ids=["classes", "scores", "second", "labels", "places", "masks", "named mask", "mask", "values", "reconstruction"],
)
def test_outputs_are_called_what_they_are(outputs: Out, labels: str, task: str, wanted: str) -> None:
    _, model = app_model(shape=(1, 2, 2, 3), outputs=[outputs], labels=labels, task=task)
    assert wanted in page(model)
    assert ("labels.txt" in page(model)) == bool(labels)


@pytest.mark.parametrize(("task", "squash"), [("classification", "softmax"), ("multilabel", "sigmoid")])
def test_logits_are_called_so_and_made_probabilities(task: str, squash: str) -> None:
    outputs = [Out(shape=(1, 3), value_range=(-9.0, 8.0))]
    _, model = app_model(shape=(1, 2, 2, 3), outputs=outputs, labels="abc", task=task, head="logits")
    assert "one logit a" in page(model) and f"by a {squash}" in page(model)
    assert "`logit = y`" in page(model)


def test_all_outputs_stand_in_the_table() -> None:
    outputs = [Out(shape=(1, 3), name="scores"), Out(shape=(1, 4), ends=("int8", 0.5, 3), name="box")]
    _, model = app_model(shape=(1, 2, 2, 3), outputs=outputs, labels="abc")
    assert "| output `box` | [1, 4] | int8 | `value = (q - 3) * 0.5` |" in page(model)
    assert "1 more output is real values" in page(model)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_contract_round_trip_gives_the_same_contract(dtype: str) -> None:
    given = contract(dtype=dtype)
    assert Contract.from_json(given.to_json()) == given


def test_contract_encodes_raw_pixels_unchanged_for_a_uint8_model_and_as_floats_for_a_float_model() -> None:
    pixels = np.arange(784, dtype=np.uint16).reshape(1, 28, 28, 1).astype(np.uint8)
    assert contract(dtype="uint8").encode(pixels) is pixels
    encoded = contract(dtype="float32").encode(pixels)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, pixels.astype(np.float32))


def test_card_states_what_the_model_learnt_from(tmp_path: Path) -> None:
    assert "learnt from\n\nNot known: edgefm did not train the model." in page(contract(dtype="uint8"), advice="-")
    run = RunDirectory.create_at(tmp_path / "run")
    about = {"name": "my shoes", "classes": 3, "train": 1200, "validation": 150, "test": 300}
    for summary, wanted in (
        (
            {"dataset": about},
            r"my shoes: 1,200 training pictures of 3 classes\. .* 150 validation .* 300 test pictures",
        ),
        ({"dataset": about, "validation_seen": True}, r"The validation pictures were learnt, too\. sha256 .* `abc`"),
        ({}, r"How many pictures of which data its run does not say\. sha256 of the data and their split: `abc`"),
    ):
        with run.lock():
            run.finish(run.begin("train"), key="k", seconds=0.0, recipe={}, inputs={"dataset": "abc"}, summary=summary)
        assert re.search(wanted, page(contract(dtype="uint8"), advice="-", learnt=learnt(run, None)))
    with run.lock():
        run.finish(run.begin("import"), key="k", seconds=0.0, recipe={"params": {"model": "m"}}, inputs={}, summary={})
    assert learnt(run, None) is None, "what was brought is of somebody else"
