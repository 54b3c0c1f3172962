"""What no schema can say of a benchmark record: figures that must fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# By which an end of an interval may miss an estimate at that end: a share of 1, say.
_ROUNDING = 1e-9


def check(value: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the place where figures of a valid record of the newest version do not fit.

    An estimate lies within its interval; a confusion matrix has a row and a column a label; what flipped are images
    of the data set.
    """
    dataset = value["dataset"] or {"images": 0, "labels": []}
    images, classes = dataset["images"], len(dataset["labels"])
    for place, row in enumerate(value["models"]):
        where = f"models[{place}]"
        _check_intervals(row, where)
        matrix = row["confusion"]
        if matrix and {len(matrix), *map(len, matrix)} != {classes}:
            raise ValueError(f"{where}.confusion is no square matrix of {classes} classes")
        against = row["against_reference"] or {"flipped": []}
        if any(index >= images for index in against["flipped"]):
            raise ValueError(f"{where}.against_reference.flipped names an image beyond the {images:,} of the data set")


def _check_intervals(value: Any, where: str) -> None:
    """Raise a ValueError where an estimate, at any depth, lies outside of its interval."""
    if not isinstance(value, Mapping):
        return
    low, middle, high = (value.get(name) for name in ("low", "value", "high"))
    if low is not None and middle is not None and high is not None:
        room = _ROUNDING * max(1, abs(middle))
        if not low - room <= middle <= high + room:
            raise ValueError(f"{where} is {middle}, outside of its interval {low} to {high}")
    for name, inner in value.items():
        if name not in ("facts", "file_facts"):
            _check_intervals(inner, f"{where}.{name}")
