"""The one reader of JSON and TOML files, which may come from anybody, and of the paths that they name.

A value that comes from here is finite, not nested deeply and free of surprises: what Python's own readers let pass
(NaN, numbers without bounds, a key that is there twice, half a surrogate pair) ends in an error that names the file,
the place in it, what was found and what is allowed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from edgefm import schemas
from edgefm.core.errors import EdgefmError
from edgefm.core.given import regular

# The longest record that was seen has 5 MB. Python's objects take up to 40 bytes for each byte of JSON, hence VALUES.
JSON_BYTES = 64 << 20
VALUES = 5_000_000
# Python's reader of TOML takes time by the square of the parts of a dotted key.
TOML_BYTES = 128 << 10
_DOTS = 1000
DEPTH = 64
_LEAST, _GREATEST = -(2**63), 2**63 - 1
# The product of three such numbers is still finite; float32 ends at 3.4e38.
_MOST = 1e100


def read_json(
    path: Path,
    *,
    what: str,
    error: type[EdgefmError] = EdgefmError,
    hint: str | None = None,
    missing: str | None = None,
    schema: str | None = None,
) -> Any:
    """Return the value in a JSON file.

    Args:
      path: of the file; a FIFO, a device, a socket or a folder is refused, without waiting for it.
      what: the file holds, for the error where it is missing, e.g. 'benchmark record'.
      error: class of the errors.
      hint: what to do where the file is damaged.
      missing: what to do where there is none; None takes `hint`.
      schema: name of the schema that the value must keep, see `edgefm.schemas`; the value is an object then.
    Raises:
      EdgefmError: (of the class `error`) the file is missing, no file, longer than `JSON_BYTES`, no UTF-8, no JSON,
        has a key twice, NaN, infinity, a number beyond 1e100, a whole number of more than 64 bits, half a surrogate
        pair, more than `VALUES` values, is nested deeper than `DEPTH`, or breaks the schema.
      OSError: it cannot be read.
    """
    content = read_bytes(path, what=what, limit=JSON_BYTES, error=error, missing=missing or hint)
    return parse_json(content, where=str(path), error=error, hint=hint, schema=schema)


def parse_json(
    content: bytes,
    *,
    where: str,
    error: type[EdgefmError] = EdgefmError,
    hint: str | None = None,
    schema: str | None = None,
    finite: bool = True,
) -> Any:
    """Return the value that JSON means, which is part of a file, say; as `read_json` does it.

    Args:
      content: UTF-8 text.
      where: the text stands, for errors.
      error: class of the errors.
      hint: what to do where the text is damaged.
      schema: name of the schema that the value must keep.
      finite: False takes NaN, infinity and any other float64 as well, which Keras writes into descriptions of models.
    Raises:
      EdgefmError: as from `read_json`.
    """
    if sum(content.count(mark) for mark in (b",", b"[", b"{")) > VALUES:
        raise error(f"{where} is damaged: it holds more than {VALUES:,} values", hint=hint)
    loads = _loads_json if finite else _loads_any_floats
    value = _parsed(content, loads, otherwise="no JSON", where=where, error=error, hint=hint, finite=finite)
    if schema is not None:
        check_schema(value, schema, where=where, error=error, hint=hint)
    return value


def object_told(text: str) -> dict[str, Any] | None:
    """Return the JSON object that another process told; None where it told anything else.

    A process that runs files of others may tell whatever they make of it.

    >>> object_told('{"ok": true}'), object_told("[" * 100_000)
    ({'ok': True}, None)
    """
    try:
        value = parse_json(text.encode("utf-8", "surrogatepass"), where="it", finite=False)
    except EdgefmError:
        return None
    return value if isinstance(value, dict) else None


def check_schema(
    value: Any, schema: str, *, where: str, error: type[EdgefmError] = EdgefmError, hint: str | None = None
) -> None:
    """Raise an error of the class `error` that names the place where a document breaks a schema of `edgefm.schemas`."""
    try:
        schemas.validate(value, schema)
    except ValueError as broken:
        raise error(f"{where} is damaged: {broken}", hint=hint) from None


def read_versioned(
    path: Path,
    *,
    what: str,
    newest: int,
    schema: str,
    error: type[EdgefmError] = EdgefmError,
    hint: str | None = None,
    missing: str | None = None,
) -> dict[str, Any]:
    """Return the object in a JSON file that names its `schema_version`; a newer one than this edgefm knows is said.

    Args:
      path: see `read_json`, as for all other arguments.
      what: the file holds.
      newest: version of the schema that this edgefm knows.
      schema: name of that schema.
      error: class of the errors.
      hint: what to do where the file is damaged.
      missing: what to do where there is none.
    Raises:
      EdgefmError: (of the class `error`) as from `read_json`, or a newer edgefm wrote the file.
    """
    value = read_json(path, what=what, error=error, hint=hint, missing=missing)
    version = value.get("schema_version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > newest:
        raise error(
            f"{path} has schema version {version}; this edgefm reads up to {newest}",
            hint="A newer edgefm wrote it: upgrade with pip install -U edgefm.",
        )
    check_schema(value, schema, where=str(path), error=error, hint=hint)
    found: dict[str, Any] = value
    return found


def read_toml(
    path: Path,
    *,
    what: str,
    error: type[EdgefmError] = EdgefmError,
    hint: str | None = None,
    missing: str | None = None,
) -> dict[str, Any]:
    """Return the table in a TOML file; arguments and errors are those of `read_json`, the limit `TOML_BYTES`.

    TOML has NaN and infinity: they are left to who reads the table.
    """
    content = read_bytes(path, what=what, limit=TOML_BYTES, error=error, missing=missing or hint)
    table: dict[str, Any] = _parsed(
        content, _loads_toml, otherwise="not valid TOML", where=str(path), error=error, hint=hint
    )
    return table


def read_bytes(
    path: Path, *, what: str, limit: int, error: type[EdgefmError] = EdgefmError, missing: str | None = None
) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Raises:
      EdgefmError: (of the class `error`) there is none, it is no regular file, or longer.
      OSError: it cannot be read.
    """
    with regular.open_file(path, error, missing=f"no {what} at {path}", hint=missing) as file:
        try:
            content = file.read(limit + 1)
        except OSError as failure:  # it does not say of which file
            failure.filename = failure.filename or str(path)
            raise
    if len(content) > limit:
        raise error(f"{path} is too long for a {what}: more than {limit:,} bytes")
    return content


