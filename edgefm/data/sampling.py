"""Stratified choices that stay the same on every machine, for ever."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def interleaved(labels: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """Return all indices in a random order in which every class comes in turn.

    The first k indices are therefore a stratified sample, for any k: class counts differ by one at most,
    until the smallest class is used up.

    The random keys are the raw output of PCG64, which NumPy promises never to change, unlike
    `Generator.permutation`. Equal seeds give equal orders with every NumPy.

    Args:
      labels: int64 [n], classes from 0.
      seed: 0 or more.
    Returns:
      int64 [n], a permutation of 0 to n - 1.

    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> [int(label) for label in labels[interleaved(labels, seed=0)]]
    [0, 1, 0, 1, 0, 1]
    """
    keys = np.random.PCG64(seed).random_raw(len(labels))
    by_class = np.lexsort((keys, labels))
    first_of_class = np.searchsorted(labels[by_class], labels[by_class])
    rank = np.arange(len(labels)) - first_of_class
    order: NDArray[np.int64] = by_class[np.lexsort((labels[by_class], rank))].astype(np.int64)
    return order


def stratified_split(
    labels: NDArray[np.int64], *, held_out: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices that stay and the `held_out` indices set apart, both ascending and stratified.

    Where all classes are of one size and `held_out` is a multiple of their number, both parts hold each class
    equally often.
    """
    order = interleaved(labels, seed=seed)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
