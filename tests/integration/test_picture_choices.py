"""What a user says of the way of pictures, at export and in predict: done by every adapter and by predict alike."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import edgefm
from edgefm.cli.main import cli
from edgefm.core.errors import ArgumentError, EdgefmError, ModelError, RecipeError
from edgefm.core.picture_steps import PictureSteps
from edgefm.tflite.contract import read_file
from tests.fixtures.app_cases import ABC, CASES, Case, case, fed, litert, write_case
from tests.fixtures.app_models import Out
from tests.fixtures.picture_ways import by_pillow, odd_pictures
from tests.fixtures.protocols import ONCE
from tests.integration.test_bundles import HERE, adapter

COLOUR = (1, 9, 7, 3)


def colour_model(channels: int = 3, **model: Any) -> Case:
    about = {"mean": 120.25, "std": 58.5, "ends": ("uint8", 0.0187, 110), **model}
    shape = (1, 9, 7, channels)
    return case([("scores", "classes")], shape=shape, outputs=[Out(shape=(1, 3), last="SOFTMAX")], labels=ABC, **about)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a model file without a contract."""
    (tmp_path / "mine.tflite").write_bytes(colour_model().content)
    (tmp_path / "names.txt").write_text("\n".join(ABC) + "\n")
    return tmp_path / "mine.tflite"


WORDS = ("--fit", "cover", "--filter", "nearest", "--channel-order", "bgr", "--invert", "always")
STEPS = PictureSteps(fit="cover", filter="nearest", channel_order="bgr", invert="always")


def test_export_of_a_file_without_a_contract_says_and_does_what_was_chosen(bare: Path, tmp_path: Path) -> None:
    said = ["--labels", str(bare.with_name("names.txt")), "--mean", "120.25", "--std", "58.5", "-n", "3"]
    done = CliRunner().invoke(
        cli, ["export", "all", str(bare), "--out", str(tmp_path / "all"), *said, *WORDS], standalone_mode=False
    )
    assert done.exception is None, done.output
    for kind in (kind for kind in HERE if kind != "c"):
        contract = read_file(tmp_path / "all" / kind / "contract.json")
        assert contract.pictures == STEPS and contract.mean == 120.25
        card = (tmp_path / "all" / kind / "README.md").read_text()
        assert "its middle is taken" in card and "nearest pixels" in card
        assert "blue, green or red" in card and "Every picture is inverted" in card
        assert edgefm.verify(tmp_path / "all" / kind, progress=False).held
    model = adapter(tmp_path / "all" / "python")
    (tmp_path / "pictures").mkdir()
    for path in odd_pictures(tmp_path / "pictures", 40):
        wanted = by_pillow(path, 3, STEPS, "auto", 9, 7)
        np.testing.assert_array_equal(model.picture(path), wanted, err_msg=str(path))
        (top,) = edgefm.predict(path, model=tmp_path / "all" / "python" / "model.tflite", progress=False)
        (raw,) = litert(colour_model().content, fed(contract, wanted.reshape(-1)))
        np.testing.assert_allclose(
            [score.probability for score in top.top], sorted(raw[0].tolist(), reverse=True), atol=1e-6
        )
        assert top.inverted


def test_export_changes_what_a_contract_says_and_keeps_the_rest(tmp_path: Path) -> None:
    app = colour_model()
    write_case(tmp_path / "model", app)
    before = PictureSteps(fit="contain", filter="bicubic", background=7, over="auto", invert="light_border")
    dataclasses.replace(app.contract, pictures=before).write(tmp_path / "model")
    edgefm.export(tmp_path / "model", "python", out=tmp_path / "same", samples=2, progress=False)
    assert read_file(tmp_path / "same" / "contract.json").pictures == before
    edgefm.export(
        tmp_path / "model",
        "python",
        out=tmp_path / "other",
        channel_order="bgr",
        background=114,
        samples=2,
        progress=False,
    )
    found = read_file(tmp_path / "other" / "contract.json").pictures
    assert found == dataclasses.replace(before, channel_order="bgr", background=114)
    for name in ("00.in.bin", "01.in.bin", "00.xnnpack.bin"):
        golden = [path / "golden" / name for path in (tmp_path / "same", tmp_path / "other")]
        assert not golden[0].exists() or golden[0].read_bytes() == golden[1].read_bytes()


def test_golden_pictures_of_a_blue_first_model_show_their_colours(tmp_path: Path) -> None:
    app = colour_model()
    write_case(tmp_path / "model", app)
    app.contract.write(tmp_path / "model")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 9, 7, 3), dtype=np.uint8)
    images[..., 0] //= 8  # little red
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(12) % 3)
    for order in ("rgb", "bgr"):
        edgefm.export(
            tmp_path / "model", "python", out=tmp_path / order, data=tmp_path / "data.npz", channel_order=order,  # type: ignore[arg-type]
            samples=4, progress=False,
        )  # fmt: skip
        model = adapter(tmp_path / order)
        pictures = sorted((tmp_path / order / "golden").glob("*.png"))
        assert pictures
        for picture in pictures:
            assert np.array(Image.open(picture))[..., 0].max() < 32, "red stays red"
            tensor = model.encode(model.picture(picture, "no"))
            assert tensor.tobytes() == (tmp_path / order / "golden" / f"{picture.stem}.in.bin").read_bytes()
    assert (tmp_path / "rgb/golden/00.png").read_bytes() == (tmp_path / "bgr/golden/00.png").read_bytes()
    assert (tmp_path / "rgb/golden/00.in.bin").read_bytes() != (tmp_path / "bgr/golden/00.in.bin").read_bytes()


