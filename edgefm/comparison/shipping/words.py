"""Differences, sizes and times in the words of a verdict."""

from __future__ import annotations

from edgefm.statistics.estimates import Estimate

# Times that differ by less are equal in practice.
EQUAL_TIME = 0.01


def change(difference: float, *, unit: str, samples: int | None = None) -> str:
    """Return a difference of two qualities (later minus earlier) in words, with its n.

    >>> change(-0.2778, unit="%", samples=18), change(0.0004, unit="%", samples=2500), change(0.0, unit="")
    ('27.8 points lower (n = 18)', '0.04 points higher (n = 2,500)', 'the same')
    """
    of = "" if samples is None else f" (n = {samples:,})"
    text = amount(difference, unit=unit)
    if difference == 0:
        return f"the same{of}"
    return f"{text} {'lower' if difference < 0 else 'higher'}{of}"


def amount(difference: float, *, unit: str) -> str:
    """Return the size of a difference with its unit.

    >>> amount(-0.2778, unit="%"), amount(0.01, unit="%"), amount(0.0123456, unit="")
    ('27.8 points', '1 point', '0.0123')
    """
    if unit != "%":
        return f"{abs(difference):.3g}"
    points = abs(100 * difference)
    if abs(points - round(points)) < 1e-9:
        return f"{round(points)} point{'' if round(points) == 1 else 's'}"
    return f"{points:.1f} points" if points >= 10 else f"{points:.2f} points"


def interval(difference: Estimate, *, unit: str) -> str:
    """Return the ends of a difference's interval with their signs.

    >>> interval(Estimate(0.001, -0.002, 0.0041), unit="%")
    '-0.20 to +0.41'
    """
    form, factor = ("+.2f", 100) if unit == "%" else ("+.3g", 1)
    return f"{factor * difference.low:{form}} to {factor * difference.high:{form}}"


def size(size_bytes: float) -> str:
    """Return a size in decimal kilobytes, or megabytes from 1 MB.

    >>> size(447_000), size(6_120), size(1_703_400)
    ('447 KB', '6.1 KB', '1.70 MB')
    """
    if size_bytes >= 1e6:
        return f"{size_bytes / 1e6:.2f} MB"
    return f"{size_bytes / 1e3:.0f} KB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} KB"


def faster(ratio: Estimate | None) -> str:
    """Return how a time compares with the reference's, within the practical margin of 1 % as equal.

    >>> faster(Estimate(1.001, 1.0, 1.002)), faster(Estimate(0.25, 0.24, 0.26)), faster(Estimate(0.9, 0.7, 1.2))
    ('equally fast', '4.0 times faster', 'not shown to be faster or slower')
    """
    if ratio is None:
        return "of unknown speed"
    if 1 - EQUAL_TIME <= ratio.value <= 1 + EQUAL_TIME:
        return "equally fast"
    if ratio.low <= 1 <= ratio.high:
        return "not shown to be faster or slower"
    factor, word = (1 / ratio.value, "faster") if ratio.value < 1 else (ratio.value, "slower")
    return f"{factor:.1f} times {word}" if factor >= 1.95 else f"{100 * (factor - 1):.1f} % {word}"


def smaller(size_bytes: float, reference_bytes: float) -> str:
    """Return how a size compares with the reference's.

    >>> smaller(25, 100), smaller(100, 100), smaller(98, 100), smaller(110, 100)
    ('4.0 times smaller', 'the same size', '2.0 % smaller', '10.0 % larger')
    """
    if abs(size_bytes - reference_bytes) <= 0.005 * reference_bytes:
        return "the same size"
    less = size_bytes < reference_bytes
    factor = reference_bytes / size_bytes if less else size_bytes / reference_bytes
    if factor >= 1.95:
        return f"{factor:.1f} times {'smaller' if less else 'larger'}"
    return f"{100 * abs(size_bytes - reference_bytes) / reference_bytes:.1f} % {'smaller' if less else 'larger'}"


def joined(names: list[str]) -> str:
    """Return names as a list in a sentence.

    >>> joined(["a"]), joined(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
