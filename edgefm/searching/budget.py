"""Budgets of a search: limits that a file must keep, read from a TOML file of one or several tables.

[phone]
max_p50_ratio = 0.15            # of the int8_w8a8 file of the unchanged model
max_accuracy_loss = 1.0         # percentage points

[watch]
max_download_bytes = "40 KB"
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from edgefm.comparison.budget import BudgetError
from edgefm.core.documents import read_toml, shown
from edgefm.core.errors import EdgefmError

SIZE, COUNT, NUMBER, POINTS = "size", "count", "number", "points"
_MOST_BUDGETS = 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_WITH_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_UNITS = {
    SIZE: {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    COUNT: {"": 1, "K": 10**3, "M": 10**6, "G": 10**9},
}
_EXAMPLES = {SIZE: '40000 or "40 KB"', COUNT: '2000000 or "2 M"', NUMBER: "0.15", POINTS: "1.0"}
HOST = "host"
_TARGETS = 'For example "host", which is this machine, or "ssh://pi@board".'
_RESERVED = ("float32", "int8_w8a8")


@dataclass(frozen=True, kw_only=True)
class LimitKey:
    """A limit that a budget may set.

    Attributes:
      what: it limits, for a person.
      kind: 'size' (bytes), 'count', 'number' or 'points'.
      figure: name of the figure of a file that must not exceed it, with its unit.
    """

    what: str
    kind: str
    figure: str


KEYS: dict[str, LimitKey] = {
    "max_size_bytes": LimitKey(what="size of the file", kind=SIZE, figure="size_bytes"),
    "max_download_bytes": LimitKey(what="size of the file after gzip -9", kind=SIZE, figure="download_bytes"),
    "max_p50_ratio": LimitKey(
        what="p50 latency divided by that of the unchanged model's int8_w8a8 file", kind=NUMBER, figure="p50_ratio"
    ),
    "max_p50_us": LimitKey(what="p50 latency in microseconds on the target", kind=NUMBER, figure="p50_us"),
    "max_arena_bytes": LimitKey(what="tensor arena of TFLite Micro", kind=SIZE, figure="arena_bytes"),
    "max_macs": LimitKey(what="multiply-accumulates of one inference", kind=COUNT, figure="macs"),
    "max_accuracy_loss": LimitKey(
        what="accuracy lost against the unchanged model, in percentage points", kind=POINTS, figure="accuracy_loss"
    ),
}
# Known without training, but for the download, whose least size is.
STATIC = ("size_bytes", "download_bytes", "p50_ratio", "p50_us", "arena_bytes", "macs")
# The share by which a figure that nobody knows exceeds its limit: more than any known one does, and finite, so that
# such files still differ by their other limits.
UNKNOWN = 1e12


@dataclass(frozen=True, kw_only=True)
class SearchBudget:
    """What a file may cost at most.

    Attributes:
      name: of the budget, e.g. 'phone'.
      limits: by the key of `KEYS`.
      target: that `max_p50_us` holds on; None where that limit is not set.
    """

    name: str
    limits: Mapping[str, float] = field(hash=False)
    target: str | None = None

    def figure(self, key: str) -> str:
        """Return the name of the figure that a limit is on; p50 on another target than this machine has its own.

        >>> SearchBudget(name="a", limits={"max_p50_us": 9.0}, target="ssh://pi@board").figure("max_p50_us")
        'p50_us@ssh://pi@board'
        """
        figure = KEYS[key].figure
        return on_target(self.target) if figure == "p50_us" and self.target not in (None, HOST) else figure

    def excess(self, figures: Mapping[str, float | None], *, static: bool = False) -> dict[str, float]:
        """Return by which share each limit that is not kept is exceeded; {} where all are kept.

        A figure that is not known exceeds its limit by `UNKNOWN`: TFLite Micro may not run the file at all. Those of
        `unknown`, which are measured later, do not count.

        >>> budget = SearchBudget(name="mcu", limits={"max_size_bytes": 100.0, "max_arena_bytes": 50.0})
        >>> budget.excess({"size_bytes": 150, "arena_bytes": 50}), budget.excess({"size_bytes": 9, "arena_bytes": None})
        ({'max_size_bytes': 0.5}, {'max_arena_bytes': 1000000000000.0})

        Args:
          figures: of a file, by the names in `KEYS`.
          static: leave the accuracy out.
        """
        broken, later = {}, self.unknown(figures)
        for key, limit in self.limits.items():
            if key in later or (static and KEYS[key].figure not in STATIC):
                continue
            value = figures.get(self.figure(key))
            if value is None:
                broken[key] = UNKNOWN
            elif value > limit:
                broken[key] = value / limit - 1
        return broken

    def unknown(self, figures: Mapping[str, float | None]) -> tuple[str, ...]:
        """Return the limits that cannot be checked yet: of the p50 on another target, where nothing was measured."""
        names = {key: self.figure(key) for key in self.limits}
        return tuple(key for key, name in names.items() if name.startswith(on_target("")) and figures.get(name) is None)

    def to_json(self) -> dict[str, Any]:
        """Return the budget as a table of the file."""
        return {**self.limits, **({} if self.target is None else {"target": self.target})}


def read(path: Path) -> tuple[SearchBudget, ...]:
    """Return the budgets in a TOML file.

    Raises:
      BudgetError: it is missing, no TOML, or `parse` refuses it.
    """
    return parse(read_toml(path, what="budget", error=BudgetError, hint=_example()), where=str(path))


def parse(value: Mapping[str, Any], *, where: str) -> tuple[SearchBudget, ...]:
    """Return the budgets that a TOML document means, in its order.

    Args:
      value: the document.
      where: it stands, for errors.
    Raises:
      BudgetError: an unknown key (the nearest is named), a wrong type, a value that is not above 0, limits that
        contradict each other, or no limit at all.
    """
    for name, table in value.items():
        if not isinstance(name, str):
            raise BudgetError(f"{where}: {shown(name)} cannot name a budget: a text is expected", hint=_example())
        if not isinstance(table, Mapping):
            near = "" if name in KEYS else _near(name, KEYS)
            limit = near or name in KEYS
            hint = "Put limits below a table that names the budget, e.g. [phone]." if limit else _example()
            raise BudgetError(f"{where}: '{name}' stands outside of a table{near}", hint=hint)
        if name in _RESERVED:
            raise BudgetError(f"{where}: a budget cannot be called {name}: a reference is", hint="Call it otherwise.")
        if not _NAME.fullmatch(name):
            raise BudgetError(
                f"{where}: {shown(name)} cannot name a budget: at most 40 letters, digits, '_' and '-' are allowed",
                hint=_example(),
            )
    if not value:
        raise BudgetError(f"{where} sets no limit", hint=_example())
    if len({name.casefold() for name in value}) < len(value):
        raise BudgetError(
            f"{where} has names that differ in capitals alone: {', '.join(value)}",
            hint="Files are called by them, and some disks do not tell capitals apart: rename one.",
        )
    if len(value) > _MOST_BUDGETS:
        raise BudgetError(f"{where} has {len(value):,} budgets; at most {_MOST_BUDGETS} are allowed")
    return tuple(_budget(name, table, f"{where}, [{name}]") for name, table in value.items())


def _budget(name: str, table: Mapping[str, Any], where: str) -> SearchBudget:
    limits = {}
    for key, limit in table.items():
        if key == "target":
            continue
        if key not in KEYS:
            known = f"Allowed: {', '.join(KEYS)}, target."
            raise BudgetError(f"{where}: unknown key '{key}'{_near(str(key), (*KEYS, 'target'))}", hint=known)
        limits[key] = _checked(where, key, limit)
    if not limits:
        raise BudgetError(f"{where} sets no limit", hint=_example())
    if {"max_p50_ratio", "max_p50_us"} <= limits.keys():
        raise BudgetError(
            f"{where}: max_p50_ratio and max_p50_us both limit the p50 latency",
            hint="Keep one: the ratio holds on any machine, microseconds on the target alone.",
        )
    target = table.get("target")
    if ("max_p50_us" in limits) != (target is not None):
        lacking, with_it = ("target", "max_p50_us") if target is None else ("max_p50_us", "target")
        raise BudgetError(
            f"{where}: {with_it} is set without {lacking}", hint='For example: max_p50_us = 20, target = "host".'
        )
    if target is not None:
        _check_target(target, where)
    return SearchBudget(name=name, limits=limits, target=target)


def on_target(address: str | None) -> str:
    """Return the name of the figure of p50 on a target that is not this machine."""
    return f"p50_us@{address}"


def targets_of(budgets: Iterable[SearchBudget]) -> tuple[str, ...]:
    """Return the targets that budgets limit the p50 on, but for this machine, each once."""
    return tuple(dict.fromkeys(one.target for one in budgets if one.target is not None and one.target != HOST))


def _check_target(target: Any, where: str) -> None:
    if not isinstance(target, str):
        raise BudgetError(f"{where}: target is {shown(target)}; the address of a target is expected", hint=_TARGETS)
    if target == HOST:
        return
    from edgefm.profiling.cost_model.build import measurable

    try:
        measurable(target)
    except EdgefmError as error:
        raise BudgetError(f"{where}: {error.message}", hint=error.hint or _TARGETS) from None


def _checked(where: str, name: str, limit: Any) -> float:
    """Return the value of a limit, or raise the error that says what is wrong with it."""
    key = KEYS[name]
    hint = f"{name}: {key.what}, e.g. {_EXAMPLES[key.kind]}."
    value = limit
    if isinstance(limit, str) and key.kind in _UNITS:
        parts = _WITH_UNIT.fullmatch(limit)
        units = _UNITS[key.kind]
        if parts is None or parts[2] not in units:
            known = ", ".join(unit for unit in units if unit)
            raise BudgetError(f"{where}: {name} is {shown(limit)}; a number with one of {known} is expected", hint=hint)
        exact = Decimal(parts[1]) * units[parts[2]]
        value = int(exact) if units[parts[2]] > 1 else float(exact)  # 1.1 MiB: the bytes below
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BudgetError(f"{where}: {name} is {shown(limit)}; a number is expected", hint=hint)
    if not 0 < value <= sys.float_info.max:
        raise BudgetError(f"{where}: {name} is {shown(limit)}; a finite number above 0 is expected", hint=hint)
    if key.kind in (SIZE, COUNT) and value != int(value):
        raise BudgetError(f"{where}: {name} is {shown(limit)}; a whole number is expected", hint=hint)
    if key.kind == POINTS and value > 100:
        raise BudgetError(f"{where}: {name} is {shown(limit)}; it must be at most 100 points", hint=hint)
    return float(value)


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def _example() -> str:
    return "Write a table such as [phone] and limits below it, e.g. max_p50_ratio = 0.15"