def test_benchmark_feeds_a_blue_first_model_as_its_contract_says(tmp_path: Path) -> None:
    app = colour_model()
    images = np.random.default_rng(4).integers(0, 256, (60, 9, 7, 3), dtype=np.uint8)
    red, blue = (
        np.array([litert(app.content, fed(app.contract, image.reshape(-1)))[0].argmax() for image in fed_images])
        for fed_images in (images, images[..., ::-1])
    )
    assert (red != blue).any() and len(set(blue.tolist())) == 3, "the premise"
    np.savez(tmp_path / "data.npz", x_train=images, y_train=blue, x_test=images, y_test=blue)
    write_case(tmp_path / "model", app)
    dataclasses.replace(app.contract, pictures=PictureSteps(channel_order="bgr")).write(tmp_path / "model")
    path = tmp_path / "model" / "model.tflite"
    (row,) = edgefm.benchmark(path, data=tmp_path / "data.npz", protocol=ONCE, progress=False).record["models"]
    assert row["quality"]["value"] == 1.0, row["quality"]


PREDICTED: dict[str, dict[str, Any]] = {
    "--fit contain --background 99": {"fit": "contain", "background": 99},
    "--fit cover --filter bicubic": {"fit": "cover", "filter": "bicubic"},
    "--channel-order bgr --filter box": {"channel_order": "bgr", "filter": "box"},
    "": {},
}


@pytest.mark.parametrize("words", PREDICTED)
def test_predict_reads_pictures_as_it_is_told_to(words: str, tmp_path: Path) -> None:
    app = colour_model()
    write_case(tmp_path / "model", app)
    app.contract.write(tmp_path / "model")
    picture = tmp_path / "picture.png"
    random = np.random.default_rng(2)
    Image.fromarray(random.integers(0, 256, (40, 90, 3), dtype=np.uint8)).resize((130, 50)).save(picture)
    done = CliRunner().invoke(
        cli,
        ["predict", str(picture), "--model", str(tmp_path / "model"), "--json", *words.split()],
        standalone_mode=False,
    )
    top = json.loads(done.stdout)["predictions"][0]["top"]
    pixels = by_pillow(picture, 3, PictureSteps(**PREDICTED[words]), "auto", 9, 7)
    (raw,) = litert(app.content, fed(app.contract, pixels.reshape(-1)))
    wanted = dict(zip(ABC, raw[0].tolist(), strict=True))
    assert {one["label"]: one["probability"] for one in top} == pytest.approx(wanted, abs=1e-6)


REFUSED: list[tuple[dict[str, Any], int, type[EdgefmError], str]] = [
    ({"fit": "crop"}, 3, RecipeError, "unknown fit 'crop'"),
    ({"filter": "bilinaer"}, 3, RecipeError, "unknown filter 'bilinaer'; did you mean 'bilinear'"),
    ({"channel_order": "rgba"}, 3, RecipeError, "unknown channel_order 'rgba'"),
    ({"fit": 3}, 3, ArgumentError, "fit is 3, an int; one of stretch, contain, cover is expected"),
    ({"background": 256, "fit": "contain"}, 3, ArgumentError, "background is 256; a level from 0 to 255 is expected"),
    ({"background": 1.5, "fit": "contain"}, 3, ArgumentError, "background is 1.5; a whole number"),
    ({"background": 9}, 3, ArgumentError, "background is 9, but pictures fit by 'stretch', which leaves none"),
    ({"channel_order": "bgr"}, 1, ArgumentError, "channel_order is bgr, but model.tflite takes 1 channels, not 3"),
    ({"fit": "contain"}, 4, ModelError, r"4 channels; pictures that are contained have 1 \(grey\) or 3 \(RGB\)"),
]


@pytest.mark.parametrize(("choice", "channels", "error", "message"), REFUSED)
def test_choices_that_mean_nothing_are_refused(
    choice: dict[str, Any], channels: int, error: type[EdgefmError], message: str, tmp_path: Path
) -> None:
    app = colour_model(channels)
    write_case(tmp_path / "model", app)
    app.contract.write(tmp_path / "model")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(error, match=message):
        edgefm.export(tmp_path / "model", "python", out=tmp_path / "out", progress=False, **choice)
    with pytest.raises(error, match=message):
        edgefm.predict(tmp_path / "a.png", model=tmp_path / "model", progress=False, **choice)
    assert not (tmp_path / "out").exists()


def test_unknown_time_to_invert_and_models_without_pictures_are_refused(tmp_path: Path) -> None:
    for name in ("uint8_raw__uint8", "rank2__real_int8"):
        write_case(tmp_path / name, CASES[name])
        CASES[name].contract.write(tmp_path / name)
    with pytest.raises(RecipeError, match="unknown invert 'auto'"):
        edgefm.export(
            tmp_path / "uint8_raw__uint8",
            "python",
            out=tmp_path / "out",
            invert="auto",
            progress=False,  # type: ignore[arg-type]
        )
    with pytest.raises(ModelError, match="does not take pictures"):
        edgefm.export(tmp_path / "rank2__real_int8", "python", out=tmp_path / "out", fit="cover", progress=False)
