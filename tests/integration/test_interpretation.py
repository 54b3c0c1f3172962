"""The value range, the order of channels and of classes are found by a model's answers, and then used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgefm
from edgefm.cli.main import cli
from edgefm.cli.main import run as run_command
from edgefm.core.errors import DataError, ModelError
from tests.fixtures.protocols import ONCE

SIDE = 8


@pytest.fixture(scope="module", autouse=True)
def tensorflow() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


def call(*args: object) -> int:
    return run_command(lambda: cli.main([str(arg) for arg in args], standalone_mode=False))


def colours(samples: int = 240, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy pictures of one colour: red, green, blue, and darker ones for further classes."""
    random = np.random.default_rng(1)
    labels = np.arange(samples) % classes
    images = random.integers(0, 70, (samples, SIDE, SIDE, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[..., label % 3] += np.uint8(180 if label < 3 else 90)
    return images, labels


def brightnesses(classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of several brightnesses: which is which depends on the scale of the inputs."""
    random = np.random.default_rng(1)
    labels = np.arange(240) % classes
    images = random.integers(0, 50, (240, SIDE, SIDE, 3)).astype(np.uint8)
    return images + (labels * (200 // classes)).astype(np.uint8)[:, None, None, None], labels


def nearest_mean(inputs: np.ndarray, labels: np.ndarray) -> Any:
    """Return a classifier whose answer is the class with the nearest mean colour of the inputs it was made from."""
    import keras

    colour = inputs.mean(axis=(1, 2))
    means = np.array([colour[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    sharpness = 20 / np.square(means - means.mean(axis=0)).sum(axis=1).mean()
    entry = keras.Input(inputs.shape[1:])
    head = keras.layers.Dense(len(means), activation="softmax", name="head")
    model = keras.Model(entry, head(keras.layers.GlobalAveragePooling2D()(entry)), name="nearest_mean")
    head.set_weights([2 * sharpness * means.T, -sharpness * np.square(means).sum(axis=1)])
    assert (model.predict(inputs, verbose=0).argmax(axis=1) == labels).mean() > 0.97
    return model


RANGES = {
    "0 to 1": lambda pixels: pixels / 255.0,
    "-1 to 1": lambda pixels: pixels / 127.5 - 1.0,
    "0 to 255": lambda pixels: pixels.astype(np.float64),
}


@pytest.mark.parametrize("name", RANGES)
def test_value_range_of_the_training_is_used(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = brightnesses()
    model = nearest_mean(RANGES[name](images), labels)
    files = edgefm.quantize(model, ["float32", "int8_w8a8"], data=edgefm.data.from_arrays(images, labels))
    right = (model.predict(RANGES[name](images), verbose=0).argmax(axis=1) == labels).mean()
    assert files.report["given"]["quality"] == pytest.approx(right, abs=0.03) and files.sound
    contract = files["int8_w8a8"].contract
    assert contract is not None
    real = contract.real(images[:1])
    np.testing.assert_allclose(real, RANGES[name](images[:1]), atol=1e-5)


def test_range_that_was_said_is_not_questioned() -> None:
    images, labels = brightnesses()
    model = nearest_mean(images / 255.0, labels)
    data = edgefm.data.from_arrays(images, labels)
    files = edgefm.quantize(model, ["float32"], data=data, value_range=(0, 1))
    assert files.report["source"]["value_range"] == [0.0, 1.0] and files.report["given"]["quality"] > 0.95


@pytest.mark.parametrize("kind", ["bgr", "torch", "caffe"])
def test_way_of_reading_that_an_app_would_not_know_is_refused(kind: str) -> None:
    images, labels = brightnesses(6) if kind == "torch" else colours()
    pixels = images.astype(np.float64)
    inputs = {
        "bgr": pixels[..., ::-1],
        "torch": (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "caffe": pixels[..., ::-1] - [103.939, 116.779, 123.68],
    }[kind]
    model = nearest_mean(inputs, labels)
    words = {"bgr": "BGR", "torch": r"std of ImageNet", "caffe": "BGR"}[kind]
    with pytest.raises((ModelError, DataError), match=words):
        edgefm.quantize(model, ["float32"], data=edgefm.data.from_arrays(images, labels))


@pytest.mark.parametrize(
    ("limits", "said", "code"),
    [
        ((0, 1), None, "x = inputs[..., ::-1]; x = keras.layers.Rescaling(1 / 255)(x)"),
        ((-1, 1), None, "x = inputs[..., ::-1]; x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)"),
        ((0, 255), None, "x = inputs[..., ::-1]"),
        ((0, 1), (0, 1), "x = inputs[..., ::-1]; x = keras.layers.Rescaling(1 / 255)(x). Then give no value range."),
    ],
)
def test_code_of_the_hint_makes_of_plain_pictures_what_the_model_takes(
    limits: tuple[float, float], said: tuple[float, float] | None, code: str
) -> None:
    import keras

    images, labels = colours(classes=6)  # the darker three tell the scale
    taken = limits[0] + images[..., ::-1] / 255.0 * (limits[1] - limits[0])
    model = nearest_mean(taken, labels)
    with pytest.raises(ModelError, match="read in another way") as caught:
        edgefm.quantize(model, ["float32"], data=edgefm.data.from_arrays(images, labels), value_range=said)
    hint = str(caught.value.hint)
    assert hint.endswith(f"plain RGB pictures 0 to 255: {code}")
    # Oracle: the code itself, run.
    inputs = keras.Input(images.shape[1:])
    names = {"inputs": inputs, "keras": keras}
    exec(code.removesuffix(" Then give no value range.").rstrip("."), names)
    np.testing.assert_allclose(keras.Model(inputs, names["x"]).predict(images, verbose=0), taken, atol=1e-3)


def test_floats_with_swapped_channels_are_not_called_pictures_0_to_255() -> None:
    images, labels = colours()
    given = images.astype(np.float32) / np.float32(255)
    model = nearest_mean(given[..., ::-1], labels)
    with pytest.raises(ModelError, match="read in another way") as caught:
        edgefm.quantize(model, ["float32"], data=edgefm.data.from_arrays(given, labels))
    assert str(caught.value.hint).endswith("give it the data as they are: x = inputs[..., ::-1]")


def folders(root: Path, images: np.ndarray, labels: np.ndarray, names: list[str]) -> Path:
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    return root


def bright_cells(samples: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    labels = np.arange(samples) % classes
    images = random.integers(0, 60, (samples, SIDE, SIDE, 3)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * (label // 4) : 2 * (label // 4) + 2, 2 * (label % 4) : 2 * (label % 4) + 2] += np.uint8(180)
    return images, labels


def cells_model(order: list[int]) -> Any:
    """Return a classifier of bright cells, right by construction, whose output `k` is cell `order[k]`."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 3))
    means = keras.layers.AveragePooling2D(2)(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = keras.layers.Dense(len(order), activation="softmax", name="head")(keras.layers.Flatten()(means))
    model = keras.Model(inputs, outputs, name="cells")
    kernel = np.zeros((48, len(order)), np.float32)
    for place, cell in enumerate(order):
        kernel[3 * cell : 3 * cell + 3, place] = 6
    model.get_layer("head").set_weights([kernel, np.zeros(len(order))])
    return model


@pytest.mark.parametrize(
    "names",
    [[str(number) for number in range(12)], ["apple", "Bear", "cat", "Dog"], [str(10**k) for k in range(4)][::-1]],
    ids=["numbers", "cases", "powers"],
)
def test_order_of_class_folders_that_keras_sorted_as_strings_is_used(
    names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = bright_cells(240, len(names))
    root = folders(tmp_path / "pictures", images, labels, names)
    # What keras.utils.image_dataset_from_directory does: class 0 is the first of the sorted names.
    as_strings = sorted(names)
    model = cells_model([names.index(name) for name in as_strings])
    model.save(tmp_path / "own.keras")
    options = ["--run", tmp_path / "run", "--variant", "float32", "--variant", "int8_w8a8", "--json"]
    assert call("quantize", tmp_path / "own.keras", "--data", root, *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["given"]["quality"] > 0.95
    written = json.loads((Path(report["folder"]) / "int8_w8a8" / "contract.json").read_text())
    assert written["labels"] == as_strings
    rows = edgefm.Run(tmp_path / "run").benchmark(protocol=ONCE).record["models"]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    accuracies = [row["accuracy"]["value"] for row in rows]
    assert min(accuracies) > 0.95


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["apple", "Bear", "cat", "Dog"], "apple, Bear, cat, Dog"),
        ([str(number) for number in sorted(map(str, range(8, 14)))], "10, 11, 12, 13, 8 and 1 more"),
    ],
    ids=["whole", "with more"],
)
def test_order_that_was_found_is_told_and_no_name_is_left_out_unsaid(
    names: list[str], shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = bright_cells(120, len(names))
    root = folders(tmp_path / "pictures", images, labels, names)
    cells_model(list(range(len(names)))).save(tmp_path / "own.keras")
    options = ["--run", tmp_path / "run", "--variant", "float32"]
    assert call("quantize", tmp_path / "own.keras", "--data", root, *options) == 0
    printed = capsys.readouterr()
    assert f"own.keras has its classes in the order {shown}, found by its answers" in printed.out + printed.err


def test_model_that_fits_no_order_is_an_error_that_shows_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(number) for number in range(12)]
    images, labels = bright_cells(240, 12)
    root = folders(tmp_path / "pictures", images, labels, names)
    order = [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    cells_model(order).save(tmp_path / "own.keras")
    assert call("quantize", tmp_path / "own.keras", "--data", root, "--run", tmp_path / "run", "--quick") == 2
    error = capsys.readouterr().err
    assert "fits none of them" in error and "0, 1, 2, 3" in error and "0, 1, 10, 11" in error


def test_sound_model_and_untrained_model_are_left_as_they_are() -> None:
    import keras

    images, labels = colours()
    keras.utils.set_random_seed(0)
    untrained = keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    files = edgefm.quantize(untrained, ["float32"], data=edgefm.data.from_arrays(images, labels))
    assert files.report["source"]["value_range"] == [0.0, 255.0]


def test_model_that_overflows_on_other_ranges_is_still_read(tmp_path: Path) -> None:
    import keras

    images, labels = brightnesses()
    sound = nearest_mean(images / 127.5 - 1.0, labels)
    entry = keras.Input((SIDE, SIDE, 3))
    outputs = sound(keras.ops.log(keras.ops.exp(4 * entry)) / 4)  # exp(4 * 255) is infinite
    files = edgefm.quantize(
        keras.Model(entry, outputs, name="overflowing"), ["float32"], data=edgefm.data.from_arrays(images, labels)
    )
    assert files.report["source"]["value_range"] == [-1.0, 1.0]


def test_data_of_another_shape_are_refused_before_the_model_is_asked() -> None:
    images, labels = brightnesses()
    with pytest.raises(DataError, match="8"):
        edgefm.quantize(
            nearest_mean(images / 255.0, labels), ["float32"], data=edgefm.data.from_arrays(images[:, :6], labels)
        )


def test_one_score_of_two_classes_is_read_as_well() -> None:
    import keras

    images, labels = brightnesses(2)
    entry = keras.Input((SIDE, SIDE, 3))
    head = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(entry, head(keras.layers.GlobalAveragePooling2D()(entry)), name="bright")
    middle = float((images / 127.5 - 1.0).mean())
    head.set_weights([np.full((3, 1), 20 / 3), np.array([-20 * middle])])
    files = edgefm.quantize(model, ["float32"], data=edgefm.data.from_arrays(images, labels))
    assert files.report["source"]["value_range"] == [-1.0, 1.0] and files.report["given"]["quality"] == 1.0
