"""Training on data and with models of one's own: what fits is made to fit, what does not is refused with what to do."""

from __future__ import annotations

import copy
import importlib
import pickle
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import edgefm
from edgefm.cli.main import cli
from edgefm.core.errors import ArgumentError, DataError, ModelError, RecipeError
from edgefm.core.runs import RunDirectory
from edgefm.data.own.image_folders import sizes
from edgefm.data.source import DataSource, dataset_of
from edgefm.jobs.explain.classifier import of_training
from edgefm.jobs.run import Run
from edgefm.jobs.to_learn import FREE, ToLearn, to_learn
from edgefm.jobs.to_learn.data import adapted, check_enough
from edgefm.jobs.to_learn.scaling import scaled
from edgefm.jobs.train import free_of
from edgefm.jobs.trust import trust_run
from edgefm.recipes import Training, load_training
from edgefm.training.stopped import Stopped
from tests.fixtures.notes import Notes

BUILDERS = """
import keras
from keras import layers


def sized(input_shape, classes, units="8"):
    return keras.Sequential([
        keras.Input(input_shape), layers.Conv2D(4, 3, strides=4, activation="relu"),
        layers.GlobalAveragePooling2D(), layers.Dense(int(units), activation="relu"), layers.Dense(classes),
    ])


def fixed():
    return keras.Sequential([
        keras.Input((16, 24, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3, strides=4),
        layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax"),
    ])


def branches(input_shape, classes):
    inputs = keras.Input(input_shape)
    left = layers.Conv2D(4, 3, padding="same")(inputs)
    right = layers.Conv2D(4, 5, padding="same")(inputs)
    pooled = layers.GlobalAveragePooling2D()(layers.Concatenate()([left, right]))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(pooled))


class Subclassed(keras.Model):
    def __init__(self, classes):
        super().__init__(name="subclassed")
        self.scale = layers.Rescaling(1 / 255)
        self.conv = layers.Conv2D(4, 3, strides=4, activation="relu")
        self.pool = layers.GlobalAveragePooling2D()
        self.drop = layers.Dropout(0.5)
        self.head = layers.Dense(classes, activation="softmax")

    def call(self, pixels, training=None):
        return self.head(self.drop(self.pool(self.conv(self.scale(pixels))), training=training))


def subclassed(input_shape, classes):
    return Subclassed(classes)


def untraceable(input_shape, classes):
    class Odd(keras.Model):
        def call(self, pixels):
            return pixels.numpy()

    return Odd()


def other_classes(input_shape):
    return sized(input_shape, 7)


def nothing(input_shape, classes):
    layers.Dense(classes)


def raises(input_shape, classes):
    raise ValueError("no such layer")


def one_unit(input_shape, classes):
    return sized(input_shape, 1)


def sigmoids(input_shape, classes):
    model = sized(input_shape, classes)
    return keras.Model(model.inputs, layers.Activation("sigmoid")(model.outputs[0]))


def needs_more(input_shape, depth):
    return None
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the module own_net."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_net.py").write_text(BUILDERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "own_net", raising=False)
    return tmp_path


def _pictures(
    place: Path,
    names: tuple[str, ...] = ("rot", "grün Blatt", "blau"),
    *,
    counts: tuple[int, ...] = (20, 20, 20),
    mode: str = "RGB",
    size: tuple[int, int] | None = None,
) -> Path:
    """Write pictures of clear colours, of unequal sizes unless one (width, height) is given."""
    generator = np.random.default_rng(0)
    for number, (name, count) in enumerate(zip(names, counts, strict=True)):
        (place / name).mkdir(parents=True)
        for picture in range(count):
            width, height = size or tuple(int(side) for side in generator.integers(20, 50, 2))
            pixels = generator.integers(0, 60, (height, width, 3))
            pixels[..., number % 3] += 60 + 30 * (number // 3 % 4)
            Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(place / name / f"{picture}.png")
    return place


def _arrays(*, count: int = 60, shape: tuple[int, ...] = (16, 24, 3), classes: int = 3) -> tuple[Any, Any]:
    labels = np.arange(count) % classes
    pixels = np.random.default_rng(0).integers(0, 60, (count, *shape))
    return (pixels + 60 * (labels % 4).reshape(-1, *(1,) * len(shape))).astype(np.uint8), labels


def _data(**given: Any) -> Any:
    return edgefm.data.from_arrays(*_arrays(**given), progress=False)


def _ready(model: str, data: Any, notes: Notes | None = None, **recipe: Any) -> ToLearn:
    source = DataSource(where=str(data)) if isinstance(data, str | Path) else data
    is_source = isinstance(source, DataSource)
    return to_learn(
        Training(model=model, **recipe),
        dataset=None if is_source else source,
        source=source if is_source else None,
        backend="tensorflow",
        precision="float32",
        progress=notes or Notes(),
    )


@pytest.mark.parametrize(
    ("mode", "size", "recipe", "shape", "why"),
    [
        ("RGB", None, {}, (28, 28, 3), r"the size that enhanced_cnn is known for; the pictures are \d+ x \d+ to"),
        ("RGB", (40, 30), {}, (30, 40, 3), "the size of the pictures"),
        ("RGBA", (40, 30), {}, (30, 40, 3), "the size of the pictures"),
        ("L", (20, 20), {}, (20, 20, 1), "the size of the pictures"),
        ("L", (20, 20), {"channels": 3, "image_size": 32}, (32, 32, 3), "as given"),
        ("RGB", (300, 300), {"model": "resnet20"}, (32, 32, 3), "the pictures are 300 x 300"),
        ("P", None, {"image_size": 12, "channels": 1}, (12, 12, 1), "as given"),
    ],
    ids=["unequal", "rectangles", "transparent", "grey", "grey-into-colour", "large", "palette-into-grey"],
)
def test_pictures_of_a_folder_get_the_size_that_is_said(
    mode: str, size: Any, recipe: dict, shape: tuple[int, ...], why: str, tmp_path: Path
) -> None:
    place, notes = _pictures(tmp_path / "p", mode=mode, size=size), Notes()
    ready = _ready(recipe.pop("model", "enhanced_cnn"), place, notes, **recipe)
    assert ready.dataset.train.images.shape[1:] == shape
    assert ready.dataset.labels == ("blau", "grün Blatt", "rot")
    import re

    assert re.search(rf"pictures of {' x '.join(map(str, shape))} \(.*{why}", notes.notes[-1]), notes.notes


def test_size_of_a_lying_photograph_is_that_of_the_upright_one(tmp_path: Path) -> None:
    _pictures(tmp_path / "p", ("a", "b"), counts=(3, 3), size=(40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (tmp_path / "p").rglob("*.png"):
        Image.open(path).save(path.with_suffix(".jpg"), exif=exif)
        path.unlink()
    known = sizes(tmp_path / "p")
    assert known.least == known.greatest == (40, 20)
    assert edgefm.data.load(tmp_path / "p", task="classification", progress=False).train.images.shape[1:] == (40, 20, 3)


def test_splits_of_a_folder_are_stratified_and_seeded(tmp_path: Path) -> None:
    place = _pictures(tmp_path / "p", counts=(20, 10, 3))
    first, second = (_ready("enhanced_cnn", place).dataset for _ in range(2))
    assert first.sha256 == second.sha256
    by_class = [np.bincount(split.labels, minlength=3).tolist() for split in first.splits]
    assert by_class == [[1, 8, 16], [1, 1, 2], [1, 1, 2]]  # blau, grün Blatt, rot


def test_npz_with_only_x_and_y_is_learnt_by_a_network_of_another_size(tmp_path: Path) -> None:
    pixels, labels = _arrays(shape=(16, 24), classes=2)
    np.savez(tmp_path / "d.npz", x=pixels, y=labels)
    ready = _ready("mobilenet_v2", tmp_path / "d.npz", image_size=32, channels=3)
    assert ready.dataset.train.images.shape == (48, 32, 32, 3) and len(ready.dataset.labels) == 2
    assert ready.source is not None and ready.source.resize
    again = DataSource.from_json(ready.source.to_json(), said_in=tmp_path / "run.json").load((32, 32, 3))
    assert again.sha256 == ready.dataset.sha256  # what later steps of the run find
    wanted = Image.fromarray(ready_original(tmp_path)[0]).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    assert any(np.array_equal(image, np.array(wanted)) for split in again.splits for image in split.images)


def ready_original(place: Path) -> Any:
    """Return the pictures as they lie in the file."""
    return np.load(place / "d.npz")["x"]


def test_source_that_says_nothing_new_is_written_as_before() -> None:
    assert DataSource(where="a.npz").to_json() == {
        "where": "a.npz",
        "spec": None,
        "task": None,
        "labels": None,
        "quality": None,
        "trust": False,
    }


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0] * 30, "a single class, 0: there is nothing to tell apart"),
        ([0] * 28 + [1] * 2, r"1 of 2 classes of arrays have too few samples: 1 \(2\)\n  Each class needs 3"),
    ],
    ids=["one class", "two pictures"],
)
def test_data_that_are_too_few_are_refused(labels: list[int], words: str) -> None:
    data = edgefm.data.from_arrays(np.zeros((30, 8, 8, 1), np.uint8), labels, progress=False)
    with pytest.raises(DataError, match=words):
        edgefm.train("enhanced_cnn", data=data, progress=False)


def test_three_pictures_of_a_class_are_enough() -> None:
    data = edgefm.data.from_arrays(np.zeros((30, 8, 8, 1), np.uint8), [0] * 27 + [1] * 3, progress=False)
    check_enough(data)
    assert [np.bincount(split.labels)[1] for split in data.splits] == [1, 1, 1]


def test_folder_of_one_class_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    place = _pictures(tmp_path / "p", ("only",), counts=(9,))
    with pytest.raises(DataError, match="single class, only"):
        Run(tmp_path / "run").train(data=place, progress=False)
    assert not (tmp_path / "run").exists()


def test_folder_with_unreadable_pictures_names_them(tmp_path: Path) -> None:
    place = _pictures(tmp_path / "p")
    (place / "rot" / "3.png").write_bytes(b"no picture")
    whole = (place / "blau" / "4.png").read_bytes()
    (place / "blau" / "4.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"2 of the 60 pictures .* cannot be read:\n(.|\n)*4\.png(.|\n)*3\.png"):
        Run(tmp_path / "run").train(data=place, progress=False)
    assert not (tmp_path / "run").exists()


def test_picture_size_that_is_too_small_for_the_network_is_refused(tmp_path: Path) -> None:
    place = _pictures(tmp_path / "p")
    with pytest.raises(RecipeError, match="'mobilenet_v2' takes pictures of at least 32 x 32 pixels; 16 x 16"):
        Run(tmp_path / "run").train(model="mobilenet_v2", image_size=16, data=place, progress=False)


def test_a_size_for_data_that_are_not_resized_is_refused(tmp_path: Path) -> None:
    pixels, labels = _arrays(shape=(16, 24, 1), classes=2)
    np.savez(tmp_path / "d.npz", x=pixels.astype(np.float32) / 255, y=labels)
    with pytest.raises(RecipeError, match="32 x 32 x 1 were asked for; the data are float32 of 16 x 24 x 1"):
        _ready("mobilenet_v2", tmp_path / "d.npz", image_size=32)


def test_data_marked_as_not_flippable_are_not_mirrored(tmp_path: Path) -> None:
    pixels, labels = _arrays()
    np.savez(tmp_path / "d.npz", x=pixels, y=labels, flippable=False)
    for source in (DataSource(where=str(tmp_path / "d.npz")), edgefm.data.load(tmp_path / "d.npz", progress=False)):
        with pytest.raises(RecipeError, match=r"mirrors pictures, and those of d\.npz are marked as not flippable"):
            _ready("enhanced_cnn", source, flip=True)
        assert not _ready("enhanced_cnn", source, flip=False).recipe.flip
    data = edgefm.data.from_arrays(pixels, labels, flippable=False, progress=False)
    notes = Notes()
    assert not adapted(Training(), data, free=FREE, progress=notes).flip
    assert "not flippable: pictures are not mirrored" in notes.notes[-1]
    marked = DataSource(where=str(tmp_path / "d.npz"), flippable=True)  # what the user says counts
    assert _ready("enhanced_cnn", marked, flip=True).recipe.flip
    with pytest.raises(ArgumentError, match="flippable is 'no'"):
        edgefm.data.from_arrays(pixels, labels, flippable="no")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "batch", "epochs"),
    [(60, 8, 67), (600, 16, 14), (10, 8, 100), (3_000, 64, 9)],
)
def test_recipe_of_a_preset_gives_small_data_enough_steps(count: int, batch: int, epochs: int) -> None:
    data = edgefm.data.from_arrays(np.zeros((count, 2, 2, 1), np.uint8), np.arange(count) % 2, progress=False)
    recipe = adapted(Training(), data, free=FREE, progress=Notes())
    assert (recipe.batch_size, recipe.epochs) == (batch, epochs)
    said = adapted(Training(epochs=2), data, free=free_of(None, {"epochs": 2, "batch_size": 64}), progress=Notes())
    assert (said.batch_size, said.epochs) == (64, 2)


def test_only_what_was_left_out_is_adapted() -> None:
    assert free_of("paper", {}) == {"flip"} and free_of("quick", {}) == {"batch_size", "learning_rate", "flip"}
    assert free_of("best", {}) == {"batch_size", "flip"}
    assert free_of(None, {"flip": True, "learning_rate": 0.1}) == {"batch_size", "epochs"}
    recipe = Training(class_weights="balanced", epochs=9, batch_size=64)  # the values that it would have without them
    assert recipe == Training(class_weights="balanced")
    assert free_of(recipe, {"learning_rate": 1e-3}) == {"flip"}
    assert free_of(Training(class_weights="balanced"), {}) == {"batch_size", "learning_rate", "epochs", "flip"}
    assert free_of(copy.deepcopy(recipe), {}) == free_of(pickle.loads(pickle.dumps(recipe)), {}) == free_of(recipe, {})


def test_recipe_that_was_written_down_is_not_adapted(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text('{"kind": "train", "params": {"class_weights": "balanced"}}')
    for whole in (load_training(tmp_path / "some.json"), replace(Training(), class_weights="balanced")):
        assert whole == Training(class_weights="balanced") and free_of(whole, {}) == frozenset()
    assert free_of(tmp_path / "some.json", {}) == free_of(str(tmp_path / "some.json"), {}) == frozenset()


def test_recipe_in_python_suits_small_data_as_the_options_do(folder: Path) -> None:
    place, notes = _pictures(folder / "p", size=(12, 12)), Notes()
    data = DataSource(where=str(place), flippable=False)
    given: dict[str, Any] = {"data": data, "backend": "tensorflow"}
    recipe = Training(model="own_net:sized", class_weights="balanced")
    trained = edgefm.train(recipe=recipe, progress=notes, **given)
    # Of 60 pictures 48 are learnt: 16 steps an epoch would be batches of 3, and the least is 8. 6 steps an epoch, so
    # 400 steps are 67 epochs.
    assert [epoch["batch_size"] for epoch in trained.history] == [8] * 67
    assert "48 training samples: batch size 8 and epochs 67, so that there are enough steps" in notes.notes
    assert "p is marked as not flippable: pictures are not mirrored" in notes.notes
    options = ("--class-weights", "balanced", "--not-flippable", "--backend", "tensorflow", "--run", str(folder / "r"))
    done = CliRunner().invoke(cli, ["train", "--data", str(place), "--model", "own_net:sized", *options])
    assert done.exit_code == 0, done.output
    by_options = Run(folder / "r").training
    assert by_options.recipe == trained.recipe
    assert [epoch["loss"] for epoch in by_options.history] == [epoch["loss"] for epoch in trained.history]
    # What was learnt once is a recipe of its own: other data do not change it.
    assert free_of(trained.recipe, {}) == free_of(by_options.recipe, {}) == frozenset()
    with pytest.raises(RecipeError, match="the recipe mirrors pictures, and those of p are marked as not flippable"):
        edgefm.train(recipe=Training(model="own_net:sized", flip=True), progress=False, **given)


def test_recipe_of_a_file_is_trained_as_written(folder: Path) -> None:
    (folder / "r.json").write_text('{"kind": "train", "params": {"model": "own_net:sized", "epochs": 2}}')
    trained = edgefm.train(recipe=folder / "r.json", data=_data(), backend="tensorflow", progress=False)
    assert trained.recipe == Training(model="own_net:sized", epochs=2)
    assert [epoch["batch_size"] for epoch in trained.history] == [48, 48]  # all that there are: 64 were asked for
    again = edgefm.train(recipe=trained.recipe, data=_data(), backend="tensorflow", progress=False)
    assert [epoch["loss"] for epoch in again.history] == [epoch["loss"] for epoch in trained.history]


@pytest.mark.parametrize("again", [True, False], ids=["given again", "left out"])
def test_stopped_training_of_a_recipe_in_python_is_resumed_as_it_began(again: bool, folder: Path) -> None:
    recipe = Training(model="own_net:sized", class_weights="balanced", epochs=3)
    given: dict[str, Any] = {"data": _data(), "backend": "tensorflow"}
    run = Run(folder / "run")
    with pytest.raises(KeyboardInterrupt):
        run.train(recipe, **given, progress=StopAfterFirst())
    more = Training(model="own_net:sized", class_weights="balanced", epochs=4)
    larger = Training(model="own_net:sized", class_weights="balanced", epochs=3, batch_size=64)
    for other, words in ((more, "epochs 3; 4 was given"), (larger, "batch_size 8; 64 was given")):
        with pytest.raises(RecipeError, match=f"the stopped training has {words}"):
            run.train(other, resume=True, progress=False)
    resumed = run.train(recipe if again else None, resume=True, progress=False)
    assert [epoch["batch_size"] for epoch in resumed.history] == [8, 8, 8]
    whole = Run(folder / "whole").train(recipe, **given, progress=False)
    assert [epoch["loss"] for epoch in resumed.history] == [epoch["loss"] for epoch in whole.history]
    assert Run(folder / "whole").train(recipe, **given, progress=False).file == whole.file  # found, not trained anew


@pytest.mark.parametrize(
    ("kind", "recipe", "said", "images", "pixels", "batch", "rate"),
    [
        ("gpu", {}, {}, 48_000, 784, 512, 1.5e-3 * 8**0.5),
        ("gpu", {"optimizer": "rmsprop"}, {}, 48_000, 784, 512, 1.5e-3 * 8**0.5),
        ("gpu", {"optimizer": "sgd", "learning_rate": 0.05}, {}, 48_000, 784, 512, 0.4),
        ("gpu", {"batch_size": 512}, {}, 48_000, 784, 512, 1.5e-3),
        ("cpu", {}, {}, 48_000, 784, 64, 1.5e-3),
        ("gpu", {}, {"batch_size": 64}, 48_000, 784, 64, 1.5e-3),
        ("gpu", {}, {"learning_rate": 1.5e-3}, 48_000, 784, 64, 1.5e-3),
        ("gpu", {}, {}, 32_767, 784, 64, 1.5e-3),
        ("gpu", {}, {}, 32_768, 64 * 64, 512, 1.5e-3 * 8**0.5),
        ("gpu", {}, {}, 60_000, 96 * 96, 64, 1.5e-3),
    ],
    ids=["standard", "rmsprop", "sgd", "large", "cpu", "own-batch", "own-rate", "few", "just-enough", "photographs"],
)
def test_preset_takes_the_batch_and_the_rate_of_the_device(
    kind: str, recipe: dict, said: dict, images: int, pixels: int, batch: int, rate: float
) -> None:
    found = scaled(Training(**recipe), kind=kind, free=free_of("standard", said), images=images, pixels=pixels)
    assert found.batch_size == batch and found.learning_rate == pytest.approx(rate, rel=2e-3)
    assert Training.from_json(found.to_json()) == found  # what the run keeps
    assert scaled(found, kind=kind, free=free_of("standard", said), images=images, pixels=pixels) == found


@pytest.mark.parametrize("name", ["paper", "best"])
def test_documented_recipes_are_the_same_on_every_device(name: str) -> None:
    recipe = Training(batch_size=64)
    assert scaled(recipe, kind="gpu", free=free_of(name, {}), images=48_000, pixels=784) == recipe


@pytest.mark.parametrize("name", ["sized", "branches", "subclassed", "fixed"])
def test_model_that_a_function_builds_learns_the_classes(name: str, folder: Path) -> None:
    recipe = Training(model=f"own_net:{name}", epochs=30, batch_size=8, learning_rate=0.02, label_smoothing=0.0)
    trained = edgefm.train(recipe=recipe, data=_data(), backend="tensorflow", progress=False)
    assert trained.validation_accuracy > 0.6  # chance is a third
    assert trained.validation_samples == 6
    interval = trained.validation_interval
    assert interval is not None and interval.low < trained.validation_accuracy
    pixels = _data().test.images
    assert np.allclose(np.asarray(trained.model.predict_on_batch(pixels)).sum(axis=1), 1, atol=1e-5)


def test_whole_job_goes_on_from_a_subclassed_model_of_a_function(folder: Path) -> None:
    np.savez("d.npz", **dict(zip(("x", "y"), _arrays(), strict=True)))
    run = Run(folder / "run")
    run.train(model="own_net:subclassed", data="d.npz", changes={"epochs": 1}, backend="tensorflow", progress=False)
    files = run.quantize(["float32", "int8_w8a8"], progress=False)
    assert files["int8_w8a8"].report["validation"]["samples"] == 6
    assert files["float32"].contract.name == "own_net_subclassed"
    same = run.train(
        model="own_net:subclassed", data="d.npz", changes={"epochs": 1}, backend="tensorflow", progress=False
    )
    assert len(run.steps) == 2 and same.validation_samples == 6  # the training is found again


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("nothing", ModelError, "own_net:nothing returned NoneType, no keras.Model"),
        ("raises", ModelError, "own_net:raises raised ValueError: no such layer"),
        ("untraceable", ModelError, r"returned a subclassed model \(Odd\) whose call cannot be traced"),
        ("other_classes", DataError, "own_net:other_classes has 7 classes, arrays has 3: 0, 1, 2"),
        ("one_unit", ModelError, r"output of own_net:one_unit has shape \[1\]; a probability for each of 3 classes"),
        ("sigmoids", ModelError, "outputs of own_net:sigmoids are no probabilities"),
        ("needs_more", RecipeError, "own_net:needs_more cannot be called: missing a required argument: 'depth'"),
        ("missing", DataError, "the module 'own_net' has no 'missing'"),
    ],
)
def test_function_that_gives_no_fitting_model_is_refused(name: str, kind: Any, words: str, folder: Path) -> None:
    with pytest.raises(kind, match=words):
        edgefm.train(f"own_net:{name}", data=_data(), backend="tensorflow", progress=False)


def test_options_go_to_the_function(folder: Path) -> None:
    ready = _ready("own_net:sized", _data(), model_options={"units": "5"})
    assert ready.model is not None and ready.model()[0].layers[-3].units == 5
    with pytest.raises(RecipeError, match="takes no argument 'depth'; it takes: input_shape, classes, units"):
        _ready("own_net:sized", _data(), model_options={"depth": "5"})


def test_model_of_one_size_makes_pictures_fit_and_refuses_another_size(folder: Path) -> None:
    place = _pictures(folder / "p", size=(50, 40))
    assert _ready("own_net:fixed", place).dataset.train.images.shape[1:] == (16, 24, 3)
    with pytest.raises(RecipeError, match="image_size 32 was given, and own_net_fixed takes pictures of 16 x 24 x 3"):
        _ready("own_net:fixed", place, image_size=32)


def test_network_of_the_documentation_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs" / "examples"))
    ready = _ready("own_network:build", _data(), model_options={"width": "4"})
    assert ready.model is not None
    model, frozen = ready.model()
    assert model.output_shape == (None, 3) and model.layers[-2].output.shape[-1] == 8 and not frozen


class StopAfterFirst(Notes):
    """Stops a training after its first epoch, as Ctrl-C does."""

    def note(self, message: str) -> None:
        """Stop where an epoch is told of."""
        if message.startswith("epoch 1/"):
            raise KeyboardInterrupt


def test_stopped_training_of_a_function_and_resized_data_is_resumed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez("d.npz", **dict(zip(("x", "y"), _arrays(), strict=True)))
    given: dict[str, Any] = {"model": "own_net:sized", "data": "d.npz", "image_size": 12, "changes": {"epochs": 3}}
    run = Run(folder / "run")
    with pytest.raises(KeyboardInterrupt):
        run.train(**given, backend="tensorflow", progress=StopAfterFirst())
    with pytest.raises(RecipeError, match="the stopped training has image_size 12; 16 was given to go on with"):
        run.train(image_size=16, resume=True, progress=False)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    resumed = run.train(resume=True, changes={"epochs": 3}, progress=False)
    assert len(resumed.history) == 3 and resumed.recipe.batch_size == 8  # as it was adapted
    whole = Run(folder / "whole").train(**{**given, "data": folder / "d.npz"}, backend="tensorflow", progress=False)
    assert [epoch["loss"] for epoch in resumed.history] == [epoch["loss"] for epoch in whole.history]


def test_stopped_training_is_not_gone_on_with_by_another_model_of_the_function(folder: Path) -> None:
    source = folder / "changing_net.py"
    source.write_text(BUILDERS)
    run = Run(folder / "run")
    given: dict[str, Any] = {"model": "changing_net:sized", "data": _data(), "changes": {"epochs": 3}}
    with pytest.raises(KeyboardInterrupt):
        run.train(**given, backend="tensorflow", progress=StopAfterFirst())

    def become(text: str) -> None:
        source.write_text(text)
        sys.modules.pop("changing_net")
        importlib.invalidate_caches()
        trust_run(RunDirectory.open(run.path))

    become(
        BUILDERS.replace('strides=4, activation="relu"', 'strides=4, activation="tanh"')
    )  # weights of the same shapes
    with pytest.raises(RecipeError, match="the model changing_net:sized changed since the training was begun"):
        run.train(resume=True, progress=False)
    become(BUILDERS + "# the same layers\n")
    assert len(run.train(resume=True, progress=False).history) == 3


def test_stopped_training_is_not_gone_on_with_by_another_model_file(tmp_path: Path) -> None:
    recipe = Training(model=str(tmp_path / "mine.keras"))
    stopped = Stopped(recipe=recipe, backend="tensorflow", precision="float32", inputs={"model": "1"})
    stopped.check_inputs({"model": "1"})
    with pytest.raises(RecipeError, match=r"the model \S+mine\.keras changed since"):
        stopped.check_inputs({"model": "2"})


def test_recipe_from_before_this_change_is_read_and_written_as_it_was() -> None:
    params = {
        "model": "enhanced_cnn",
        "model_options": {},
        "epochs": 9,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 1.5e-3,
        "schedule": "one_cycle",
        "warmup_fraction": 0.2,
        "weight_decay": 0.05,
        "flip": True,
        "shift_pixels": 0,
        "label_smoothing": 0.1,
        "seed": 0,
    }
    old = {"kind": "train", "version": 1, "params": params}
    assert Training.from_json(old) == Training() and Training().to_json() == old
    assert Training().model_name == "enhanced_cnn"
    assert Training(model="/a/b/mine.keras").model_name == "mine"
    assert Training(model="pack.net:build").model_name == "pack_net_build"


def test_function_named_in_a_run_that_is_not_trusted_is_not_called(folder: Path) -> None:
    (folder / "strange_net.py").write_text("open('called', 'w')\ndef build(): pass\n")
    with pytest.raises(DataError, match="names the function strange_net:build, which is not trusted by you"):
        to_learn(
            Training(model="strange_net:build"),
            dataset=_data(),
            source=None,
            backend="tensorflow",
            precision="float32",
            named_in=folder / "recipe.json",
            progress=Notes(),
        )
    assert not (folder / "called").exists()


def _keras_file(path: Path, *, scaled: bool, loss: str = "mse") -> Any:
    """Save a model that tells the classes of `_arrays` apart by the brightness, and return it."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 24, 3)),
            *([layers.Rescaling(1 / 255)] if scaled else []),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16, activation="relu"),
            layers.Dense(3),
        ]
    )
    pixels, labels = _arrays(count=300)
    model.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(pixels / (1 if scaled else 255), labels, epochs=60, verbose=0)
    model.compile(loss=loss)  # a file may hold another loss than the one that is trained with
    model.save(path)
    return model


