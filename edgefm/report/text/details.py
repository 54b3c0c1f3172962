"""Nested JSON for a reader: leaves as rows of two columns, lists of alike objects as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MOST_ROWS = 80
_MOST_COLUMNS = 8
_MOST_LETTERS = 200
_HASH_LETTERS = 12


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A list of objects as a table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def rows(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return (path, text) of every leaf of a JSON value, at most 80.

    >>> rows({"fold": {"applied": True, "shape": [1, 28]}, "governor": {"value": None, "reason": "unknown"}})
    [('fold / applied', 'yes'), ('fold / shape', '1, 28'), ('governor', 'not known: unknown')]
    """
    leaves = list(_leaves(value, name))
    if len(leaves) > _MOST_ROWS:
        return [*leaves[:_MOST_ROWS], ("…", f"{len(leaves) - _MOST_ROWS} more in the step's JSON file")]
    return leaves


def grids(value: Any) -> tuple[Any, list[Grid]]:
    """Return a JSON value without its lists of objects, and those lists as tables.

    >>> rest, found = grids({"n": 1, "variants": [{"variant": "float32", "seconds": 0.5}]})
    >>> rest, found[0].title, found[0].columns, found[0].rows
    ({'n': 1}, 'variants', ('variant', 'seconds'), (('float32', '0.5'),))
    """
    return _without_lists(value, "")


def text(value: Any) -> str:
    """Return a JSON scalar as text for a reader, cut after 200 letters."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    words = str(value)
    return words if len(words) <= _MOST_LETTERS else f"{words[:_MOST_LETTERS]}…"


def _without_lists(value: Any, name: str) -> tuple[Any, list[Grid]]:
    if not isinstance(value, Mapping):
        return value, []
    rest: dict[str, Any] = {}
    grids_inside: list[Grid] = []
    for key, item in value.items():
        path = _path(name, str(key))
        grid = _grid(item, path)
        if grid is not None:
            grids_inside.append(grid)
            continue
        rest[key], inner = _without_lists(item, path)
        grids_inside += inner
    return rest, grids_inside


def _grid(value: Any, title: str) -> Grid | None:
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        return None
    lines = [dict(_leaves(item, "")) for item in value]
    columns = tuple(dict.fromkeys(column for line in lines for column in line))
    if len(columns) > _MOST_COLUMNS + 1:
        return None
    texts = tuple(tuple(_short(column, line.get(column, "")) for column in columns) for line in lines)
    return Grid(title=title, columns=columns, rows=texts)


def _short(column: str, words: str) -> str:
    return f"{words[:_HASH_LETTERS]}…" if column.endswith("sha256") and len(words) > _HASH_LETTERS else words


def _leaves(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        if set(value) == {"value", "reason"} and value["value"] is None:
            return [(name, f"not known: {text(value['reason'])}")]
        if name.endswith("versions"):
            return [(name, ", ".join(f"{key} {text(item)}" for key, item in value.items()))]
        return [leaf for key, item in value.items() for leaf in _leaves(item, _path(name, str(key)))]
    if isinstance(value, (list, tuple)):
        if all(not isinstance(item, (Mapping, list, tuple)) for item in value):
            return [(name, text(", ".join(text(item) for item in value)) if value else "none")]
        return [leaf for place, item in enumerate(value) for leaf in _leaves(item, _path(name, _item(item, place)))]
    return [(name, text(value))]


def _item(value: Any, place: int) -> str:
    named = value.get("name") if isinstance(value, Mapping) else None
    return str(named) if named else str(place + 1)


def _path(name: str, key: str) -> str:
    spoken = key.replace("_", " ") if key.islower() else key
    return f"{name} / {spoken}" if name else spoken
