"""The adapter core for Android, compiled by javac and run on a Java machine: against numpy, LiteRT and Pillow."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from edgefm.core.artefacts import sha256_bytes
from edgefm.core.picture_steps import PictureSteps
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles.golden import FamilyAnswers, GoldenVectors, Tolerance, golden_files
from tests.fixtures import java
from tests.fixtures.app_cases import ABC, CASES, case, fed, given_values, litert, meant, real_values, write_case
from tests.fixtures.app_models import Out
from tests.fixtures.picture_ways import (
    CHANGES,
    FILTERS,
    INVERT,
    WAYS,
    as_edgefm_reads,
    changed,
    odd_pictures,
    picture_case,
)

pytestmark = pytest.mark.java
ROOT = Path(__file__).parents[2]
FILES = ROOT / "converters" / "edgefm_converters" / "bundles" / "android_files"
CORE = [path for folder in ("core", "benchmark") for path in sorted((FILES / folder).glob("*.java"))]
HARNESS = ROOT / "tests" / "fixtures" / "android_harness" / "Harness.java"


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the compiled core and the compiled harness."""
    root = tmp_path_factory.mktemp("classes")
    core = java.compile_java(CORE, root / "core")
    return core, java.compile_java([HARNESS], root / "harness", path=[core])


# What goes in and comes out.


