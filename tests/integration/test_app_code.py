"""Code for apps, compiled by a Kotlin compiler and run on a Java machine: bytes in and answers out against numpy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.tflite.contract import Contract
from edgefm_converters.bundles.kotlin import kotlin_code
from edgefm_converters.bundles.python import python_code
from tests.fixtures import kotlin
from tests.fixtures.app_models import Out, app_model

STUBS = Path(__file__).parents[1] / "fixtures" / "android_stubs"
ABC = ("cat", "dog", "a long name, with a comma")
PICTURE = (1, 5, 4, 3)
REAL = "its samples are no pictures"


@dataclass(frozen=True)
class Case:
    """A model, its contract, and under which names an answer tells its outputs: (name, what it means)."""

    content: bytes
    contract: Contract
    fields: tuple[tuple[str, str], ...]


def case(fields: Sequence[tuple[str, str]], **model: Any) -> Case:
    content, contract = app_model(**model)
    return Case(content, contract, tuple(fields))


INPUTS: dict[str, dict[str, Any]] = {
    "float": {"std": 255.0},
    "float_symmetric": {"mean": 127.5, "std": 127.5},
    "float_raw": {},
    "uint8_raw": {"ends": ("uint8", 1 / 255, 0), "std": 255.0},
    "uint8_128": {"ends": ("uint8", 2 / 255, 128), "mean": 127.5, "std": 127.5},
    "uint8_odd": {"ends": ("uint8", 0.0123, 37), "mean": 120.25, "std": 58.5},
    "int8": {"ends": ("int8", 1 / 255, -128), "std": 255.0},
    "int8_odd": {"ends": ("int8", 0.031, -3), "mean": 99.9, "std": 61.7},
}
ENDS: dict[str, tuple[str, float, int] | None] = {
    "float": None,
    "uint8": ("uint8", 1 / 256, 0),
    "uint8_7": ("uint8", 1 / 240, 7),
    "int8": ("int8", 1 / 256, -128),
    "int8_11": ("int8", 0.011, 11),
}
HEADS: dict[str, dict[str, Any]] = {
    "second": {"outputs": (1, 1), "last": "LOGISTIC", "labels": ABC[:2], "name": "scores"},
    "logits": {"outputs": (1, 3), "last": None, "labels": ABC, "name": "scores", "head": "logits"},
    "second_logit": {"outputs": (1, 1), "last": None, "labels": ABC[:2], "name": "scores", "head": "logits"},
    "label_logits": {
        "outputs": (1, 3),
        "last": None,
        "labels": ABC,
        "task": "multilabel",
        "name": "probabilities",
        "head": "logits",
    },
    "labels": {"outputs": (1, 3), "last": "LOGISTIC", "labels": ABC, "task": "multilabel", "name": "probabilities"},
    "places": {"outputs": (1, 5, 4, 3), "last": "SOFTMAX", "labels": ABC, "name": "classes"},
    "mask_logits": {
        "outputs": (1, 5, 4, 1),
        "last": None,
        "labels": ABC[:2],
        "task": "segmentation",
        "name": "classes",
        "head": "logits",
    },
    "mask": {"outputs": (1, 5, 4, 1), "last": "LOGISTIC", "task": "segmentation", "name": "classes"},
    "masks": {"outputs": (1, 5, 4, 3), "last": "SOFTMAX", "task": "segmentation", "name": "classes"},
    "values": {"outputs": (1, 7), "last": None, "task": "regression", "name": "values"},
    "reconstruction": {"outputs": PICTURE, "last": "LOGISTIC", "task": "reconstruction", "name": "reconstruction"},
}
# What of these is meant as another one, once logits are probabilities.
MEANT = {"mask_logits": "places", "mask": "places", "masks": "places"} | {
    "logits": "classes",
    "second_logit": "second",
    "label_logits": "labels",
}
WIDE: dict[str, tuple[str, float, int] | None] = {
    "float": None,
    "uint8": ("uint8", 0.04, 128),
    "int8": ("int8", 0.037, -5),
}
RANKS: dict[str, dict[str, Any]] = {
    "rank2": {"shape": (1, 9)},
    "rank3": {"shape": (1, 6, 4)},
    "rank4_grey": {"shape": (1, 5, 4, 1)},
    "rank4_four": {"shape": (1, 3, 4, 4)},
    "rank4_two": {"shape": (1, 3, 4, 2)},
    "rank5": {"shape": (1, 2, 3, 4, 2)},
}


def all_cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for source, given in INPUTS.items():
        for sink, ends in ENDS.items():
            outputs = [Out(shape=(1, 3), ends=ends, last="SOFTMAX")]
            cases[f"{source}__{sink}"] = case(
                [("scores", "classes")], shape=PICTURE, outputs=outputs, labels=ABC, **given
            )
    for head, about in HEADS.items():
        for sink, ends in (WIDE if about["last"] is None else ENDS).items():
            outputs = [Out(shape=about["outputs"], ends=ends, last=about["last"])]
            cases[f"{head}__{sink}"] = case(
                [(about["name"], MEANT.get(head, head))],
                shape=PICTURE,
                outputs=outputs,
                labels=about.get("labels", ()),
                task=about.get("task", ""),
                head=about.get("head", ""),
                **INPUTS["int8_odd" if sink == "int8" else "uint8_raw"],
            )
    for rank, about in RANKS.items():
        for source, given in (("levels", INPUTS["int8_odd"]), ("raw", INPUTS["uint8_raw"]), ("float", INPUTS["float"])):
            outputs = [Out(shape=(1, 2, 3), ends=WIDE["int8"])]
            cases[f"{rank}__{source}"] = case([("values", "values")], outputs=outputs, **about, **given)
        for kind, ends in (("real", None), ("real_int8", ("int8", 0.021, 9)), ("real_uint8", ("uint8", 0.02, 140))):
            outputs = [Out(shape=(1, 3), ends=ENDS["uint8_7"], last="SOFTMAX")]
            cases[f"{rank}__{kind}"] = case(
                [("scores", "classes")], outputs=outputs, labels=ABC, ends=ends, no_pixels=REAL, **about
            )
    for whole in ("int32", "int64"):
        cases[whole] = case(
            [("scores", "classes")], shape=(1, 6), whole=whole, outputs=[Out(shape=(1, 3), last="SOFTMAX")], labels=ABC
        )
    several = [
        Out(shape=(1, 3), ends=ENDS["int8"], last="SOFTMAX", name="class_head"),
        Out(shape=(1, 2, 4), ends=WIDE["uint8"], name="box_head:0"),
        Out(shape=(1, 5), ends=None, name="val"),
        Out(shape=(1,), ends=WIDE["int8"], name="boxHead0"),
        Out(shape=(1, 4), ends=WIDE["int8"], name="*/ end of comment"),
    ]
    cases["several"] = case(
        [("scores", "classes"), ("boxHead0", "values"), ("output2", "values"), ("output3", "values"),
         ("endOfComment", "values")],
        shape=PICTURE, outputs=several, labels=ABC, **INPUTS["int8"],
    )  # fmt: skip
    return cases


CASES = all_cases()


def given_values(contract: Contract) -> NDArray[Any]:
    """Return what is fed, flat: all kinds of levels, or numbers that saturate too."""
    random, size = np.random.default_rng(7), contract.input.size
    if contract.input.dtype.startswith("int") and contract.input.scale is None:
        return random.integers(-50, 50, size).astype(contract.input.dtype)
    if contract.no_pixels is not None:
        values = random.normal(size=size).astype(np.float32)
        if contract.input.scale is not None:
            values[:4] = (-1e30, 1e30, 0.0, np.float32(contract.input.scale / 2))
        return values
    levels = random.integers(0, 256, size)
    levels[:3] = (0, 255, 128)
    return levels.astype(np.uint8)


def fed(contract: Contract, values: NDArray[Any]) -> NDArray[Any]:
    """Return numpy's own input: real = (pixel - mean) / std, q = clamp(rint(real / scale) + zero point)."""
    tensor = contract.input
    if values.dtype.kind == "i":
        return values.reshape(tensor.shape)
    real = values.astype(np.float32)
    if values.dtype == np.uint8:
        real = (real - np.float32(contract.mean)) / np.float32(contract.std)
    if tensor.scale is None or tensor.zero_point is None:
        return real.reshape(tensor.shape)
    least, most = (-128, 127) if tensor.dtype == "int8" else (0, 255)
    levels = np.rint(real / np.float32(tensor.scale)).astype(np.float64) + tensor.zero_point
    return np.clip(levels, least, most).astype(tensor.dtype).reshape(tensor.shape)


