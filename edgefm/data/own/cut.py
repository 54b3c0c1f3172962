"""Cuts the splits that a data set lacks from its training samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.data.origins import Origins
from edgefm.data.sampling import shares_split

# What is cut from the training samples where a split is not given.
HELD_OUT = 0.1
# What is moved at once.
_BLOCK_BYTES = 1 << 20


def cut(
    inputs: dict[str, NDArray[Any]],
    targets: dict[str, NDArray[Any]],
    origins: dict[str, Origins],
    missing: list[str],
    *,
    classes: bool,
    seed: int,
    fresh: bool,
) -> None:
    """Move a share of the training samples into each missing split.

    Args:
      inputs: of each split that is there, by its name.
      targets: the same.
      origins: the same.
      missing: names of splits.
      classes: the targets are classes, of each of which the share is taken.
      seed: of the choice; equal seeds give equal splits.
      fresh: the training inputs may be overwritten: what stays is then moved within their memory.
    """
    x, y, given = inputs["train"], targets["train"], origins["train"]
    groups = y if classes else np.zeros(len(x), np.int64)
    stay, *held_out = shares_split(groups, shares=[HELD_OUT] * len(missing), seed=seed)
    for split, places in zip(missing, held_out, strict=True):
        inputs[split] = x[places]
        targets[split] = inputs[split] if y is x else y[places]
        origins[split] = given.taken(places)
    inputs["train"] = _moved_up(x, stay) if fresh and x.flags.writeable else x[stay]
    targets["train"] = inputs["train"] if y is x else y[stay]
    origins["train"] = given.taken(stay)


def _moved_up(x: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Return x[places], places ascending, in the memory of x: a block is written where no later one is read from."""
    size = max(1, _BLOCK_BYTES * len(x) // max(1, x.nbytes))
    for start in range(0, len(places), size):
        block = places[start : start + size]
        x[start : start + len(block)] = x[block]
    return x[: len(places)]
