"""Predicting pictures made from the test set, with a small model that is fitted and converted here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import edgefm
from edgefm.cli.main import cli, run
from edgefm.core.artefacts import sha256_file
from edgefm.core.errors import DataError, ModelError, RecipeError, RunError, RuntimeUnavailableError
from edgefm.core.picture_steps import LETTERBOX, PictureSteps
from edgefm.core.runs import RunDirectory
from edgefm.data.dataset import Dataset, Split
from edgefm.data.picture_file import border_level, read_picture
from edgefm.data.reference.fashion_mnist import LABELS, load_fashion_mnist
from edgefm.jobs.predict import SHIPPED_MODEL, default_model, predict
from edgefm.jobs.quantize import quantize
from edgefm.runtimes import apart
from edgefm.tflite.contract import Contract, Tensor
from tests.fixtures import tiny_models

SHAPE = (28, 28, 1)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_fashion_mnist()


@pytest.fixture(scope="module")
def model(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear classifier (least squares on one-hot classes, about 80 % right) as full-integer TFLite."""
    import tensorflow as tf

    images = dataset.train.images[:20_000].reshape(20_000, -1) / np.float32(255)
    design = np.hstack([images, np.ones((len(images), 1), np.float32)])
    classes = np.eye(10, dtype=np.float32)[dataset.train.labels[:20_000]]
    weights = np.linalg.solve(design.T @ design + 30 * np.eye(785, dtype=np.float32), design.T @ classes)

    @tf.function(input_signature=[tf.TensorSpec((1, 28, 28, 1), tf.float32)])
    def classify(pixels: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(pixels, (1, 784)) / 255.0
        return tf.nn.softmax(8.0 * (flat @ weights[:-1].astype(np.float32) + weights[-1].astype(np.float32)))

    module = tf.Module()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([classify.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [image[None].astype(np.float32)] for image in dataset.train.images[:200]
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(converter.convert())
    contract_of(path).write(path.parent)
    return path


def contract_of(path: Path, labels: tuple[str, ...] = LABELS) -> Contract:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))

    def tensor(details: dict[str, object], value_range: tuple[float, float]) -> Tensor:
        scale, zero_point = details["quantization"]  # type: ignore[misc]
        return Tensor(
            name=str(details["name"]),
            dtype="uint8",
            shape=tuple(int(length) for length in details["shape"]),  # type: ignore[attr-defined]
            scale=float(scale),
            zero_point=int(zero_point),
            value_range=value_range,
        )

    return Contract(
        pictures=replace(LETTERBOX, invert="light_border" if labels == LABELS else "asked"),
        name="linear",
        variant="int8_w8a8",
        file=path.name,
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        input=tensor(interpreter.get_input_details()[0], (0.0, 255.0)),
        outputs=(tensor(interpreter.get_output_details()[0], (0.0, 1.0)),),
        mean=0.0,
        std=1.0,
        labels=labels,
    )


def oracle(model: Path, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the probabilities of uint8 [n, 28, 28, 1], by the interpreter and its own parameters alone."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    in_scale, in_zero = source["quantization"]
    out_scale, out_zero = sink["quantization"]
    outputs = []
    for image in images:
        levels = np.clip(np.rint(image[None] / np.float32(in_scale)) + in_zero, 0, 255).astype(np.uint8)
        interpreter.set_tensor(source["index"], levels)
        interpreter.invoke()
        outputs.append((interpreter.get_tensor(sink["index"])[0].astype(float) - out_zero) * out_scale)
    return np.array(outputs)


def save(pixels: NDArray[np.uint8], path: Path, *, side: int | None = None, quality: int = 95) -> Path:
    picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    if side:
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    options = {"quality": quality} if path.suffix == ".jpg" else {}
    picture.save(path, **options)
    return path


def some(split: Split, count: int) -> NDArray[np.uint8]:
    return split.images[:: len(split) // count][:count]


def test_predict_equals_the_interpreter_on_pictures_of_the_test_set(
    model: Path, dataset: Dataset, tmp_path: Path
) -> None:
    images = some(dataset.test, 40)
    paths = [save(image, tmp_path / f"{number}.png") for number, image in enumerate(images)]
    predictions = predict(paths, model=model, top=10)
    expected = oracle(model, images)
    for prediction, path, probabilities in zip(predictions, paths, expected, strict=True):
        assert prediction.picture == path
        assert not prediction.inverted
        found = {score.label: score.probability for score in prediction.top}
        np.testing.assert_allclose([found[label] for label in LABELS], probabilities, atol=1e-6)
        given = [score.probability for score in prediction.top]
        assert given == sorted(given, reverse=True)


def test_folders_stand_for_their_pictures_and_dash_for_standard_input(
    model: Path, dataset: Dataset, tmp_path: Path
) -> None:
    images = some(dataset.test, 4)
    (tmp_path / "b" / "deep").mkdir(parents=True)
    names = ("b/2.png", "b/deep/1.jpg", "b/deep/3.PNG", "a.png")
    paths = [save(image, tmp_path / name) for image, name in zip(images, names, strict=True)]
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    found = predict([tmp_path / "b", paths[3]], model=model)
    assert [prediction.picture for prediction in found] == paths
    assert [prediction.top for prediction in found] == [predict(path, model=model)[0].top for path in paths]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"the folder .*empty holds no pictures"):
        predict([paths[0], tmp_path / "empty"], model=model)
    done = subprocess.run(
        [sys.executable, "-c", "from edgefm.cli.start import main; main()", "predict", "-", "--json", "--model", model],
        input=paths[0].read_bytes(), capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1000:]
    (answer,) = json.loads(done.stdout)["predictions"]
    assert answer["picture"] == "-" and answer["top"][0]["label"] == found[0].top[0].label


def test_predict_is_right_about_as_often_as_the_model(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    """Guards against a fixture that predicts noise: the other tests would then show nothing."""
    images = some(dataset.test, 200)
    labels = dataset.test.labels[:: len(dataset.test) // 200][:200]
    paths = [save(image, tmp_path / f"{number}.png") for number, image in enumerate(images)]
    answers = [LABELS.index(prediction.top[0].label) for prediction in predict(paths, model=model)]
    assert np.mean(np.array(answers) == labels) > 0.7


def crash(number: int, path: Path) -> None:
    os.kill(os.getpid(), signal.SIGABRT)


def test_a_model_that_crashes_its_runtime_is_an_error_of_predict(
    model: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "picture.png"
    Image.fromarray(dataset.test.images[0, :, :, 0]).save(picture)
    monkeypatch.setattr(apart, "_load", crash)
    with pytest.raises(ModelError, match=r"loading .*model\.tflite crashed with SIGABRT"):
        predict(picture, model=model)


def test_inverted_pictures_are_told_and_give_the_same_answer(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    images = some(dataset.test, 40)
    plain = predict([save(image, tmp_path / f"{n}.png") for n, image in enumerate(images)], model=model)
    paths = [save(255 - image, tmp_path / f"inverted-{n}.png") for n, image in enumerate(images)]
    turned = predict(paths, model=model)
    assert all(prediction.inverted for prediction in turned)
    assert [prediction.top for prediction in turned] == [prediction.top for prediction in plain]
    assert not any(prediction.inverted for prediction in predict(paths, model=model, invert="no"))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_enlarged_pictures_mostly_give_the_same_answer(
    model: Path, dataset: Dataset, tmp_path: Path, suffix: str
) -> None:
    """Enlarging and JPEG change levels a little: answers near a boundary may flip, at most one in ten."""
    images = some(dataset.test, 60)
    expected = oracle(model, images).argmax(axis=1)
    paths = [save(255 - image, tmp_path / f"{n}.{suffix}", side=280) for n, image in enumerate(images)]
    answers = [LABELS.index(prediction.top[0].label) for prediction in predict(paths, model=model)]
    assert np.mean(np.array(answers) == expected) >= 0.9


def test_no_test_picture_is_taken_for_one_on_a_light_background(dataset: Dataset) -> None:
    levels = np.array([border_level(image) for image in dataset.test.images])
    assert (levels <= 127).all()


def test_a_wide_picture_keeps_its_aspect_and_is_centred_on_black(tmp_path: Path) -> None:
    wide = np.full((50, 100, 3), 60, np.uint8)
    picture = read_picture(save(wide, tmp_path / "wide.png"), LETTERBOX, shape=SHAPE)
    assert picture.pixels.shape == SHAPE
    rows = picture.pixels[:, :, 0].max(axis=1)
    assert rows.tolist() == [0] * 7 + [60] * 14 + [0] * 7


def test_a_transparent_background_counts_as_white(tmp_path: Path) -> None:
    pixels = np.zeros((28, 28, 4), np.uint8)
    pixels[10:18, 10:18] = (30, 30, 30, 255)
    path = save(pixels, tmp_path / "cut-out.png")
    turned = read_picture(path, replace(LETTERBOX, invert="light_border"), shape=SHAPE)
    assert turned.inverted
    assert turned.pixels[0, 0, 0] == 0 and turned.pixels[14, 14, 0] == 225
    kept = read_picture(path, LETTERBOX, shape=SHAPE, invert="no")
    assert kept.pixels[0, 0, 0] == 0 and kept.pixels[14, 14, 0] == 30


def test_a_palette_with_a_transparent_colour_is_read(tmp_path: Path) -> None:
    columns = np.tile(np.array([[0, 1]], np.uint8), (28, 14))
    picture = Image.fromarray(columns)
    picture.putpalette([200, 200, 200, 10, 10, 10])
    picture.save(tmp_path / "palette.png", transparency=0)
    found = read_picture(tmp_path / "palette.png", LETTERBOX, shape=SHAPE, invert="yes").pixels[..., 0]
    np.testing.assert_array_equal(found, np.where(columns == 0, 255 - 255, 255 - 10))


def test_sixteen_bits_a_level_are_scaled_not_cut_off(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 28 * 28).astype(np.uint16).reshape(28, 28)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    found = read_picture(tmp_path / "deep.png", LETTERBOX, shape=SHAPE, invert="no").pixels[..., 0]
    np.testing.assert_array_equal(found, levels // 256)


def test_a_turned_photograph_is_set_upright(tmp_path: Path) -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[:, :5] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned right by a quarter
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = read_picture(tmp_path / "turned.png", LETTERBOX, shape=SHAPE, invert="no").pixels[..., 0]
    np.testing.assert_array_equal(found, np.rot90(pixels, -1))


def test_colour_is_kept_for_a_model_of_three_channels(tmp_path: Path) -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[...] = (10, 20, 30)
    found = read_picture(save(pixels, tmp_path / "colour.png"), LETTERBOX, shape=(20, 20, 3))
    np.testing.assert_array_equal(found.pixels, pixels)


def test_auto_inverts_nothing_for_a_model_of_other_labels(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "model.tflite").write_bytes(model.read_bytes())
    contract_of(own / "model.tflite", tuple(f"kind {n}" for n in range(10))).write(own)
    path = save(255 - dataset.test.images[0], tmp_path / "light.png")
    assert not predict([path], model=own / "model.tflite")[0].inverted
    assert predict([path], model=own / "model.tflite", invert="yes")[0].inverted


@pytest.mark.parametrize(("dark", "labels"), [(True, "own"), (False, "reference")])
def test_auto_inverts_by_what_the_contract_says_of_the_data(
    model: Path, dataset: Dataset, tmp_path: Path, dark: bool, labels: str
) -> None:
    (tmp_path / "model.tflite").write_bytes(model.read_bytes())
    names = LABELS if labels == "reference" else tuple(f"kind {n}" for n in range(10))
    pictures = replace(LETTERBOX, invert="light_border" if dark else "asked")
    replace(contract_of(tmp_path / "model.tflite", names), pictures=pictures).write(tmp_path)
    path = save(255 - dataset.test.images[0], tmp_path / "light.png")
    assert predict([path], model=tmp_path / "model.tflite")[0].inverted == dark


def test_predict_refuses_a_model_of_real_inputs_and_says_why(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(model.read_bytes())
    agreed = replace(contract_of(tmp_path / "model.tflite"), no_pixels="its samples are spectra")
    agreed.write(tmp_path)
    path = save(dataset.test.images[0], tmp_path / "a.png")
    with pytest.raises(ModelError, match="takes no pictures: its samples are spectra") as caught:
        predict([path], model=tmp_path / "model.tflite")
    assert "value range" in str(caught.value.hint)


def test_predict_rejects_what_is_no_picture(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    good = save(dataset.test.images[0], tmp_path / "good.png")
    text = tmp_path / "notes.png"
    text.write_text("no picture")
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:150])
    (tmp_path / "empty").mkdir()
    for path, message in (
        (text, "not a picture that Pillow can read"),
        (cut, "damaged or truncated"),
        (tmp_path / "absent.png", "does not exist"),
        (tmp_path / "empty", "holds no pictures"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            predict([good, path], model=model)
        assert str(path) in caught.value.message


def test_predict_rejects_a_cut_jpeg(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    path = save(dataset.test.images[0], tmp_path / "cut.jpg", side=280)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match="damaged or truncated"):
        predict([path], model=model)


@pytest.mark.parametrize("top", [0, -1, 11])
def test_predict_rejects_a_top_out_of_range(model: Path, top: int) -> None:
    with pytest.raises(RecipeError, match=f"top {top} is not allowed"):
        predict([], model=model, top=top)


def test_predict_rejects_an_unknown_invert(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    path = save(dataset.test.images[0], tmp_path / "a.png")
    with pytest.raises(RecipeError, match="did you mean 'yes'"):
        predict([path], model=model, invert="yess")  # type: ignore[arg-type]  # what a caller may type


def test_predict_rejects_a_model_without_contract(model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "model.tflite"
    bare.write_bytes(model.read_bytes())
    with pytest.raises(ModelError, match=r"no contract\.json beside it") as caught:
        predict([], model=bare)
    assert "edgefm quantize writes one" in str(caught.value.hint)
    with pytest.raises(ModelError, match="no model file"):
        predict([], model=tmp_path / "absent.tflite")


def test_predict_tells_two_classes_by_a_single_output(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.dense(np.full((1, 16), 1 / (16 * 255), np.float32)))
    ends = {"dtype": "float32", "scale": None, "zero_point": None}
    agreed = replace(
        contract_of(path, labels=("dark", "bright")),
        input=Tensor(name="image", shape=(1, 4, 4, 1), value_range=(0.0, 255.0), **ends),  # type: ignore[arg-type]
        outputs=(Tensor(name="scores", shape=(1, 1), value_range=(0.0, 1.0), **ends),),  # type: ignore[arg-type]
    )
    agreed.write(tmp_path)
    picture = save(np.full((4, 4, 1), 204, np.uint8), tmp_path / "picture.png")
    (found,) = predict([picture], model=path, top=2, invert="no")
    assert [score.label for score in found.top] == ["bright", "dark"]
    np.testing.assert_allclose([score.probability for score in found.top], [0.8, 0.2], atol=1e-6)
    (all_there_are,) = predict([picture], model=path, invert="no")  # fewer than three
    assert all_there_are == found
    replace(agreed, task="classification", head="logits").write(tmp_path)
    (of_logits,) = predict([picture], model=path, invert="no")
    share = 1 / (1 + np.exp(-0.8))
    np.testing.assert_allclose([score.probability for score in of_logits.top], [share, 1 - share], atol=1e-6)


def test_predict_gives_each_of_several_labels_its_own_probability(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.dense(np.outer([3.0, -2.0, 1.0, 2.0], np.full(16, 1 / (16 * 255))).astype(np.float32)))
    ends = {"dtype": "float32", "scale": None, "zero_point": None}
    agreed = replace(
        contract_of(path, labels=("sea", "snow", "tree", "sky")),
        input=Tensor(name="image", shape=(1, 4, 4, 1), value_range=(0.0, 255.0), **ends),  # type: ignore[arg-type]
        outputs=(Tensor(name="scores", shape=(1, 4), value_range=(-9.0, 9.0), **ends),),  # type: ignore[arg-type]
        task="multilabel",
        head="logits",
    )
    agreed.write(tmp_path)
    picture = save(np.full((4, 4, 1), 204, np.uint8), tmp_path / "picture.png")
    (found,) = predict([picture], model=path, invert="no")
    assert [score.label for score in found.top] == ["sea", "sky", "tree"]
    expected = 1 / (1 + np.exp(-0.8 * np.array([3.0, 2.0, 1.0])))
    np.testing.assert_allclose([score.probability for score in found.top], expected, atol=1e-6)


def test_predict_rejects_a_model_of_no_classes(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(model.read_bytes())
    contract_of(path, labels=()).write(tmp_path)
    with pytest.raises(ModelError, match="has no class names"):
        predict([save(some(dataset.test, 1)[0], tmp_path / "picture.png")], model=path)


def test_predict_rejects_a_model_that_its_contract_does_not_know(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "model.tflite"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(bytes(content))
    (tmp_path / "contract.json").write_bytes(model.with_name("contract.json").read_bytes())
    with pytest.raises(ModelError, match="is not the file its contract was written for"):
        predict([], model=damaged)


def run_with(model: Path, root: Path, name: str = "linear") -> RunDirectory:
    """A run whose quantize step holds the model as int8_w8a8."""
    run = RunDirectory.create(name, root=root)
    with run.lock():
        folder = run.begin("quantize")
        (folder / "int8_w8a8").mkdir()
        for file in (model, model.with_name("contract.json")):
            (folder / "int8_w8a8" / file.name).write_bytes(file.read_bytes())
        run.finish(folder, key="a key", seconds=0.0, recipe={}, inputs={}, summary={})
    return run


def test_default_model_is_that_of_the_latest_run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_model() == SHIPPED_MODEL
    made = run_with(model, tmp_path / "runs")
    assert default_model().resolve() == made.path.resolve() / "00-quantize" / "int8_w8a8" / "model.tflite"
    assert default_model(made.path) == made.path / "00-quantize" / "int8_w8a8" / "model.tflite"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "00-quantize" / "int8_w8a8" / "model.tflite").unlink(), r"model\.tflite is missing"),
        (lambda run: (run / "manifest.json").write_text("{"), r"manifest\.json is damaged"),
        (lambda run: (run / "00-quantize" / "int8_w8a8").rename(run / "00-quantize" / "x"), "model.tflite is missing"),
    ],
    ids=["no file", "manifest", "no folder"],
)
def test_latest_run_that_is_damaged_is_named_and_no_other_model_taken(
    damage: Callable[[Path], object], words: str, model: Path, tmp_path: Path
) -> None:
    made = run_with(model, tmp_path / "runs").path
    damage(made)
    with pytest.raises(
        (RunError, ModelError), match=rf"the latest run cannot be taken: .*{made.name}.*{words}"
    ) as caught:
        default_model(root=tmp_path / "runs")
    assert "Or name another run, or a model." in str(caught.value.hint)


def test_latest_run_in_which_nothing_was_quantized_leaves_the_model_that_comes_with_edgefm(tmp_path: Path) -> None:
    RunDirectory.create("trained", root=tmp_path)
    assert default_model(root=tmp_path) == SHIPPED_MODEL


def test_model_that_comes_with_edgefm_answers_right_after_installing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sum(path.stat().st_size for path in SHIPPED_MODEL.parent.iterdir()) < 1_000_000
    monkeypatch.chdir(tmp_path)
    test = edgefm.data.fashion_mnist().test
    (tmp_path / "pictures").mkdir()
    for place in range(200):
        Image.fromarray(test.images[place, ..., 0]).save(tmp_path / "pictures" / f"{place:03d}.png")
    found = edgefm.predict("pictures", progress=False)
    labels = (SHIPPED_MODEL.parent / "labels.txt").read_text(encoding="utf-8").splitlines()
    right = [labels[test.labels[place]] == item.top[0].label for place, item in enumerate(found)]
    assert found.model == SHIPPED_MODEL and np.mean(right) > 0.85, np.mean(right)
    assert run(lambda: cli.main(["predict", "pictures/000.png"], standalone_mode=False)) == 0
    assert "which comes with edgefm: pictures of Fashion-MNIST" in capsys.readouterr().out


def test_a_bundle_is_a_model(model: Path, dataset: Dataset, tmp_path: Path) -> None:
    edgefm.export(model, "python", out=tmp_path / "bundle", samples=2, progress=False)
    Image.fromarray(dataset.test.images[0, ..., 0]).save(tmp_path / "a.png")
    found = edgefm.predict(tmp_path / "a.png", model=tmp_path / "bundle", progress=False)
    assert found.model == tmp_path / "bundle" / "model.tflite"
    assert found[0].top == edgefm.predict(tmp_path / "a.png", model=model, progress=False)[0].top


def test_default_model_rejects_a_named_run_without_one(tmp_path: Path) -> None:
    empty = RunDirectory.create("empty", root=tmp_path)
    with pytest.raises(RunError, match="no finished 'quantize' step"):
        default_model(empty.path)
    with pytest.raises(RunError, match="no run at"):
        default_model(tmp_path / "absent")


def test_cli_predicts_with_the_latest_run(
    model: Path,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run_with(model, tmp_path / "runs")
    bright, light = dataset.test.images[0], 255 - dataset.test.images[1]
    save(bright, tmp_path / "bright.png")
    save(light, tmp_path / "light.png")
    arguments = ["predict", "bright.png", "light.png"]
    assert run(lambda: cli.main([*arguments, "--json"], standalone_mode=False)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"].endswith("00-quantize/int8_w8a8/model.tflite")
    assert [item["inverted"] for item in found["predictions"]] == [False, True]
    assert [len(item["top"]) for item in found["predictions"]] == [3, 3]
    assert run(lambda: cli.main([*arguments, "--top", "2"], standalone_mode=False)) == 0
    text = capsys.readouterr().out
    best = found["predictions"][0]["top"][0]
    assert f"{best['label']} {100 * best['probability']:.1f} %" in text
    assert text.count("inverted: light background") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["absent.png"], id="missing picture"),
        pytest.param(["--top", "0", "a.png"], id="top"),
        pytest.param(["--model", "no.tflite", "a.png"], id="missing model"),
        pytest.param(["--run", "no-run", "a.png"], id="missing run"),
        pytest.param(["--run", "runs", "--model", "m.tflite", "a.png"], id="both"),
        pytest.param([], id="no picture"),
    ],
)
def test_cli_exits_with_2_on_bad_input(
    model: Path, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Dataset
) -> None:
    monkeypatch.chdir(tmp_path)
    run_with(model, tmp_path / "runs")
    save(dataset.test.images[0], tmp_path / "a.png")
    assert run(lambda: cli.main(["predict", *arguments], standalone_mode=False)) == 2


def test_predict_without_pillow_names_the_small_extra(
    model: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(some(dataset.test, 1)[0], tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(RuntimeUnavailableError, match="needs Pillow") as caught:
        predict(path, model=model)
    assert caught.value.hint == "Install it with: pip install 'edgefm[pictures]'"


def test_predict_imports_no_library_beyond_the_base_install_and_pillow(
    model: Path, dataset: Dataset, tmp_path: Path
) -> None:
    path = save(some(dataset.test, 1)[0], tmp_path / "a.png")
    code = (
        "import sys; from pathlib import Path; from edgefm.jobs.predict import predict;"
        f"predict(Path({str(path)!r}), model=Path({str(model)!r}));"
        "print([n for n in ('tensorflow', 'keras', 'jax', 'torch', 'matplotlib', 'pooch') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
def test_pictures_of_own_data_are_predicted_as_their_folders_are_read(tmp_path: Path, mode: str) -> None:
    """Oracle: Keras on the files as Pillow stretches them, on white; they are wider than the input and partly clear."""
    import keras

    channels, random = (1 if mode == "LA" else 3), np.random.default_rng(0)
    bands, paths, inputs = len(Image.new(mode, (1, 1)).getbands()), [], []
    for number in range(24):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (2, 4, bands)).astype(np.uint8)
        Image.fromarray(coarse.repeat(8, axis=0).repeat(11, axis=1), mode).save(path)
        picture = Image.open(path).convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", picture.size, (255, 255, 255, 255)), picture).convert("RGB")
        read = flat.convert("L" if channels == 1 else "RGB").resize((12, 12), Image.Resampling.BILINEAR)
        paths.append(path)
        inputs.append(np.asarray(read, np.float32).reshape(12, 12, channels))
    network = keras.Sequential(
        [
            keras.Input((12, 12, channels)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    kernel = random.normal(size=(144 * channels, 2)) / 4
    centre = (np.stack(inputs).reshape(24, -1) / 127.5 - 1).mean(axis=0)
    network.layers[-1].set_weights([kernel, -centre @ kernel])
    network.save(tmp_path / "network.keras")
    expected = network.predict(np.stack(inputs), verbose=0)
    assert 3 < (expected.argmax(axis=1) == 0).sum() < 21  # neither class alone

    files = quantize(
        tmp_path / "network.keras",
        "float32",
        data=str(tmp_path / "data"),
        value_range=(0, 255),
        progress=False,
    )
    agreed = files["float32"].contract
    assert agreed is not None and agreed.pictures == PictureSteps()
    assert agreed.made_by["pictures"]["of_other_sizes"] < 1e-4
    found = [{score.label: score.probability for score in item.top} for item in predict(paths, model=files["float32"])]
    np.testing.assert_allclose([[item["a"], item["b"]] for item in found], expected, atol=1e-4)