@pytest.fixture(scope="module")
def answered(classes: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one folder a case, in which the core left what it fed and what it answered."""
    root = tmp_path_factory.mktemp("cases")
    for name, app in CASES.items():
        write_case(root / name, app)
        app.contract.write(root / name)
    java.run_java(classes, "Harness", ["cases", *(str(root / name) for name in CASES)])
    return root


@pytest.mark.parametrize("name", CASES)
def test_core_feeds_what_numpy_quantises_and_says_what_litert_answered(answered: Path, name: str) -> None:
    app, folder = CASES[name], answered / name
    assert not (folder / "error.txt").exists(), (folder / "error.txt").read_text()
    values = fed(app.contract, given_values(app.contract))
    np.testing.assert_array_equal(np.frombuffer((folder / "fed.bin").read_bytes(), values.dtype), values.reshape(-1))
    raws = litert(app.content, values)
    for place, (raw, tensor) in enumerate(zip(raws, app.contract.outputs, strict=True)):
        np.testing.assert_array_equal(floats(folder / f"real{place}.f32"), real_values(raw, tensor).reshape(-1))
    wanted = meant(app.fields[0][1], real_values(raws[0], app.contract.output), app.contract)
    if app.fields[0][1] == "places":
        np.testing.assert_array_equal(np.fromfile(folder / "places.i32", ">i4"), wanted)
    elif app.fields[0][1] in ("classes", "second", "labels"):
        exact = {} if app.contract.head != "logits" else {"rtol": 1e-6, "atol": 1e-7}  # exp of two libraries
        labels, ranked = list(app.contract.labels), sorted(wanted, key=lambda pair: -pair[1])
        given = dict(wanted)
        assert (folder / "scores.txt").read_text().splitlines() == labels
        scores = [given[label] for label in labels]
        np.testing.assert_allclose(floats(folder / "scores.f32"), scores, **{"rtol": 0, "atol": 0, **exact})
        assert (folder / "top.txt").read_text().splitlines() == [label for label, _ in ranked[:2]]
        assert floats(folder / "top.f32").tolist() == sorted(floats(folder / "scores.f32").tolist(), reverse=True)[:2]
    else:
        assert not (folder / "scores.txt").exists() and not (folder / "places.i32").exists()


def floats(path: Path) -> Any:
    return np.fromfile(path, ">f4")


# Pictures.


def argb_of(path: Path) -> bytes:
    """Return a picture as Android's decoder gives it: size as stored, EXIF orientation, colours not premultiplied."""
    with Image.open(path) as opened:
        opened.load()
        orientation = opened.getexif().get(0x0112, 1)
        image = opened.copy()
    if image.mode.startswith("I"):  # a decoder of 8 bits keeps the upper byte
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
    coloured = np.array(image.convert("RGB").convert("RGBA") if image.mode == "CMYK" else image.convert("RGBA"))
    colours = coloured[..., [3, 0, 1, 2]].astype(np.uint8)
    return np.array([image.width, image.height, orientation], ">i4").tobytes() + colours.tobytes()


@pytest.fixture(scope="module")
def pictures(classes: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of odd pictures, with one folder a contract, in which the core left the pixels of each."""
    root = tmp_path_factory.mktemp("pictures")
    for name in WAYS:
        write_case(root / name, picture_case(name))
        picture_case(name).contract.write(root / name)
    for path in odd_pictures(root, 200):
        path.with_suffix(".argb").write_bytes(argb_of(path))
    java.run_java(classes, "Harness", ["pictures", str(root)])
    return root


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow resizes tall pictures otherwise")
@pytest.mark.parametrize("name", WAYS)
def test_core_makes_the_bytes_of_odd_pictures_that_edgefm_makes(pictures: Path, name: str) -> None:
    folder, (channels, _) = pictures / name, WAYS[name]
    files = sorted(path for path in pictures.glob("*.*") if path.suffix in (".png", ".jpg", ".pgm"))
    seen = set()
    for path in files:
        with Image.open(path) as opened:
            seen.add(opened.getexif().get(0x0112, 1))
        for invert in INVERT:
            wanted = as_edgefm_reads(path, name, invert)
            found = np.fromfile(folder / f"{path.stem}.argb.{invert}", np.uint8).reshape(9, 7, channels)
            np.testing.assert_array_equal(found, wanted.pixels, err_msg=f"{path} {invert}")
    assert len(files) == 200 and seen == set(range(1, 9))


def argb(pixels: Any, orientation: int = 1) -> bytes:
    """Return pixels, uint8 [height, width, 3], as a picture for the harness."""
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    head = np.array([pixels.shape[1], pixels.shape[0], orientation], ">i4")
    return head.tobytes() + np.concatenate([opaque, pixels], axis=2).tobytes()


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow resizes tall pictures otherwise")
def test_wide_and_tall_pictures_give_the_bytes_that_edgefm_gives(classes: tuple[Path, Path], tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    shapes = [(40, 20_000), (20_000, 40), (1, 20_000), (2, 3), (9, 8), (10, 7), (8, 30)]
    names = [name for name, (channels, _) in WAYS.items() if channels == 3]
    for name in names:
        write_case(tmp_path / name, picture_case(name))
        picture_case(name).contract.write(tmp_path / name)
    for place, shape in enumerate(shapes):
        pixels = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        (tmp_path / f"{place}.argb").write_bytes(argb(pixels))
        Image.fromarray(pixels).save(tmp_path / f"{place}.png")
    java.run_java(classes, "Harness", ["pictures", str(tmp_path)])
    for name in names:
        for place, shape in enumerate(shapes):
            wanted = as_edgefm_reads(tmp_path / f"{place}.png", name, "no")
            found = np.fromfile(tmp_path / name / f"{place}.argb.no", np.uint8).reshape(9, 7, 3)
            np.testing.assert_array_equal(found, wanted.pixels, err_msg=f"{shape} {name}")


NEW_SIZES = ((9, 7), (16, 16), (24, 31), (5, 60))


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="older Pillow resizes tall pictures otherwise")
@pytest.mark.parametrize("filter_name", FILTERS)
def test_filters_give_pillow_s_bytes_for_many_sizes(
    classes: tuple[Path, Path], filter_name: str, tmp_path: Path
) -> None:
    """The nearest pixel is at a tie in many of these: 60 of 90, 45 of 60."""
    random = np.random.default_rng(6)
    olds = [*((side, 90 - side) for side in range(1, 90, 4)), (30, 45), (45, 30), (90, 60)]
    for height, width in NEW_SIZES:
        app = case([("scores", "classes")], shape=(1, height, width, 1), outputs=[Out(shape=(1, 3))], labels=ABC)
        write_case(tmp_path / f"{height}-{width}", app)
        steps: Any = {"filter": filter_name}
        dataclasses.replace(app.contract, pictures=PictureSteps(**steps)).write(tmp_path / f"{height}-{width}")
    for place, shape in enumerate(olds):
        pixels = random.integers(0, 256, (*shape, 1), dtype=np.uint8)
        (tmp_path / f"{place}.argb").write_bytes(argb(np.repeat(pixels, 3, axis=2)))
        Image.fromarray(pixels[..., 0]).save(tmp_path / f"{place}.png")
    java.run_java(classes, "Harness", ["pictures", str(tmp_path)])
    for height, width in NEW_SIZES:
        for place, shape in enumerate(olds):
            image = Image.open(tmp_path / f"{place}.png")
            wanted = np.array(image.resize((width, height), FILTERS[filter_name]))
            found = np.fromfile(tmp_path / f"{height}-{width}" / f"{place}.argb.auto", np.uint8)
            np.testing.assert_array_equal(found.reshape(height, width), wanted, err_msg=f"{shape} {height} {width}")


def test_steps_that_the_core_does_not_carry_out_are_refused(classes: tuple[Path, Path], tmp_path: Path) -> None:
    for place, name in enumerate(CHANGES):
        write_case(tmp_path / str(place), CASES["uint8_raw__uint8"])
        (tmp_path / str(place) / "contract.json").write_text(json.dumps(changed(name)))
    java.run_java(classes, "Harness", ["cases", *(str(tmp_path / str(place)) for place in range(len(CHANGES)))])
    for place, name in enumerate(CHANGES):
        message = (tmp_path / str(place) / "error.txt").read_text()
        assert "of contract.json is " in message and message.endswith("take the adapter of the same bundle"), message
        words = {"an unknown decoding": "bits", "a step missing": "orient", "other levels": "zero_point"}
        words |= {"an unknown key": "'orient' with other keys", "no steps": "missing", "a level that is none": "256"}
        assert words.get(name, CHANGES[name][1]) in message, (name, message)


def test_orientations_that_exif_does_not_know_are_upright(classes: tuple[Path, Path], tmp_path: Path) -> None:
    write_case(tmp_path / "model", picture_case("colours stretched"))
    picture_case("colours stretched").contract.write(tmp_path / "model")
    pixels = np.random.default_rng(4).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for orientation in (-1, 0, 1, 9):
        (tmp_path / f"{orientation}.argb").write_bytes(argb(pixels, orientation))
    java.run_java(classes, "Harness", ["pictures", str(tmp_path)])
    for orientation in (-1, 0, 1, 9):
        assert (tmp_path / "model" / f"{orientation}.argb.no").read_bytes() == pixels.tobytes()


@pytest.mark.parametrize(
    ("width", "height", "wanted"),
    [
        (3, 5, "a picture of 3 x 5 has other than 12 pixels"),
        (-3, -4, "a picture of -3 x -4 has other than 12 pixels"),
        (65536, 65536, "a picture of 65536 x 65536 has other than 12 pixels"),
    ],
)
def test_sizes_that_are_not_those_of_the_pixels_are_refused(
    classes: tuple[Path, Path], width: int, height: int, wanted: str, tmp_path: Path
) -> None:
    write_case(tmp_path / "model", picture_case("colours stretched"))
    picture_case("colours stretched").contract.write(tmp_path / "model")
    pixels = argb(np.zeros((3, 4, 3), np.uint8))[12:]
    (tmp_path / "0.argb").write_bytes(np.array([width, height, 1], ">i4").tobytes() + pixels)
    java.run_java(classes, "Harness", ["pictures", str(tmp_path)])
    assert (tmp_path / "error.txt").read_text() == wanted


@pytest.mark.parametrize(
    ("name", "why"), [("rank4_grey__real", "its samples are no pictures"), ("rank2__raw", "picture")]
)
def test_models_that_take_no_pictures_say_so(classes: tuple[Path, Path], name: str, why: str, tmp_path: Path) -> None:
    write_case(tmp_path / "model", CASES[name])
    CASES[name].contract.write(tmp_path / "model")
    (tmp_path / "0.argb").write_bytes(argb(np.zeros((3, 4, 3), np.uint8)))
    java.run_java(classes, "Harness", ["pictures", str(tmp_path)])
    message = (tmp_path / "error.txt").read_text()
    assert message.startswith("this model takes no pictures: ") and why in message


# The self-test.


def golden_case(folder: Path, name: str, answers: str = "builtin") -> tuple[Path, bytes]:
    """Write a case with eight golden vectors of two families, and return the folder and the answers of one of them."""
    app, random = CASES[name], np.random.default_rng(1)
    write_case(folder, app)
    contract = dataclasses.replace(app.contract, file="model.tflite", sha256=sha256_bytes(app.content))
    contract.write(folder)
    inputs = [fed(contract, random.permutation(given_values(contract)))[0] for _ in range(8)]
    outputs = [
        np.concatenate(each) for each in zip(*(litert(app.content, one[np.newaxis]) for one in inputs), strict=True)
    ]
    others = [np.roll(output, 1, axis=0) for output in outputs]
    integers = contract.output.dtype != "float32"
    tolerance = Tolerance(largest=1, share=0.25) if integers else Tolerance(largest=1e-4, share=1)
    if name == "several":
        tolerance = Tolerance(largest=1, share=0.25, outputs=(1, 1, 0.01, 1, 1))
    families = tuple(
        FamilyAnswers(name=title, title=f"{title} kernels", made_by="a test", tolerance=tolerance, outputs=tuple(which))
        for title, which in (("xnnpack", others), ("builtin", outputs))
    )
    golden = GoldenVectors(inputs=np.stack(inputs), families=families, labels=None, source={"kind": "random"})
    for path, content in golden_files(golden, contract).items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    mine = outputs if answers == "builtin" else others
    return folder, b"".join(output[place].tobytes() for place in range(8) for output in mine)


def verdicts(classes: tuple[Path, Path], *given: tuple[Path, bytes]) -> list[list[str]]:
    """Return the fields of the verdict of each folder, or its error in a list of one."""
    for folder, answers in given:
        (folder / "answers.bin").write_bytes(answers)
    java.run_java(classes, "Harness", ["self-test", *(str(folder) for folder, _ in given)])
    return [
        (folder / ("error.txt" if (folder / "error.txt").exists() else "verdict.txt")).read_text().splitlines()
        for folder, _ in given
    ]


SELF_TESTED = ["uint8_raw__uint8_7", "int8_odd__int8_11", "several", "values__float", "int64", "rank2__real_int8"]


@pytest.mark.parametrize("name", SELF_TESTED)
def test_self_test_tells_right_answers_from_near_and_wrong_ones(
    classes: tuple[Path, Path], name: str, tmp_path: Path
) -> None:
    right = golden_case(tmp_path / "right", name)
    other = golden_case(tmp_path / "other", name, answers="xnnpack")
    contract, content = CASES[name].contract, right[1]
    is_float = contract.output.dtype == "float32"
    changed = bytearray(content)
    changed[3 if is_float else 0] ^= 0x40  # an exponent, or half the range of a byte
    near = bytearray(content)
    if is_float:
        values = np.frombuffer(content, np.float32).copy()
        values[0] += np.float32(0.00005 * np.abs(values[::1]).max())
        near = bytearray(values.tobytes())
    else:
        near[0] ^= 1  # the lowest bit: a level up or down
    cases = [right, other, (copy(right, "near"), bytes(near)), (copy(right, "wrong"), bytes(changed))]
    found = verdicts(classes, *cases)
    held, text, family, vectors, largest, share = found[0]
    assert (held, family, vectors, largest, share) == ("true", "builtin", "8", "0.0", "0.0")
    assert text == "8 golden vectors, builtin kernels: bit for bit"
    assert found[1][:3] == ["true", "8 golden vectors, xnnpack kernels: bit for bit", "xnnpack"]
    total = sum(tensor.size for tensor in contract.outputs) * 8
    assert found[2][0] == "true" and found[2][2] == "builtin" and float(found[2][5]) == 1 / total
    assert float(found[2][4]) == (1 if not is_float else pytest.approx(5e-5, rel=0.01))
    assert found[3][0] == "false" and found[3][1].endswith("which is more than these kernels may differ")
    fed_bytes = b"".join(path.read_bytes() for path in sorted((right[0] / "golden").glob("*.in.bin")))
    assert (right[0] / "fed.bin").read_bytes() == fed_bytes


def test_self_test_holds_each_output_to_its_tolerance(classes: tuple[Path, Path], tmp_path: Path) -> None:
    right = golden_case(tmp_path / "right", "several")
    start, sample = 3 + 8, len(right[1]) // 8  # behind two outputs of bytes come five floats
    floats = [np.frombuffer(right[1][place * sample + start :][:20], np.float32) for place in range(8)]
    near_and_far = []
    for name, factor in (("near", 0.9), ("far", 1.1)):
        values = floats[0].copy()
        values[0] += factor * 0.01 * np.abs(floats).max()
        content = right[1][:start] + values.tobytes() + right[1][start + 20 :]
        near_and_far.append((copy(right, name), content))
    assert [found[0] for found in verdicts(classes, *near_and_far)] == ["true", "false"]


def copy(given: tuple[Path, bytes], name: str) -> Path:
    folder = given[0].with_name(name)
    shutil.copytree(given[0], folder)
    return folder


def test_self_test_allows_no_more_values_to_differ_than_its_family_does(
    classes: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, content = golden_case(tmp_path / "model", "uint8_raw__uint8_7")  # 24 values, a quarter may differ
    levels = np.frombuffer(content, np.uint8)
    few, many = levels.copy(), levels.copy()
    few[:6] ^= 1
    many[:7] ^= 1
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    found = verdicts(classes, (folder, few.tobytes()), (other, many.tobytes()))
    assert [one[0] for one in found] == ["true", "false"]
    assert "off by at most 1.00 in 29.2 % of the values" in found[1][1]


def test_self_test_refuses_a_nan_where_a_number_is_right(classes: tuple[Path, Path], tmp_path: Path) -> None:
    folder, content = golden_case(tmp_path / "model", "values__float")
    values = np.frombuffer(content, np.float32).copy()
    values[5] = np.nan
    ((held, *_, largest, _),) = verdicts(classes, (folder, values.tobytes()))
    assert (held, largest) == ("false", "Infinity")


def edited(folder: Path, name: str, change: Any) -> None:
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value))


DAMAGES: dict[str, tuple[Any, str]] = {
    "a newer contract": (
        lambda folder: edited(folder, "contract.json", lambda value: value.update(schema_version=4)),
        "contract.json is of version 4; this adapter reads version 3: take the adapter of the same bundle",
    ),
    "an older contract": (
        lambda folder: edited(folder, "contract.json", lambda value: value.update(schema_version=2)),
        "contract.json is of version 2; this adapter reads version 3: take the adapter of the same bundle",
    ),
    "another kind": (
        lambda folder: edited(folder, "contract.json", lambda value: value.update(kind="x")),
        "contract.json is no model contract",
    ),
    "no JSON": (lambda folder: (folder / "contract.json").write_text("{"), "no JSON: "),
    "no contract": (lambda folder: (folder / "contract.json").unlink(), "contract.json cannot be read"),
    "a label missing": (
        lambda folder: (folder / "labels.txt").write_text("cat\ndog\n"),
        "labels.txt holds other labels",
    ),
    "a label more": (
        lambda folder: (folder / "labels.txt").write_text("\n".join([*ABC, "bird"]) + "\n"),
        "labels.txt holds other labels than the contract, which has 3",
    ),
    "no labels": (lambda folder: (folder / "labels.txt").unlink(), "labels.txt cannot be read"),
    "several inputs": (
        lambda folder: edited(folder, "contract.json", lambda value: value["input"].update(dtype="record", parts=[{}])),
        "this adapter takes models of one input",
    ),
    "an unknown type": (
        lambda folder: edited(folder, "contract.json", lambda value: value["outputs"][0].update(dtype="int16")),
        "this adapter takes no tensor of int16 with a scale",
    ),
    "a changed model": (
        lambda folder: (folder / "model.tflite").write_bytes(b"TFL3" + bytes(100)),
        "model.tflite is not the file of the contract: it was changed",
    ),
    "vectors of another model": (
        lambda folder: edited(folder, "golden/golden.json", lambda value: value.update(model_sha256="0" * 64)),
        "the golden vectors are of another model",
    ),
    "a vector cut short": (
        lambda folder: (folder / "golden" / "03.in.bin").write_bytes(b"12"),
        "the input has 60 bytes, given were 2",
    ),
    "an answer cut short": (
        lambda folder: (folder / "golden" / "03.builtin.bin").write_bytes(b"1"),
        "golden/03.builtin.bin has 1 bytes, the outputs have 3",
    ),
    "an answer too long": (
        lambda folder: (folder / "golden" / "03.builtin.bin").write_bytes(b"1234"),
        "golden/03.builtin.bin has 4 bytes, the outputs have 3",
    ),
    "no vectors": (
        lambda folder: edited(folder, "golden/golden.json", lambda value: value.update(vectors=[])),
        "there are no golden vectors",
    ),
    "no families": (
        lambda folder: edited(folder, "golden/golden.json", lambda value: value.update(families=[])),
        "there are no golden vectors",
    ),
}  # fmt: skip


def test_damaged_bundles_are_refused_with_what_is_wrong(classes: tuple[Path, Path], tmp_path: Path) -> None:
    whole, content = golden_case(tmp_path / "whole", "uint8_raw__uint8_7")
    given = []
    for place, (damage, _) in enumerate(DAMAGES.values()):
        folder = tmp_path / str(place)
        shutil.copytree(whole, folder)
        damage(folder)
        given.append((folder, content))
    for (name, (_, wanted)), found in zip(DAMAGES.items(), verdicts(classes, *given), strict=True):
        assert len(found) == 1 or found[0] == "false", name
        assert wanted in "\n".join(found), (name, found)


LABELS = ('<script>alert("x")</script>', '"; DROP TABLE users; --', "schön ✓ \\n %s \U0001f600", "two\nlines\n", "a b")


def test_labels_of_any_text_stay_what_they_are(classes: tuple[Path, Path], tmp_path: Path) -> None:
    app = case([("scores", "classes")], shape=(1, 6), outputs=[Out(shape=(1, 5))], labels=LABELS, whole="int32")
    write_case(tmp_path / "model", app)
    (tmp_path / "model" / "labels.txt").write_text("".join(" ".join(one.splitlines()) + "\n" for one in LABELS))
    app.contract.write(tmp_path / "model")
    java.run_java(classes, "Harness", ["cases", str(tmp_path / "model")])
    assert not (tmp_path / "model" / "error.txt").exists(), (tmp_path / "model" / "error.txt").read_text()
    assert (tmp_path / "model" / "scores.txt").read_text() == "\n".join(LABELS) + "\n"


JSON_TEXTS = {
    '{"a": [1, -0.5e+3, true, false, null, {}], "b": "\\u00e9\\n\\/"}': True,
    "[" * 100 + "]" * 100: True,
    "[" * 101 + "]" * 101: False,
    **dict.fromkeys(
        ("", "{", "[1,]", '{"a":1,}', "01", "1.", ".5", "+1", "NaN", "Infinity", "'a'", '"\\x"', '"\\u12"', '"a', "nul",
         '{"a":1,"a":2}', "{1:2}", "[1] 2", '"\t"', "// c\n1", "-", "1e", '"\\u00g0"', "tru e", "[1 2]", "\ufeff1"),
        False,
    ),
    **dict.fromkeys(("0", "-0", "1e5", '""', " [ ] ", "1E-2", '"\U0001f600"'), True),
}  # fmt: skip


def test_json_is_read_as_strictly_as_it_is_defined(classes: tuple[Path, Path], tmp_path: Path) -> None:
    """A contract that stands in an array is no contract, but JSON: the message tells which of the two is wrong."""
    app = CASES["uint8_raw__uint8"]
    for place, text in enumerate(JSON_TEXTS):
        write_case(tmp_path / str(place), app)
        (tmp_path / str(place) / "contract.json").write_text(text, encoding="utf-8")
    java.run_java(classes, "Harness", ["cases", *(str(tmp_path / str(place)) for place in range(len(JSON_TEXTS)))])
    for place, (text, whole) in enumerate(JSON_TEXTS.items()):
        message = (tmp_path / str(place) / "error.txt").read_text()
        assert ("no JSON: " in message) is not whole, (text, message)


def test_contract_without_outputs_is_refused(classes: tuple[Path, Path], tmp_path: Path) -> None:
    write_case(tmp_path / "model", CASES["uint8_raw__uint8"])
    contract: Contract = CASES["uint8_raw__uint8"].contract
    contract.write(tmp_path / "model")
    edited(tmp_path / "model", "contract.json", lambda value: value.pop("outputs"))
    java.run_java(classes, "Harness", ["cases", str(tmp_path / "model")])
    assert "outputs is no list" in (tmp_path / "model" / "error.txt").read_text()


# Android of API level 23 knows these of java.*, by developer.android.com/reference; another one needs a look there.
KNOWN_TO_API_23 = {
    "io.IOException": "getMessage",
    "lang.Boolean": "equals valueOf",
    "lang.Character": "digit forDigit",
    "lang.Double": "doubleValue intValue isInfinite isNaN valueOf",
    "lang.Enum": "<init> valueOf",
    "lang.IllegalStateException": "<init>",
    "lang.Float": "compare isInfinite isNaN",
    "lang.Integer": "intValue parseInt valueOf",
    "lang.Long": "valueOf",
    "lang.Math": "abs exp max min rint",
    "lang.Object": "<init>",
    "lang.Record": "<init>",
    "lang.RuntimeException": "<init> getMessage toString",
    "lang.StrictMath": "sin",
    "lang.String": "<init> charAt contains contentEquals endsWith equals format "
    "hashCode isEmpty length replaceAll replaceFirst split startsWith substring",
    "lang.StringBuilder": "<init> append toString",
    "lang.System": "arraycopy currentTimeMillis nanoTime",
    "lang.Thread": "currentThread interrupt sleep",
    "lang.Throwable": "addSuppressed",
    "nio.ByteBuffer": "allocate allocateDirect array capacity clear get getFloat getInt "
    "getLong order put putFloat putInt putLong slice wrap",
    "nio.ByteOrder": "nativeOrder",
    "security.MessageDigest": "digest getInstance",
    "text.SimpleDateFormat": "<init> format setTimeZone",
    "util.ArrayList": "<init>",
    "util.Arrays": "fill sort toString",
    "util.Collections": "singletonList sort",
    "util.Date": "<init>",
    "util.Iterator": "hasNext next",
    "util.LinkedHashMap": "<init>",
    "util.List": "add addAll contains get isEmpty iterator size subList",
    "util.Map": "containsKey entrySet get isEmpty put size",
    "util.Map$Entry": "getKey getValue",
    "util.Set": "iterator",
    "util.TimeZone": "getTimeZone",
    "util.regex.Matcher": "find group",
    "util.regex.Pattern": "compile matcher",
    "util.zip.Deflater": "<init> deflate end finish finished setInput",
}


def test_core_calls_nothing_that_old_phones_lack(classes: tuple[Path, Path]) -> None:
    files = [str(path) for path in sorted(classes[0].rglob("*.class"))]
    text = subprocess.run(["javap", "-c", "-p", *files], capture_output=True, text=True, check=True).stdout
    called = set(re.findall(r'Method java/([\w/$]+)\."?([\w<>]+)"?:', text))
    names = {f"{owner.replace('/', '.')}.{method}" for owner, method in called}
    known = {f"{owner}.{method}" for owner, methods in KNOWN_TO_API_23.items() for method in methods.split()}
    assert len(names) > 40 and names <= known, sorted(names - known)


def test_refused_inputs_are_named(classes: tuple[Path, Path], tmp_path: Path) -> None:
    given = {"int64": "1\n2", "values__float": "1", "rank2__real_int8": "nan\n" + "\n".join("0" * 8)}
    for name, text in given.items():
        write_case(tmp_path / name, CASES[name])
        CASES[name].contract.write(tmp_path / name)
        (tmp_path / name / "given.txt").write_text(text.replace("nan", "NaN"))
    java.run_java(classes, "Harness", ["cases", *(str(tmp_path / name) for name in given)])
    found = [(tmp_path / name / "error.txt").read_text() for name in given]
    assert found[0] == "the input holds 6 values [1, 6], given were 2"
    assert found[1].endswith("given were 1") and found[2].endswith("holds a NaN")
