"""How many samples a model answers at once."""

from __future__ import annotations

import math

# Samples that are answered at once, as long as they hold no more values than so many pictures of 32 x 32 x 3.
_MOST = 500
_VALUES = _MOST * 32 * 32 * 3


def evaluation_batch(shape: tuple[int, ...], *, batch_size: int = 1) -> int:
    """Return how many samples of a shape are answered at once: of large ones fewer, but no fewer than a step takes.

    >>> evaluation_batch((28, 28, 1), batch_size=16), evaluation_batch((224, 224, 3), batch_size=16)
    (500, 16)

    Args:
      shape: of one sample.
      batch_size: samples a step of a training that fits; 1 where there is none.
    """
    return min(_MOST, max(batch_size, _VALUES // math.prod(shape)))
