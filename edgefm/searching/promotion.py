"""Which trials are worth more epochs, which are on the front, and how much a front holds.

Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943), asynchronous as in Li et al. 2020
(arXiv:1810.05934): a trial goes on where it is in the better third of those that have come as far. With several
objectives they are ranked front by front, and within a front by their distance from one another (Schmucker et al. 2021,
arXiv:2106.12639).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgefm.report.content.pareto import front

ETA = 3
# With fewer to compare with, every trial goes on.
LEAST_RIVALS = 3


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A trial as it stands at a stage.

    Attributes:
      costs: its objectives, less is better.
      excess: sum of the shares by which it exceeds the limits of a budget; 0 where it keeps them.
    """

    costs: tuple[float, ...]
    excess: float = 0.0


def promising(candidate: Rival, rivals: Sequence[Rival]) -> bool:
    """Return whether a trial is in the better third of those at its stage.

    >>> rivals = [Rival(costs=(loss, 1.0)) for loss in (1.0, 2.0, 3.0, 4.0, 5.0)]
    >>> promising(Rival(costs=(1.5, 1.0)), rivals), promising(Rival(costs=(3.5, 1.0)), rivals)
    (True, False)
    """
    if len(rivals) < LEAST_RIVALS:
        return True
    everyone = [*rivals, candidate]
    return ranked(everyone).index(len(rivals)) < max(1, len(everyone) // ETA)


def ranked(rivals: Sequence[Rival]) -> list[int]:
    """Return the places of trials from the best to the worst.

    Those that keep their limits first, front by front; within a front the next one is the farthest from those that are
    ranked already, so that the better third is spread over the front; the others by what they exceed.
    """
    kept = [place for place, rival in enumerate(rivals) if rival.excess == 0]
    order: list[int] = []
    while kept:
        best = [place for place, one in zip(kept, front([rivals[place].costs for place in kept]), strict=True) if one]
        order += _spread(best, [rivals[place].costs for place in best])
        kept = [place for place in kept if place not in best]
    return order + sorted((p for p in range(len(rivals)) if rivals[p].excess > 0), key=lambda p: (rivals[p].excess, p))


def _spread(places: Sequence[int], costs: Sequence[Sequence[float]]) -> list[int]:
    """Return the places of a front, each the farthest from those before it; the first has the least of all shares."""
    values = np.asarray(costs, float)
    span = np.ptp(values, axis=0)
    shares = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)
    chosen = [int(shares.sum(axis=1).argmin())]
    while len(chosen) < len(places):
        distance = np.linalg.norm(shares[:, None] - shares[chosen][None], axis=2).min(axis=1)
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return [places[index] for index in chosen]


def on_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Return for each point whether no other one is better; of equal ones the first."""
    seen: set[tuple[float, ...]] = set()
    chosen = []
    for point, best in zip(map(tuple, points), front(points), strict=True):
        chosen.append(best and point not in seen)
        seen.add(point)
    return chosen


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume that points dominate below a reference point; costs, less is better.

    >>> hypervolume([(1, 2), (2, 1)], (3, 3))
    3.0
    """
    inside = np.array([point for point in points if all(a < b for a, b in zip(point, reference, strict=True))], float)
    return _volume(inside, np.asarray(reference, float)) if len(inside) else 0.0


def _volume(points: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Cut into slices along the last objective; each slice's area is that of the points below it."""
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    order = points[np.argsort(points[:, -1], kind="stable")]
    edges = [*order[1:, -1], reference[-1]]
    total = 0.0
    for count, (start, end) in enumerate(zip(order[:, -1], edges, strict=True), start=1):
        if end > start:
            total += (end - start) * _volume(order[:count, :-1], reference[:-1])
    return float(total)
