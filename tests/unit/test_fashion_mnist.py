"""On the real files: wherever `find` finds them."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgefm.cli.main import cli, run
from edgefm.core.errors import DataError
from edgefm.data.dataset import Dataset, class_counts, shared_images
from edgefm.data.reference import fashion_mnist
from edgefm.data.reference.fashion_mnist import FILES, LABELS, find, load_fashion_mnist

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (f"{file.name}.gz" for file in FILES)


@pytest.fixture(scope="module")
def real() -> Path:
    return find().folder


@pytest.fixture(scope="module")
def dataset(real: Path) -> Dataset:
    return load_fashion_mnist(real)


@pytest.fixture
def copy(real: Path, tmp_path: Path) -> Path:
    """A folder with links to the real files, to be damaged by replacing them."""
    folder = tmp_path / "data"
    folder.mkdir()
    for file in FILES:
        (folder / f"{file.name}.gz").symlink_to(real / f"{file.name}.gz")
    return folder


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which no place has the files."""
    monkeypatch.delenv("EDGEFM_DATA_DIR", raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def test_splits_have_the_stated_sizes_and_are_stratified(dataset: Dataset) -> None:
    assert dataset.labels == LABELS
    for split, per_class in zip(dataset.splits, (4800, 1200, 1000), strict=True):
        assert split.images.shape == (10 * per_class, 28, 28, 1)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert class_counts(split, classes=10) == [per_class] * 10
    assert [split.name for split in dataset.splits] == ["train", "validation", "test"]


def test_train_and_validation_cover_the_training_file(dataset: Dataset, real: Path) -> None:
    """Oracle: the pictures of the file, read with gzip and counted apart from the library's reader."""
    images = np.frombuffer(gzip.decompress((real / TRAIN_IMAGES).read_bytes())[16:], np.uint8).reshape(-1, 784)
    labels = gzip.decompress((real / TRAIN_LABELS).read_bytes())[8:]
    expected = sorted((picture.tobytes(), label) for picture, label in zip(images, labels, strict=True))
    parts = (dataset.train, dataset.validation)
    found = sorted(
        (picture.tobytes(), int(label))
        for part in parts
        for picture, label in zip(part.images, part.labels, strict=True)
    )
    assert found == expected


def test_no_picture_is_in_two_splits(dataset: Dataset) -> None:
    train, validation, test = dataset.splits
    assert shared_images(train, validation) == shared_images(train, test) == shared_images(validation, test) == 0


def test_split_stays_the_same_for_ever(real: Path, dataset: Dataset) -> None:
    """The pinned sums must never change: figures on another split cannot be compared."""
    labels = np.frombuffer(gzip.decompress((real / TRAIN_LABELS).read_bytes())[8:], np.uint8).astype(np.int64)
    kept, held_out = fashion_mnist.stratified_split(
        labels, held_out=fashion_mnist.VALIDATION_IMAGES, seed=fashion_mnist.SPLIT_SEED
    )
    sums = [hashlib.sha256(part.astype("<i8").tobytes()).hexdigest() for part in (kept, held_out)]
    assert sums == [
        "1aa47be617049c4115af1482a8da9a0475bdd98842ca3214d2bcd69d2d7d30b4",
        "1cc7e130c860c8683cf8de8328adc0fb17708306295b52f988dc90764d442f8c",
    ]
    assert dataset.sha256 == "1b800345f9cc268f1bf7af6a56f0cb581ca301e1e4a63269a05faf94393abd76"


def test_plain_files_give_the_same_data_set(real: Path, dataset: Dataset, tmp_path: Path) -> None:
    for file in FILES:
        (tmp_path / file.name).write_bytes(gzip.decompress((real / f"{file.name}.gz").read_bytes()))
    found = load_fashion_mnist(tmp_path)
    assert found.sha256 == dataset.sha256
    np.testing.assert_array_equal(found.test.images, dataset.test.images)


def truncate(folder: Path) -> str:
    (folder / TEST_IMAGES).write_bytes(replace(folder / TEST_IMAGES)[:100_000])
    return TEST_IMAGES


def lose_the_last_byte(folder: Path) -> str:
    (folder / TRAIN_LABELS).write_bytes(replace(folder / TRAIN_LABELS)[:-1])
    return TRAIN_LABELS


def swap(folder: Path) -> str:
    train, test = replace(folder / TRAIN_LABELS), replace(folder / TEST_LABELS)
    (folder / TRAIN_LABELS).write_bytes(test)
    (folder / TEST_LABELS).write_bytes(train)
    return TRAIN_LABELS


def change_one_label(folder: Path) -> str:
    content = bytearray(gzip.decompress(replace(folder / TEST_LABELS)))
    content[4000] = (content[4000] + 1) % 10
    (folder / TEST_LABELS).write_bytes(gzip.compress(bytes(content)))
    return TEST_LABELS


def append(folder: Path) -> str:
    (folder / TEST_LABELS).write_bytes(replace(folder / TEST_LABELS) + b"\0garbage")
    return TEST_LABELS


def shorten_the_content(folder: Path) -> str:
    content = gzip.decompress(replace(folder / TEST_LABELS))
    (folder / TEST_LABELS).write_bytes(gzip.compress(content[:-100]))
    return TEST_LABELS


def put_a_web_page(folder: Path) -> str:
    replace(folder / TEST_LABELS)
    (folder / TEST_LABELS).write_bytes(b"<html>Please log in</html>")
    return TEST_LABELS


def replace(path: Path) -> bytes:
    content = path.read_bytes()
    path.unlink()
    return content


DAMAGES: list[tuple[Callable[[Path], str], str]] = [
    (truncate, "truncated: the gzip stream ends too early"),
    (lose_the_last_byte, "truncated: the gzip stream ends too early"),
    (swap, "the files are swapped, this is the content of t10k-labels-idx1-ubyte"),
    (change_one_label, "the length is right, the content is not"),
    (append, "8 bytes follow the end of the gzip stream"),
    (shorten_the_content, "it is truncated, 9908 bytes decompressed instead of 10008"),
    (put_a_web_page, "it is truncated, 26 bytes decompressed instead of 10008"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_load_rejects_a_bad_file(copy: Path, damage: Callable[[Path], str], message: str) -> None:
    name = damage(copy)
    expected = next(file.sha256 for file in FILES if name == f"{file.name}.gz")
    with pytest.raises(DataError) as caught:
        load_fashion_mnist(copy)
    assert message in caught.value.message
    assert str(copy / name) in caught.value.message
    assert f"expected sha256 of the decompressed content: {expected}" in caught.value.message
    assert "edgefm data fetch" in str(caught.value.hint)


def test_error_states_the_found_sum(copy: Path) -> None:
    name = change_one_label(copy)
    found = hashlib.sha256(gzip.decompress((copy / name).read_bytes())).hexdigest()
    with pytest.raises(DataError, match=f"found: +{found}"):
        load_fashion_mnist(copy)


def test_find_rejects_a_named_folder_without_a_file(copy: Path) -> None:
    (copy / TEST_LABELS).unlink()
    with pytest.raises(DataError, match=f"data_dir cannot be used: {copy}: {TEST_LABELS} missing"):
        find(copy)


def test_find_rejects_the_folder_of_the_variable_without_falling_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEFM_DATA_DIR", str(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"EDGEFM_DATA_DIR cannot be used: .*absent: no such folder"):
        find()


def test_data_dir_goes_before_the_variable(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_DATA_DIR", str(copy / "absent"))
    assert find(copy).origin == "data_dir"
    monkeypatch.setenv("EDGEFM_DATA_DIR", str(copy))
    assert find().origin == "EDGEFM_DATA_DIR"


def test_places_are_searched_in_the_stated_order(nowhere: Path, copy: Path) -> None:
    places = {
        "edgefm's cache": nowhere / "cache" / "fashion-mnist",
        "the Keras cache": nowhere / "keras" / "datasets" / "fashion-mnist",
        "Debian's folder": nowhere / "debian",
    }
    for origin, folder in places.items():
        shutil.copytree(copy, folder, symlinks=True)
        found = find(download=False)
        assert (found.origin, found.folder) == (origin, folder)
    # A folder that lacks a file is passed over.
    (nowhere / "debian" / TRAIN_IMAGES).unlink()
    assert find(download=False).origin == "the Keras cache"


def test_find_lists_every_place_where_nothing_was_found(nowhere: Path) -> None:
    (nowhere / "cache" / "fashion-mnist").mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        find(download=False)
    message = caught.value.message
    assert f"Debian's folder, {nowhere / 'debian'}: no such folder" in message
    assert f"the Keras cache, {nowhere / 'keras'}" in message
    assert f"edgefm's cache, {nowhere / 'cache' / 'fashion-mnist'}: {TRAIN_IMAGES}, " in message
    assert "apt-get install dataset-fashion-mnist" in str(caught.value.hint)


def test_cli_info_writes_pictures_and_json(
    real: Path, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    arguments = ["data", "info", "--data-dir", str(real), "--out", str(tmp_path / "out"), "--json"]
    assert run(lambda: cli.main(arguments, standalone_mode=False)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sha256"] == dataset.sha256
    assert found["splits"]["validation"] == {"images": 12000, "classes": [1200] * 10}
    assert all(check["held"] for check in found["checks"])
    assert [Path(path).name for path in found["pictures"]] == ["class-balance.png", "samples.png"]
    for path in found["pictures"]:
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG" and picture.width >= 1000


def test_sample_sheet_shows_the_first_pictures_of_each_class(dataset: Dataset) -> None:
    from edgefm.data.pictures import sample_sheet

    sheet = sample_sheet(dataset.train, classes=10, per_class=3)
    assert sheet.shape == (300, 90, 1)
    third_bag = dataset.train.images[dataset.train.labels == 8][2]
    np.testing.assert_array_equal(sheet[8 * 30 + 1 : 8 * 30 + 29, 2 * 30 + 1 : 2 * 30 + 29], third_bag)


@pytest.mark.parametrize("arguments", [["fetch"], ["info", "--out", "out"]], ids=["fetch", "info"])
def test_cli_exits_with_2_and_writes_nothing_on_bad_data(
    copy: Path,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    name = change_one_label(copy)
    before = sorted(tmp_path.rglob("*"))
    assert run(lambda: cli.main(["data", *arguments, "--data-dir", str(copy)], standalone_mode=False)) == 2
    assert sorted(tmp_path.rglob("*")) == before
    assert name in capsys.readouterr().err