@pytest.mark.parametrize("scaled", [True, False], ids=["scales itself", "takes 0 to 1"])
def test_keras_file_goes_on_from_what_it_knows(scaled: bool, tmp_path: Path) -> None:
    given = _keras_file(tmp_path / "mine.keras", scaled=scaled)
    data, notes = _data(count=150), Notes()
    ready = _ready(str(tmp_path / "mine.keras"), data, notes)
    assert ready.model is not None and set(ready.inputs) == {"model"}
    model, _ = ready.model()
    scores = given.predict_on_batch(data.test.images / np.float32(1 if scaled else 255))
    wanted = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_on_batch(data.test.images), wanted, atol=1e-4)
    assert any("a softmax is put behind it" in note for note in notes.notes)
    assert scaled != any("takes 0 to 1: pixels 0 to 255 are scaled" in note for note in notes.notes)


def test_training_of_a_keras_file_is_quantised_under_its_own_name(tmp_path: Path) -> None:
    _keras_file(tmp_path / "mine.keras", scaled=True)
    run = Run(tmp_path / "run")
    trained = run.train(
        Training(model=str(tmp_path / "mine.keras"), epochs=1, learning_rate=1e-4),
        data=_data(count=150),
        backend="tensorflow",
        progress=False,
    )
    assert trained.validation_accuracy > 0.9 and trained.recipe.model_name == "mine"
    kept = RunDirectory.open(tmp_path / "run")
    assert of_training(kept, kept.require("train"), _data(count=150)).name == "mine", "a path of this machine"
    assert run.quantize("float32", progress=False)["float32"].contract.name == "mine"


