"""Which step an app does otherwise: faults planted in an app of its own, written here with Pillow, numpy and LiteRT."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image, ImageOps

import edgefm
from edgefm.cli.main import cli
from edgefm.core.errors import DataError, ModelError
from edgefm.core.picture_steps import PictureSteps
from edgefm.tflite.contract import read_file
from tests.fixtures.app_cases import ABC, case, write_case
from tests.fixtures.app_models import Out
from tests.fixtures.picture_ways import by_pillow
from tests.fixtures.small_data import small_fashion_mnist

SHIPPED = Path(__file__).parents[2] / "android_demo_assets" / "int8" / "model.tflite"
COLOUR = (1, 12, 10, 3)
LABELS = ("zebra", "apple", "mole", "cat", "dog")
MEAN, STD, SCALE, ZERO = 120.25, 58.5, 0.0197, -9


@dataclasses.dataclass(frozen=True)
class App:
    """An app that was written by somebody: how it does each step."""

    open: Callable[[Path], Any] = lambda path: upright(path)
    resize: Callable[[Any], Any] = lambda image: image.resize((COLOUR[2], COLOUR[1]), Image.Resampling.BILINEAR)
    pixels: Callable[[NDArray[Any]], NDArray[Any]] = lambda pixels: pixels
    real: Callable[[NDArray[Any]], NDArray[Any]] = lambda pixels: normalised(pixels.astype(np.float32))
    levels: Callable[[NDArray[Any]], NDArray[Any]] = lambda real: quantised(real)
    decode: Callable[[NDArray[Any]], NDArray[Any]] = lambda levels: (levels.astype(np.float64) + 128) / 256
    labels: tuple[str, ...] = LABELS
    kernels: str = "xnnpack"

    def answer(self, model: bytes, picture: Path) -> tuple[dict[str, float], NDArray[Any], list[float]]:
        image = self.resize(self.open(picture))
        pixels = self.pixels(np.array(image))
        levels = self.levels(self.real(pixels)).astype(np.int8).reshape(COLOUR)
        values = self.decode(interpreted(model, levels, self.kernels)[0])
        return dict(zip(self.labels, values.tolist(), strict=True)), levels, values.tolist()


def normalised(values: NDArray[Any]) -> NDArray[Any]:
    return (values - np.float32(MEAN)) / np.float32(STD)


def quantised(real: NDArray[Any], *, cut: bool = False, zero: int = ZERO) -> NDArray[Any]:
    steps = real / np.float32(SCALE)
    return np.clip((np.trunc(steps) if cut else np.rint(steps)) + zero, -128, 127)


def upright(path: Path, *, turn: bool = True, background: int = 255) -> Any:
    image = Image.open(path)
    image = ImageOps.exif_transpose(image) if turn else image
    if image.mode == "RGBA":
        paper = Image.new("RGBA", image.size, (background, background, background, 255))
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")


def interpreted(model: bytes, values: NDArray[Any], kernels: str = "xnnpack") -> NDArray[Any]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolvers = {
        "xnnpack": OpResolverType.AUTO,
        "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": OpResolverType.BUILTIN_REF,
    }
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolvers[kernels])
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    answer: NDArray[Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return answer


def without_antialias(image: Any) -> Any:
    """Return what Android's Bitmap.createScaledBitmap(…, filter = true) makes: four neighbours, no antialiasing."""
    pixels, (height, width) = np.array(image, np.float64), COLOUR[1:3]
    rows = np.clip((np.arange(height) + 0.5) * pixels.shape[0] / height - 0.5, 0, pixels.shape[0] - 1)
    columns = np.clip((np.arange(width) + 0.5) * pixels.shape[1] / width - 0.5, 0, pixels.shape[1] - 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = np.minimum(top + 1, pixels.shape[0] - 1), np.minimum(left + 1, pixels.shape[1] - 1)
    y, x = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = pixels[top][:, left] * (1 - x) + pixels[top][:, right] * x
    lower = pixels[down][:, left] * (1 - x) + pixels[down][:, right] * x
    return Image.fromarray(np.rint(upper * (1 - y) + lower * y).astype(np.uint8))


def centre(image: Any) -> Any:
    factor = max(COLOUR[1] / image.height, COLOUR[2] / image.width)
    wide, high = COLOUR[2] / factor, COLOUR[1] / factor
    left, top = (image.width - wide) / 2, (image.height - high) / 2
    box = (round(left), round(top), round(left + wide), round(top + high))
    return image.crop(box).resize((COLOUR[2], COLOUR[1]), Image.Resampling.BILINEAR)


def resized(kind: Any) -> Callable[[Any], Any]:
    return lambda image: image.resize((COLOUR[2], COLOUR[1]), kind)


IMAGENET = (np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375]))
# What was planted -> (the app, the step that must be named, words of the title).
FAULTS: dict[str, tuple[App, str, str]] = {
    "exif": (App(open=lambda path: upright(path, turn=False)), "orientation", "EXIF"),
    "turned": (App(pixels=lambda pixels: np.array(Image.fromarray(pixels).rotate(180))), "orientation", "180"),
    "selfie": (App(pixels=lambda pixels: pixels[:, ::-1]), "orientation", "left to right"),
    "bottom up": (App(pixels=lambda pixels: pixels[::-1]), "orientation", "top to bottom"),
    "bgr": (App(pixels=lambda pixels: pixels[..., ::-1]), "channels", "red and blue"),
    "alpha": (App(open=lambda path: upright(path, background=0)), "decoding", "black"),
    "alpha dropped": (
        App(open=lambda path: ImageOps.exif_transpose(Image.open(path)).convert("RGB")),
        "decoding",
        "dropped",
    ),
    "nearest": (App(resize=resized(Image.Resampling.NEAREST)), "filter", "nearest"),
    "android": (App(resize=without_antialias), "filter", "without antialiasing"),
    "bicubic": (App(resize=resized(Image.Resampling.BICUBIC)), "filter", "bicubic"),
    "lanczos": (App(resize=resized(Image.Resampling.LANCZOS)), "filter", "Lanczos"),
    "box": (App(resize=resized(Image.Resampling.BOX)), "filter", "boxes"),
    "crop": (App(resize=centre), "fit", "cut out"),
    "0 to 1": (App(real=lambda pixels: pixels.astype(np.float32) / np.float32(255)), "range", "0 to 1"),
    "-1 to 1": (App(real=lambda pixels: pixels / np.float32(127.5) - np.float32(1)), "range", "-1 to 1"),
    "imagenet": (App(real=lambda pixels: (pixels.astype(np.float32) - IMAGENET[0]) / IMAGENET[1]), "range", "ImageNet"),
    "twice": (App(real=lambda pixels: normalised(normalised(pixels.astype(np.float32)))), "range", "twice"),
    "chw": (App(pixels=lambda pixels: pixels.transpose(2, 0, 1)), "layout", "channels first"),
    "transposed": (App(pixels=lambda pixels: pixels.transpose(1, 0, 2)), "layout", "rows and columns"),
    "no zero point": (App(levels=lambda real: quantised(real, zero=0)), "quantisation", "zero point"),
    "sign": (
        App(levels=lambda real: quantised(real).astype(np.int8).view(np.uint8) ^ 0x80),
        "quantisation",
        "other sign",
    ),
    "cast": (App(levels=lambda real: np.trunc(real)), "quantisation", "without their scale"),
    "raw levels": (App(decode=lambda levels: levels.astype(np.float64)), "output", "as they are"),
    "output unsigned": (
        App(decode=lambda levels: (levels.view(np.uint8).astype(np.float64) + 128) / 256),
        "output",
        "other sign",
    ),
    "output zero point": (App(decode=lambda levels: levels.astype(np.float64) / 256), "output", "zero point"),
    "sorted labels": (App(labels=tuple(sorted(LABELS))), "labels", "sorted"),
    "background label": (App(labels=(LABELS[-1], *LABELS[:-1])), "labels", "one place"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a colour model of int8 ends, of a mean and a deviation; its weights tell each pixel from the others."""
    folder = tmp_path_factory.mktemp("model") / "app"
    app = case(
        [("scores", "classes")],
        shape=COLOUR, outputs=[Out(shape=(1, 5), ends=("int8", 1 / 256, -128), last="SOFTMAX")], labels=LABELS,
        ends=("int8", SCALE, ZERO), mean=MEAN, std=STD,
    )  # fmt: skip
    write_case(folder, app)
    app.contract.write(folder)
    return folder / "model.tflite"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a picture in which every step shows: coloured, uneven, partly transparent, turned by EXIF."""
    path = tmp_path_factory.mktemp("picture") / "odd.png"
    random = np.random.default_rng(5)
    coarse = random.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    smooth = np.array(Image.fromarray(coarse).resize((83, 61), Image.Resampling.BICUBIC))
    noise = random.integers(-40, 41, smooth.shape)
    alpha = np.full((61, 83, 1), 255, np.uint8)
    alpha[10:30, 20:70] = 90
    pixels = np.concatenate([np.clip(smooth + noise, 0, 255).astype(np.uint8), alpha], axis=-1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_named(name: str, model: Path, picture: Path, tmp_path: Path) -> None:
    app, step, words = FAULTS[name]
    answer, _, _ = app.answer(model.read_bytes(), picture)
    right, _, _ = App().answer(model.read_bytes(), picture)
    assert answer != right, "this fault shows nothing"
    (tmp_path / "phone.json").write_text(json.dumps(answer))
    result = edgefm.trace(model, picture, expect=tmp_path / "phone.json", progress=False)
    assert result.found and len(result.causes) == 1, result.verdict
    assert result.causes[0].steps == (step,) and words in result.causes[0].title, result.verdict


# These change the answers by nothing with a model that is not deep, but the input that was read out.
OF_INPUT = {"truncated": (App(levels=lambda real: quantised(real, cut=True)), "quantisation", "cut off")}
OF_INPUT |= {name: fault for name, fault in FAULTS.items() if fault[1] not in ("output", "labels")}


@pytest.mark.parametrize("name", OF_INPUT)
def test_input_that_was_read_out_tells_what_went_in(name: str, model: Path, picture: Path, tmp_path: Path) -> None:
    app, step, words = OF_INPUT[name]
    _, levels, values = app.answer(model.read_bytes(), picture)
    seen = {"outputs": [values], "input": levels.reshape(-1).tolist()}
    (tmp_path / "phone.json").write_text(json.dumps(seen))
    result = edgefm.trace(model, picture, expect=tmp_path / "phone.json", progress=False)
    assert result.input_held is False and result.causes[0].steps == (step,)
    assert words in result.causes[0].title and result.verdict.startswith("What went in is not what the contract gives.")


def test_two_faults_of_the_input_are_found_together(model: Path, picture: Path, tmp_path: Path) -> None:
    app = App(
        open=lambda path: upright(path, turn=False),
        real=lambda pixels: pixels / np.float32(127.5) - np.float32(1),
    )
    _, levels, values = app.answer(model.read_bytes(), picture)
    seen = {"outputs": [values], "input": levels.reshape(-1).tolist()}
    (tmp_path / "phone.json").write_text(json.dumps(seen))
    result = edgefm.trace(model, picture, expect=tmp_path / "phone.json", progress=False)
    assert result.input_held is False and set(result.causes[0].steps) == {"orientation", "range"}, result.verdict


def test_input_that_nothing_gives_is_no_right_input(model: Path, picture: Path, tmp_path: Path) -> None:
    app = App(pixels=lambda pixels: np.random.default_rng(3).integers(0, 256, pixels.shape, dtype=np.uint8))
    _, levels, values = app.answer(model.read_bytes(), picture)
    seen = {"outputs": [values], "input": levels.reshape(-1).tolist()}
    (tmp_path / "phone.json").write_text(json.dumps(seen))
    result = edgefm.trace(model, picture, expect=tmp_path / "phone.json", progress=False)
    assert result.input_held is False and not result.found and result.causes == ()
    assert "Nothing differs" not in result.verdict and "Nothing that was tried gives it." in result.verdict
    words = ["trace", str(model), str(picture), "--expect", str(tmp_path / "phone.json")]
    assert CliRunner().invoke(cli, words, standalone_mode=False).return_value == 1


@pytest.mark.parametrize("read_out", [False, True])
def test_causes_that_a_picture_cannot_tell_apart_are_all_named(read_out: bool, model: Path, tmp_path: Path) -> None:
    halves = np.zeros(COLOUR[1:], np.uint8)
    halves[: COLOUR[1] // 2] = 255  # inverted, it looks as if it stood on its head
    Image.fromarray(halves).save(tmp_path / "halves.png")
    app = App(pixels=lambda pixels: pixels[::-1])
    _, levels, values = app.answer(model.read_bytes(), tmp_path / "halves.png")
    seen = {"outputs": [values], **({"input": levels.reshape(-1).tolist()} if read_out else {})}
    (tmp_path / "phone.json").write_text(json.dumps(seen))
    result = edgefm.trace(model, tmp_path / "halves.png", expect=tmp_path / "phone.json", progress=False)
    assert [cause.steps for cause in result.causes] == [("orientation",), ("inversion",)], result.verdict
    assert "cannot tell apart" in result.verdict


def test_right_app_differs_in_nothing(model: Path, picture: Path, tmp_path: Path) -> None:
    answer, levels, values = App().answer(model.read_bytes(), picture)
    for seen in (answer, values, {"outputs": [values], "input": levels.reshape(-1).tolist()}):
        (tmp_path / "phone.json").write_text(json.dumps(seen))
        result = edgefm.trace(model, picture, expect=tmp_path / "phone.json", progress=False)
        assert result.found and result.causes[0].steps == () and "Nothing differs" in result.verdict
    done = CliRunner().invoke(
        cli, ["trace", str(model.parent), str(picture), "--expect", str(tmp_path / "phone.json")], standalone_mode=False
    )
    assert done.return_value == 0 and "Nothing differs" in done.output
    rounded = {label: round(value, 2) for label, value in answer.items()}  # as it is shown on a screen
    (tmp_path / "phone.json").write_text(json.dumps(rounded))
    assert "Nothing differs" in edgefm.trace(model, picture, expect=tmp_path / "phone.json", progress=False).verdict


def test_other_types_of_files_are_read(model: Path, picture: Path, tmp_path: Path) -> None:
    app = App(pixels=lambda pixels: pixels[..., ::-1])
    _, levels, values = app.answer(model.read_bytes(), picture)
    raw = interpreted(model.read_bytes(), levels)
    np.save(tmp_path / "phone.npy", np.array(values))
    np.save(tmp_path / "levels.npy", raw)
    np.savez(tmp_path / "phone.npz", output0=np.array(values), input=levels)
    (tmp_path / "phone.bin").write_bytes(raw.tobytes())
    for name in ("phone.npy", "levels.npy", "phone.npz", "phone.bin"):
        result = edgefm.trace(model, picture, expect=tmp_path / name, progress=False)
        assert result.causes[0].steps == ("channels",), (name, result.verdict)


def test_two_faults_are_found_together(model: Path, picture: Path, tmp_path: Path) -> None:
    app = App(
        open=lambda path: upright(path, turn=False),
        real=lambda pixels: pixels / np.float32(127.5) - np.float32(1),
    )
    answer, _, _ = app.answer(model.read_bytes(), picture)
    (tmp_path / "phone.json").write_text(json.dumps(answer))
    result = edgefm.trace(model, picture, expect=tmp_path / "phone.json", progress=False)
    assert set(result.causes[0].steps) == {"orientation", "range"}, result.verdict


def test_what_nothing_explains_is_said(model: Path, picture: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0).random(5)
    (tmp_path / "phone.json").write_text(json.dumps((random / random.sum()).tolist()))
    result = edgefm.trace(model, picture, expect=tmp_path / "phone.json", progress=False)
    assert not result.found and result.causes == () and "Nothing that was tried explains it." in result.verdict
    done = CliRunner().invoke(
        cli,
        ["trace", str(model), str(picture), "--expect", str(tmp_path / "phone.json"), "--json"],
        standalone_mode=False,
    )
    assert done.return_value == 1 and json.loads(done.stdout)["found"] is False


# Contracts of other steps: an app that does as the contract says differs in nothing; one that does not is named.


def chosen_app(steps: PictureSteps) -> App:
    """Return an app that does what the contract says, by Pillow alone."""

    def pixels(path: Path) -> Any:
        return Image.fromarray(by_pillow(path, 3, steps, "auto", COLOUR[1], COLOUR[2]))

    return App(open=pixels, resize=lambda image: image)


OTHERS = {
    "cover": (PictureSteps(fit="cover"), PictureSteps(), "fit", "stretched"),
    "cover too": (PictureSteps(), PictureSteps(fit="cover"), "fit", "cut out"),
    "contain": (
        PictureSteps(fit="contain", filter="lanczos", background=114),
        PictureSteps(fit="cover"),
        "fit",
        "cut out",
    ),
    "bgr": (PictureSteps(channel_order="bgr"), PictureSteps(), "channels", "RGB for BGR"),
    "nearest": (PictureSteps(filter="nearest"), PictureSteps(), "filter", "bilinearly"),
    "always": (PictureSteps(invert="always"), PictureSteps(), "inversion", "not inverted"),
    "over black": (PictureSteps(over="black"), PictureSteps(), "decoding", "as white"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_contract_of_other_steps_is_followed_and_what_differs_is_named(
    name: str, model: Path, picture: Path, tmp_path: Path
) -> None:
    steps, done, step, words = OTHERS[name]
    folder = tmp_path / "other"
    shutil.copytree(model.parent, folder)
    dataclasses.replace(read_file(folder / "contract.json"), pictures=steps).write(folder)
    for app, right in ((chosen_app(steps), True), (chosen_app(done), False)):
        answer, levels, values = app.answer(model.read_bytes(), picture)
        for seen in (answer, {"outputs": [values], "input": levels.reshape(-1).tolist()}):
            (tmp_path / "phone.json").write_text(json.dumps(seen))
            result = edgefm.trace(folder, picture, expect=tmp_path / "phone.json", progress=False)
            if right:
                assert result.causes[0].steps == () and "Nothing differs" in result.verdict, result.verdict
            else:
                assert result.causes[0].steps == (step,) and words in result.causes[0].title, result.verdict


# The shipped model: grey, bright on dark, deep enough that kernels round differently.


@pytest.fixture(scope="module")
def shirt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shirt") / "shirt.png"
    pixels = 255 - small_fashion_mnist().test.images[3]
    Image.fromarray(pixels[..., 0]).resize((140, 140), Image.Resampling.BICUBIC).save(path)
    return path


def grey(path: Path, *, invert: bool = True, kind: Any = Image.Resampling.LANCZOS) -> NDArray[np.uint8]:
    pixels = np.array(Image.open(path).convert("L").resize((28, 28), kind))
    return (255 - pixels if invert else pixels).reshape(1, 28, 28, 1)


@pytest.mark.parametrize(
    ("app", "step"),
    [
        (lambda path: grey(path, invert=False), "inversion"),
        (lambda path: grey(path, kind=Image.Resampling.NEAREST), "filter"),
        (lambda path: grey(path)[:, :, ::-1], "orientation"),
        (lambda path: (grey(path).astype(np.float32) / 255).astype(np.uint8), "range"),
        (lambda path: grey(path) ^ 0x80, "quantisation"),
        (lambda path: grey(path).transpose(0, 2, 1, 3), "layout"),
    ],
    ids=["not inverted", "nearest", "mirrored", "0 to 1", "signed bytes", "transposed"],
)
def test_faults_of_a_grey_model_are_named(app: Any, step: str, shirt: Path, tmp_path: Path) -> None:
    raw = interpreted(SHIPPED.read_bytes(), np.ascontiguousarray(app(shirt)))
    (tmp_path / "phone.json").write_text(json.dumps((raw[0] / 256).tolist()))
    result = edgefm.trace(SHIPPED, shirt, expect=tmp_path / "phone.json", progress=False)
    assert result.found and step in {name for cause in result.causes for name in cause.steps}, result.verdict


def test_other_kernels_are_no_fault(shirt: Path, tmp_path: Path) -> None:
    pixels = grey(shirt)
    builtin, xnnpack = (interpreted(SHIPPED.read_bytes(), pixels, kernels) for kernels in ("builtin", "xnnpack"))
    (tmp_path / "phone.json").write_text(json.dumps(builtin[0].tolist()))
    result = edgefm.trace(SHIPPED, shirt, expect=tmp_path / "phone.json", progress=False)
    if np.abs(builtin.astype(int) - xnnpack).max() <= 1:
        assert "Nothing differs" in result.verdict
    else:
        assert result.causes[0].steps == ("kernels",) and "Both are right" in result.verdict


# Bad input.


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "[0.1, 0.2]", "holds 2 values; the model's outputs have 5"),
        ("a.json", '{"lion": 0.5, "apple": 0.1, "mole": 0.1, "cat": 0.1, "dog": 0.2}', "names lion"),
        ("a.json", "{", "cannot be read as outputs of a model"),
        ("a.json", '["a", "b", "c", "d", "e"]', "holds no numbers"),
        ("a.json", "[NaN, 0, 0, 0, 0]", "NaN or infinite"),
        ("a.json", '{"outputs": [[0, 0, 0, 0, 1]], "input": [1, 2]}', "its input has 2 values, the model takes 360"),
        ("a.bin", "xyz", "has 3 bytes, the outputs take 5"),
        ("a.npy", "xyz", "cannot be read as outputs of a model"),
        ("a.json", "[" * 100_000, "cannot be read as outputs of a model"),
    ],
)
def test_what_cannot_be_read_is_named(
    name: str, content: str, words: str, model: Path, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=words):
        edgefm.trace(model, picture, expect=tmp_path / name, progress=False)


def test_missing_files_and_models_that_take_no_pictures_are_named(model: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[0, 0, 0, 0, 1]")
    with pytest.raises(DataError, match=r"none\.json"):
        edgefm.trace(model, picture, expect=tmp_path / "none.json", progress=False)
    with pytest.raises(DataError, match=r"none\.png"):
        edgefm.trace(model, tmp_path / "none.png", expect=tmp_path / "a.json", progress=False)
    (tmp_path / "bare.tflite").write_bytes(model.read_bytes())
    with pytest.raises(ModelError, match=r"has no contract\.json beside it"):
        edgefm.trace(tmp_path / "bare.tflite", picture, expect=tmp_path / "a.json", progress=False)
    app = case([("scores", "classes")], shape=(1, 9), outputs=[Out(shape=(1, 3))], labels=ABC)
    write_case(tmp_path / "flat", app)
    app.contract.write(tmp_path / "flat")
    with pytest.raises(ModelError, match="does not take pictures"):
        edgefm.trace(tmp_path / "flat", picture, expect=tmp_path / "a.json", progress=False)
