"""What the reader of JSON and TOML files refuses, and that it says where and why."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgefm import schemas
from edgefm.core.documents import DEPTH, inside, object_told, parse_json, read_bytes, read_json, read_toml
from edgefm.core.errors import EdgefmError, RunError

READ: dict[str, Callable[..., Any]] = {"json": read_json, "toml": read_toml}


@pytest.mark.parametrize(
    ("language", "content", "says"),
    [
        pytest.param("json", "{", "it is no JSON: Expecting property name", id="cut"),
        pytest.param("json", "", "it is no JSON: Expecting value", id="empty"),
        pytest.param("json", b"\xff{}", "it is not UTF-8 text: byte 0 is 0xff", id="no text"),
        pytest.param("json", "[" * 100_000 + "]" * 100_000, "nested deeper than 64 levels", id="100,000 brackets"),
        pytest.param("json", '{"a":' * 50_000 + "1" + "}" * 50_000, "nested deeper than 64 levels", id="objects"),
        pytest.param("json", "[" * 65 + "]" * 65, "nested deeper than 64 levels", id="65 levels"),
        pytest.param("json", "[" * 900 + "]" * 900, "nested deeper than 64 levels", id="Python would read it"),
        pytest.param(
            "json",
            '{"a": [1, {"b c": ' + "9" * 400 + "}]}",
            "a[1]['b c'] is a whole number of 400 digits; whole numbers of at most 64 bits are allowed",
            id="400 digits",
        ),
        pytest.param("json", "-9223372036854775809", "it is a whole number of 19 digits", id="65 bits"),
        pytest.param("json", f"[{'9' * 5000}]", "a whole number of thousands of digits", id="5,000 digits"),
        pytest.param(
            "json", '{"a": 1e999}', "it holds the number '1e999'; one within ±1e+100 is expected", id="overflow"
        ),
        pytest.param("json", "[-1e101]", "[0] is -1e+101; a number within ±1e+100 is expected", id="great"),
        pytest.param("json", '{"a": NaN}', "it holds NaN, which is not JSON", id="NaN"),
        pytest.param("json", "[-Infinity]", "it holds -Infinity, which is not JSON", id="infinity"),
        pytest.param("json", '["a", "\\ud800"]', "[1] holds half a surrogate pair", id="surrogate"),
        pytest.param("json", '{"\\udc80": 1}', "['\\udc80'] holds half a surrogate pair", id="surrogate in a key"),
        pytest.param("json", '{"b": {"a": 1, "c": 2, "a": 3}}', "the key 'a' is there more than once", id="twice"),
        pytest.param("json", "[" + "0," * 5_000_000 + "0]", "it holds more than 5,000,000 values", id="values"),
        pytest.param("toml", "a = ", "is not valid TOML: Invalid value", id="TOML, cut"),
        pytest.param("toml", b"a = '\xfc'", "it is not UTF-8 text: byte 5 is 0xfc", id="TOML, no text"),
        pytest.param("toml", "a = " + "[" * 2000 + "]" * 2000, "nested deeper than 64 levels", id="TOML, brackets"),
        pytest.param("toml", "a = " + "{a=" * 70 + "1" + "}" * 70, "nested deeper than 64 levels", id="TOML, tables"),
        pytest.param("toml", "[a." + "a." * 60_000 + "b]", "line 1 has more than 1,000 dots", id="TOML, dotted"),
        pytest.param("toml", f"[a]\nb = [{'9' * 400}]", "a.b[0] is a whole number of 400 digits", id="TOML, digits"),
        pytest.param("toml", f"b = {'9' * 5000}", "a whole number of thousands of digits", id="TOML, 5,000 digits"),
        pytest.param("toml", f"b = 0x{'f' * 9000}", "a whole number of thousands of digits", id="TOML, hexadecimal"),
        pytest.param("toml", "b = 1\nb = 2", "is not valid TOML: Cannot overwrite a value", id="TOML, twice"),
        pytest.param("toml", "#" * 140_000, "is too long for a thing: more than 131,072 bytes", id="TOML, long"),
    ],
)
def test_document_that_is_refused(tmp_path: Path, language: str, content: str | bytes, says: str) -> None:
    path = tmp_path / "document"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunError) as caught:
        READ[language](path, what="thing", error=RunError, hint="Do it again.")
    assert caught.value.message.startswith(str(path)) and says in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(f"[{2**63 - 1}, {-(2**63)}, 1e100, 5e-324, -0.0]", [2**63 - 1, -(2**63), 1e100, 5e-324, 0.0]),
        pytest.param('\ufeff{"ä": "\\ud83d\\ude00"}', {"ä": "\N{GRINNING FACE}"}, id="UTF-8 with a mark, whole pair"),
        pytest.param("[" * DEPTH + "]" * DEPTH, None, id="64 levels"),
        pytest.param("null", None, id="null"),
    ],
)
def test_document_that_is_read(tmp_path: Path, text: str, value: Any) -> None:
    path = tmp_path / "document.json"
    path.write_text(text, encoding="utf-8")
    read = read_json(path, what="thing")
    assert read == value or text.startswith("[[")


def test_descriptions_of_keras_may_hold_any_float_and_are_checked_like_others_else() -> None:
    assert parse_json(b"[-Infinity, 1.7e308]", where="it", finite=False) == [float("-inf"), 1.7e308]
    for text, says in (
        (b"[" * 100_000, "nested deeper than 64 levels"),
        (b"9" * 400, "a whole number of 400 digits"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there more than once"),
        (b'"\\ud800"', "half a surrogate pair"),
    ):
        with pytest.raises(EdgefmError, match=says):
            parse_json(text, where="it", finite=False)


@pytest.mark.parametrize(
    "text",
    ["", "hello", "[1]", "null", "[" * 100_000, '{"a":' * 5000, '{"a": ' + "9" * 5000 + "}", '{"a": 1}{}', '"\udc80"'],
)
def test_what_a_process_tells_is_an_object_or_nothing(text: str) -> None:
    assert object_told(text) is None
    assert object_told('{"a": "ü", "b": NaN}\n') is not None


def test_toml_is_read_with_any_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "document.toml"
    path.write_bytes(b"[a]\r\nb = 0.5\r\n")
    assert read_toml(path, what="budget") == {"a": {"b": 0.5}}


def test_toml_has_infinity(tmp_path: Path) -> None:
    path = tmp_path / "document.toml"
    path.write_text("a = -inf")
    assert read_toml(path, what="budget") == {"a": float("-inf")}


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        for path, kind in (
            (tmp_path / "fifo", "a FIFO"),
            (tmp_path / "s", "a socket"),
            (tmp_path, "a folder"),
            (Path("/dev/zero"), "a device"),
        ):
            with pytest.raises(EdgefmError, match=f"{path} is {kind}; a file is expected"):
                read_json(path, what="thing")


def test_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "no.json", tmp_path / "file" / "below"):
        with pytest.raises(EdgefmError, match=f"no thing at {path}") as caught:
            read_json(path, what="thing", hint="Mend it.", missing="Make it.")
        assert caught.value.hint == "Make it."


def test_content_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    assert read_bytes(path, what="thing", limit=10) == bytes(10)
    with pytest.raises(EdgefmError, match="too long for a thing: more than 9 bytes"):
        read_bytes(path, what="thing", limit=9)


def test_part_of_a_file_is_named_as_it_was_given() -> None:
    with pytest.raises(EdgefmError, match=r"^config\.json of m\.keras is damaged: it holds the number"):
        parse_json(b'{"a": {"b": 1e400}}', where="config.json of m.keras")


@pytest.mark.parametrize(
    "name",
    [
        "../secret", "a/../../secret", "..", "/etc/passwd", "a\0b", "", 5,
        None, ["a"], "link/x", "circle",
    ],
)  # fmt: skip
def test_path_that_leaves_its_folder_is_refused(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "circle").symlink_to(folder / "circle")
    with pytest.raises(RunError, match=r"^manifest\.json names "):
        inside(folder, name, where="manifest.json", error=RunError)


def test_path_inside_its_folder_is_returned(tmp_path: Path) -> None:
    (tmp_path / "run" / "b").mkdir(parents=True)
    (tmp_path / "run" / "a").symlink_to(tmp_path / "run" / "b")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for folder in (tmp_path / "run", tmp_path / "link"):
        for name in ("a/model.tflite", "b", "not there/x", "..."):
            assert inside(folder, name, where="manifest.json") == folder / name


def test_break_of_a_schema_names_place_found_and_allowed() -> None:
    record = {"kind": "benchmark-record", "schema_version": 3}
    with pytest.raises(ValueError, match=r"^it has no 'created'$"):
        schemas.validate(record, "benchmark-record-3")
    record |= dict.fromkeys(("created", "target", "environment", "protocol", "session", "dataset", "models"), "")
    with pytest.raises(ValueError, match=r"^mode is 'guessed'; 'measured' or 'simulated' or 'estimated' is expected$"):
        schemas.validate({**record, "mode": "guessed"}, "benchmark-record-3")
    with pytest.raises(ValueError, match=r"^target is ''; an object is expected$"):
        schemas.validate({**record, "mode": "measured"}, "benchmark-record-3")
    target = {"name": "host", "mode": "measured", "latency": True, "x": 1}
    with pytest.raises(ValueError, match=r"^target has the unknown key 'x'; known: name, mode, latency$"):
        schemas.validate({**record, "mode": "measured", "target": target}, "benchmark-record-3")