def test_keras_file_of_other_classes_is_refused(tmp_path: Path) -> None:
    _keras_file(tmp_path / "mine.keras", scaled=True)
    with pytest.raises(DataError, match=r"mine\.keras has 3 classes, arrays has 4: 0, 1, 2, 3"):
        edgefm.train(tmp_path / "mine.keras", data=_data(classes=4), progress=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["nothing.keras", "text.keras"])
def test_file_that_holds_no_model_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        edgefm.train(str(tmp_path / name), data=_data(), progress=False)


def test_keras_file_with_a_lambda_is_refused(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((16, 24, 3)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Flatten()])
    model.add(keras.layers.Dense(3, activation="softmax"))
    model.save(tmp_path / "code.keras")
    with pytest.raises(ModelError, match=r"code\.keras holds a Lambda layer"):
        edgefm.train(str(tmp_path / "code.keras"), data=_data(), progress=False)


def test_frozen_layers_keep_their_weights_until_their_epochs_are_over(tmp_path: Path) -> None:
    from edgefm import zoo

    zoo.build("ds_cnn", input_shape=(16, 24, 3), classes=5).save_weights(tmp_path / "w.weights.h5")
    given = zoo.build("ds_cnn", input_shape=(16, 24, 3), classes=5)
    given.load_weights(tmp_path / "w.weights.h5")
    kernels = []
    for epochs in (2, 3):
        recipe = Training(
            model="ds_cnn", pretrained=str(tmp_path / "w.weights.h5"), frozen_epochs=2, epochs=epochs, batch_size=16
        )
        trained = edgefm.train(recipe=recipe, data=_data(), backend="tensorflow", progress=False)
        kernels.append([trained.model.get_layer(name).get_weights() for name in ("pointwise2", "pointwise4_bn")])
        assert all(layer.trainable for layer in trained.model.layers)
    wanted = [given.get_layer(name).get_weights() for name in ("pointwise2", "pointwise4_bn")]
    for mine, theirs in zip(kernels[0], wanted, strict=True):  # the moving statistics, too
        for array, same in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(array, same)
    assert np.abs(kernels[1][0][0] - wanted[0][0]).max() > 0


