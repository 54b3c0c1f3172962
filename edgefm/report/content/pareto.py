"""The Pareto front: the models that no other model beats."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Return for each point whether no other one dominates it; all coordinates are costs, less is better.

    A point dominates another when it is no worse in every coordinate and better in one; so equal points never
    dominate each other.

    Example: of (latency, error), the third is slower than the first at the same error.

    >>> front([(50, 8), (170, 7), (60, 8)])
    [True, True, False]
    """
    return [not any(_dominates(other, point) for other in points) for point in points]


def _dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
