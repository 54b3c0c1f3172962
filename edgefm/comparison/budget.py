"""A budget: the limits a project sets its models, read from a TOML file.

baseline = "float32"            # the row that ratios and drops refer to
strict = false

[models."int8_*"]               # a name, or a pattern of names
accuracy = 0.92
p50_ratio = 0.5
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgefm.core.documents import read_toml, shown
from edgefm.core.errors import EdgefmError


class BudgetError(EdgefmError):
    """A budget file is missing, is no TOML, or holds an unknown key or a value out of range."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A limit that a budget may set.

    Attributes:
      what: it limits, for a person.
      side: 'least': the figure must reach it; 'most': it must not exceed it; 'quality': as the measure has it.
      unit: of the figure.
      whole: it is a whole number.
      highest: greatest value that makes sense; None for no such bound.
      baseline: it refers to a baseline.
    """

    what: str
    side: Literal["least", "most", "quality"]
    unit: str = ""
    whole: bool = False
    highest: float | None = None
    baseline: bool = False


KEYS: dict[str, Key] = {
    "accuracy": Key(what="accuracy on the test images, a fraction from 0 to 1", side="least", highest=1.0),
    "accuracy_drop": Key(
        what="accuracy lost relative to the baseline, a fraction from 0 to 1", side="most", highest=1.0, baseline=True
    ),
    "quality": Key(what="the quality measure: a minimum, or a maximum where lower is better", side="quality"),
    "size_bytes": Key(what="size of the file", side="most", unit="bytes", whole=True),
    "size_gzip_bytes": Key(what="size after gzip -9", side="most", unit="bytes", whole=True),
    "p50_ratio": Key(what="p50 latency divided by the baseline's", side="most", baseline=True),
    "p50_us": Key(what="p50 latency in microseconds, valid on one machine only", side="most", unit="us"),
    "arena_bytes": Key(what="tensor arena", side="most", unit="bytes", whole=True),
    "peak_memory_bytes": Key(what="peak memory above the bare runtime's", side="most", unit="bytes", whole=True),
    "instructions": Key(what="instructions of one inference", side="most", whole=True),
}
_MOST_TABLES = 500
_TOP = ("baseline", "strict", "models")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit of a budget.

    Attributes:
      models: name or pattern of the models it is for.
      key: of `KEYS`.
      value: in the key's unit.
    """

    models: str
    key: str
    value: float


@dataclass(frozen=True, kw_only=True)
class GateBudget:
    """The limits of a project.

    Attributes:
      limits: in the order of the file.
      baseline: name of the model that ratios and drops refer to, within the record; None where none is named.
      strict: a latency whose interval reaches beyond its limit counts as broken, not as undecided.
    """

    limits: tuple[Limit, ...]
    baseline: str | None = None
    strict: bool = False


def read(path: Path) -> GateBudget:
    """Return the budget in a TOML file.

    Raises:
      BudgetError: it is missing, no TOML, or `parse` refuses it.
    """
    return parse(read_toml(path, what="budget", error=BudgetError, hint=_example()), where=str(path))


def parse(value: Mapping[str, Any], *, where: str) -> GateBudget:
    """Return the budget that a TOML document means.

    Args:
      value: the document.
      where: it stands, for errors.
    Raises:
      BudgetError: an unknown key (the nearest is named), a wrong type, a value out of range, or no limit at all.
    """
    for name in value:
        if name not in _TOP:
            # A limit that stands outside of a table is the commonest slip.
            hint = 'Put limits below [models."NAME"].' if name in KEYS else f"Allowed: {', '.join(_TOP)}."
            raise _unknown(f"{where}: unknown key '{name}'", name, _TOP, hint)
    baseline, strict = value.get("baseline"), value.get("strict", False)
    if baseline is not None and (not isinstance(baseline, str) or not baseline):
        raise BudgetError(
            f"{where}: baseline must be a model's name, not {shown(baseline)}", hint='For example: baseline = "float32"'
        )
    if not isinstance(strict, bool):
        raise BudgetError(f"{where}: strict must be true or false, not {shown(strict)}")
    tables = value.get("models", {})
    if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
        raise BudgetError(f"{where}: limits must be in tables, one for each model or pattern", hint=_example())
    if len(tables) > _MOST_TABLES:
        raise BudgetError(
            f"{where} has {len(tables):,} tables of limits; {_MOST_TABLES} are allowed",
            hint='Name many models by one pattern, for example: [models."*_int8"].',
        )
    limits = tuple(
        Limit(models=name, key=key, value=_checked(f'{where}, [models."{name}"]', key, limit))
        for name, table in tables.items()
        for key, limit in table.items()
    )
    if not limits:
        raise BudgetError(f"{where} sets no limit", hint=_example())
    return GateBudget(limits=limits, baseline=baseline, strict=strict)


def _checked(where: str, name: str, limit: Any) -> float:
    """Return the value of a limit, or raise the error that says what is wrong with it."""
    if name not in KEYS:
        raise _unknown(f"{where}: unknown key '{name}'", name, tuple(KEYS), f"Allowed: {', '.join(KEYS)}.")
    key = KEYS[name]
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        wrong = limit if isinstance(limit, bool) else shown(limit)
        raise BudgetError(f"{where}: {name} must be a number, not {wrong}", hint=f"{name}: {key.what}.")
    if not limit >= 0 or limit == float("inf"):
        raise BudgetError(f"{where}: {name} is {limit}; it must be 0 or more", hint=f"{name}: {key.what}.")
    if key.whole and limit != int(limit):
        raise BudgetError(f"{where}: {name} must be a whole number, not {limit!r}", hint=f"{name}: {key.what}.")
    if key.highest is not None and limit > key.highest:
        raise BudgetError(
            f"{where}: {name} is {limit}; it must be at most {key.highest:g}",
            hint=f"{name}: {key.what}: {limit / 100:g}, not {limit:g}.",
        )
    return float(limit)


def _unknown(message: str, name: str, known: tuple[str, ...], hint: str) -> BudgetError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    return BudgetError(f"{message}{guess}", hint=hint)


def _example() -> str:
    return 'Write a table such as [models."int8_*"] and limits below it, e.g. accuracy = 0.92'