def test_pretrained_file_that_does_not_fit_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    from edgefm import zoo

    zoo.build("ds_cnn", input_shape=(16, 24, 3), classes=5).save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ModelError, match="fit no layer of 'resnet20'"):
        Run(tmp_path / "run").train(
            model="resnet20", pretrained=tmp_path / "w.weights.h5", data=_data(), progress=False
        )
    with pytest.raises(ModelError, match="no pretrained weights at"):
        edgefm.train("resnet20", pretrained=tmp_path / "none.h5", data=_data(), progress=False)
    assert not (tmp_path / "run").exists()


def test_floats_that_were_scaled_before_are_refused() -> None:
    pixels, labels = _arrays()
    data = edgefm.data.from_arrays(pixels.astype(np.float32) / 255, labels, progress=False)
    with pytest.raises(DataError, match="normalised twice"):
        edgefm.train("enhanced_cnn", data=data, progress=False)


def test_unknown_parameter_of_a_training_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown parameter of a training 'epoch'; did you mean 'epochs'"):
        Run(tmp_path / "run").train(changes={"epoch": 3}, data=_data(), progress=False)


def test_later_steps_find_resized_data_of_a_run(tmp_path: Path) -> None:
    pixels, labels = _arrays(shape=(10, 12, 1))
    np.savez(tmp_path / "d.npz", x=pixels, y=labels)
    run = Run(tmp_path / "run")
    trained = run.train(
        "quick", model="ds_cnn", image_size=16, data=tmp_path / "d.npz", backend="tensorflow", progress=False
    )
    from edgefm.core.runs import RunDirectory

    found = dataset_of(RunDirectory.open(run.path))
    assert found.train.images.shape[1:] == (16, 16, 1)
    assert run.steps[0].inputs["dataset"] == found.sha256
    assert trained.to_json()["validation_samples"] == 6


