"""Code for apps, compiled by a Kotlin compiler and run on a Java machine: bytes in and answers out against numpy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm.core.errors import ModelError
from edgefm_converters.bundles.kotlin import kotlin_code
from edgefm_converters.bundles.python import python_code
from tests.fixtures import kotlin
from tests.fixtures.app_cases import (
    CASES,
    Case,
    fed,
    given_values,
    litert,
    meant,
    real_values,
    write_case,
)

STUBS = Path(__file__).parents[1] / "fixtures" / "android_stubs"


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
