"""Users' data: what is read, how it is split, and what is said of data that are wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from edgefm.core.errors import DataError, RecipeError, RuntimeUnavailableError
from edgefm.data import from_arrays
from edgefm.data.calibration import calibration_images
from edgefm.data.dataset import Dataset, Split, reordered
from edgefm.data.own.load import load_data
from edgefm.data.picture_file import open_picture, pixels_of
from edgefm.data.sampling import sample_order, shares_split
from tests.fixtures.notes import Notes

SHAPE = (6, 5, 3)
RANDOM = np.random.default_rng(0)


def pictures(count: int, shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8)


def npz(folder: Path, **values: Any) -> str:
    np.savez(folder / "data.npz", **values)
    return str(folder / "data.npz")


def hint_of(error: pytest.ExceptionInfo[DataError]) -> str:
    assert error.value.hint is not None, error.value.message
    return error.value.hint


# ---- .npz


def test_npz_with_three_splits_is_read_as_it_is_but_for_the_order_of_validation(tmp_path: Path) -> None:
    x, y = pictures(30), np.arange(30) % 3
    where = npz(
        tmp_path, x_train=x[:12], y_train=y[:12], x_val=x[12:21], y_val=y[12:21], test_images=x[21:], test_labels=y[21:]
    )
    found = load_data(where, input_shape=SHAPE)
    assert (found.task, found.labels, found.name) == ("classification", ("0", "1", "2"), "data.npz")
    shuffled = 12 + np.random.default_rng(0).permutation(9)
    for split, part in zip(found.splits, (np.arange(12), shuffled, np.arange(21, 30)), strict=True):
        np.testing.assert_array_equal(split.images, x[part])
        np.testing.assert_array_equal(split.labels, y[part])
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
    assert [split.name for split in found.splits] == ["train", "validation", "test"]


def test_npz_without_splits_is_cut_in_proportion_and_says_so(tmp_path: Path) -> None:
    sizes = (100, 40, 10, 3, 2)
    y = RANDOM.permutation(np.repeat(np.arange(5), sizes))
    x = pictures(len(y))
    notes = Notes()
    found = load_data(npz(tmp_path, images=x, labels=y), input_shape=SHAPE, seed=4, progress=notes)
    counts = [np.bincount(split.labels, minlength=5).tolist() for split in found.splits]
    # Of a class of two nothing can be held out twice.
    assert counts == [[80, 32, 8, 1, 2], [10, 4, 1, 1, 0], [10, 4, 1, 1, 0]]
    assert any("cut from train" in note and "123 train" in note for note in notes.notes)
    assert any("test samples" in note and "lack 1 classes: 4" in note for note in notes.notes)
    together = np.concatenate([split.images for split in found.splits]).reshape(len(y), -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, x.reshape(len(y), -1)))
    by_content = {bytes(one.reshape(-1)): label for one, label in zip(x, y, strict=True)}
    for split in found.splits:
        assert [by_content[bytes(one.reshape(-1))] for one in split.images] == split.labels.tolist()


def test_npz_without_validation_keeps_the_test_split_whole(tmp_path: Path) -> None:
    x, y = pictures(50), np.arange(50) % 2
    where = npz(tmp_path, x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    found = load_data(where, input_shape=SHAPE)
    np.testing.assert_array_equal(found.test.images, x[40:])
    assert [len(split) for split in found.splits] == [36, 4, 10]


def test_equal_seeds_give_equal_splits_and_sums(tmp_path: Path) -> None:
    where = npz(tmp_path, x=pictures(40), y=np.arange(40) % 4)
    first, again, other = (load_data(where, input_shape=SHAPE, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.test.images, again.test.images)
    assert first.sha256 == again.sha256 != other.sha256


def test_sum_depends_on_pixels_labels_and_names(tmp_path: Path) -> None:
    x, y = pictures(40), np.arange(40) % 4
    changed = x.copy()
    changed[7, 0, 0, 0] ^= 1
    sums = {
        load_data(npz(tmp_path, **values), input_shape=SHAPE, labels=labels).sha256
        for values, labels in (
            ({"x": x, "y": y}, None),
            ({"x": changed, "y": y}, None),
            ({"x": x, "y": y[::-1].copy()}, None),
            ({"x": x, "y": y}, ("a", "b", "c", "d")),
        )
    }
    assert len(sums) == 4


def test_grey_pictures_gain_a_channel(tmp_path: Path) -> None:
    found = load_data(npz(tmp_path, x=pictures(20, (6, 5)), y=np.arange(20) % 2), input_shape=(6, 5, 1))
    assert found.train.images.shape[1:] == (6, 5, 1)


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        pytest.param(np.array(["dog", "cat"] * 10), ("cat", "dog"), id="names"),
        pytest.param(np.eye(2)[[1, 0] * 10], ("0", "1"), id="one-hot"),
        pytest.param(np.array([[1], [0]] * 10, np.uint8), ("0", "1"), id="column"),
        pytest.param(np.array([True, False] * 10), ("0", "1"), id="bool"),
        pytest.param(np.array([1, -1] * 10), ("0", "1"), id="signs"),
        pytest.param(np.array([1.0, 0.0] * 10), ("0", "1"), id="floats of 0 and 1"),
    ],
)
def test_labels_of_each_kind_become_classes(tmp_path: Path, y: NDArray[Any], labels: tuple[str, ...]) -> None:
    x = pictures(20)
    found = load_data(npz(tmp_path, x_train=x, y_train=y, x_test=x, y_test=y), input_shape=SHAPE)
    assert (found.task, found.labels) == ("classification", labels)
    assert found.test.labels.tolist() == [1, 0] * 10


def test_label_names_in_the_file_are_taken_unless_others_are_given(tmp_path: Path) -> None:
    where = npz(tmp_path, x=pictures(20), y=np.arange(20) % 2, label_names=np.array(["cat", "dog"]))
    assert load_data(where, input_shape=SHAPE).labels == ("cat", "dog")
    assert load_data(where, input_shape=SHAPE, labels=("a", "b")).labels == ("a", "b")


def test_float_labels_are_a_regression_split_at_random(tmp_path: Path) -> None:
    x, y = RANDOM.normal(size=(50, 7)), RANDOM.normal(size=(50, 2))
    notes = Notes()
    found = load_data(npz(tmp_path, x=x, y=y), input_shape=(7,), progress=notes)
    assert (found.task, found.labels) == ("regression", ())
    assert [len(split) for split in found.splits] == [40, 5, 5]
    assert found.train.images.dtype == found.train.labels.dtype == np.float32
    targets = {one.astype(np.float32).tobytes(): target for one, target in zip(x, y, strict=True)}
    for one, target in zip(found.test.images, found.test.labels, strict=True):
        np.testing.assert_array_equal(target, targets[one.tobytes()].astype(np.float32))
    assert any("regression" in note for note in notes.notes)


@pytest.mark.parametrize("task", [None, "reconstruction"])
def test_data_without_labels_are_a_reconstruction_told_or_not(task: str | None, tmp_path: Path) -> None:
    where = npz(tmp_path, images=pictures(30))
    found = load_data(where, input_shape=SHAPE, task=task)
    assert (found.task, found.labels) == ("reconstruction", ())
    with pytest.raises(DataError, match="have no labels") as caught:
        load_data(where, input_shape=SHAPE, task="classification")
    assert "reconstruction" in hint_of(caught)
    for split in found.splits:
        np.testing.assert_array_equal(split.images, split.labels)


def test_test_samples_among_the_training_samples_are_told(tmp_path: Path) -> None:
    x, y = pictures(40), np.arange(40) % 2
    notes = Notes()
    load_data(npz(tmp_path, x_train=x, y_train=y, x_test=x[:7], y_test=y[:7]), input_shape=SHAPE, progress=notes)
    assert any(note.startswith(("7 of the 7", "6 of the 7", "5 of the 7")) for note in notes.notes)


GOOD_X, GOOD_Y = pictures(20), np.arange(20) % 2
NAN = np.zeros((20, *SHAPE))
NAN[3, 0, 0, 0] = np.nan
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no-inputs": ({"pics": GOOD_X}, "no inputs under a known name; it holds: 'pics'"),
    "both": ({"x": GOOD_X, "y": GOOD_Y, "x_train": GOOD_X}, "with and without a split in their names"),
    "twice": ({"x": GOOD_X, "images": GOOD_X, "y": GOOD_Y}, "gives the inputs of 'all samples' twice"),
    "only-test": ({"x_test": GOOD_X, "y_test": GOOD_Y}, "no training samples, only: test"),
    "targets-alone": ({"x_train": GOOD_X, "y_train": GOOD_Y, "y_test": GOOD_Y}, "targets of 'test' without inputs"),
    "lengths": ({"x": GOOD_X, "y": GOOD_Y[:-1]}, "20 inputs, but 19 labels"),
    "shape": ({"x": pictures(20, (6, 6, 3)), "y": GOOD_Y}, "6 x 6 x 3, the model takes 6 x 5 x 3"),
    "channels-first": ({"x": pictures(20, (3, 6, 5)), "y": GOOD_Y}, "3 x 6 x 5, the model takes 6 x 5 x 3"),
    "grey": ({"x": pictures(20, (6, 5, 1)), "y": GOOD_Y}, "6 x 5 x 1, the model takes 6 x 5 x 3"),
    "dtype": ({"x": GOOD_X.astype(np.complex64), "y": GOOD_Y}, "have dtype complex64; uint8 pixels"),
    "bool": ({"x": GOOD_X > 9, "y": GOOD_Y}, "have dtype bool"),
    "scalars": ({"x": np.zeros(20), "y": GOOD_Y}, "have shape (20,)"),
    "nan": ({"x": NAN, "y": GOOD_Y}, "NaN or infinite values, in 1 of 20 samples"),
    "infinite-target": ({"x": GOOD_X, "y": np.full(20, np.inf)}, "labels of data.npz hold NaN or infinite"),
    "zero-images": ({"x": GOOD_X[:0], "y": GOOD_Y[:0]}, "are empty (shape (0, 6, 5, 3))"),
    "zero-in-a-split": (
        {"x_train": GOOD_X, "y_train": GOOD_Y, "x_test": GOOD_X[:0], "y_test": GOOD_Y[:0]},
        "the test samples of data.npz are empty",
    ),
    "too-few-to-cut": ({"x": GOOD_X[:2], "y": GOOD_Y[:2]}, "are empty"),
    "negative": ({"x": GOOD_X, "y": GOOD_Y - 1}, "negative class -1"),
    "empty-class": ({"x": GOOD_X, "y": 2 * GOOD_Y}, "1 of 3 classes of data.npz have no training sample: 1"),
    "from-one": ({"x": GOOD_X, "y": 1 + GOOD_Y}, "have no training sample: 0"),
    "several-classes": ({"x": GOOD_X, "y": np.full((20, 3), 2)}, "have shape (20, 3)"),
    "mixed-types": (
        {"x_train": GOOD_X, "y_train": GOOD_Y, "x_test": GOOD_X / 255, "y_test": GOOD_Y},
        "float32, the training samples uint8",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_npz_that_is_wrong_says_what(tmp_path: Path, name: str) -> None:
    values, words = WRONG[name]
    with pytest.raises(DataError) as caught:
        load_data(npz(tmp_path, **values), input_shape=SHAPE)
    assert words in caught.value.message
    if name == "channels-first":
        assert "transpose(0, 2, 3, 1)" in hint_of(caught)


def test_labels_beyond_the_given_names_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="hold class 2; with 2 classes, 0 to 1 are allowed"):
        load_data(npz(tmp_path, x=GOOD_X, y=np.arange(20) % 3), input_shape=SHAPE, labels=("a", "b"))


def test_given_name_without_any_sample_is_an_empty_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 3 classes .* have no training sample: c"):
        load_data(npz(tmp_path, x=GOOD_X, y=GOOD_Y), input_shape=SHAPE, labels=("a", "b", "c"))


def test_fractions_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"hold 0.5, which is not a class") as caught:
        load_data(npz(tmp_path, x=GOOD_X, y=GOOD_Y / 2), input_shape=SHAPE, task="classification")
    assert "regression" in hint_of(caught)


def test_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'regression'"):
        load_data(npz(tmp_path, x=GOOD_X, y=GOOD_Y), input_shape=SHAPE, task="regresion")


def test_npz_with_python_objects_is_refused_unless_trusted(tmp_path: Path) -> None:
    y = np.empty(20, object)
    y[:] = [int(label) for label in GOOD_Y]
    where = npz(tmp_path, x=GOOD_X, y=y)
    with pytest.raises(DataError, match="holds Python objects in the array 'y'") as caught:
        load_data(where, input_shape=SHAPE)
    assert "trust it" in hint_of(caught)
    assert sorted(
        np.concatenate([split.labels for split in load_data(where, input_shape=SHAPE, trust=True).splits])
    ) == (sorted(GOOD_Y))
    y[0] = None
    with pytest.raises(DataError, match="have dtype object"):
        load_data(npz(tmp_path, x=GOOD_X, y=y), input_shape=SHAPE, trust=True)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"text"], ids=["empty", "zip", "text"])
def test_npz_that_is_damaged_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz"):
        load_data(str(tmp_path / "data.npz"), input_shape=SHAPE)


@pytest.mark.parametrize("where", ["no/such/data", "gone.npz", "data.csv"])
def test_data_that_are_nowhere_say_what_is_allowed(tmp_path: Path, where: str, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("1,2\n")
    with pytest.raises(DataError) as caught:
        load_data(where, input_shape=SHAPE)
    assert "npz" in hint_of(caught)


# ---- class folders


def save(path: Path, colour: tuple[int, int, int], *, size: tuple[int, int] = (10, 12), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}


def class_folders(folder: Path, *, count: int = 5) -> Path:
    for name, colour in COLOURS.items():
        for index in range(count):
            save(folder / name / f"{index}.png", tuple(c + index for c in colour))  # type: ignore[arg-type]
    return folder


def test_class_folders_become_pictures_of_the_models_size(tmp_path: Path) -> None:
    notes = Notes()
    found = load_data(str(class_folders(tmp_path)), input_shape=(8, 9, 3), progress=notes)
    assert (found.labels, found.task) == (("blue", "green", "red"), "classification")
    assert found.train.images.shape == (9, 8, 9, 3) and found.train.images.dtype == np.uint8
    for split in found.splits:
        channel = [2, 1, 0]  # the bright channel of each class
        for image, label in zip(split.images, split.labels, strict=True):
            assert image.reshape(-1, 3).mean(0).argmax() == channel[int(label)]
    assert ("read pictures", 15, 15) in notes.steps and notes.steps[-1] == ("check data", 3, 3)


def test_class_folders_in_split_folders_are_these_splits(tmp_path: Path) -> None:
    for split, count in (("Train", 4), ("val", 2), ("test", 1)):
        class_folders(tmp_path / split, count=count)
    found = load_data(str(tmp_path), input_shape=SHAPE)
    assert [len(split) for split in found.splits] == [12, 6, 3]


def test_what_is_no_picture_by_its_name_is_said(tmp_path: Path) -> None:
    class_folders(tmp_path)
    for name in ("blue/Thumbs.db", "blue/.DS_Store", "red/IMG_1.HEIC", "red/note.txt", "red/more/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    notes = Notes()
    assert len(load_data(str(tmp_path), input_shape=SHAPE, progress=notes).train) == 9
    (said,) = [note for note in notes.notes if "left out" in note]
    assert "3 entries are left out" in said and said.endswith("): red/IMG_1.HEIC, red/more, red/note.txt")


@pytest.mark.parametrize("suffix", [".jfif", ".avif", ".jp2"])
def test_pictures_of_newer_formats_are_read(suffix: str, tmp_path: Path) -> None:
    class_folders(tmp_path)
    kind = {".jfif": "JPEG", ".avif": "AVIF", ".jp2": "JPEG2000"}[suffix]
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this build of Pillow reads no AVIF")
    Image.new("RGB", (9, 9), COLOURS["red"]).save(tmp_path / "red" / f"new{suffix}", format=kind)
    found = load_data(str(tmp_path), input_shape=SHAPE)
    assert sum(len(split) for split in found.splits) == 16
    assert all(image[..., 0].mean() > 150 for split in found.splits for image in split.images[split.labels == 2])


def test_pictures_of_other_modes_become_grey_levels(tmp_path: Path) -> None:
    for index in range(4):
        save(tmp_path / "a" / f"{index}.png", (100, 100, 100), mode="L")
        save(tmp_path / "b" / f"{index}.jpg", (200, 200, 200))
        Image.new("RGBA", (7, 7), (0, 0, 0, 0)).save(tmp_path / "a" / f"clear-{index}.png")
        Image.fromarray(np.full((7, 7), 50 * 256, np.uint16)).save(tmp_path / "b" / f"deep-{index}.png")
    found = load_data(str(tmp_path), input_shape=(4, 4, 1))
    levels = {
        label: sorted({int(image.mean()) for split in found.splits for image in split.images[split.labels == label]})
        for label in (0, 1)
    }
    assert levels[0] == [100, 255]  # transparent parts are white
    assert levels[1][0] == 50 and abs(levels[1][-1] - 200) <= 1


def test_resizing_is_bilinear_with_the_aspect_changed(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 240, 30, dtype=np.uint8), (2, 1))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.fromarray(ramp).save(tmp_path / name / f"{index}.png")
    found = load_data(str(tmp_path), input_shape=(4, 4, 1))
    # Halving with a triangle filter keeps a ramp a ramp, but at its ends.
    np.testing.assert_allclose(found.train.images[0, :, 1:3, 0], [[75, 135]] * 4, atol=1)
    assert found.train.images.shape[1:] == (4, 4, 1)


def test_class_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    class_folders(tmp_path)
    (tmp_path / os.fsdecode(b"r\xffd")).mkdir()
    with pytest.raises(DataError, match=r"r\\udcffd is no UTF-8 text, and it would be a class name"):
        load_data(str(tmp_path), input_shape=(8, 9, 3))


def test_many_arrays_with_unknown_names_are_told_in_one_short_line(tmp_path: Path) -> None:
    notes = Notes()
    unknown = {f"{'n' * 9000}{index}": GOOD_X[:1] for index in range(300)}
    load_data(npz(tmp_path, x_train=GOOD_X, y_train=GOOD_Y, **unknown), input_shape=SHAPE, progress=notes)
    (line,) = [text for text in notes.notes if "unknown name" in text]
    assert "300 arrays" in line and "and 295 more" in line and len(line) < 500


def test_folders_named_by_numbers_stand_in_their_order(tmp_path: Path) -> None:
    for name in ("10", "9", "2"):
        for index in range(3):
            save(tmp_path / name / f"{index}.png", (int(name) * 20, 0, index))
    assert load_data(str(tmp_path), input_shape=SHAPE).labels == ("2", "9", "10")


def test_folders_take_the_order_of_given_labels(tmp_path: Path) -> None:
    found = load_data(str(class_folders(tmp_path)), input_shape=SHAPE, labels=("red", "green", "blue"))
    assert found.train.images[found.train.labels == 0].reshape(-1, 3).mean(0).argmax() == 0
    with pytest.raises(DataError, match="differ in: blue, white"):
        load_data(str(tmp_path), input_shape=SHAPE, labels=("red", "green", "white"))


def test_damaged_pictures_are_counted_and_the_first_named(tmp_path: Path) -> None:
    class_folders(tmp_path, count=6)
    whole = (tmp_path / "red" / "0.png").read_bytes()
    for index in range(6):
        (tmp_path / "red" / f"{index}.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "green" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="7 of the 18 pictures") as caught:
        load_data(str(tmp_path), input_shape=SHAPE)
    assert caught.value.message.count("\n  - ") == 5 and "and 2 more" in caught.value.message
    assert str(tmp_path / "green" / "0.png") in caught.value.message


def with_repeats() -> dict[str, NDArray[Any]]:
    """Return arrays of which two training pictures are validation pictures, too, and one of validation is in test."""
    train, validation, test = pictures(12), pictures(8), pictures(6)
    validation[:2], test[0] = train[:2], validation[5]
    values = {"x_train": train, "x_val": validation, "x_test": test}
    return values | {name.replace("x", "y", 1): np.arange(len(x)) % 2 for name, x in values.items()}


REPEATS = [
    "2 of the 8 validation samples are also training samples: what is chosen by them, and what is said of them, will "
    "be too good",
    "1 of the 6 test samples are also validation samples: results of what was chosen by these will be too good",
]


def test_samples_that_two_splits_share_are_told_of_all_pairs(tmp_path: Path) -> None:
    notes = Notes()
    load_data(npz(tmp_path, **with_repeats()), input_shape=SHAPE, progress=notes)
    assert [note for note in notes.notes if "are also" in note] == REPEATS


def test_samples_that_splits_of_a_function_share_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "repeats.npz", **with_repeats())
    lines = (
        "import numpy as np",
        "from edgefm.data.dataset import Dataset, Split",
        "def data():",
        f"    a = np.load({str(tmp_path / 'repeats.npz')!r})",
        "    names = {'train': 'train', 'val': 'validation', 'test': 'test'}",
        "    parts = [Split(name=names[n], images=a['x_' + n], labels=a['y_' + n]) for n in names]",
        "    return Dataset(name='r', labels=('a', 'b'), train=parts[0], validation=parts[1], test=parts[2],",
        "        sha256='0' * 64)",
    )
    (tmp_path / "data_with_repeats.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    notes = Notes()
    load_data("data_with_repeats:data", input_shape=SHAPE, progress=notes)
    assert [note for note in notes.notes if "are also" in note] == REPEATS


def test_pictures_of_folders_say_their_files(tmp_path: Path) -> None:
    # No two pictures are alike, so that their pixels, read by Pillow alone, say which file a sample is.
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(30):
            Image.fromarray(pictures(1)[0]).save(tmp_path / name / f"{number}.png")
    found = load_data(str(tmp_path), input_shape=SHAPE, seed=5)
    seen = set()
    for split in found.splits:
        assert split.origins is not None
        for place in range(len(split)):
            file = split.origins.of(place)["file"]
            assert np.array_equal(np.asarray(Image.open(tmp_path / file)), split.images[place])
            assert file.split("/")[0] == found.labels[split.labels[place]]
            seen.add(file)
    assert len(seen) == 60


@pytest.mark.parametrize("tested", [False, True])
def test_samples_of_arrays_say_the_row_that_they_were_given_in(tmp_path: Path, tested: bool) -> None:
    given = {"train": pictures(40), **({"test": pictures(9)} if tested else {})}
    values = {f"x_{name}": x for name, x in given.items()}
    values |= {f"y_{name}": np.arange(len(x)) % 2 for name, x in given.items()}
    found = load_data(npz(tmp_path, **values), input_shape=SHAPE)
    for split in found.splits:
        assert split.origins is not None
        for place in range(len(split)):
            origin = split.origins.of(place)
            assert origin["array"] == ("test" if tested and split.name == "test" else "train")
            assert np.array_equal(given[origin["array"]][origin["row"]], split.images[place])


def test_pictures_that_take_more_memory_than_there_is_are_refused_before_they_are_read(tmp_path: Path) -> None:
    class_folders(tmp_path, count=6)
    # By hand: 18 pictures x 100,000 x 100,000 x 3 bytes are 540 GB.
    with pytest.raises(DataError, match=r"18 pictures of .* take 540,000\.0 MB of memory") as caught:
        load_data(str(tmp_path), input_shape=(100_000, 100_000, 3))
    assert "smaller image size" in hint_of(caught)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_in_cie_lab_is_read_as_its_colours(tmp_path: Path, channels: int) -> None:
    # LittleCMS makes Lab of a colour; what is read is that colour again, or its luma by ITU-R 601.
    colour = (200, 90, 40)
    srgb, of_lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.new("RGB", (8, 8), colour), srgb, of_lab, outputMode="LAB")
    assert lab is not None
    lab.save(tmp_path / "lab.tif")
    pixels = pixels_of(open_picture(tmp_path / "lab.tif"), (8, 8, channels)).astype(float)
    expected = colour if channels == 3 else (0.299 * 200 + 0.587 * 90 + 0.114 * 40,)
    np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), atol=3)


@pytest.mark.parametrize("kind", ["empty", "nested"])
def test_class_folder_without_pictures_is_an_error(tmp_path: Path, kind: str) -> None:
    class_folders(tmp_path)
    (tmp_path / "void" / ("deeper" if kind == "nested" else "")).mkdir(parents=True)
    with pytest.raises(DataError, match=r"the class folder .*void holds no pictures"):
        load_data(str(tmp_path), input_shape=SHAPE)


def test_folder_without_classes_serves_a_reconstruction_only(tmp_path: Path) -> None:
    for index in range(5):
        save(tmp_path / f"{index}.png", (index, 2, 3))
    with pytest.raises(DataError, match="holds no class folders"):
        load_data(str(tmp_path), input_shape=SHAPE)
    found = load_data(str(tmp_path), input_shape=SHAPE, task="reconstruction")
    assert sorted(int(i) for split in found.splits for i in split.images[:, 0, 0, 0]) == [0, 1, 2, 3, 4]


def test_splits_beside_other_folders_are_an_error(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path)
    with pytest.raises(DataError, match=r"folders of splits \(train\) beside others: blue, green, red"):
        load_data(str(tmp_path), input_shape=SHAPE)


def test_class_that_training_lacks_is_an_error(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "test")
    save(tmp_path / "test" / "violet" / "0.png", (1, 2, 3))
    with pytest.raises(DataError, match="'violet' is in the test pictures"):
        load_data(str(tmp_path), input_shape=SHAPE)


def test_pictures_for_a_model_without_pictures_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="do not fit a model whose input is 16"):
        load_data(str(class_folders(tmp_path)), input_shape=(16,))


def test_pictures_of_different_sizes_need_a_model(tmp_path: Path) -> None:
    class_folders(tmp_path)
    assert load_data(str(tmp_path), input_shape=None).train.images.shape[1:] == (12, 10, 3)
    save(tmp_path / "red" / "9.png", (9, 9, 9), size=(4, 4))
    with pytest.raises(DataError, match=r"is 4 x 4, .* is 10 x 12"):
        load_data(str(tmp_path), input_shape=None)


# ---- module:function


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str = "my_own_data") -> None:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.chdir(folder)


def test_python_function_gives_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
import numpy as np

def load():
    import my_own_pictures
    return {"x": my_own_pictures.X, "y": np.arange(20) % 2, "ids": np.arange(20)}
"""
    module(tmp_path, monkeypatch, text)
    module(tmp_path, monkeypatch, "import numpy as np\nX = np.full((20, 6, 5, 3), 7, 'uint8')\n", "my_own_pictures")
    notes = Notes()
    found = load_data("my_own_data:load", input_shape=SHAPE, progress=notes)
    assert found.name == "my_own_data:load" and (found.train.images == 7).all() and len(found.train) == 16
    assert any("'ids'" in note for note in notes.notes)


