"""A comparison in sentences that a person understands."""

from __future__ import annotations

from edgefm.comparison import aspects
from edgefm.comparison.aspects import Aspect, figure
from edgefm.comparison.comparison_result import ComparisonResult
from edgefm.comparison.shipping.words import joined


def sentence(aspect: Aspect, *, tests: int = 1) -> str:
    """Return what an aspect says of the second model, B.

    Args:
      aspect: of a pair.
      tests: how many tests p was raised for.
    """
    name = aspects.title(aspect)
    if aspect.verdict == aspects.NOT_COMPARED:
        return f"{name}: not compared: {aspect.reason}"
    if aspect.verdict == aspects.NOT_JUDGED:
        return (
            f"{name}: {figure(aspect, aspect.first)} and {figure(aspect, aspect.second)}, not judged: {aspect.reason}"
        )
    if aspect.name == "latency":
        return _latency(aspect, tests)
    if "higher_is_better" in aspect.details:
        return _quality(aspect, name, tests)
    if aspect.verdict == aspects.SAME:
        return f"{name}: the same, {figure(aspect, aspect.first)}"
    change = "" if aspect.difference is None else f", {_percent(aspect.difference.value - 1)}"
    how = f" ({aspect.details['mode']})" if aspect.details.get("mode") in ("estimated", "simulated") else ""
    end = f": within the margin of {aspect.details['margin']:.1%}" if aspect.verdict == aspects.EQUIVALENT else ""
    return f"{name}: B has {figure(aspect, aspect.second)}, A {figure(aspect, aspect.first)}{change}{how}{end}"


def conclusion(comparison: ComparisonResult) -> str:
    """Return one line on what follows from a comparison."""
    worse = comparison.worse
    if worse:
        names = ", ".join(f"{aspect.name} of {pair.second}" for pair, aspect in worse)
        return f"B is worse than A in {names}"
    # What lies within a margin may be worse, and does no harm.
    margins = (
        " beyond the margins"
        if any(_within_margin(aspect) for pair in comparison.pairs for aspect in pair.aspects)
        else ""
    )
    missing = comparison.not_compared
    if missing:
        names = ", ".join(
            pair.second if aspect is None else f"{aspect.name} of {pair.second}" for pair, aspect in missing
        )
        compared = dict.fromkeys(
            aspects.title(aspect) for pair in comparison.pairs for aspect in pair.aspects if aspects.is_compared(aspect)
        )
        if not compared:
            return f"nothing could be compared: {names}"
        return f"B is not worse than A in {joined(list(compared))}{margins}; not compared: {names}"
    return f"B is not worse than A in any metric{margins}"


def _within_margin(aspect: Aspect) -> bool:
    return aspect.verdict in (aspects.WORSE, aspects.EQUIVALENT)


def _latency(aspect: Aspect, tests: int) -> str:
    difference, details = aspect.difference, aspect.details
    assert difference is not None
    a, b = (figure(aspect, value) for value in (aspect.first, aspect.second))
    rounds = details["rounds"]
    count = f"{rounds[0]}" if rounds[0] == rounds[1] else f"{rounds[0]} and {rounds[1]}"
    between = f"ratio {difference.value:.4f} ({difference.low:.4f} to {difference.high:.4f})"
    detectable = details["smallest_difference"]
    power = "" if detectable is None else f"; minimum detectable effect {detectable:.1%} at 80 % power"
    if aspect.verdict == aspects.TOO_FEW:
        return f"latency: {a} and {b}, {between}; {count} rounds are too few to compare: take 6 or more"
    numbers = f"{a} and {b}, {between}, {_p(aspect, tests)}, {count} rounds{power}"
    if aspect.verdict == aspects.EQUIVALENT:
        return f"latency: equivalent within {details['margin']:.1%}: {numbers}"
    if aspect.verdict == aspects.UNDECIDED:
        return f"latency: no difference seen: {numbers}"
    word = "faster" if aspect.verdict == aspects.BETTER else "slower"
    size = f"{abs(difference.value - 1):.1%}" if difference.value < 2 else f"{difference.value:.1f} times"
    return f"latency: B is {word} by {size}: {numbers}"


def _quality(aspect: Aspect, name: str, tests: int) -> str:
    difference, details = aspect.difference, aspect.details
    assert difference is not None
    a, b = (figure(aspect, value) for value in (aspect.first, aspect.second))
    if aspect.verdict == aspects.SAME:
        return f"{name}: the same, {a}, with the same images right of {details['images']:,}"
    scale, unit = (100, " points") if details["unit"] == "%" else (1, "")
    form = "+.2f" if details["unit"] == "%" else "+.4g"
    between = (
        f"{scale * difference.value:{form}}{unit} "
        f"({scale * difference.low:{form}} to {scale * difference.high:{form}}){_p(aspect, tests, before=', ')}"
    )
    images = (
        f", {details['only_first_right']} images right in A only, {details['only_second_right']} in B only"
        if "images" in details
        else ""
    )
    independent = "" if "images" in details or "samples" in details else f"; {aspect.method}"
    numbers = f"{a} and {b}, {between}{images}{independent}"
    if aspect.verdict == aspects.EQUIVALENT:
        return f"{name}: equivalent within {scale * details['margin']:.2g}{unit}: {numbers}"
    if aspect.verdict == aspects.UNDECIDED:
        return f"{name}: no difference seen: {numbers}"
    return f"{name}: B is {aspect.verdict}: {numbers}"


def _p(aspect: Aspect, tests: int, *, before: str = "") -> str:
    p = aspect.p if aspect.p_raised is None else aspect.p_raised
    if p is None:
        return ""
    text = "p < 0.001" if p < 0.001 else f"p {p:.3f}"
    raised = "" if aspect.p_raised is None else f" (Holm, {tests} tests)"
    return f"{before}{text}{raised}"


def _percent(share: float) -> str:
    return f"{share:+.2%}" if abs(share) < 0.01 else f"{share:+.1%}"
