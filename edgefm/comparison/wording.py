"""A gate's checks in words."""

from __future__ import annotations

from edgefm.comparison.budget import KEYS
from edgefm.comparison.gate import BROKEN, HELD, UNCHECKED, GateResult, LimitCheck


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