def test_python_function_may_give_tuples_as_the_data_sets_of_keras_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
import numpy as np

def pair():
    return np.full((20, 6, 5, 3), 7, "uint8"), np.arange(20) % 2

def two():
    x, y = pair()
    return (x, y), (x[:4] - 1, y[:4])

def three():
    x, y = pair()
    return (x, y), (x[:6] - 2, y[:6]), (x[:4] - 1, y[:4])

def odd():
    return pair()[0], pair()[1], 3
"""
    module(tmp_path, monkeypatch, text, "my_tuples")
    for name, sizes, levels in (
        ("pair", (16, 2, 2), (7, 7, 7)),
        ("two", (18, 2, 4), (7, 7, 6)),
        ("three", (20, 6, 4), (7, 5, 6)),
    ):
        found = load_data(f"my_tuples:{name}", input_shape=SHAPE)
        assert tuple(map(len, found.splits)) == sizes
        assert tuple(int(split.images[0, 0, 0, 0]) for split in found.splits) == levels
    with pytest.raises(DataError, match="returned tuple"):
        load_data("my_tuples:odd", input_shape=SHAPE)


def test_python_function_may_give_a_data_set_which_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
import numpy as np
from edgefm.data.dataset import Dataset, Split, reordered

def load(labels=("a", "b")):
    x, y = np.ones((4, 3), "f4"), np.arange(4) % 2
    parts = [Split(name=name, images=x, labels=y) for name in ("train", "validation", "test")]
    return Dataset(name="mine", labels=labels, train=parts[0], validation=parts[1], test=parts[2], sha256="0" * 64)

def wrong():
    return load(labels=("a",))
"""
    module(tmp_path, monkeypatch, text, "my_data_set")
    assert load_data("my_data_set:load", input_shape=(3,)).name == "mine"
    with pytest.raises(DataError, match="hold class 1; with 1 classes"):
        load_data("my_data_set:wrong", input_shape=(3,))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("my_bad_data:nothing", "has no 'nothing'"),
        ("my_bad_data:raises", "my_bad_data:raises raised ValueError: no disk"),
        ("my_bad_data:number", "is a int, not a function"),
        ("my_bad_data:other", "returned list"),
        ("my_absent_module:load", "cannot be imported: ModuleNotFoundError"),
        ("my_broken_module:load", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_python_function_that_fails_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, words: str
) -> None:
    module(tmp_path, monkeypatch, "1 / 0\n", "my_broken_module")
    text = "number = 3\ndef raises(): raise ValueError('no disk')\ndef other(): return [1]\n"
    module(tmp_path, monkeypatch, text, "my_bad_data")
    with pytest.raises(DataError) as caught:
        load_data(where, input_shape=SHAPE)
    assert words in caught.value.message


