"""Where the labels of marks go, so that none lies on another label or on a mark. Pure geometry, any unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_DIRECTIONS = [(1, 0), (1, 1), (0, 1), (1, -1), (0, -1), (-1, 1), (-1, 0), (-1, -1)]
_GAPS = (4, 12, 24, 40, 60, 84)
_PASSES = 3


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Return the area that two rectangles share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def outside(self, bounds: Box) -> float:
        """Return by how much the rectangle sticks out of another, summed over the four sides."""
        return (
            max(0.0, bounds.left - self.left)
            + max(0.0, self.right - bounds.right)
            + max(0.0, bounds.bottom - self.bottom)
            + max(0.0, self.top - bounds.top)
        )


@dataclass(frozen=True)
class Mark:
    """A round mark and the size of the label that belongs to it."""

    x: float
    y: float
    radius: float
    width: float
    height: float

    @property
    def box(self) -> Box:
        """The square around the mark."""
        return Box(self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius)


def place(marks: Sequence[Mark], *, bounds: Box, obstacles: Sequence[Box] = ()) -> list[Box]:
    """Return the rectangle of each mark's label.

    Every label is tried at eight sides and growing distances; the place with the least overlap wins, the nearest
    of equals. A few passes let early labels make room for later ones.

    Args:
      marks: what is labelled.
      bounds: the labels should stay inside.
      obstacles: what labels should rather not cover, such as interval bars.
    """
    candidates = [_candidates(mark) for mark in marks]
    chosen: list[Box | None] = [None] * len(marks)
    for _ in range(_PASSES):
        for index in range(len(marks)):
            others = [box for place, box in enumerate(chosen) if box is not None and place != index]
            fixed = [mark.box for mark in marks]
            costs = [
                1000 * box.outside(bounds)
                + sum(_covered(box, other) for other in others)
                + sum(_covered(box, other) for other in fixed)
                + 4 * sum(box.overlap(other) for other in obstacles)
                + distance
                for box, distance in candidates[index]
            ]
            chosen[index] = candidates[index][costs.index(min(costs))][0]
    return [box for box in chosen if box is not None]


def _covered(box: Box, other: Box) -> float:
    """Return the cost of an overlap: even the least is worth a longer way."""
    area = box.overlap(other)
    return 100 + 100 * area if area else 0.0


def _candidates(mark: Mark) -> list[tuple[Box, float]]:
    candidates = []
    for gap in _GAPS:
        for rank, (dx, dy) in enumerate(_DIRECTIONS):
            reach = (mark.radius + gap) / math.hypot(dx, dy)
            x, y = mark.x + dx * reach, mark.y + dy * reach
            left = x if dx > 0 else x - mark.width if dx < 0 else x - mark.width / 2
            bottom = y if dy > 0 else y - mark.height if dy < 0 else y - mark.height / 2
            # A side's rank decides between equals: to the right first.
            candidates.append((Box(left, bottom, left + mark.width, bottom + mark.height), gap + 0.5 * rank))
    return candidates