def inside(folder: Path, name: Any, *, where: Path | str, error: type[EdgefmError] = EdgefmError) -> Path:
    """Return the path of a file or folder that a document names, which must lie in the folder of that document.

    >>> inside(Path("runs/a"), "../secret", where="manifest.json")
    Traceback (most recent call last):
    edgefm.core.errors.EdgefmError: manifest.json names '../secret': a path inside its folder is expected

    Args:
      folder: which must not be left.
      name: relative to the folder, with forward slashes.
      where: it is named, for errors.
      error: class of the errors.
    Raises:
      EdgefmError: (of the class `error`) the name is no relative path, has '..' in it, or leads elsewhere by a link.
    """
    expected = f"{where} names {shown(name)}: a path inside its folder is expected"
    if not isinstance(name, str) or not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise error(expected)
    path = folder / name
    try:
        leaves = not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links in a circle
        leaves = True
    if leaves:
        raise error(f"{where} names {shown(name)}, a link that leaves its folder: copy there what it leads to")
    return path


def shown(value: Any) -> str:
    """Return a value from a file as an error shows it: its repr, cut short.

    >>> shown("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…"
    """
    return schemas.shown(value)


def _parsed(
    content: bytes,
    loads: Callable[[str], Any],
    *,
    otherwise: str,
    where: str,
    error: type[EdgefmError],
    hint: str | None,
    finite: bool = True,
) -> Any:
    """Return what a text means, each number, string and depth in it checked."""
    try:
        value = loads(content.decode("utf-8-sig"))
        _check(value, most=_MOST if finite else math.inf)
    except UnicodeDecodeError as broken:
        why = f"it is not UTF-8 text: byte {broken.start} is 0x{content[broken.start]:02x}"
    except RecursionError:
        why = _TOO_DEEP
    except _RefusedError as broken:
        why = str(broken)
    except ValueError as broken:
        # Python has a limit of its own for the digits of a whole number, and names no place.
        if "integer string conversion" in str(broken):
            why = f"it holds a whole number of thousands of digits; {_RANGE}"
        else:
            why = f"it is {otherwise}: {broken}"
    else:
        return value
    raise error(f"{where} is damaged: {why}", hint=hint)


_TOO_DEEP = f"it is nested deeper than {DEPTH} levels"
_RANGE = "whole numbers of at most 64 bits are allowed"


class _RefusedError(ValueError):
    """A value that the language allows, but that edgefm does not take."""


def _loads_json(text: str) -> Any:
    return json.loads(text, parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_no_key_twice)


def _loads_any_floats(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_no_key_twice)


def _loads_toml(text: str) -> Any:
    import tomllib  # not needed by what reads JSON

    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > _DOTS:
            raise _RefusedError(f"line {number} has more than {_DOTS:,} dots")
    return tomllib.loads(text)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _RefusedError(f"it holds the number {shown(digits)}; one within ±{_MOST:g} is expected")
    return number


def _no_constant(name: str) -> NoReturn:
    raise _RefusedError(f"it holds {name}, which is not JSON; a finite number or null is expected")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for twice, _ in pairs:
            if twice in seen:
                break
            seen.add(twice)
        raise _RefusedError(f"the key {shown(twice)} is there more than once")
    return value


def _check(value: Any, *, most: float) -> None:
    """Raise a `_RefusedError` for a number out of range, half a surrogate pair, or too many levels."""
    level: list[tuple[str, Any]] = [("", [value])]
    for _ in range(DEPTH + 1):
        deeper: list[tuple[str, Any]] = []
        for place, holder in level:
            for key, item in holder.items() if isinstance(holder, dict) else enumerate(holder):
                kind = type(item)
                if kind is int:
                    if not _LEAST <= item <= _GREATEST:
                        raise _RefusedError(
                            f"{_place(place, key)} is a whole number of {_digits(item)} digits; {_RANGE}"
                        )
                elif kind is float:
                    if math.isfinite(item) and not -most <= item <= most:
                        raise _RefusedError(f"{_place(place, key)} is {item}; a number within ±{most:g} is expected")
                elif kind is str:
                    _check_text(item, place, key)
                elif kind is dict or kind is list:
                    deeper.append((_place(place, key), item))
            if isinstance(holder, dict):
                for key in holder:
                    _check_text(key, place, key)
        if not deeper:
            return
        level = deeper
    raise _RefusedError(_TOO_DEEP)


def _check_text(text: str, place: str, key: Any) -> None:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise _RefusedError(f"{_place(place, key)} holds half a surrogate pair, which is no text") from None


def _digits(number: int) -> int:
    return len(str(abs(number)))


def _place(place: str, key: Any) -> str:
    """Return where a value stands, e.g. 'models[0].name'; the whole of a document is 'it'."""
    if not place:
        return "it"
    if isinstance(key, int):
        return f"{place if place != 'it' else ''}[{key}]"
    name = key if key.isidentifier() and len(key) < 50 else f"[{shown(key)}]"
    return name if place == "it" else f"{place}{'' if name.startswith('[') else '.'}{name}"
