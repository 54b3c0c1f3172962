"""A gate's checks in words."""

from __future__ import annotations

from edgefm.comparison.gate_result import BROKEN, HELD, UNCHECKED, GateResult, LimitCheck, bound, interval, number


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
