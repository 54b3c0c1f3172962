"""A contract is written only if pictures, through predict's path, give what the given model says of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgefm.core.errors import ModelError
from edgefm.core.picture_steps import LETTERBOX, PictureSteps
from edgefm.data.picture_file import ModelPicture
from edgefm.data.preprocessing import Preprocessing, preprocessing, real_inputs
from edgefm.data.reference.fashion_mnist import LABELS
from edgefm.quantization.checks.picture_proof import Samples, prove
from edgefm.quantization.model_folder import Card, write_model_folder
from edgefm.runtimes import picture_answer
from edgefm.tflite.contract import Contract, read_file
from tests.fixtures import tiny_models

SHAPE = (5, 4, 3)
Answers = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], ...]]


def pixels(shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (9, *shape)).astype(np.uint8)


def weights(shape: tuple[int, ...] = SHAPE) -> NDArray[np.float32]:
    count = int(np.prod(shape))
    return np.random.default_rng(1).normal(size=(3, count)).astype(np.float32) / np.float32(count)


def answers_of(matrix: NDArray[np.float32]) -> Answers:
    """Return the given model: a linear one, in numpy."""
    return lambda inputs: ((inputs.reshape(len(inputs), -1).astype(np.float64) @ matrix.T).astype(np.float32),)


def samples_of(inputs: NDArray[Any], encoding: Preprocessing, matrix: NDArray[np.float32]) -> Samples:
    answers = answers_of(matrix)
    given = inputs.astype(np.float32)
    return Samples(inputs=given, expected=answers(given), encoding=encoding, answers=answers)


def written(
    folder: Path, inputs: NDArray[Any], encoding: Preprocessing, *, file: NDArray[np.float32] | None = None
) -> Contract:
    """Write a float32 file of the linear model (or of other weights) with a contract of this encoding."""
    shape = inputs.shape[1:]
    matrix = weights(shape)
    samples = samples_of(inputs, encoding, matrix)
    return write_model_folder(
        folder,
        tiny_models.dense(matrix if file is None else file, picture=shape),
        "float32",
        Card(name="m", shape=shape, encoding=encoding, labels=("a", "b", "c")),
        made_by={},
        inputs=samples.inputs,
        expected=samples.expected,
        answers=samples.answers,
    )


@pytest.mark.parametrize("value_range", [(0, 1), (-1, 1), (0, 255), (-2.1, 2.6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_right_contract_is_proved_by_png_files(tmp_path: Path, value_range: tuple[float, float], channels: int) -> None:
    encoding = preprocessing(value_range)
    contract = written(tmp_path, encoding.encode(pixels((5, 4, channels))), encoding)
    proof = contract.made_by["pictures"]
    assert (proof["pictures"], proof["through"], proof["of_rounding"]) == (4, "PNG", 0.0)
    assert proof["max_abs_difference"] < 1e-4 * max(1, *np.abs(value_range))
    assert (tmp_path / "contract.json").is_file()


def test_samples_between_the_levels_say_what_rounding_costs(tmp_path: Path) -> None:
    unit = np.random.default_rng(2).uniform(0, 1, (9, *SHAPE)).astype(np.float32)
    proof = written(tmp_path, unit, preprocessing((0, 1))).made_by["pictures"]
    # Oracle: the linear model on rounded pixels against itself on the samples.
    rounded = np.round(unit[:4] * 255).astype(np.float32) / np.float32(255)
    (exact,), (changed,) = answers_of(weights())(unit[:4]), answers_of(weights())(rounded)
    np.testing.assert_allclose(proof["of_rounding"], np.abs(exact - changed).max(), rtol=0.01)
    assert proof["of_rounding"] > 1e-5 and proof["max_abs_difference"] < 1e-5


def test_dark_samples_between_the_levels_are_still_pictures(tmp_path: Path) -> None:
    dark = np.random.default_rng(2).uniform(0, 0.1, (9, *SHAPE)).astype(np.float32)
    assert written(tmp_path, dark, preprocessing((0, 1))).made_by["pictures"]["pictures"] == 4


@pytest.mark.parametrize(
    ("samples", "wrong", "fits"),
    [
        ((0, 1), Preprocessing(mean=0.0, std=1.0, value_range=(0.0, 1.0)), "0,1 fits"),
        ((-1, 1), Preprocessing(mean=0.0, std=1.0, value_range=(-1.0, 1.0)), "-1,1 fits"),
        ((0, 255), preprocessing((0, 1)), "0,255 fits"),
        ((-1, 1), preprocessing((0, 1)), "-1,1 fits"),
        ((0, 1), preprocessing((0, 255)), "0,1 fits"),
    ],
    ids=["taken as levels", "signed taken as levels", "not divided", "half is lost", "divided before"],
)
def test_wrong_contract_is_not_written_and_the_right_range_is_named(
    tmp_path: Path, samples: tuple[float, float], wrong: Preprocessing, fits: str
) -> None:
    inputs = preprocessing(samples).encode(pixels())
    with pytest.raises(ModelError, match="as pictures they would be off") as caught:
        written(tmp_path, inputs, wrong)
    assert fits in str(caught.value.hint)
    assert not (tmp_path / "contract.json").exists()


def test_contract_whose_formula_is_not_that_of_the_samples_is_refused(tmp_path: Path) -> None:
    encoding = preprocessing((0, 1))
    right = written(tmp_path, encoding.encode(pixels()), encoding)
    wrong = replace(right, mean=0.0, std=1.0)
    samples = samples_of(encoding.encode(pixels()), encoding, weights())
    with pytest.raises(
        ModelError, match=r"pixels 0 to 255 become 0 to 255.*the file then says \[.*\]; the given model says \["
    ) as caught:
        prove(tmp_path / "model.tflite", wrong, samples)
    assert "255: 0,1 fits" in str(caught.value.hint)
    odd = replace(right, mean=3.0, std=7.0)
    with pytest.raises(ModelError) as caught:
        prove(tmp_path / "model.tflite", odd, samples)
    assert "255: 0,1 fits" in str(caught.value.hint)


def test_difference_of_the_file_itself_is_kept_apart(tmp_path: Path) -> None:
    """A file that answers otherwise than the model is no fault of its contract: its figures say so."""
    encoding = preprocessing((0, 1))
    inputs, other = encoding.encode(pixels()), weights() * np.float32(1.5)
    proof = written(tmp_path, inputs, encoding, file=other).made_by["pictures"]
    (given,), (found,) = answers_of(weights())(inputs[:4]), answers_of(other)(inputs[:4])
    for name in ("of_conversion", "max_abs_difference"):
        np.testing.assert_allclose(proof[name], np.abs(given - found).max(), rtol=1e-4)


def test_model_that_takes_no_pictures_needs_no_proof_and_says_why(tmp_path: Path) -> None:
    inputs = np.random.default_rng(3).normal(size=(9, *SHAPE)).astype(np.float32)
    contract = written(tmp_path, inputs, real_inputs((-3, 3), reason="spectra"))
    assert contract.made_by["pictures"] == {"pictures": 0, "reason": "spectra"} and contract.no_pixels == "spectra"


@pytest.mark.parametrize(("channels", "through"), [(2, "pixels"), (4, "PNG"), (5, "pixels")])
def test_channels_that_no_picture_has_are_proved_without_png(tmp_path: Path, channels: int, through: str) -> None:
    encoding = preprocessing((0, 1))
    proof = written(tmp_path, encoding.encode(pixels((5, 4, channels))), encoding).made_by["pictures"]
    assert (proof["through"], proof["pictures"]) == (through, 4)
    assert through == "PNG" or f"takes {channels}" in proof["reason"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_of_other_sizes_must_get_the_answers_to_what_the_reader_of_data_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    encoding = preprocessing((0, 1))
    inputs = encoding.encode(pixels((5, 4, channels)))
    right = written(tmp_path, inputs, encoding)
    assert right.pictures == PictureSteps() and right.made_by["pictures"]["of_other_sizes"] < 1e-5

    def on_black(path: Path, steps: PictureSteps, *, shape: tuple[int, int, int], **_: Any) -> ModelPicture:
        """What predict did: fits into a size with the aspect kept and fills the rest, and what is clear, with black."""
        image = Image.open(path)
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
        if image.mode == "RGBA" and channels < 4:
            image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
        image.thumbnail((shape[1], shape[0]))
        found = Image.new(mode, (shape[1], shape[0]))
        found.paste(image.convert(mode))
        return ModelPicture(pixels=np.asarray(found, np.uint8).reshape(shape), inverted=False)

    monkeypatch.setattr(picture_answer, "read_picture", on_black)
    samples = samples_of(inputs, encoding, weights((5, 4, channels)))
    with pytest.raises(ModelError, match="of a picture of another size, read as its contract says"):
        prove(tmp_path / "model.tflite", right, samples)
    # Contracts that letterbox were learnt from pictures of one size: there is no other reader to hold them against.
    monkeypatch.undo()
    assert prove(tmp_path / "model.tflite", replace(right, pictures=LETTERBOX), samples)["of_other_sizes"] is None


@pytest.mark.parametrize(
    ("dark", "labels", "fit"),
    [(True, "abc", "contain"), (None, "abc", "stretch"), (False, LABELS, "stretch"), (None, LABELS, "contain")],
)
def test_how_pictures_of_another_size_get_in_follows_from_the_data(
    tmp_path: Path, dark: bool | None, labels: tuple[str, ...], fit: str
) -> None:
    encoding, shape = preprocessing((0, 1)), (5, 4, 1)
    matrix = np.resize(weights(shape), (len(labels), 20))
    samples = samples_of(encoding.encode(pixels(shape)), encoding, matrix)
    contract = write_model_folder(
        tmp_path,
        tiny_models.dense(matrix, picture=shape),
        "float32",
        Card(name="m", shape=shape, encoding=encoding, labels=tuple(labels), dark_background=dark),
        made_by={},
        inputs=samples.inputs,
        expected=samples.expected,
        answers=samples.answers,
    )
    wanted = replace(LETTERBOX, invert="light_border") if fit == "contain" else PictureSteps()
    assert contract.pictures == wanted
    assert (contract.made_by["pictures"]["of_other_sizes"] is None) == (fit == "contain")
    assert read_file(tmp_path / "contract.json").pictures == wanted


def test_without_pillow_the_pixels_are_proved_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    encoding = preprocessing((0, 1))
    proof = written(tmp_path, encoding.encode(pixels()), encoding).made_by["pictures"]
    assert proof["through"] == "pixels" and "Pillow is not installed" in proof["reason"]
