"""Stratified choices that stay the same on every machine, for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def shares_split(labels: NDArray[np.int64], *, shares: Sequence[float], seed: int) -> list[NDArray[np.int64]]:
    """Return the indices that stay, then those of each share, all ascending; each class is cut in proportion.

    Of a class with more samples than shares, each share gets at least one and at least one stays; a smaller class
    stays whole.

    Args:
      labels: int64 [n], classes from 0; all zero where there are none.
      shares: of all samples, above 0, less than 1 together.
      seed: 0 or more.

    >>> [part.tolist() for part in shares_split(np.zeros(5, np.int64), shares=[0.2], seed=0)]
    [[0, 1, 2, 4], [3]]
    """
    keys = np.random.PCG64(seed).random_raw(len(labels))
    parts: list[list[int]] = [[] for _ in range(1 + len(shares))]
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        places = places[np.argsort(keys[places], kind="stable")]
        begin = 0
        if len(places) > len(shares):
            for part, share in zip(parts[1:], shares, strict=True):
                end = begin + max(1, round(share * len(places)))
                part.extend(places[begin:end].tolist())
                begin = end
        parts[0].extend(places[begin:].tolist())
    return [np.sort(np.array(part, np.int64)) for part in parts]


def sample_order(targets: NDArray[Any], *, seed: int) -> NDArray[np.int64]:
    """Return all indices in a random order: by class in turn where the targets are classes, else plainly.

    Args:
      targets: int64 [n] classes, or whatever else a data set's task has, [n, ...].
      seed: 0 or more.
    """
    if targets.ndim == 1 and targets.dtype.kind in "iu":
        return interleaved(targets.astype(np.int64), seed=seed)
    keys = np.random.PCG64(seed).random_raw(len(targets))
    return np.argsort(keys, kind="stable").astype(np.int64)
