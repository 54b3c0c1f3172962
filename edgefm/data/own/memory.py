"""Whether pictures fit into the memory that is free, said before they are read."""

from __future__ import annotations

import math

from edgefm.core import container
from edgefm.core.errors import DataError
from edgefm.core.progress import Progress


def check(count: int, shape: tuple[int, int, int], *, source: str, progress: Progress) -> None:
    """Raise a DataError where pictures do not fit into the memory that is free; note where they take most of it."""
    wanted, free = count * math.prod(shape), container.free_memory_bytes()
    told = (
        f"{count:,} pictures of {source} at {' x '.join(map(str, shape))} take {wanted / 1e6:,.1f} MB of memory; "
        f"{free / 1e6:,.1f} MB are free"
    )
    if wanted > free:
        raise DataError(
            told,
            hint="Take a smaller image size (half the side takes a quarter of the memory), fewer pictures, or a "
            "machine with more memory.",
        )
    if 2 * wanted > free:
        progress.note(
            f"{told}: a training, which holds them twice, may not have enough. A smaller image size takes less"
        )
