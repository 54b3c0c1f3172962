"""What came of a budget: each limit held against a model, as JSON, as a table and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgefm.comparison.budget import KEYS
from edgefm.comparison.shipping.verdict import Verdict
from edgefm.core import html
from edgefm.core.results import JsonResult

KIND = "gate"
SCHEMA_VERSION = 1
HELD, BROKEN, UNDECIDED, UNCHECKED = "held", "broken", "undecided", "not checked"
STATES = (HELD, BROKEN, UNDECIDED, UNCHECKED)


@dataclass(frozen=True, kw_only=True)
class LimitCheck:
    """One limit, held against one model.

    Attributes:
      model: name of the row, or the pattern where no row matches.
      key: of the limit.
      limit: its value.
      state: one of `STATES`.
      value: the figure; None where it could not be had.
      low: where its 95 % interval begins; None for figures that no chance is in.
      high: where it ends.
      reason: what makes it undecided or unchecked, or what else to know.
    """

    model: str
    key: str
    limit: float
    state: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the check as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class GateResult(JsonResult):
    """What came of a budget.

    Attributes:
      record: name of the record as it was given.
      baseline: what ratios and drops refer to, or None.
      checks: in the order of the budget, and of the rows.
      notes: what else a reader should know.
      verdict: which file of the record to ship; a budget says what must hold, and nothing of which file is best.
    """

    record: str
    baseline: str | None
    checks: tuple[LimitCheck, ...]
    notes: tuple[str, ...] = ()
    verdict: Verdict | None = None

    @property
    def exit_code(self) -> int:
        """1: a limit is broken; 2: none is, but some could not be checked; 0: all held or are undecided."""
        states = {check.state for check in self.checks}
        return 1 if BROKEN in states else 2 if UNCHECKED in states else 0

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "record": self.record,
            "baseline": self.baseline,
            "exit_code": self.exit_code,
            "notes": list(self.notes),
            "checks": [check.to_json() for check in self.checks],
            "verdict": None if self.verdict is None else self.verdict.to_json(),
        }

    @property
    def held(self) -> bool:
        """Whether no limit is broken and every one could be checked."""
        return self.exit_code == 0

    def _repr_html_(self) -> str:
        rows = [
            [check.model, check.key, number(check, check.value), interval(check), bound(check), check.state]
            for check in self.checks
        ]
        caption = f"{self.record}{f', baseline {self.baseline}' if self.baseline else ''}"
        lines = [f"{check.model}, {check.key}: {check.reason}" for check in self.checks if check.reason]
        headers = ["model", "metric", "value", "95 % interval", "limit", "result"]
        return html.table(rows, headers, caption=caption) + "".join(
            map(html.paragraph, (*lines, *self.notes, *([] if self.verdict is None else [self.verdict.headline])))
        )


def bound(check: LimitCheck) -> str:
    """Return a limit as it is read: 'at most 460,000 bytes'."""
    word = {"least": "at least", "most": "at most", "quality": "limit"}[KEYS[check.key].side]
    return f"{word} {number(check, check.limit)}"


def number(check: LimitCheck, value: float | None) -> str:
    """Return a figure of a check with its unit, '-' for none."""
    if value is None:
        return "-"
    key = KEYS[check.key]
    if key.whole:
        return f"{value:,.0f}{' ' * bool(key.unit)}{key.unit}"
    if check.key in ("accuracy", "accuracy_drop"):
        return f"{100 * value:.2f} %" if check.key == "accuracy" else f"{100 * value:.2f} points"
    return f"{value:,.4g}{' ' * bool(key.unit)}{key.unit}"


def interval(check: LimitCheck) -> str:
    """Return the interval of a check's figure, '' where it has none."""
    if check.low is None or check.high is None:
        return ""
    return f"{number(check, check.low)} to {number(check, check.high)}"


def sentence(check: LimitCheck) -> str:
    """Return what came of a limit: 'int8: size_bytes 470,000 bytes, at most 460,000 bytes: broken'."""
    between = f" ({interval(check)})" if interval(check) else ""
    figure = "" if check.value is None else f" is {number(check, check.value)}{between},"
    reason = f", {check.reason}" if check.reason else ""
    return f"{check.model}: {check.key}{figure} {bound(check)}: {check.state}{reason}"


def conclusion(result: GateResult) -> str:
    """Return one line on what came of a budget."""
    counts = {state: sum(check.state == state for check in result.checks) for state in (HELD, BROKEN, UNCHECKED)}
    undecided = len(result.checks) - sum(counts.values())
    parts = [f"{counts[HELD]} of {len(result.checks)} limits held"]
    parts += [f"{counts[BROKEN]} broken"] * bool(counts[BROKEN])
    parts += [f"{undecided} undecided"] * bool(undecided)
    parts += [f"{counts[UNCHECKED]} could not be checked"] * bool(counts[UNCHECKED])
    return ", ".join(parts)