MORE_BUILDERS = """
import keras
from keras import layers


def channels_first():
    return keras.Sequential([keras.Input((3, 16, 24)), layers.Flatten(), layers.Dense(3)])


def two_channels():
    return keras.Sequential([keras.Input((16, 24, 2)), layers.Flatten(), layers.Dense(3)])


def named(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(classes)], name="my model")


def half_frozen(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape), layers.Conv2D(4, 3, name="fixed", trainable=False), layers.Conv2D(4, 3, name="free"),
        layers.GlobalAveragePooling2D(), layers.Dense(classes, name="head"),
    ])


def scaled_by_operations(input_shape, classes):
    inputs = keras.Input(input_shape)
    scaled = keras.applications.mobilenet_v2.preprocess_input(inputs)
    return keras.Model(inputs, layers.Dense(classes, name="head")(layers.GlobalAveragePooling2D()(scaled)))


def compiled(input_shape, classes):
    model = keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(classes)])
    model.compile("sgd", "huber")
    return model


ready_made = keras.Sequential([keras.Input((16, 24, 3)), layers.Flatten(), layers.Dense(3)])
"""


@pytest.fixture
def more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the module more_nets."""
    (folder / "more_nets.py").write_text(MORE_BUILDERS)
    monkeypatch.delitem(__import__("sys").modules, "more_nets", raising=False)
    return folder


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("channels_first", DataError, r"(?s)are 16 x 24 x 3, the model takes 3 x 16 x 24.*takes the channels first"),
        ("two_channels", DataError, r"(?s)16 x 24 x 3, the model takes 16 x 24 x 2.*3 channels, the model takes 2"),
        ("named", ModelError, "the model 'my model' has a name that TensorFlow does not take"),
        ("ready_made", ModelError, "more_nets:ready_made is a model, not a function that returns one"),
    ],
)
def test_model_that_no_picture_fits_is_refused(name: str, kind: Any, words: str, more: Path) -> None:
    with pytest.raises(kind, match=words):
        _ready(f"more_nets:{name}", _data())


def test_what_a_model_was_compiled_with_is_said_not_to_be_used(more: Path) -> None:
    data, notes = _data(), Notes()
    ready = _ready("more_nets:compiled", data, notes)
    wanted = "was compiled with the loss huber: that, its optimizer and its metrics are not used"
    assert [note for note in notes.notes if wanted in note and note.endswith("cross_entropy and adamw")]
    assert ready.model is not None
    model, _ = ready.model()
    model.compile(loss="mae")
    model.save("mine.keras")
    _ready("mine.keras", data, notes)
    assert any("mine.keras was compiled with the loss mean_absolute_error" in note for note in notes.notes)
    before = len(notes.notes)
    _ready("more_nets:channels_first", _data(shape=(3, 16, 24)), notes, flip=False)
    assert not any("was compiled with" in note for note in notes.notes[before:])


def test_precision_of_a_training_is_none_of_later_models(more: Path) -> None:
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    try:
        trained = edgefm.train(
            "more_nets:compiled",
            data=_data(),
            epochs=1,
            backend="tensorflow",
            precision="mixed_bfloat16",
            progress=False,
        )
        assert keras.config.dtype_policy().name == "mixed_float16"
        keras.config.set_dtype_policy("float32")
        with pytest.raises(DataError, match="single class"):
            Run("run").train(
                data=_data(classes=1), model="more_nets:compiled", precision="mixed_bfloat16", progress=False
            )
        assert keras.config.dtype_policy().name == "float32"
    finally:
        keras.config.set_dtype_policy("float32")
    assert trained.device["precision"] == "mixed_bfloat16"


def test_model_that_scales_pixels_by_operations_gets_pixels_as_they_are(more: Path) -> None:
    notes = Notes()
    ready = _ready("more_nets:scaled_by_operations", _data(), notes)
    assert ready.model is not None
    model, _ = ready.model()
    pixels = _data().test.images
    kernel, bias = model.get_layer("head").get_weights()
    scores = (pixels / 127.5 - 1).mean(axis=(1, 2)) @ kernel + bias
    wanted = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_on_batch(pixels), wanted, atol=1e-5)
    assert any("begins by scaling pixels itself" in note for note in notes.notes), notes.notes


def test_layers_that_a_function_froze_stay_so_when_pretrained_ones_are_let_go(more: Path) -> None:
    import importlib

    given = importlib.import_module("more_nets").half_frozen((16, 24, 3), 3)
    given.save_weights(more / "w.weights.h5")
    recipe = Training(
        model="more_nets:half_frozen", pretrained=str(more / "w.weights.h5"), frozen_epochs=1, epochs=2, batch_size=16
    )
    trained = edgefm.train(recipe=recipe, data=_data(), backend="tensorflow", progress=False).model
    for name, fixed in (("fixed", True), ("free", False)):
        same = np.array_equal(trained.get_layer(name).get_weights()[0], given.get_layer(name).get_weights()[0])
        assert same is fixed and trained.get_layer(name).trainable is not fixed


GAIN = """
import keras
from keras import layers


