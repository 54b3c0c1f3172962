"""Bundles: their code against numpy, compiled and run; whole ones and damaged ones; the same input, the same bytes."""

from __future__ import annotations

import dataclasses
import doctest
import errno
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner
from PIL import Image

import edgefm
from edgefm.cli.main import cli
from edgefm.core.artefacts import sha256_bytes
from edgefm.core.errors import ArgumentError, DataError, EdgefmError, ModelError, RecipeError, RunError
from edgefm.core.runs import RunDirectory
from edgefm.data.dataset import Dataset, Split
from edgefm.jobs.export import KINDS, ExportResult
from edgefm.jobs.export.folder import of_others, write
from edgefm.jobs.trace import expectation
from edgefm.runtimes.litertjs import package
from edgefm.targets.cortex_m import boards
from edgefm.tflite import micro_kernels
from edgefm.tflite.contract import Contract
from edgefm.tflite.inspection import operator_names
from edgefm_converters.bundles import for_c
from edgefm_converters.bundles import golden as golden_vectors
from edgefm_converters.bundles.apk import missing_tools
from edgefm_converters.bundles.golden import FamilyAnswers, GoldenVectors, Tolerance, golden_files, read_golden
from edgefm_converters.bundles.manifest import with_manifest
from edgefm_converters.bundles.parts import BundleParts
from tests.fixtures import tiny_models
from tests.fixtures.app_cases import (
    ABC,
    CASES,
    PICTURE,
    case,
    fed,
    given_values,
    litert,
    meant,
    real_values,
    write_case,
)
from tests.fixtures.app_models import Out
from tests.fixtures.cut_models import int4_dense
from tests.fixtures.picture_ways import (
    CHANGES,
    INVERT,
    WAYS,
    as_edgefm_reads,
    changed,
    deep_pictures,
    odd_pictures,
    picture_case,
)
from tests.fixtures.small_data import small_fashion_mnist
from tests.fixtures.tiny_models import Graph, Operator, Tensor, build

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "android_demo_assets" / "int8" / "model.tflite"
STUBS = ROOT / "tests" / "fixtures" / "tflm_stubs"
ADAPTER = ROOT / "converters" / "edgefm_converters" / "bundles" / "python_files"
# LiteRT.js is fetched, and may not be here; nor the tools that build an APK, which `all` leaves out without them.
ALL = tuple(kind for kind in KINDS if kind != "apk" or not missing_tools())
HERE = tuple(kind for kind in ALL if kind not in ("apk", "web") or package.package() is not None)
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
COMPILERS = {
    "gcc": ("gcc", "-std=c99"),
    "g++": ("g++", "-x", "c++", "-std=c++17"),
    "cortex-m4": ("arm-none-eabi-gcc", "-std=c99", "-ffreestanding", "-mcpu=cortex-m4", "-mthumb"),
    "cortex-m55": ("arm-none-eabi-gcc", "-std=c99", "-ffreestanding", "-mcpu=cortex-m55", "-mthumb"),
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return one bundle of each kind, of the shipped model with random inputs."""
    root = tmp_path_factory.mktemp("bundles")
    for kind in HERE:
        edgefm.export(SHIPPED, kind, out=root / kind, samples=5, progress=False)
    return {kind: root / kind for kind in HERE}


def adapter(folder: Path) -> Any:
    """Return the Python adapter's model of a folder."""
    return module_beside(ADAPTER / "edge_model.py").EdgeModel(folder)


def module_beside(path: Path) -> Any:
    """Return a module of the Python adapter, which imports those beside it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ADAPTER))  # what stands beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ADAPTER))
    return module


# The Python adapter.


@pytest.mark.parametrize("name", CASES)
def test_python_adapter_feeds_what_numpy_quantises_and_says_what_litert_answered(name: str, tmp_path: Path) -> None:
    app = CASES[name]
    write_case(tmp_path / name, app)
    app.contract.write(tmp_path / name)
    model = adapter(tmp_path / name)
    given = given_values(app.contract)
    values = fed(app.contract, given)
    encoded = model.encode(given)
    assert encoded.dtype == values.dtype
    np.testing.assert_array_equal(encoded, values)
    raws = litert(app.content, values)
    for raw, answer in zip(raws, model.invoke(encoded), strict=True):
        np.testing.assert_array_equal(raw, answer)
    for (_, head), raw, answer, tensor in zip(app.fields, raws, model.run(given), app.contract.outputs, strict=True):
        if head in ("classes", "second", "labels"):
            continue
        if app.contract.head == "logits":
            continue  # masks of logits: their probabilities are not asked for
        np.testing.assert_array_equal(answer, real_values(raw, tensor)[0])
    if app.fields[0][1] == "places":
        wanted = meant("places", real_values(raws[0], app.contract.output), app.contract)
        np.testing.assert_array_equal(model.places(given).reshape(-1), wanted)
        with pytest.raises(ValueError, match=r"holds no classes: use run\(\) or places\(\)"):
            model.top(given)
    else:
        with pytest.raises(ValueError, match="holds no class a place"):
            model.places(given)
    if app.fields[0][1] == "labels":
        wanted = meant("labels", real_values(raws[0], app.contract.output), app.contract)
        found = list(zip(model.labels, model.run(given)[0], strict=True))
        assert [label for label, _ in found] == [label for label, _ in wanted]
        np.testing.assert_allclose([p for _, p in found], [p for _, p in wanted], rtol=1e-6, atol=1e-7)
    if app.fields[0][1] in ("classes", "second"):
        wanted = meant(app.fields[0][1], real_values(raws[0], app.contract.output), app.contract)
        found = model.top(given, len(wanted))
        assert [label for label, _ in found] == [label for label, _ in wanted]
        np.testing.assert_allclose([p for _, p in found], [p for _, p in wanted], rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return odd_pictures(tmp_path_factory.mktemp("pictures"), 200)


@pytest.mark.parametrize("name", WAYS)
def test_python_adapter_reads_odd_pictures_as_edgefm_does(name: str, pictures: list[Path], tmp_path: Path) -> None:
    app = picture_case(name)
    write_case(tmp_path / "app", app)
    app.contract.write(tmp_path / "app")
    model = adapter(tmp_path / "app")
    for path in pictures:
        for invert in INVERT:
            wanted = as_edgefm_reads(path, name, invert)
            np.testing.assert_array_equal(model.picture(path, invert), wanted.pixels, err_msg=f"{path} {invert}")


def test_python_adapter_and_edgefm_refuse_pictures_of_32_bits_alike(tmp_path: Path) -> None:
    app = picture_case("colours stretched")
    write_case(tmp_path / "app", app)
    app.contract.write(tmp_path / "app")
    model = adapter(tmp_path / "app")
    (tmp_path / "pictures").mkdir()
    paths = deep_pictures(tmp_path / "pictures")
    assert len(paths) == 4
    for path in paths:
        words = r"levels .*are of 32 bits, or have a sign \(Pillow's mode [IF]\), and nothing says which is black"
        with pytest.raises(DataError, match=words):
            edgefm.predict(path, model=tmp_path / "app" / "model.tflite", progress=False)
        with pytest.raises(ValueError, match=words):
            model.picture(path)


@pytest.mark.parametrize("name", CHANGES)
def test_python_adapter_refuses_steps_that_it_does_not_carry_out(name: str, tmp_path: Path) -> None:
    write_case(tmp_path / "app", CASES["uint8_raw__uint8"])
    (tmp_path / "app" / "contract.json").write_text(json.dumps(changed(name)))
    with pytest.raises(ValueError, match="does not carry out") as caught:
        adapter(tmp_path / "app")
    assert CHANGES[name][1] in str(caught.value) and "take the one of the same bundle" in str(caught.value)


@pytest.mark.parametrize("version", [2, 4])
def test_python_adapter_refuses_contracts_of_other_versions(version: int, tmp_path: Path) -> None:
    write_case(tmp_path / "app", CASES["uint8_raw__uint8"])
    value = CASES["uint8_raw__uint8"].contract.to_json() | {"schema_version": version}
    (tmp_path / "app" / "contract.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match=f"is of version {version}; this edge_model.py reads version 3: take the one"):
        adapter(tmp_path / "app")


def test_python_bundle_proves_itself_and_answers_pictures(bundles: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(bundles["python"], folder)
    for kernels in ("xnnpack", "builtin"):
        done = _python(folder, "edge_model.py", "--self-test", "--json", "--kernels", kernels)
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads(done.stdout)["held"] is True and "bit for bit" in json.loads(done.stdout)["verdict"]
    answer = json.loads(_python(folder, "edge_model.py", "golden/00.png", "--json", "--top", "10").stdout)
    pixels = np.array(Image.open(folder / "golden" / "00.png")).reshape(1, 28, 28, 1)
    border = np.concatenate([pixels[0, 0], pixels[0, -1], pixels[0, 1:-1, 0], pixels[0, 1:-1, -1]])
    pixels = 255 - pixels if np.median(border) > 127 else pixels  # it learnt bright things on a dark background
    (raw,) = litert((folder / "model.tflite").read_bytes(), pixels)
    labels = (folder / "labels.txt").read_text().splitlines()
    wanted = sorted(zip(labels, (raw[0] / 256).tolist(), strict=True), key=lambda pair: -pair[1])
    assert [(one["label"], one["probability"]) for one in answer["top"]] == wanted
    assert _python(folder, "edge_model.py", "none.png").returncode == 2
    (folder / "golden" / "00.xnnpack.bin").write_bytes(bytes(10))
    (folder / "golden" / "00.builtin.bin").write_bytes(bytes(10))
    done = _python(folder, "edge_model.py", "--self-test")
    assert done.returncode == 1 and "FAILED" in done.stdout and "more than these kernels may differ" in done.stdout


def test_python_self_test_holds_each_output_to_its_own_tolerance(tmp_path: Path) -> None:
    """Two outputs, levels and floats: by one tolerance for both, a level would allow the whole magnitude of a float."""
    levels, floats = np.array([3, 200], np.uint8), np.array([0.5, -2.0], np.float32)
    (tmp_path / "model.tflite").write_bytes(b"a model")
    (tmp_path / "in.bin").write_bytes(bytes(1))
    (tmp_path / "out.bin").write_bytes(levels.tobytes() + floats.tobytes())
    ends = [
        {"dtype": "uint8", "shape": [2], "scale": 0.1, "zero_point": 0},
        {"dtype": "float32", "shape": [2], "scale": None, "zero_point": None},
    ]
    family = {"name": "f", "title": "kernels", "tolerance": {"largest": 1, "share": 1, "outputs": [1, 0.01]}}
    golden = {
        "model_sha256": sha256_bytes(b"a model"), "input": {"dtype": "uint8", "shape": [1]}, "outputs": ends,
        "families": [family], "vectors": [{"input": "in.bin", "answers": {"f": "out.bin"}}],
    }  # fmt: skip
    (tmp_path / "golden").mkdir()
    self_test = module_beside(ADAPTER / "self_test.py")
    contract = {"file": "model.tflite", "sha256": golden["model_sha256"]}

    def held(level: int, share: float) -> bool:
        answer = [levels + np.uint8(level), floats + np.array([0, 2.0 * share], np.float32)]
        return bool(self_test.hold_against_golden(tmp_path, contract, lambda given: answer)[0])

    (tmp_path / "golden" / "golden.json").write_text(json.dumps(golden))
    assert held(1, 0.009) and not held(2, 0.0) and not held(0, 0.011)
    del family["tolerance"]["outputs"]  # type: ignore[attr-defined]
    (tmp_path / "golden" / "golden.json").write_text(json.dumps(golden))
    assert held(1, 0.9) and not held(2, 0.0)


def test_camera_skips_what_is_no_picture_and_ends_after_several_in_a_row(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(bundles["python"], folder)
    whole = (folder / "golden" / "00.png").read_bytes()
    frames = {"1": whole, "2": whole[: len(whole) // 2], "3": b"no picture", "5": whole, "6": b"", "7": b"", "8": b""}
    for number, content in frames.items():  # 4: the camera gives none
        (tmp_path / number).write_bytes(content)
    script = tmp_path / "rpicam-still"
    script.write_text(f'#!/bin/sh\ncd {tmp_path}\nread n < n\necho $((n + 1)) > n\ncp $n "$4"\n')
    script.chmod(0o755)
    (tmp_path / "n").write_text("1\n")
    done = subprocess.run(
        [sys.executable, "camera.py", "--seconds", "0", "--failures", "4", "--count", "5"],
        cwd=folder, capture_output=True, text=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, again = (line.split("  (")[0] for line in done.stdout.splitlines())
    assert first == again and " %, " in first
    skips = [line for line in done.stderr.splitlines() if line.startswith("skipped")]
    assert len(skips) == 1 and "cannot be read" in skips[0], done.stderr
    done = subprocess.run(
        [sys.executable, "camera.py", "--seconds", "0", "--failures", "3"],
        cwd=folder, capture_output=True, text=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 2 and not done.stdout
    assert "error: 3 pictures in a row gave no answer; the last: " in done.stderr


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )


# C.


def parts_of(app: Any, samples: int = 3, tolerance: Tolerance | None = None) -> BundleParts:
    """Return the parts of a bundle of a made-up model, whose golden answers LiteRT gives."""
    random = np.random.default_rng(1)
    inputs = []
    for _ in range(samples):
        values = given_values(app.contract)
        inputs.append(fed(app.contract, random.permutation(values))[0])
    answers = [litert(app.content, values[np.newaxis]) for values in inputs]
    outputs = tuple(np.concatenate(each) for each in zip(*answers, strict=True))
    integers = app.contract.output.dtype != "float32"
    family = FamilyAnswers(
        name="builtin" if integers else "float",
        title="built-in kernels",
        made_by="a test",
        tolerance=tolerance or (Tolerance(largest=1, share=0.25) if integers else Tolerance(largest=1e-4, share=1)),
        outputs=outputs,
    )
    golden = GoldenVectors(
        inputs=np.stack(inputs), families=(family,), labels=None, source={"kind": "random", "reason": "a test"}
    )
    return BundleParts(
        contract=app.contract, model=app.content, golden=golden, card="", notice="", operators=("FULLY_CONNECTED",),
        arena_bytes=10_000, arena_reason="", version="0",
    )  # fmt: skip


def written(parts: BundleParts, folder: Path) -> Path:
    for name, content in for_c.files(parts).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder / "src"


def compiled(source: Path, main: str, compiler: str = "gcc") -> Path:
    command, program = COMPILERS[compiler], source / "program"
    files = [*sorted(source.glob("*.c")), ROOT / "tests" / "fixtures" / main]
    built = subprocess.run(
        [*command, *WARNINGS, "-O1", f"-I{source}", *map(str, files), "-lm", "-o", str(program)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[:3000]
    return program


ONE_OF_EACH = [
    *(
        f"{source}__uint8_7"
        for source in ("float", "float_symmetric", "uint8_raw", "uint8_128", "uint8_odd", "int8_odd")
    ),
    *("uint8_odd__int8_11", "float_raw__float"),
    *("logits__int8", "logits__float", "second__int8", "second_logit__uint8", "label_logits__int8", "labels__uint8"),
    *("masks__int8", "values__float", "reconstruction__int8", "rank2__levels", "rank5__raw", "rank3__real_int8"),
    *("rank4_two__float", "rank4_four__levels", "rank2__real", "several"),
]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_c_helpers_feed_and_say_what_numpy_does(name: str, tmp_path: Path) -> None:
    app = CASES[name]
    program = compiled(written(parts_of(app), tmp_path), "c_harness.c")
    contract, given = app.contract, given_values(app.contract)
    values = fed(contract, given)
    raw = litert(app.content, values)[0]
    sent = given.astype(np.uint8 if given.dtype == np.uint8 else np.float32).tobytes() + raw.tobytes()
    done = subprocess.run([str(program)], input=sent, capture_output=True, check=True)
    size = values.nbytes
    np.testing.assert_array_equal(np.frombuffer(done.stdout[:size], values.dtype), values.reshape(-1))
    probabilities = np.frombuffer(done.stdout[size : size + 4 * raw.size], np.float32)
    wanted = real_values(raw, contract.output).reshape(-1)
    if contract.head == "logits" and contract.labels:
        powers = np.exp(wanted.astype(np.float64))
        softmax = app.fields[0][1] == "classes"
        wanted = (powers / powers.sum() if softmax else powers / (1 + powers)).astype(np.float32)
        np.testing.assert_allclose(probabilities, wanted, rtol=2e-6, atol=1e-7)
    else:
        np.testing.assert_array_equal(probabilities, wanted)
    best, whole = np.frombuffer(done.stdout[size + 4 * raw.size :], np.uint32)
    assert (best, whole) == (raw.reshape(-1).argmax(), 1)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["uint8_odd__int8_11", "logits__int8", "several", "values__float"])
def test_c_compiles_without_a_warning(name: str, compiler: str, tmp_path: Path) -> None:
    if name == "logits__int8" and compiler.startswith("cortex"):
        name = "second__int8"  # logits need math.h, which no C library brings for these
    source = written(parts_of(CASES[name]), tmp_path)
    for file in sorted(source.glob("*.c")):
        done = subprocess.run(
            [*COMPILERS[compiler], *WARNINGS, "-c", str(file), "-o", str(tmp_path / "file.o")],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("name", ["uint8_raw__uint8_7", "int8_odd__int8_11", "several", "values__float"])
def test_c_self_test_tells_right_answers_from_wrong_ones(name: str, tmp_path: Path) -> None:
    parts = parts_of(CASES[name], samples=8)
    source = written(parts, tmp_path)
    program = compiled(source, "c_self_test.c")
    outputs = parts.golden.families[0].outputs
    right = b"".join(output[place].tobytes() for place in range(8) for output in outputs)
    assert _verdict(program, right)[:4] == [8, 8, 0, 0] and _verdict(program, right)[-1] == 1
    wrong = bytearray(right)
    wrong[3 if name == "values__float" else 0] ^= 0x40  # half the range of a byte, or the exponent of a float
    assert _verdict(program, bytes(wrong))[-1] == 0
    if outputs[0].dtype.kind in "iu":
        near = [output.copy() for output in outputs]
        limits = np.iinfo(near[0].dtype)
        near[0][0, 0] += 1 if near[0][0, 0] < limits.max else -1
        sent = b"".join(output[place].tobytes() for place in range(8) for output in near)
        ran, equal, largest, other, values, held = _verdict(program, sent)
        assert (ran, equal, largest, other, held) == (8, 7, 1, 1, int(0.25 * values >= 1))
    assert _verdict(program, right[: len(right) // 2])[-1] == 0, "half of the vectors ran"
    data = source / "model_data.c"
    first = data.read_text().index("0x")
    text = data.read_text()
    data.write_text(text[: first + 2] + ("00" if text[first + 2 : first + 4] != "00" else "01") + text[first + 4 :])
    assert _verdict(compiled(source, "c_self_test.c"), right)[-1] == 0, "a changed byte of the model"


def test_each_output_has_its_tolerance_where_floats_and_levels_come_out(tmp_path: Path) -> None:
    app = CASES["several"]  # the third of its outputs is float
    write_case(tmp_path / "m", app)
    app.contract.write(tmp_path / "m")
    edgefm.export(tmp_path / "m", "python", out=tmp_path / "b", samples=3, progress=False)
    golden = read_golden(tmp_path / "b")
    for family in golden.families:
        levels, (_, _, share, _, _) = family.tolerance.largest, family.tolerance.each(5)
        assert family.tolerance.each(5) == (levels, levels, share, levels, levels) and 0 < share < 0.1 <= levels
        for factor, held in ((0.9, True), (1.1, False)):
            outputs = [output.copy() for output in family.outputs]
            outputs[2][0, 0] += factor * share * np.abs(outputs[2]).max()
            assert family.tolerance.holds(*golden_vectors.differences(outputs, family.outputs)) is held
    assert edgefm.verify(tmp_path / "b", progress=False).held
    former = json.loads((tmp_path / "b" / "golden" / "golden.json").read_text()) | {"schema_version": 1}
    for family in former["families"]:
        del family["tolerance"]["outputs"]
    (tmp_path / "b" / "golden" / "golden.json").write_text(json.dumps(former))
    assert {one.tolerance.each(5) for one in read_golden(tmp_path / "b").families} == {(levels,) * 5}


def test_c_self_test_holds_each_output_to_its_tolerance(tmp_path: Path) -> None:
    tolerance = Tolerance(largest=1, share=0.25, outputs=(1, 1, 0.01, 1, 1))
    parts = parts_of(CASES["several"], samples=2, tolerance=tolerance)
    program = compiled(written(parts, tmp_path), "c_self_test.c")
    for factor, held in ((0.9, 1), (1.1, 0)):
        outputs = [output.copy() for output in parts.golden.families[0].outputs]
        outputs[2][0, 0] += factor * 0.01 * np.abs(outputs[2][0]).max()
        sent = b"".join(output[place].tobytes() for place in range(2) for output in outputs)
        assert _verdict(program, sent)[-1] == held


def _verdict(program: Path, answers: bytes) -> list[int]:
    done = subprocess.run([str(program)], input=answers, capture_output=True, check=True)
    return [int(number) for number in done.stdout.split()]


def test_every_operator_of_tflm_has_its_method(tmp_path: Path) -> None:
    header = (STUBS / "tensorflow" / "lite" / "micro" / "micro_mutable_op_resolver.h").read_text()
    missing = [name for name in micro_kernels._TYPES if f" {for_c.resolver_method(name)}();" not in header]
    assert missing == []


def test_main_for_tflm_compiles_and_adds_the_operators_of_the_model_alone(bundles: dict[str, Path]) -> None:
    main = bundles["c"] / "tflm" / "main.cc"
    done = subprocess.run(
        ["g++", "-std=c++17", *WARNINGS, "-fsyntax-only", f"-I{STUBS}", f"-I{bundles['c'] / 'src'}", str(main)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]
    text = main.read_text()
    operators = sorted({operator.name for operator in edgefm.inspect(SHIPPED).operators})  # type: ignore[union-attr]
    assert f"MicroMutableOpResolver<{len(operators)}>" in text
    assert sorted(part.split("(")[0] for part in text.split("(resolver.")[1:]) == sorted(
        for_c.resolver_method(name) for name in operators
    )


def test_arena_is_what_tflm_takes_and_a_tenth_more(bundles: dict[str, Path]) -> None:
    tflite_micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    header = (bundles["c"] / "src" / "contract.h").read_text()
    recorded, reserved = (
        int(header.split(f"#define {name} ")[1].split()[0]) for name in ("EDGE_ARENA_RECORDED", "EDGE_ARENA_BYTES")
    )
    assert recorded * 1.1 <= reserved <= recorded * 1.1 + 1024
    # A smaller arena than was recorded by more than a twentieth is too small.
    least = int(recorded * 0.95)
    program = (
        "import sys\nfrom tflite_micro.python.tflite_micro import runtime\n"
        "runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2]))\n"
    )
    fits = [
        subprocess.run([sys.executable, "-c", program, str(SHIPPED), str(size)], capture_output=True).returncode == 0
        for size in (least, reserved)
    ]
    assert fits == [False, True] and tflite_micro is not None


def test_c_says_what_tflm_cannot_run(tmp_path: Path) -> None:
    app = CASES["uint8_raw__uint8"]
    parts = dataclasses.replace(parts_of(app), arena_bytes=None, arena_reason="it lacks FOO")
    with pytest.raises(ModelError, match="TensorFlow Lite Micro does not run this model: it lacks FOO"):
        for_c.files(parts)


def test_c_refuses_custom_operators_and_names_them(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(tiny_models.custom("TFLite_Detection_PostProcess"))
    with pytest.raises(ModelError, match="no kernels for custom operators; this model holds TFLite_Detection_PostPro"):
        edgefm.export(tmp_path / "model.tflite", "c", out=tmp_path / "c", mean=0.0, std=1.0, samples=1, progress=False)
    parts = dataclasses.replace(parts_of(CASES["uint8_raw__uint8"]), operators=("ADD", "CUSTOM:a", "CUSTOM:"))
    with pytest.raises(ModelError, match="this model holds a, one without a name"):
        for_c.files(parts)


def test_int4_file_is_not_given_to_tflm(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    (tmp_path / "model.tflite").write_bytes(int4_dense())
    with pytest.raises(ModelError, match=r"TensorFlow Lite Micro does not run this model: tflm cannot load .*Int4"):
        edgefm.export(tmp_path / "model.tflite", "c", out=tmp_path / "c", mean=0.0, std=1.0, samples=1, progress=False)
    assert not (tmp_path / "c").exists()


def test_python_self_test_sees_a_changed_model_that_answers_alike(bundles: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(bundles["python"], tmp_path / "b")
    with (tmp_path / "b" / "model.tflite").open("ab") as file:
        file.write(b"\0")  # behind all that the interpreter reads
    held, told = adapter(tmp_path / "b").self_test()
    assert not held and "model.tflite is not the file of the contract" in told


# C without an interpreter.


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle for C with the network that needs no interpreter, of the shipped model."""
    folder = tmp_path_factory.mktemp("standalone") / "c"
    edgefm.export(SHIPPED, "c", out=folder, samples=4, standalone=True, progress=False)
    return folder


def test_network_without_interpreter_answers_as_litert_does(standalone: Path, tmp_path: Path) -> None:
    files = [*sorted((standalone / "src").glob("*.c")), *sorted((standalone / "standalone").glob("*.c"))]
    program = tmp_path / "program"
    folders = [f"-I{standalone / name}" for name in ("src", "standalone")]
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", *folders, *map(str, files), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[:3000]
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == "held: 4 golden vectors ran, 4 bit for bit, at most 0 levels apart\n"
    assert edgefm.verify(standalone, progress=False).held


@pytest.mark.slow
@pytest.mark.parametrize("core", ["m4", "m55"])
def test_network_without_interpreter_proves_itself_on_an_emulated_board(
    core: str, standalone: Path, tmp_path: Path
) -> None:
    board = boards.BOARDS[core]
    files = [
        *sorted((standalone / "src").glob("*.c")),
        *(path for path in sorted((standalone / "standalone").glob("*.c")) if path.name != "main.c"),
        boards.FIRMWARE / "edgefm_start.c",
        ROOT / "tests" / "fixtures" / "c_on_board.c",
    ]
    folders = [f"-I{standalone / name}" for name in ("src", "standalone")]
    flags = [f"-mcpu={board.cpu}", "-mthumb", "-mfloat-abi=hard", "-O2", "-std=gnu11", "-ffreestanding", "-nostdlib"]
    linked = ["-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", f"-L{boards.FIRMWARE}", "-T", str(board.script)]
    built = subprocess.run(
        ["arm-none-eabi-gcc", *flags, *linked, *folders, *map(str, files), "-lgcc", "-o", str(tmp_path / "a.elf")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[:3000]
    done = subprocess.run(
        ["qemu-system-arm", "-machine", board.machine, "-display", "none", "-monitor", "none", "-serial", "none",
         "-chardev", "stdio,id=words", "-semihosting-config", "enable=on,target=native,chardev=words",
         "-kernel", str(tmp_path / "a.elf")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "whole equal held\n", (done.stdout, done.stderr)


def test_network_that_the_kernels_do_not_do_is_refused(tmp_path: Path) -> None:
    app = CASES["float__float"]
    write_case(tmp_path / "m", app)
    app.contract.write(tmp_path / "m")
    with pytest.raises(ModelError):
        edgefm.export(tmp_path / "m" / "model.tflite", "c", out=tmp_path / "b", standalone=True, progress=False)
    assert not (tmp_path / "b").exists()


# Labels of all kinds.


def test_labels_of_any_text_stay_what_they_are(tmp_path: Path) -> None:
    labels = ('<script>alert("x")</script>', '"; DROP TABLE users; --', "schön ✓ */ ??/ \\n %s")
    app = case(
        [("scores", "classes")], shape=PICTURE, outputs=[Out(shape=(1, 3), ends=("uint8", 1 / 256, 0))], labels=labels
    )
    source = written(parts_of(app), tmp_path / "c")
    main = tmp_path / "main.c"
    main.write_text(
        '#include <stdio.h>\n#include "contract.h"\n'
        "int main(void) { for (int i = 0; i < EDGE_LABELS; i++) puts(edge_labels[i]); return 0; }\n"
    )
    program = tmp_path / "program"
    subprocess.run(
        ["gcc", "-std=c99", *WARNINGS, f"-I{source}", str(source / "contract.c"), str(main), "-o", str(program)],
        check=True,
    )
    assert subprocess.run([str(program)], capture_output=True, check=True).stdout.decode().splitlines() == list(labels)
    folder = tmp_path / "model"
    write_case(folder, app)
    dataclasses.replace(app.contract).write(folder)
    edgefm.export(folder / "model.tflite", "python", out=tmp_path / "bundle", samples=2, progress=False)
    assert (tmp_path / "bundle" / "labels.txt").read_text(encoding="utf-8").splitlines() == list(labels)
    assert "<script>" not in (tmp_path / "bundle" / "README.md").read_text().replace("`<script>", "")
    assert edgefm.verify(tmp_path / "bundle", progress=False).held


# Whole and damaged bundles.


@pytest.mark.parametrize("kind", HERE)
def test_whole_bundle_holds(kind: str, bundles: dict[str, Path]) -> None:
    result = edgefm.verify(bundles[kind], progress=False)
    assert result.held and result.kind == kind and result.problems == ()
    assert [family.name for family in result.families] == ["xnnpack", "builtin"]
    assert all("bit for bit" in family.text for family in result.families)


@pytest.mark.parametrize("kind", HERE)
def test_one_byte_changed_anywhere_is_found(kind: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(bundles[kind], folder)
    random = np.random.default_rng(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        places = {
            0,
            len(whole) - 1,
            *random.integers(0, len(whole), 12 if path.name == "manifest.json" else 1).tolist(),
        }
        for place in places:
            changed = bytearray(whole)
            changed[place] ^= 1 << int(random.integers(0, 8))
            path.write_bytes(changed)
            try:
                held = edgefm.verify(folder, run=False, progress=False).held
            except ModelError:  # of a manifest
                held = False
            assert not held, (path, place)
        path.write_bytes(whole)
    assert edgefm.verify(folder, run=False, progress=False).held


def test_missing_and_added_files_and_links_are_named(bundles: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(bundles["python"], folder)
    (folder / "labels.txt").unlink()
    (folder / "golden" / "more.bin").write_bytes(b"1")
    (folder / "camera.py").unlink()
    (folder / "camera.py").symlink_to(bundles["python"] / "camera.py")
    (folder / "also").mkdir()
    problems = edgefm.verify(folder, progress=False).problems
    assert problems == ("camera.py is a link", "labels.txt is missing", "golden/more.bin is not in the manifest")
    result = CliRunner().invoke(cli, ["verify", str(folder)], standalone_mode=False)
    assert result.return_value == 1 and "FAILED  labels.txt is missing" in result.output


def test_what_is_no_bundle_is_said(bundles: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no bundle: it holds no manifest\.json"):
        edgefm.verify(tmp_path, progress=False)
    folder = tmp_path / "copy"
    shutil.copytree(bundles["python"], folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 2}))
    with pytest.raises(ModelError, match=r"is of version 2; this edgefm reads up to 1"):
        edgefm.verify(folder, progress=False)
    for text in ("[]", "{", '{"kind": "bundle"}', json.dumps({**manifest, "files": {"../x": "0" * 64}}), "[" * 100_000):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(ModelError, match="was changed, or is no manifest of a bundle"):
            edgefm.verify(folder, progress=False)


def test_bundle_whose_answers_are_of_another_model_does_not_hold(tmp_path: Path) -> None:
    """Somebody writes a new manifest over a changed golden vector: the sums fit, the answers do not."""
    edgefm.export(SHIPPED, "python", out=tmp_path / "bundle", samples=3, progress=False)
    files = {
        path.relative_to(tmp_path / "bundle").as_posix(): path.read_bytes()
        for path in (tmp_path / "bundle").rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    files["golden/01.builtin.bin"] = bytes(reversed(files["golden/01.builtin.bin"]))
    for name, content in with_manifest(files, kind="python", written_by="somebody").items():
        (tmp_path / "bundle" / name).write_bytes(content)
    result = edgefm.verify(tmp_path / "bundle", progress=False)
    assert not result.held and [family.held for family in result.families] == [True, False]
    assert result.written_by == "somebody"


@pytest.mark.parametrize("key", ["model_sha256", "input", "outputs"])
def test_golden_vectors_of_another_model_do_not_hold_even_where_nothing_is_run(key: str, tmp_path: Path) -> None:
    files = edgefm.export(SHIPPED, "python", out=tmp_path / "b", samples=2, progress=False).files
    golden = json.loads((tmp_path / "b" / "golden" / "golden.json").read_text())
    others = {"model_sha256": "0" * 64, "input": {**golden["input"], "shape": [784]}, "outputs": 2 * golden["outputs"]}
    golden[key] = others[key]
    (tmp_path / "b" / "golden" / "golden.json").write_text(json.dumps(golden))
    content = {name: (tmp_path / "b" / name).read_bytes() for name in files if name != "manifest.json"}
    for name, written in with_manifest(content, kind="python", written_by="somebody").items():
        (tmp_path / "b" / name).write_bytes(written)
    words = "another model" if key == "model_sha256" else "other inputs and outputs"
    for run in (False, True):
        result = edgefm.verify(tmp_path / "b", run=run, progress=False)
        assert not result.held and words in result.problems[0] and not result.families


def test_wrong_answers_of_int8_weights_with_float_ends_do_not_hold(tmp_path: Path) -> None:
    """A level of a float output is 1/255 of its spread: a tolerance of one of its largest magnitude would take all."""
    random = np.random.default_rng(2)
    weights = random.integers(-127, 128, (5, 16)).astype(np.int8)
    tensors = [
        Tensor(name="image", shape=(1, 16), dtype="float32"),
        Tensor(name="weights", shape=(5, 16), dtype="int8", data=weights, scale=[0.01]),
        Tensor(name="scores", shape=(1, 5), dtype="float32"),
    ]
    dense = Operator(
        name="FULLY_CONNECTED", inputs=(0, 1, -1), outputs=(2,), options=schema.FullyConnectedOptionsT(),
        options_type=schema.BuiltinOptions.FullyConnectedOptions,
    )  # fmt: skip
    (tmp_path / "drq.tflite").write_bytes(build(Graph(tensors=tensors, operators=[dense], inputs=[0], outputs=[2])))
    edgefm.export(tmp_path / "drq.tflite", "python", out=tmp_path / "b", mean=0.0, std=1.0, progress=False)
    assert edgefm.verify(tmp_path / "b", progress=False).held and adapter(tmp_path / "b").self_test()[0]
    golden = read_golden(tmp_path / "b")
    assert all(0 < family.tolerance.largest < 0.05 for family in golden.families)
    for family in golden.families:
        for place in range(len(golden)):
            wrong = (family.outputs[0][place] * np.float32(0.8)).astype("<f4")  # a fifth off: no rounding
            (tmp_path / "b" / "golden" / f"{place:02d}.{family.name}.bin").write_bytes(wrong.tobytes())
    assert not adapter(tmp_path / "b").self_test()[0]
    files = {
        path.relative_to(tmp_path / "b").as_posix(): path.read_bytes()
        for path in (tmp_path / "b").rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    for name, content in with_manifest(files, kind="python", written_by="somebody").items():
        (tmp_path / "b" / name).write_bytes(content)
    found = edgefm.verify(tmp_path / "b", progress=False)
    assert found.problems == () and not any(family.held for family in found.families)


def test_golden_vectors_are_read_as_they_were_written(tmp_path: Path) -> None:
    parts = parts_of(CASES["several"])
    for name, content in golden_files(parts.golden, parts.contract).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    again = read_golden(tmp_path)
    np.testing.assert_array_equal(again.inputs, parts.golden.inputs)
    written, read = parts.golden.families[0].tolerance, again.families[0].tolerance
    assert (read.largest, read.share, read.outputs) == (written.largest, written.share, (1.0,) * 5)
    for one, other in zip(again.families[0].outputs, parts.golden.families[0].outputs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    pixels = np.array(Image.open(tmp_path / "golden" / "00.png"))
    np.testing.assert_array_equal(fed(parts.contract, pixels.reshape(PICTURE[1:]))[0], parts.golden.inputs[0])
    (tmp_path / "golden" / "00.in.bin").write_bytes(b"12")
    with pytest.raises(ModelError, match=r"00\.in\.bin: 60 bytes are expected, found is 2 bytes"):
        read_golden(tmp_path)


def test_equal_input_gives_equal_bytes(bundles: dict[str, Path], tmp_path: Path) -> None:
    for kind, folder in bundles.items():
        edgefm.export(SHIPPED, kind, out=tmp_path / kind, samples=5, progress=False)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                assert (tmp_path / kind / path.relative_to(folder)).read_bytes() == path.read_bytes(), path


def test_bill_of_materials_names_the_model_and_what_it_needs(bundles: dict[str, Path]) -> None:
    needs = {
        "android": {"litert", "exifinterface"},
        "apk": {"@litertjs/core", "@litertjs/wasm-utils"},
        "c": {"tflite-micro"},
        "python": {"numpy", "ai-edge-litert", "pillow"},
        "web": {"@litertjs/core", "@litertjs/wasm-utils"},
    }
    assert set(needs) == set(KINDS)
    for kind, needed in ((kind, needs[kind]) for kind in HERE):
        bom = json.loads((bundles[kind] / "sbom.cdx.json").read_text())
        assert bom["bomFormat"] == "CycloneDX" and {one["name"] for one in bom["components"]} == needed
        model = bom["metadata"]["component"]
        assert model["hashes"] == [{"alg": "SHA-256", "content": edgefm.core.artefacts.sha256_file(SHIPPED)}]


# What is exported, and where to.


def test_data_give_golden_inputs_with_labels(tmp_path: Path) -> None:
    data = small_fashion_mnist()
    result = edgefm.export(SHIPPED, "python", out=tmp_path / "b", data=data, samples=7, progress=False)
    assert result.models[0].golden == (7, "data")
    golden = read_golden(tmp_path / "b")
    assert golden.labels is not None
    for place in range(7):
        pixels = np.array(Image.open(tmp_path / "b" / "golden" / f"{place:02d}.png")).reshape(28, 28, 1)
        (found,) = np.flatnonzero((data.test.images == pixels).all(axis=(1, 2, 3)))[:1]
        assert data.test.labels[found] == golden.labels[place]
    card = (tmp_path / "b" / "README.md").read_text()
    assert f"7 test samples of {data.name}" in card.replace("\\", "")
    assert "unlike its training data: see below" in card and "warns of none of them" in card
    found = dict(re.findall(r"^\| ([a-z ]+) \| 200 \| .* \| ([0-9.]+) % \|$", card, re.MULTILINE))
    assert float(found["test pictures"]) < 10 and found["noise"] == "100.0"


def test_every_card_says_that_pictures_unlike_the_data_were_not_tried_without_data(bundles: dict[str, Path]) -> None:
    for kind, folder in bundles.items():
        assert "unlike its training data: not measured: no data were given." in (folder / "README.md").read_text(), kind


def test_notice_names_the_data_that_golden_inputs_are_of(tmp_path: Path) -> None:
    edgefm.export(SHIPPED, "python", out=tmp_path / "b", data=small_fashion_mnist(train=9), samples=1, progress=False)
    assert "fashion-mnist has 9 train pictures; 100 are the fewest" in (tmp_path / "b" / "README.md").read_text()
    assert "Zalando" in (tmp_path / "b" / "NOTICE").read_text()


def test_file_without_a_contract_is_exported_by_what_is_said_of_it(tmp_path: Path) -> None:
    app = CASES["uint8_odd__uint8"]
    (tmp_path / "mine.tflite").write_bytes(app.content)
    with pytest.raises(ModelError, match=r"has no contract\.json beside it, and how it is fed is not known"):
        edgefm.export(tmp_path / "mine.tflite", "python", out=tmp_path / "b", progress=False)
    edgefm.export(
        tmp_path / "mine.tflite", "python", out=tmp_path / "b", labels=ABC, mean=120.25, std=58.5, progress=False
    )
    assert edgefm.verify(tmp_path / "b", progress=False).held and adapter(tmp_path / "b").self_test()[0]
    contract = Contract.from_json(json.loads((tmp_path / "b" / "contract.json").read_text()))
    assert (contract.name, contract.size_bytes) == ("mine", len(app.content))
    assert (contract.labels, contract.mean, contract.std) == (ABC, 120.25, 58.5)
    given = given_values(app.contract)
    np.testing.assert_array_equal(adapter(tmp_path / "b").encode(given), fed(app.contract, given))
    assert "Zalando" not in (tmp_path / "b" / "NOTICE").read_text()
    said: dict[str, Any] = {"labels": list(ABC), "mean": 120.25, "std": 58.5}
    edgefm.export(tmp_path / "b", "python", out=tmp_path / "same", progress=False, **said)
    for name, other in (("labels", ABC[::-1]), ("mean", 0.0), ("std", 1.0)):
        with pytest.raises(ModelError, match=rf"^{name} .*the contract of .* says"):
            edgefm.export(tmp_path / "b", "python", out=tmp_path / "other", progress=False, **(said | {name: other}))


def test_task_of_a_file_without_a_contract_is_said(tmp_path: Path) -> None:
    app, about = CASES["masks__int8"], {"mean": 99.9, "std": 61.7, "samples": 2, "progress": False}
    (tmp_path / "masks.tflite").write_bytes(app.content)
    given: dict[str, Any] = {**about, "labels": ABC, "task": "segmentation"}
    edgefm.export(tmp_path / "masks.tflite", "python", out=tmp_path / "b", **given)
    contract = Contract.from_json(json.loads((tmp_path / "b" / "contract.json").read_text()))
    assert (contract.task, contract.labels) == ("segmentation", ABC)
    values = given_values(app.contract)
    (raw,) = litert(app.content, fed(app.contract, values))
    wanted = meant("places", real_values(raw, app.contract.output), contract)
    np.testing.assert_array_equal(adapter(tmp_path / "b").places(values).reshape(-1), wanted)
    for change, words in (
        ({"labels": ["a", "b"]}, r"has 3 values at each place; 2 labels were given"),
        ({"task": "classification"}, r"it has 60 outputs; there are 3 classes"),
        ({"task": "segmentating"}, r"unknown task 'segmentating'; did you mean 'segmentation'"),
    ):
        with pytest.raises(EdgefmError, match=words):
            edgefm.export(tmp_path / "masks.tflite", "python", out=tmp_path / "c", **(given | change))
    with pytest.raises(ModelError, match=r"^task is regression, but the contract of .* says segmentation"):
        edgefm.export(tmp_path / "b", "python", out=tmp_path / "c", task="regression", samples=1, progress=False)
    train, validation, test = (
        Split(name=name, images=np.zeros((3, *PICTURE[1:]), np.uint8), labels=np.arange(3))
        for name in ("train", "validation", "test")
    )
    data = Dataset(name="a", labels=ABC, train=train, validation=validation, test=test, sha256="")
    with pytest.raises(ModelError, match="is said to be segmentation; the data are for classification"):
        edgefm.export(tmp_path / "masks.tflite", "python", out=tmp_path / "c", data=data, **given)


def test_model_in_onnx_answers_the_golden_vectors(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    edgefm.export(SHIPPED, "python", out=tmp_path / "b", samples=4, formats=["onnx"], progress=False)
    assert edgefm.verify(tmp_path / "b", run=False, progress=False).held
    session = onnxruntime.InferenceSession(str(tmp_path / "b" / "model.onnx"), providers=["CPUExecutionProvider"])
    golden = read_golden(tmp_path / "b")
    for place in range(4):
        (answer,) = session.run(None, {session.get_inputs()[0].name: golden.inputs[place : place + 1]})
        apart = np.abs(answer.astype(int) - golden.families[0].outputs[0][place])
        assert apart.max() <= 4, "another rounding, not another model"
    for name, error, words in (
        ("onxx", RecipeError, "unknown format 'onxx'; did you mean 'onnx'"),
        ("coreml", ModelError, "cannot be written as coreml: coremltools converts PyTorch"),
        ("executorch", ModelError, "cannot be written as executorch"),
    ):
        with pytest.raises(error, match=words):
            edgefm.export(SHIPPED, "python", out=tmp_path / "c", formats=[name], progress=False)


def test_folders_that_hold_something_are_not_written_over(tmp_path: Path) -> None:
    target = tmp_path / "b"
    edgefm.export(SHIPPED, "python", out=target, samples=2, progress=False)
    before = (target / "manifest.json").read_bytes()
    with pytest.raises(RunError, match="holds a bundle already"):
        edgefm.export(SHIPPED, "c", out=target, samples=2, progress=False)
    assert (target / "manifest.json").read_bytes() == before
    edgefm.export(SHIPPED, "c", out=target, samples=2, force=True, progress=False)
    assert not (target / "edge_model.py").exists() and edgefm.verify(target, progress=False).kind == "c"
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(RunError, match="holds something else than a bundle"):
            edgefm.export(SHIPPED, "c", out=other, force=force, progress=False)
    with pytest.raises(RunError, match="is a file; a folder is expected"):
        edgefm.export(SHIPPED, "c", out=other / "thesis.txt", force=True, progress=False)
    assert (other / "thesis.txt").read_text() == "years of work"


def test_files_that_others_put_into_a_bundle_are_named_and_stay(tmp_path: Path) -> None:
    target = tmp_path / "b"
    (target / "src" / "mine").mkdir(parents=True)
    for name, content in with_manifest({"src/a.c": b"", "README.md": b""}, kind="c", written_by="a test").items():
        (target / name).write_bytes(content)
    assert of_others(target) == []
    others = ["notes.txt", "src/b.c", "src/mine/x", "src/mine/y", "venv/bin/python", "venv/lib/z", "1", "2", "3"]
    for name in (*others, "__pycache__/edge_model.pyc", "model.sig"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("mine")
    (target / "link").symlink_to(tmp_path)
    words = r"would be gone with it: 1, 2, 3, link, notes\.txt and 3 more"
    with pytest.raises(RunError, match=words) as refused:
        edgefm.export(SHIPPED, "c", out=target, samples=1, force=True, progress=False)
    assert of_others(target)[5:] == ["src/b.c", "src/mine/", "venv/"] and "Move it elsewhere" in str(refused.value.hint)
    assert all((target / name).read_text() == "mine" for name in others)


def test_run_is_not_written_over_though_its_manifest_has_the_same_name(tmp_path: Path) -> None:
    run = RunDirectory.create_at(tmp_path / "run").path
    (run / "weights.keras").write_bytes(b"a night of training")
    with pytest.raises(RunError, match="holds something else than a bundle"):
        edgefm.export(SHIPPED, "python", out=run, samples=1, force=True, progress=False)
    assert (run / "weights.keras").read_bytes() == b"a night of training"


def test_folder_that_a_shell_is_in_is_not_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b" / "deeper").mkdir(parents=True)
    for place, folder in (("b/deeper", "."), ("b/deeper", str(tmp_path / "b" / "deeper"))):
        monkeypatch.chdir(tmp_path / place)
        with pytest.raises(RunError, match="the folder that you are in"):
            edgefm.export(SHIPPED, "python", out=folder, samples=1, progress=False)
        assert Path.cwd() == tmp_path / place and not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"kind": "androit"}, RecipeError, "unknown kind of bundle 'androit'"),
        ({"samples": 0}, ArgumentError, "samples is 0; 1 to 1,000 is expected"),
        ({"samples": True}, ArgumentError, "samples is True"),
        ({"force": 1}, ArgumentError, "force is 1"),
        ({"labels": "abc"}, ArgumentError, "labels is the text 'abc'"),
        ({"variant": "int8"}, RecipeError, "unknown variant of a single file 'int8'"),
        ({"model": "nowhere.tflite"}, ModelError, "nowhere.tflite"),
        ({"data": "nowhere.npz"}, DataError, "nowhere.npz"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], error: type[Exception], words: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"model": SHIPPED, "kind": "python", "out": tmp_path / "b", "progress": False, **change}
    with pytest.raises(error, match=words):
        edgefm.export(given.pop("model"), given.pop("kind"), **given)
    assert not (tmp_path / "b").exists()


def test_several_inputs_are_refused_with_what_to_do(tmp_path: Path) -> None:
    one, other = (Tensor(name=name, shape=(1, 3), dtype="float32") for name in ("one", "other"))
    added = Tensor(name="sum", shape=(1, 3), dtype="float32")
    adds = Operator(name="ADD", inputs=(0, 1), outputs=(2,))
    path = tmp_path / "two.tflite"
    path.write_bytes(build(Graph(tensors=[one, other, added], operators=[adds], inputs=[0, 1], outputs=[2])))
    with pytest.raises(ModelError, match="code for an app is written for models of one input"):
        edgefm.export(path, "python", out=tmp_path / "b", progress=False)


def test_commands_export_all_and_verify(tmp_path: Path) -> None:
    runner = CliRunner()
    words = ["export", "all", str(SHIPPED), "--out", str(tmp_path / "all"), "-n", "2", "--json"]
    done = runner.invoke(cli, words, standalone_mode=False)
    assert done.return_value == (0 if "web" in HERE else 2), done.output
    found = json.loads(done.stdout)["bundles"]
    assert [bundle["kind"] for bundle in found] == list(HERE)
    for bundle in found:
        done = runner.invoke(cli, ["verify", bundle["folder"], "--json"], standalone_mode=False)
        assert done.return_value == 0 and json.loads(done.stdout)["held"] is True
    schema = json.loads((ROOT / "edgefm" / "schemas" / "golden-vectors-2.schema.json").read_text())
    jsonschema.validate(json.loads((tmp_path / "all" / "c" / "golden" / "golden.json").read_text()), schema)


def test_all_leaves_out_what_a_model_cannot_be_written_for(tmp_path: Path) -> None:
    app = CASES["int64"]
    write_case(tmp_path / "m", app)
    app.contract.write(tmp_path / "m")
    arguments = ["export", "all", str(tmp_path / "m"), "--out", str(tmp_path / "all"), "-n", "2", "--json"]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.exception is None, done.output
    found = json.loads(done.stdout)
    assert [bundle["kind"] for bundle in found["bundles"]] == ["android", "python"]
    assert (
        list(found["left_out"]) == [kind for kind in ("apk", "c", "web") if kind in ALL]
        and not (tmp_path / "all" / "c").exists()
    )


def test_all_writes_none_where_one_of_its_folders_is_taken(tmp_path: Path) -> None:
    (tmp_path / "all" / "python").mkdir(parents=True)
    (tmp_path / "all" / "python" / "thesis.txt").write_text("years of work")
    for words in ((), ("--force",)):
        with pytest.raises(RunError, match="python exists and holds something else than a bundle"):
            given = ["export", "all", str(SHIPPED), "--out", str(tmp_path / "all"), "-n", "1", *words]
            CliRunner().invoke(cli, given, standalone_mode=False, catch_exceptions=False)
        assert [path.name for path in (tmp_path / "all").iterdir()] == ["python"]


@pytest.mark.parametrize("former", [False, True], ids=["new", "over bundles"])
def test_all_leaves_its_folder_as_it_was_where_the_disk_is_full(
    former: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "all", []
    if former:
        for name, content in with_manifest({"a": b"old"}, kind="c", written_by="a test").items():
            (out / "c").mkdir(parents=True, exist_ok=True)
            (out / "c" / name).write_bytes(content)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(model: object, kind: str, *, out: Path, **options: object) -> ExportResult:
        try:
            if written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(out, {"a": b"new"}, force=False)
        except OSError as error:
            raise EdgefmError(f"{out} cannot be written: {error.strerror}", hint="Free some space.") from error
        written.append(kind)
        return ExportResult(kind=kind, folder=out, files=(), size_bytes=0, models=())

    monkeypatch.setattr("edgefm.jobs.export.export", full)
    words = ["export", "all", str(SHIPPED), "--out", str(out), *(("--force",) if former else ())]
    with pytest.raises(EdgefmError) as caught:
        CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False)
    assert caught.value.message == f"{out / ALL[1]} cannot be written: No space left on device"
    assert caught.value.hint == f"Free some space. No bundle was written: {out} is as it was."
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert written == ["android"] and out.exists() == former


def test_operators_of_all_subgraphs_are_named(tmp_path: Path) -> None:
    (tmp_path / "loop.tflite").write_bytes(tiny_models.endless_loop())
    assert operator_names(tmp_path / "loop.tflite") == ("EQUAL", "RELU", "WHILE")


def test_export_all_writes_the_others_where_litertjs_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(package.PACKAGE_VARIABLE, str(tmp_path))
    words = ["export", "all", str(SHIPPED), "--out", str(tmp_path / "all"), "-n", "2", "--json"]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == 2, done.output
    assert [bundle["kind"] for bundle in json.loads(done.stdout)["bundles"]] == [
        kind for kind in ALL if kind not in ("apk", "web")
    ]
    assert "the bundle for web was not written" in done.stderr and package.SETUP in done.stderr
    assert not (tmp_path / "all" / "web").exists()


def test_model_data_in_c_are_those_of_the_file(bundles: dict[str, Path]) -> None:
    text = (bundles["c"] / "src" / "model_data.c").read_text()
    body = text.split("= {")[1].split("};")[0]
    content = bytes(int(part, 16) for part in body.replace(",", " ").split())
    assert content == SHIPPED.read_bytes()
    assert f"0x{zlib.crc32(content):08X}u" in (bundles["c"] / "src" / "contract.h").read_text()


@pytest.mark.parametrize("module", [for_c, golden_vectors, expectation], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.failed == 0 < result.attempted