def litert(content: bytes, values: NDArray[Any]) -> list[NDArray[Any]]:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    interpreter.set_tensor(source["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(sink["index"]) for sink in interpreter.get_output_details()]


def real_values(raw: NDArray[Any], tensor: Any) -> NDArray[np.float32]:
    if tensor.scale is None:
        return raw.astype(np.float32)
    return ((raw.astype(np.int64) - tensor.zero_point).astype(np.float32) * np.float32(tensor.scale)).astype(np.float32)


def meant(head: str, real: NDArray[np.float32], contract: Contract) -> Any:
    """Return what an answer must hold: pairs, whole numbers or real values."""
    labels = contract.labels
    if head == "places" and real.shape[-1] == 1:
        return (real.reshape(-1) > (0 if contract.head == "logits" else 0.5)).astype(int)
    if contract.head == "logits":
        powers = np.exp(real.astype(np.float64))
        real = (powers / powers.sum() if head == "classes" else powers / (1 + powers)).astype(np.float32)
    if head == "values" or head == "reconstruction":
        return real.reshape(-1)
    if head == "places":
        return real.argmax(axis=-1).reshape(-1)
    flat = real.reshape(-1)
    if head == "second":
        flat = np.array([np.float32(1) - flat[0], flat[0]], np.float32)
    pairs = list(zip(labels, flat.tolist(), strict=True))
    return pairs if head == "labels" else sorted(pairs, key=lambda pair: -pair[1])


def write_case(folder: Path, app: Case) -> None:
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(app.content)
    (folder / "labels.txt").write_text("\n".join(app.contract.labels) + "\n")
    values = given_values(app.contract)
    (folder / "given.txt").write_text("\n".join(str(value) for value in values))
    for place, raw in enumerate(litert(app.content, fed(app.contract, values))):
        (folder / f"litert{place}.bin").write_bytes(raw.tobytes())


def harness(name: str, app: Case) -> str:
    """Return Kotlin that runs one case and saves its answer."""
    kind = {"int32": "Int", "int64": "Long"}.get(app.contract.input.dtype)
    kind = kind or ("Float" if app.contract.no_pixels is not None else "Int")
    saved = "\n".join(f'        save(folder, "{field}", answer.{field})' for field, _ in app.fields)
    return f"""
fun run_{name}(folder: File) {{
    Case_{name}(android.content.Context(folder)).use {{ model ->
        val answer = model.run(numbers(folder).map {{ it.to{kind}() }}.to{kind}Array())
{saved}
    }}
}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one folder a case, in which the compiled code left what it was fed and what it answered."""
    root, code = tmp_path_factory.mktemp("cases"), tmp_path_factory.mktemp("code")
    calls, runs = [], []
    for name, app in CASES.items():
        write_case(root / name, app)
        (code / f"{name}.kt").write_text(kotlin_code(app.contract, name=f"Case_{name}"))
        runs.append(harness(name, app))
        calls.append(f'    attempt(File(root, "{name}")) {{ run_{name}(File(root, "{name}")) }}')
    main = "fun main(arguments: Array<String>) {\n    val root = File(arguments[0])\n" + "\n".join(calls) + "\n}\n"
    (code / "Main.kt").write_text("import java.io.File\n" + "".join(runs) + main)
    sources = [*code.glob("*.kt"), *STUBS.glob("*.kt")]
    kotlin.compile_and_run(sources, tmp_path_factory.mktemp("classes"), main="MainKt", arguments=[str(root)])
    return root


@pytest.mark.kotlin
@pytest.mark.parametrize("name", CASES)
def test_kotlin_feeds_what_numpy_quantises_and_says_what_litert_answered(run: Path, name: str) -> None:
    app, folder = CASES[name], run / name
    error = folder / "error.txt"
    assert not error.exists(), error.read_text()
    values = fed(app.contract, given_values(app.contract))
    given = np.frombuffer((folder / "fed.bin").read_bytes(), values.dtype)
    np.testing.assert_array_equal(given, values.reshape(-1))
    raws = litert(app.content, values)
    assert len(raws) == len(app.fields)
    for (field, head), raw, tensor in zip(app.fields, raws, app.contract.outputs, strict=True):
        wanted = meant(head, real_values(raw, tensor), app.contract)
        if head == "places":
            np.testing.assert_array_equal(np.fromfile(folder / f"{field}.i32", ">i4"), wanted)
            continue
        found = np.fromfile(folder / f"{field}.f32", ">f4")
        if head in ("values", "reconstruction"):
            np.testing.assert_array_equal(found, wanted)
            continue
        assert (folder / f"{field}.txt").read_text().split("\n") == [label for label, _ in wanted]
        values_wanted = np.array([value for _, value in wanted], np.float32)
        if app.contract.head == "logits":  # exp of two libraries: the last bits differ
            np.testing.assert_allclose(found, values_wanted, rtol=1e-6, atol=1e-7)
        else:
            np.testing.assert_array_equal(found, values_wanted)


def test_cases_tell_models_apart() -> None:
    """Guards against models that answer the same whatever they are fed: the other tests would show nothing."""
    for name, app in CASES.items():
        values = given_values(app.contract)
        other = values[::-1].copy()
        first, second = (litert(app.content, fed(app.contract, each)) for each in (values, other))
        assert any((one != two).any() for one, two in zip(first, second, strict=True)), name


@pytest.mark.parametrize("name", CASES)
def test_python_feeds_and_says_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = CASES[name]
    write_case(tmp_path / name, app)
    monkeypatch.chdir(tmp_path / name)
    module: dict[str, Any] = {}
    exec(compile(python_code(app.contract), f"{name}.py", "exec"), module)
    given = given_values(app.contract)
    values = fed(app.contract, given)
    encoded = module["encode"](given.reshape(app.contract.input.shape[1:]))
    assert encoded.dtype == values.dtype
    np.testing.assert_array_equal(encoded, values)
    answer = module["run"](given.reshape(app.contract.input.shape[1:]))
    assert list(answer) == [field for field, _ in app.fields]
    for (field, head), raw, tensor in zip(app.fields, litert(app.content, values), app.contract.outputs, strict=True):
        wanted = meant(head, real_values(raw, tensor), app.contract)
        if head in ("classes", "second", "labels"):
            assert [label for label, _ in answer[field]] == [label for label, _ in wanted]
            np.testing.assert_allclose(
                [value for _, value in answer[field]], [value for _, value in wanted], rtol=1e-6, atol=1e-7
            )
        else:
            np.testing.assert_array_equal(np.asarray(answer[field]).reshape(-1), wanted)


def test_kotlin_says_nothing_of_labels_where_there_are_none() -> None:
    code = kotlin_code(CASES["values__float"].contract)
    assert "labels" not in code and "probab" not in code
    assert not re.search(r"0xFF", kotlin_code(CASES["int8__int8"].contract))


@pytest.mark.parametrize("write", [kotlin_code, python_code])
@pytest.mark.parametrize("dtype", ["float16", "int16", "bool"])
def test_code_is_refused_for_ends_that_nobody_knows(write: Any, dtype: str) -> None:
    contract = CASES["float__float"].contract
    unknown = replace(contract.output, dtype=dtype)
    for changed in (
        replace(contract, outputs=(unknown,)),
        replace(contract, input=replace(contract.input, dtype=dtype)),
    ):
        with pytest.raises(ModelError, match=f"no code can be written for '.*', {dtype}; known are float32"):
            write(changed)
