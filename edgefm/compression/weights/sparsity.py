"""What pruning and clustering leave in a kernel, counted in numpy: zeros, levels, 2:4 and block patterns.

Kernels come in two layouts:

=========  =========================  ==========================
layer      'keras'                    'tflite'
=========  =========================  ==========================
Conv2D     [kh, kw, c_in, c_out]      [c_out, kh, kw, c_in]
Dense      [c_in, c_out]              [c_out, c_in]
=========  =========================  ==========================

Both patterns run along c_in, the last axis in a .tflite file, because that is the axis along which sparse kernels
multiply and add. A Conv1D kernel lacks kh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Layout = Literal["keras", "tflite"]
Kernel = NDArray[Any]

BLOCK = 16
# Kernels that together hold at most this share of all weights are not worth pruning.
SMALL_SHARE = 0.005


def zeros(kernel: Kernel, *, zero_point: int = 0) -> int:
    """Return how many weights are zero; in a quantised kernel those that equal its zero point."""
    return int((kernel == zero_point).sum())


def levels(kernel: Kernel) -> int:
    """Return how many different values a kernel holds.

    >>> levels(np.array([[0.0, 0.5], [0.5, -1.0]]))
    3
    """
    return len(np.unique(kernel))


def rows(kernel: Kernel, *, layout: Layout) -> Kernel:
    """Return a kernel as [rows, c_in]: one row an output channel and position, in the order of a .tflite file.

    >>> rows(np.arange(6).reshape(2, 3), layout="keras")  # dense, 2 inputs, 3 outputs
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """
    ordered = np.moveaxis(kernel, -1, 0) if layout == "keras" else kernel
    return ordered.reshape(-1, ordered.shape[-1])


def holds_2_of_4(kernel: Kernel, *, layout: Layout, zero_point: int = 0) -> bool:
    """Return whether of every four weights in a row along c_in at most two are not zero.

    A row whose length is no multiple of four ends in a shorter group, which may hold two as well.

    >>> holds_2_of_4(np.array([[1, 0, 0, 2]]), layout="tflite"), holds_2_of_4(np.array([[1, 3, 0, 2]]), layout="tflite")
    (True, False)
    """
    return bool((_groups(rows(kernel, layout=layout) != zero_point, 4).sum(axis=-1) <= 2).all())


def zero_blocks(kernel: Kernel, *, layout: Layout, zero_point: int = 0) -> tuple[int, int]:
    """Return (blocks that are all zero, all blocks): blocks of 16 weights in a row along c_in.

    The last block of a row is shorter where its length is no multiple of 16.
    """
    blocks = _groups(rows(kernel, layout=layout) != zero_point, BLOCK).any(axis=-1)
    return int((~blocks).sum()), blocks.size


def zeros_wanted(count: int, sparsity: float) -> int:
    """Return how many of `count` weights (or blocks) a target sparsity makes zero; one always stays.

    >>> zeros_wanted(288, 0.8), zeros_wanted(3, 0.9)
    (230, 2)
    """
    return count - max(1, round(count * (1 - sparsity)))


def not_worth_pruning(sizes: Sequence[int]) -> tuple[bool, ...]:
    """Return which kernels are too small to prune: the smallest, as long as they hold 0.5 % of all weights together.

    Their zeros save next to nothing and cost most of the accuracy. Measured on the Enhanced CNN (Fashion-MNIST, 2,000
    validation images, pruned to 80 % without training): the 288 weights of conv1 alone take 93.9 % to 51.2 %, the
    294,912 of dense1 to 93.4 %.

    >>> not_worth_pruning([288, 18_432, 73_728, 294_912, 32_768, 1_280])
    (True, False, False, False, False, True)
    """
    left, small = SMALL_SHARE * sum(sizes), [False] * len(sizes)
    for index in sorted(range(len(sizes)), key=sizes.__getitem__):
        left -= sizes[index]
        small[index] = left >= 0
    return tuple(small)


def lamp_zeros(kernels: Sequence[Kernel], sparsity: float) -> tuple[int, ...]:
    """Return how many weights of each kernel become zero where all kernels compete for `sparsity` of all weights.

    A weight's score is its square over the sum of the squares of its kernel that are no smaller; the lowest scores
    go. The largest weight of a kernel has the score 1 and always stays.

    >>> lamp_zeros([np.array([3.0, 2.0, 1.0]), np.array([5.0, 0.1, 0.1, 0.1])], 4 / 7)
    (1, 3)

    Source: Lee et al. 2021, arXiv:2010.07611.
    """
    scores = []
    for kernel in kernels:
        squares = np.sort(kernel.astype(np.float64).reshape(-1) ** 2)
        at_least = np.cumsum(squares[::-1])[::-1]
        scores.append(squares / np.maximum(at_least, np.finfo(np.float64).tiny))
    owners = np.repeat(np.arange(len(kernels)), [len(score) for score in scores])
    lowest = np.argsort(np.concatenate(scores), kind="stable")
    zeros = np.bincount(owners[lowest[: round(sparsity * len(owners))]], minlength=len(kernels))
    return tuple(min(int(count), kernel.size - 1) for count, kernel in zip(zeros, kernels, strict=True))


def prune_smallest(kernel: Kernel, count: int) -> Kernel:
    """Return a copy whose `count` weights of least magnitude are zero; among equals the first ones.

    >>> prune_smallest(np.array([3.0, -1.0, 0.5, 2.0]), 2)
    array([3., 0., 0., 2.])
    """
    pruned = kernel.copy()
    pruned.reshape(-1)[np.argsort(np.abs(kernel).reshape(-1), kind="stable")[:count]] = 0
    return pruned


def prune_2_of_4(kernel: Kernel) -> Kernel:
    """Return a copy of a Keras kernel with the two smallest of every four weights along c_in zero.

    Raises:
      ValueError: c_in is no multiple of four.
    """
    ordered = rows(kernel, layout="keras")
    if ordered.shape[1] % 4:
        raise ValueError(f"{ordered.shape[1]} input channels are not a multiple of four")
    groups = ordered.reshape(-1, 4).copy()
    np.put_along_axis(groups, np.argsort(np.abs(groups), axis=1, kind="stable")[:, :2], 0, axis=1)
    return _from_rows(groups.reshape(ordered.shape), kernel)


def prune_blocks(kernel: Kernel, count: int) -> Kernel:
    """Return a copy of a Keras dense kernel whose `count` blocks of least mean magnitude are zero."""
    ordered = rows(kernel, layout="keras").copy()
    blocks = _groups(np.abs(ordered).astype(np.float64), BLOCK)
    lengths = _groups(np.ones(ordered.shape), BLOCK).sum(axis=-1)
    smallest = np.argsort((blocks.sum(axis=-1) / lengths).reshape(-1), kind="stable")[:count]
    dropped = np.zeros(lengths.size, bool)
    dropped[smallest] = True
    mask = np.repeat(dropped.reshape(lengths.shape), BLOCK, axis=1)[:, : ordered.shape[1]]
    return _from_rows(np.where(mask, 0, ordered).astype(kernel.dtype), kernel)


def _groups(ordered: Kernel, size: int) -> Kernel:
    """Return [rows, groups, size] of [rows, values], the last group filled up with zeros."""
    missing = -ordered.shape[1] % size
    return np.pad(ordered, ((0, 0), (0, missing))).reshape(len(ordered), -1, size)


def _from_rows(ordered: Kernel, like: Kernel) -> Kernel:
    """Return what `rows(..., layout='keras')` gave in the shape of the kernel again."""
    return np.ascontiguousarray(np.moveaxis(ordered.reshape(like.shape[-1], *like.shape[:-1]), 0, -1))
