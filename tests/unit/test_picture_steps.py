"""The steps from a picture file to pixels: as data, and as edgefm's own reader carries them out, against Pillow."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm import schemas
from edgefm.core.errors import ModelError
from edgefm.core.picture_steps import LETTERBOX, PictureSteps, chosen
from edgefm.data.picture_file import read_picture
from edgefm.tflite.contract import Contract, read_file
from tests.fixtures.app_cases import ABC, CASES
from tests.fixtures.picture_ways import (
    CHANGES,
    INVERT,
    USUAL,
    WAYS,
    a_contract,
    as_edgefm_reads,
    by_pillow,
    changed,
    odd_pictures,
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return odd_pictures(tmp_path_factory.mktemp("pictures"), 200)


@pytest.mark.parametrize("name", WAYS)
def test_reader_makes_what_pillow_makes_of_odd_pictures(name: str, pictures: list[Path]) -> None:
    channels, steps = WAYS[name]
    inverted = set()
    for path in pictures if name in USUAL else pictures[:80]:
        for invert in INVERT:
            found = as_edgefm_reads(path, name, invert)
            wanted = by_pillow(path, channels, steps, invert, 9, 7)
            np.testing.assert_array_equal(found.pixels, wanted, err_msg=f"{path} {invert}")
            inverted.add((invert, found.inverted))
    auto = {"asked": [False], "light_border": [False, True], "always": [True]}[steps.invert]
    assert sorted(inverted) == [*(("auto", value) for value in auto), ("no", False), ("yes", True)]


@pytest.mark.parametrize("name", WAYS)
def test_contract_says_the_steps_and_is_read_again(name: str, tmp_path: Path) -> None:
    channels, steps = WAYS[name]
    contract = a_contract(channels, steps, ends=("int8", 0.031, -3), mean=99.9)
    written = json.loads(contract.write(tmp_path).read_text())
    schemas.validate(written, "model-contract-3")
    said = {step["step"]: step for step in written["preprocessing"]["steps"]}
    assert said["resize"] == {
        "step": "resize", "height": 9, "width": 7, "fit": steps.fit, "filter": steps.filter,
        "antialias": steps.filter != "nearest",
    }  # fmt: skip
    assert ("alpha" in said, "pad" in said) == (channels < 4, steps.fit == "contain")
    assert said["channels"]["order"] == {1: "grey", 3: steps.channel_order, 4: "rgba"}[channels]
    assert said["range"] == {"step": "range", "mean": 99.9, "std": 255.0}
    assert said["quantise"] == {"step": "quantise", "dtype": "int8", "scale": 0.031, "zero_point": -3}
    again = read_file(tmp_path / "contract.json")
    # What a model cannot have is not said: the level transparent parts are put on, of one that takes them.
    assert again.steps() == contract.steps() and dataclasses.replace(again, pictures=steps) == contract


@pytest.mark.parametrize("ends", [None, ("uint8", 1 / 255, 0), ("int8", 0.031, -3)], ids=["float", "raw", "int8"])
def test_pixels_are_fed_blue_first_where_the_contract_says_so(ends: Any) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 9, 7, 3), dtype=np.uint8)
    usual = a_contract(3, PictureSteps(), ends=ends)
    blue_first = a_contract(3, PictureSteps(channel_order="bgr"), ends=ends)
    np.testing.assert_array_equal(blue_first.encode(pixels), usual.encode(pixels)[..., [2, 1, 0]])
    real = usual.real(pixels)
    np.testing.assert_array_equal(blue_first.encode(real), usual.encode(real), err_msg="real inputs stay as they are")
    assert not a_contract(1, PictureSteps(channel_order="bgr")).blue_first


def test_steps_of_models_that_take_no_pictures_begin_where_their_samples_do() -> None:
    names = {
        "rank2__raw": ["range", "quantise"], "rank4_two__float": ["range"], "rank4_grey__real": [],
        "rank2__real_int8": ["quantise"], "int64": [], "uint8_raw__uint8": [
            "decode", "orient", "alpha", "channels", "resize", "invert", "range", "quantise",
        ],
    }  # fmt: skip
    for name, wanted in names.items():
        assert [step["step"] for step in CASES[name].contract.steps()] == wanted, name


@pytest.mark.parametrize("name", CHANGES)
def test_steps_that_are_not_known_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=CHANGES[name][1]) as caught:
        Contract.from_json(changed(name))
    assert "upgrade" in str(caught.value.hint) or name == "a level that is none"
    (tmp_path / "contract.json").write_text(json.dumps(changed(name)))
    with pytest.raises(ModelError) as caught:
        read_file(tmp_path / "contract.json")
    assert "pip install -U edgefm" in str(caught.value.hint) or name == "a level that is none"


FORMER: dict[str, tuple[dict[str, Any], tuple[str, ...], PictureSteps]] = {
    "stretched": ({"picture_fit": "stretch", "dark_background": False}, ABC, PictureSteps()),
    "letterboxed": (
        {"picture_fit": "letterbox", "dark_background": True},
        ABC,
        dataclasses.replace(LETTERBOX, invert="light_border"),
    ),
    "not said": ({}, ABC, LETTERBOX),
    "stretched, dark": (
        {"picture_fit": "stretch", "dark_background": True},
        ABC,
        PictureSteps(invert="light_border"),
    ),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", FORMER)
def test_older_contracts_mean_what_they_meant(name: str, version: int, tmp_path: Path) -> None:
    said, labels, wanted = FORMER[name]
    contract = dataclasses.replace(a_contract(1, wanted, mean=3.0), labels=labels)
    value = contract.to_json()
    value["schema_version"] = version
    value["preprocessing"] = {"formula": "", "pixel": "uint8", "mean": 3.0, "std": 255.0, **said}
    (tmp_path / "contract.json").write_text(json.dumps(value))
    assert read_file(tmp_path / "contract.json") == contract


def test_older_contract_of_fashion_mnist_is_told_by_its_labels() -> None:
    path = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "contract.json"
    assert read_file(path).pictures == dataclasses.replace(LETTERBOX, invert="light_border")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"fit": "crop"}, "fit of pictures is 'crop'; one of stretch, contain, cover is expected"),
        ({"filter": "area"}, "one of nearest, box, bilinear, bicubic, lanczos"),
        ({"channel_order": "rgba"}, "one of rgb, bgr"),
        ({"invert": "auto"}, "one of asked, light_border, always"),
        ({"background": -1}, "a level from 0 to 255"),
        ({"background": True}, "a level from 0 to 255"),
    ],
)
def test_choices_that_are_not_known_are_named(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        PictureSteps(**choice)


def test_four_channels_are_not_contained(pictures: list[Path]) -> None:
    with pytest.raises(ModelError, match=r"4 channels; pictures that are contained have 1 \(grey\) or 3 \(RGB\)"):
        read_picture(pictures[0], LETTERBOX, shape=(9, 7, 4))


def test_choices_are_told_from_steps() -> None:
    for channels, steps in WAYS.values():
        found = chosen(steps.to_json((1, 9, 7, channels)))
        assert found.to_json((1, 9, 7, channels)) == steps.to_json((1, 9, 7, channels))
