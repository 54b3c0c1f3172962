"""Checks of Python arguments: what was given, and what is allowed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgefm.core.errors import ArgumentError

# What stands for a place on disk.
PathLike = str | os.PathLike[str]


def as_path(value: Any, name: str) -> Path:
    """Return a path given as `str` or `Path`.

    >>> as_path("runs/demo", "run")
    PosixPath('runs/demo')

    Args:
      value: as it was given.
      name: of the argument.
    Raises:
      ArgumentError: it is no path.
    """
    check_type(value, name, (str, os.PathLike), "a path (str or Path)")
    return Path(value)


def as_paths(value: Any, name: str) -> list[Path]:
    """Return the paths in one path or a sequence of them."""
    if isinstance(value, str | os.PathLike):
        return [as_path(value, name)]
    check_type(value, name, Iterable, "a path (str or Path), or a sequence of paths")
    return [as_path(item, f"an item of {name}") for item in value]


def check_type(value: Any, name: str, types: type | tuple[type, ...], allowed: str, *, hint: str | None = None) -> None:
    """Raise an ArgumentError unless a value is of one of some types.

    >>> check_type(3, "recipe", (str,), "the name of a recipe")
    Traceback (most recent call last):
      ...
    edgefm.core.errors.ArgumentError: recipe is 3, an int; the name of a recipe is expected
    """
    if not isinstance(value, types):
        kind = type(value).__name__
        article = "an" if kind[0].lower() in "aeiou" else "a"
        raise ArgumentError(f"{name} is {_short(value)}, {article} {kind}; {allowed} is expected", hint=hint)


def check_number(value: Any, name: str, *types: type) -> None:
    """Raise an ArgumentError unless a value is None or a number; of whole numbers alone where `int` is given."""
    allowed = types or (int, float)
    if value is not None and (isinstance(value, bool) or not isinstance(value, allowed)):
        words = "a number" if float in allowed else "a whole number"
        raise ArgumentError(f"{name} is {_short(value)}; {words} is expected")


def check_items(values: Any, name: str, types: type | tuple[type, ...], allowed: str) -> None:
    """Raise an ArgumentError unless a value is a sequence (no text) whose items are of some types."""
    if isinstance(values, str):
        raise ArgumentError(f"{name} is the text {values!r}; a list is expected, each item {allowed}")
    check_type(values, name, Sequence, f"a list, each item {allowed},")
    for index, value in enumerate(values):
        check_type(value, f"{name}[{index}]", types, allowed)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