# ---- sampling


@pytest.mark.parametrize("seed", range(5))
def test_shares_split_is_disjoint_covers_all_and_keeps_each_class(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 7, 200)
    parts = shares_split(labels, shares=[0.1, 0.2], seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    for label in range(7):
        size = int((labels == label).sum())
        for part, share in zip(parts[1:], (0.1, 0.2), strict=True):
            assert abs((labels[part] == label).sum() - share * size) <= 0.5


def test_sample_order_of_targets_that_are_no_classes_is_plainly_random() -> None:
    targets = np.linspace(0, 1, 50, dtype=np.float32)
    order = sample_order(targets, seed=3)
    assert sorted(order) == list(range(50))
    assert (order != sample_order(targets, seed=4)).any() and (order == sample_order(targets, seed=3)).all()


def test_calibration_takes_samples_of_a_regression() -> None:
    x = RANDOM.normal(size=(30, 4)).astype(np.float32)
    split = Split(name="train", images=x, labels=x[:, 0])
    chosen = calibration_images(split, count=10, seed=0)
    assert chosen.shape == (10, 4) and len({one.tobytes() for one in chosen} & {one.tobytes() for one in x}) == 10


def a_dataset(x: NDArray[Any], labels: tuple[str, ...] = ("a", "b")) -> Dataset:
    parts = [Split(name=name, images=x, labels=np.arange(len(x)) % 2) for name in ("train", "validation", "test")]
    return Dataset(name="mine", labels=labels, train=parts[0], validation=parts[1], test=parts[2], sha256="0" * 64)


# ---- fit


def test_check_fit_takes_what_fits() -> None:
    from edgefm.data.checks import check_fit

    for x, value_range in (
        (pictures(8), (0.0, 1.0)),
        (pictures(8), (0.0, 255.0)),
        (pictures(8).astype(np.float32), (0.0, 255.0)),
        (pictures(8).astype(np.float32) / 255, (0.0, 1.0)),
        (pictures(8).astype(np.float32) / 255, (-1.0, 1.0)),
        (RANDOM.normal(size=(8, *SHAPE)).astype(np.float32), None),
    ):
        check_fit(a_dataset(x), input_shape=SHAPE, value_range=value_range, classes=2)
    check_fit(a_dataset(pictures(8)), input_shape=SHAPE, value_range=(0, 1), classes=1)


MISFITS = {
    "double-normalisation": (pictures(8) / 255, (0, 255), 2, "normalised twice"),
    "double-normalisation-signed": (pictures(8) / 127.5 - 1, (0, 255), 2, "normalised twice"),
    "not-normalised": (pictures(8).astype(float), (0, 1), 2, "pixels that were not normalised"),
    "not-normalised-signed": (pictures(8).astype(float), (-1, 1), 2, "pixels that were not normalised"),
    "out-of-range": (RANDOM.normal(size=(8, *SHAPE)) * 5, (-1, 1), 2, "the model takes -1 to 1"),
    "integer-divided": (pictures(8) // 255, (0, 1), 2, "divided by 255 before"),
    "shape": (pictures(8, (5, 6, 3)), (0, 1), 2, "5 x 6 x 3, the model takes 6 x 5 x 3"),
    "more-classes": (pictures(8), (0, 1), 3, "has 2 classes (a, b), the model has 3"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_check_fit_says_what_does_not_fit(name: str) -> None:
    from edgefm.data.checks import check_fit

    x, value_range, classes, words = MISFITS[name]
    with pytest.raises(DataError) as caught:
        check_fit(
            a_dataset(x if x.dtype == np.uint8 else x.astype(np.float32)),
            input_shape=SHAPE,
            value_range=value_range,  # type: ignore[arg-type]
            classes=classes,
        )
    assert words in caught.value.message
    hint_of(caught)


# ---- optional libraries


def test_modules_of_data_import_no_optional_library() -> None:
    script = (
        "import sys, edgefm.data.quality, edgefm.data.own.load, edgefm.data.own.image_folders, "
        "edgefm.data.own.tfrecord_data, edgefm.data.own.npz_data, edgefm.data.own.python_data; "
        "print(sorted({'PIL', 'tensorflow', 'keras', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_missing_libraries_are_named_with_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path / "pictures")
    (tmp_path / "a.tfrecord").write_bytes(b"")
    (tmp_path / "spec.json").write_text(
        '{"image": {"feature": "x", "encoding": "floats", "shape": [3]}, "label": {"feature": "y"}}'
    )
    for name in ("PIL", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeUnavailableError, match="needs Pillow") as caught:
        load_data(str(tmp_path / "pictures"), input_shape=SHAPE)
    assert caught.value.hint is not None and "edgefm[pictures]" in caught.value.hint
    with pytest.raises(RuntimeUnavailableError, match="needs TensorFlow") as caught:
        load_data(str(tmp_path / "a.tfrecord"), input_shape=(3,), spec=tmp_path / "spec.json")
    assert caught.value.hint is not None and "edgefm[compress]" in caught.value.hint


def test_reordered_keeps_each_sample_with_its_class() -> None:
    before = a_dataset(pictures(8))
    after = reordered(before, ("b", "a"))
    assert [after.labels[label] for label in after.test.labels] == [
        before.labels[label] for label in before.test.labels
    ]
    assert after.sha256 != before.sha256 and (after.test.labels != before.test.labels).all()


@pytest.mark.parametrize(
    "names", [np.array(3), np.zeros((2, 2), "U1"), np.zeros(2, "M8[s]"), np.zeros(2, [("a", "i4")])]
)
def test_class_names_that_are_no_list_of_names_are_an_error(tmp_path: Path, names: NDArray[Any]) -> None:
    with pytest.raises(DataError, match=r"'label_names' of .* a name for each class is expected"):
        load_data(npz(tmp_path, x=GOOD_X, y=GOOD_Y, label_names=names), input_shape=SHAPE)


def test_class_of_a_huge_number_is_refused_at_once(tmp_path: Path) -> None:
    """The names of the classes up to it would fill the memory."""
    y = GOOD_Y.astype(np.int64)
    y[0] = 2**62
    with pytest.raises(DataError, match=r"go up to class 4611686018427387904, and there are \d+ training samples"):
        load_data(npz(tmp_path, x=GOOD_X, y=y), input_shape=SHAPE)


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        (["b", "a", "c"] * 4, ("a", "b", "c"), [1, 0, 2]),
        ([2, 0, 1] * 4, ("0", "1", "2"), [2, 0, 1]),
        ([True, False, True] * 4, ("0", "1"), [1, 0, 1]),
    ],
    ids=["texts", "numbers", "truths"],
)
def test_labels_of_a_tables_column_are_classes(labels: list[Any], names: tuple[str, ...], classes: list[int]) -> None:
    images = np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2, 1)
    data = from_arrays(images, np.array(labels, object), progress=False)  # as a column of texts of pandas is
    assert data.task == "classification" and data.labels == names
    for split in data.splits:
        places = split.images[:, 0, 0, 0].astype(int) // 4
        assert split.labels.tolist() == [classes[place % 3] for place in places]


def test_samples_of_unequal_shapes_are_an_error() -> None:
    pictures = [np.zeros((4 + number % 2, 4), np.uint8) for number in range(6)]
    with pytest.raises(DataError, match=r"(?s)entries of 'x_train' of the arrays are of unequal shapes.*same shape"):
        from_arrays(pictures, [0, 1] * 3, progress=False)
    with pytest.raises(DataError, match="entries of 'y_train' of the arrays are of unequal shapes"):
        from_arrays(np.zeros((2, 4, 4), np.uint8), [[0], [0, 1]], progress=False)
