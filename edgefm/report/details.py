"""Nested JSON as rows of a two-column table: environment, protocol, folding, parity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST_ROWS = 80
_MOST_LETTERS = 200


def rows(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return (path, text) of every leaf of a JSON value, at most 80.

    >>> rows({"fold": {"applied": True, "shape": [1, 28]}, "governor": {"value": None, "reason": "unknown"}})
    [('fold / applied', 'yes'), ('fold / shape', '1, 28'), ('governor', 'not known: unknown')]
    """
    found = list(_leaves(value, name))
    if len(found) > _MOST_ROWS:
        return [*found[:_MOST_ROWS], ("…", f"{len(found) - _MOST_ROWS} more in the step's JSON file")]
    return found


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


def _leaves(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        if set(value) == {"value", "reason"} and value["value"] is None:
            return [(name, f"not known: {text(value['reason'])}")]
        return [leaf for key, one in value.items() for leaf in _leaves(one, _path(name, str(key)))]
    if isinstance(value, (list, tuple)):
        if all(not isinstance(one, (Mapping, list, tuple)) for one in value):
            return [(name, text(", ".join(text(one) for one in value)) if value else "none")]
        return [leaf for place, one in enumerate(value) for leaf in _leaves(one, _path(name, _item(one, place)))]
    return [(name, text(value))]


def _item(value: Any, place: int) -> str:
    named = value.get("name") if isinstance(value, Mapping) else None
    return str(named) if named else str(place + 1)


def _path(name: str, key: str) -> str:
    spoken = key.replace("_", " ") if key.islower() else key
    return f"{name} / {spoken}" if name else spoken
