"""A gate's checks in words."""

from __future__ import annotations

from edgefm.comparison.gate import BROKEN, HELD, UNCHECKED, Check, Gate, bound, interval, number


def sentence(check: Check) -> str:
    """Return what came of a limit: 'int8: size_bytes 470,000 bytes, at most 460,000 bytes: broken'."""
    between = f" ({interval(check)})" if interval(check) else ""
    figure = "" if check.value is None else f" is {number(check, check.value)}{between},"
    reason = f", {check.reason}" if check.reason else ""
    return f"{check.model}: {check.key}{figure} {bound(check)}: {check.state}{reason}"


def conclusion(found: Gate) -> str:
    """Return one line on what came of a budget."""
    counts = {state: sum(check.state == state for check in found.checks) for state in (HELD, BROKEN, UNCHECKED)}
    undecided = len(found.checks) - sum(counts.values())
    told = [f"{counts[HELD]} of {len(found.checks)} limits held"]
    told += [f"{counts[BROKEN]} broken"] * bool(counts[BROKEN])
    told += [f"{undecided} undecided"] * bool(undecided)
    told += [f"{counts[UNCHECKED]} could not be checked"] * bool(counts[UNCHECKED])
    return ", ".join(told)
