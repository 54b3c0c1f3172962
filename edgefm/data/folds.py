"""Stratified folds for cross-validation, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgefm.core.errors import DataError, RecipeError
from edgefm.core.text import few

LEAST_FOLDS = 2


def stratified_folds(
    labels: NDArray[np.int64],
    folds: int,
    *,
    names: tuple[str, ...] = (),
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return the fold of each sample, int64 [n], 0 to folds - 1.

    Of each class, every fold has as many samples as the others, or one more; so have the folds altogether. Samples of a
    group count as its first one, and go to the same fold. The random keys are raw output of PCG64, which NumPy promises
    never to change.

    >>> stratified_folds(np.array([0, 0, 1, 1, 1, 1]), 2).tolist().count(0)
    3

    Args:
      labels: int64 [n], classes from 0.
      folds: number of folds.
      names: of the classes, for messages.
      seed: 0 or more.
      groups: int64 [n], the place of the first sample of each one's group, such as equal pictures; None: each is
        one by itself.
    Raises:
      RecipeError: fewer than 2 folds.
      DataError: a class has fewer samples, or groups of them, than there are folds.
    """
    if folds < LEAST_FOLDS:
        raise RecipeError(f"folds {folds} is not allowed: {LEAST_FOLDS} or more is expected")
    groups = np.arange(len(labels)) if groups is None else groups
    different = np.unique(np.stack([labels, groups]), axis=1)[0]
    counts = np.bincount(different) if len(labels) else np.zeros(1, np.int64)
    small = [label for label, count in enumerate(counts) if 0 < count < folds]
    if small or not len(labels):
        least = int(min(counts[small])) if small else 0
        told = few([f"{names[label] if label < len(names) else label} ({counts[label]})" for label in small])
        hint = "Give more images of these classes, or leave the classes out."
        raise DataError(
            f"{folds} folds need at least {folds} different images of each class; too few have: {told or 'all'}",
            hint=f"Take at most {least} folds, or give more images." if least >= LEAST_FOLDS else hint,
        )
    firsts = np.flatnonzero(groups == np.arange(len(labels)))
    keys = np.random.PCG64(seed).random_raw(len(firsts))
    by_class = firsts[np.lexsort((keys, labels[firsts]))]
    # One after the other, class by class: the next class begins with the fold where the last one ended.
    assigned = np.empty(len(labels), np.int64)
    assigned[by_class] = np.arange(len(firsts)) % folds
    return assigned[groups]