class Gain(layers.Layer):
    def call(self, inputs):
        return inputs * {gain}


def build(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), Gain(), layers.Dense(classes)])
"""


def test_training_with_a_layer_that_was_changed_is_another_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for gain in (1, 1, 10):
        (folder / "gain_net.py").write_text(GAIN.format(gain=gain))
        monkeypatch.delitem(__import__("sys").modules, "gain_net", raising=False)
        __import__("importlib").invalidate_caches()
        found.append(_ready("gain_net:build", _data()).inputs["architecture"])
    assert found[0] == found[1] != found[2]


def test_whole_numbers_that_are_no_bytes_and_several_inputs_are_refused() -> None:
    pixels, labels = _arrays()
    words = r"(?s)whole numbers from \d+ to \d+ that are no uint8.*x\.astype\('uint8'\) for pixels"
    with pytest.raises(DataError, match=words):
        _ready("enhanced_cnn", edgefm.data.from_arrays(pixels.astype(np.int16), labels, progress=False))
    both = edgefm.data.from_arrays({"left": pixels, "right": pixels}, labels, progress=False)
    with pytest.raises(DataError, match=r"arrays has several inputs \(.*left.*right.*a training learns from one"):
        _ready("enhanced_cnn", both)


@pytest.mark.parametrize(
    ("low", "high", "advice"),
    [
        (0, 65_535, "(x >> 8).astype('uint8') for pixels of 16 bits, x.astype"),
        (0, 4_095, "(x >> 4).astype('uint8') for pixels of 12 bits, x.astype"),
        (0, 255, "Use x.astype('uint8') for pixels, x.astype"),
        (-9, 300, "Use x.astype('float32') for inputs"),
        (0, 70_000, "Use x.astype('float32') for inputs"),
    ],
)
def test_whole_numbers_of_more_bits_are_not_to_be_cut_off(low: int, high: int, advice: str) -> None:
    pixels, labels = _arrays()
    values = np.where(pixels > 127, high, low).astype(np.int64)
    data = edgefm.data.from_arrays(values, labels, progress=False)
    with pytest.raises(DataError, match=f"(?s)from {low} to {high} that are no uint8.*{re.escape(advice)}"):
        _ready("enhanced_cnn", data)


def test_grey_floats_without_a_channel_are_pictures_of_one(tmp_path: Path) -> None:
    pixels, labels = _arrays(shape=(16, 24))
    np.savez(tmp_path / "grey.npz", images=pixels.astype(np.float32), labels=labels)
    ready = _ready("enhanced_cnn", tmp_path / "grey.npz")
    assert ready.dataset.train.images.shape[1:] == (16, 24, 1)
    assert ready.source is not None
    assert ready.source.load((16, 24, 1)).sha256 == ready.dataset.sha256
    in_memory = edgefm.data.from_arrays(pixels.astype(np.float32), labels, progress=False)
    assert _ready("enhanced_cnn", in_memory).dataset.sha256 == ready.dataset.sha256


@pytest.mark.parametrize("recipe", [{}, {"image_size": 28}], ids=["as-they-are", "resized"])
@pytest.mark.parametrize("shape", [(3, 32, 40), (1, 28, 28)], ids=["colour", "grey"])
def test_pictures_whose_channels_come_first_are_refused(shape: tuple[int, ...], recipe: dict[str, Any]) -> None:
    data = _data(shape=shape)
    with pytest.raises(DataError, match=r"(?s)channels come first.*x\.transpose\(0, 2, 3, 1\)"):
        _ready("resnet20", data, **recipe)


def test_pictures_whose_channels_come_first_are_not_mirrored_along_their_rows(more: Path) -> None:
    data = _data(shape=(3, 16, 24))
    words = (
        r"(?s)3 x 16 x 24: the channels come first.*x\.transpose\(0, 2, 3, 1\).*or train with flip=False, cutmix=0\."
    )
    with pytest.raises(DataError, match=words):
        _ready("more_nets:channels_first", data, cutmix=0.5)
    plain = _ready("more_nets:channels_first", data, flip=False, mixup=0.2)
    assert plain.dataset.train.images.shape[1:] == (3, 16, 24)


def test_size_of_sound_is_none_of_pictures(tmp_path: Path) -> None:
    pictures = _pictures(tmp_path / "pictures")
    with pytest.raises(RecipeError, match=r"(?s)nothing says at which size.*Give an image size, such as 96"):
        _ready("ds_cnn", pictures)
    assert _ready("ds_cnn", pictures, image_size=32).dataset.train.images.shape[1:] == (32, 32, 3)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"momentum": 0.9}, "momentum 0.9 does nothing: the optimizer is adamw, and sgd has one"),
        ({"optimizer": "sgd"}, "weight decay 0.05, the default, is adamw's: as L2 of sgd it is strong"),
        ({"optimizer": "sgd", "momentum": 0.9, "weight_decay": 5e-4}, None),
        ({}, None),
    ],
    ids=["momentum", "decay", "sgd", "adamw"],
)
def test_what_an_optimizer_does_not_do_is_said(recipe: dict[str, Any], words: str | None) -> None:
    notes = Notes()
    _ready("enhanced_cnn", _data(), notes, **recipe)
    said = [note for note in notes.notes if "momentum" in note or "decay" in note]
    assert [note.partition(";")[0] for note in said] == ([] if words is None else [words])
