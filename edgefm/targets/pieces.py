"""How many samples go into one request to a worker: few at first, then as many as are answered in a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

MOST = 1000
# Of the time limit of a request that a piece should take: a slow minute leaves it within the limit.
_SHARE_OF_LIMIT = 1 / 20


def pieces(
    count: int, *, limit_seconds: float, first: int = 1, clock: Callable[[], float] = time.perf_counter
) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of one piece of `count` samples after the other, together all of them.

    The time until the caller asks for the next piece is taken for that of the last one, and says how large the next
    one is: a twentieth of the limit, and from 1 to 1,000 samples.

    >>> ticks = iter([0.0, 0.1, 1.0, 3.1, 4.0])
    >>> list(pieces(40, limit_seconds=60, first=1, clock=lambda: next(ticks)))
    [(0, 1), (1, 31), (31, 40)]

    Args:
      count: number of samples.
      limit_seconds: of one request.
      first: size of the first piece.
      clock: seconds.
    """
    start, size = 0, first
    while start < count:
        stop = min(start + size, count)
        before = clock()
        yield start, stop
        if stop < count:
            took = max(clock() - before, 1e-9)
            size = max(1, min(MOST, int((stop - start) * _SHARE_OF_LIMIT * limit_seconds / took)))
        start = stop
