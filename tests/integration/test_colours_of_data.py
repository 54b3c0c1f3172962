"""Grey pictures stay grey and coloured ones coloured when a size is said, whatever the data come in."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

import edgefm
from edgefm.cli.main import cli
from edgefm.core.errors import DataError
from edgefm.core.progress import SILENT
from edgefm.core.runs import RunDirectory
from edgefm.data.source import DataSource, dataset_of
from edgefm.jobs.run import Run
from edgefm.jobs.to_learn import ToLearn, to_learn
from edgefm.recipes import Training
from tests.integration.test_tfrecord_data import spec, write

SIDE, COUNT = 20, 30
FUNCTION = """
import numpy as np


def load():
    return dict(np.load("d.npz"))
"""
FORMS = {"png": "PNG", "jpeg": "JPEG"}
LABEL = {"feature": "label"}


def _pixels(channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, channels), np.uint8)


def _encoded(pixels: NDArray[np.uint8], form: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(content, form)
    return content.getvalue()


def _records(folder: Path, pictures: list[bytes], encoding: str, **shape: Any) -> DataSource:
    records = [{"x": content, "label": place % 2} for place, content in enumerate(pictures)]
    said = {"image": {"feature": "x", "encoding": encoding, **shape}, "label": LABEL}
    return DataSource(where=write(folder / "all.tfrecord", records), spec=str(spec(folder, said)))


def _folders(folder: Path, pictures: list[bytes], suffix: str = "png") -> DataSource:
    for place, content in enumerate(pictures):
        (folder / "p" / f"c{place % 2}").mkdir(parents=True, exist_ok=True)
        (folder / "p" / f"c{place % 2}" / f"{place:02d}.{suffix}").write_bytes(content)
    return DataSource(where=str(folder / "p"))


def _given(kind: str, folder: Path, channels: int) -> tuple[Any, int]:
    """Write data of a kind; return them and the channels that others find in them."""
    pixels, labels = _pixels(channels), np.arange(COUNT) % 2
    place, _, form = kind.partition(" ")
    if place == "memory":
        return edgefm.data.from_arrays(pixels, labels, progress=False), pixels.shape[-1]
    if form in FORMS:
        pictures = [_encoded(picture, FORMS[form]) for picture in pixels]
        (found,) = {int(tf.io.decode_image(content).shape[-1]) for content in pictures}
        return (_folders(folder, pictures, form) if place == "folder" else _records(folder, pictures, form)), found
    if place == "tfrecord":
        raw = [picture.tobytes() for picture in pixels]
        return _records(folder, raw, "raw", shape=[SIDE, SIDE, channels]), pixels.shape[-1]
    np.savez(folder / "d.npz", x=pixels, y=labels)
    (folder / "colour_data.py").write_text(FUNCTION)
    return DataSource(where="colour_data:load" if place == "function" else str(folder / "d.npz")), pixels.shape[-1]


def _ready(data: Any, **recipe: Any) -> ToLearn:
    is_source = isinstance(data, DataSource)
    return to_learn(
        Training(model="enhanced_cnn", **recipe),
        dataset=None if is_source else data,
        source=data if is_source else None,
        backend="tensorflow",
        precision="float32",
        progress=SILENT,
    )


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "colour_data", raising=False)


@pytest.mark.parametrize("size", [28, None])
@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
@pytest.mark.parametrize(
    "kind",
    ["folder png", "folder jpeg", "tfrecord png", "tfrecord jpeg", "tfrecord raw", "npz", "function", "memory"],
)
def test_pictures_keep_their_channels_at_a_size_that_is_said(
    kind: str, channels: int, size: int | None, tmp_path: Path
) -> None:
    data, found = _given(kind, tmp_path, channels)
    ready = _ready(data, image_size=size)
    shape = (size or SIDE, size or SIDE, found)
    assert found == channels and ready.dataset.train.images.shape[1:] == shape
    if ready.source is not None:  # what later steps of the run find
        assert ready.source.load(shape).sha256 == ready.dataset.sha256


@pytest.mark.parametrize("kind", ["folder png", "tfrecord png", "tfrecord raw"])
def test_channels_that_are_said_are_those_that_are_learnt(kind: str, tmp_path: Path) -> None:
    grey, _ = _given(kind, tmp_path, 1)
    assert _ready(grey, image_size=28, channels=3).dataset.train.images.shape[1:] == (28, 28, 3)
    assert _ready(grey, channels=3).dataset.train.images.shape[1:] == (SIDE, SIDE, 3)


@pytest.mark.parametrize("size", [28, None])
@pytest.mark.parametrize("write_as", ["folder", "tfrecord"])
def test_colours_behind_a_grey_picture_are_kept(write_as: str, size: int | None, tmp_path: Path) -> None:
    pixels = _pixels(3)
    pictures = [_encoded(picture[..., :1] if place < 2 else picture) for place, picture in enumerate(pixels)]
    assert [tf.io.decode_image(content).shape[-1] for content in pictures[:3]] == [1, 1, 3]
    source = _folders(tmp_path, pictures) if write_as == "folder" else _records(tmp_path, pictures, "png")
    dataset = _ready(source, image_size=size).dataset
    side = size or SIDE
    wanted = {
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
        .tobytes() for content in pictures
    }  # fmt: skip
    assert {image.tobytes() for split in dataset.splits for image in split.images} == wanted


def test_records_of_several_sizes_are_learnt_at_the_size_of_the_network(tmp_path: Path) -> None:
    pictures = [_encoded(picture[: SIDE - place % 3]) for place, picture in enumerate(_pixels(1))]
    source = _records(tmp_path, pictures, "png")
    assert _ready(source).dataset.train.images.shape[1:] == (28, 28, 1)  # Fashion-MNIST's, of the Enhanced CNN


def test_command_learns_grey_records_as_grey(tmp_path: Path) -> None:
    source, found = _given("tfrecord png", tmp_path, 1)
    options = ["--image-size", "28", "--model", "ds_cnn", "--epochs", "1", "--backend", "tensorflow", "--run", "run"]
    done = CliRunner().invoke(cli, ["train", "--data", source.where, "--spec", str(source.spec), *options])
    assert done.exit_code == 0, done.output
    file = Run("run").training.file
    assert file is not None and keras.models.load_model(file).input_shape == (None, 28, 28, found) == (None, 28, 28, 1)
    assert dataset_of(RunDirectory.open(Path("run"))).train.images.shape[1:] == (28, 28, 1)


def test_records_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all\.tfrecord holds no records"):
        _ready(_records(tmp_path, [], "png"), image_size=28)
    with pytest.raises(DataError, match=r"3 of the 3 pictures of .*all\.tfrecord cannot be read:\n.*record 0 of"):
        _ready(_records(tmp_path, [b"none"] * 3, "png"), image_size=28)
    damaged = [_encoded(picture) for picture in _pixels(1)]
    damaged[4] = damaged[4][:-200]  # behind the header
    with pytest.raises(DataError, match=r"1 of the 30 pictures .*\n.*record 4 of"):
        _ready(_records(tmp_path, damaged, "png"), image_size=28)
