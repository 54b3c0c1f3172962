from __future__ import annotations

import numpy as np
import pytest

from edgefm.compression.weights import sparsity
from edgefm.tflite.weights import levels_in_a_channel

RANDOM = np.random.default_rng(0)
CONV = RANDOM.normal(size=(3, 3, 8, 5)).astype(np.float32)
DENSE = RANDOM.normal(size=(40, 6)).astype(np.float32)


def as_in_file(kernel: np.ndarray) -> np.ndarray:
    """The same kernel as a .tflite file holds it, written out by hand."""
    if kernel.ndim == 2:
        return kernel.T.copy()
    height, width, inputs, outputs = kernel.shape
    stored = np.zeros((outputs, height, width, inputs), kernel.dtype)
    for out in range(outputs):
        stored[out] = kernel[:, :, :, out]
    return stored


def at_most_two_of_four(kernel: np.ndarray) -> bool:
    """Oracle in loops over a kernel as in the file."""
    for place in np.ndindex(kernel.shape[:-1]):
        row = kernel[place]
        for start in range(0, len(row), 4):
            if sum(value != 0 for value in row[start : start + 4]) > 2:
                return False
    return True


@pytest.mark.parametrize("kernel", [CONV, DENSE], ids=["conv", "dense"])
def test_2_of_4_zeroes_the_two_smallest_of_each_four_inputs(kernel: np.ndarray) -> None:
    assert not sparsity.holds_2_of_4(kernel, layout="keras")
    pruned = sparsity.prune_2_of_4(kernel)
    stored = as_in_file(pruned)
    assert at_most_two_of_four(stored)
    assert sparsity.holds_2_of_4(pruned, layout="keras")
    assert sparsity.holds_2_of_4(stored, layout="tflite")
    assert sparsity.zeros(pruned) == kernel.size // 2
    before = as_in_file(kernel)
    for place in np.ndindex(before.shape[:-1]):
        for start in range(0, before.shape[-1], 4):
            group, kept = before[place][start : start + 4], stored[place][start : start + 4]
            assert set(kept[kept != 0]) == set(sorted(group, key=abs)[2:])


def test_2_of_4_along_the_outputs_does_not_hold() -> None:
    kernel = np.zeros((4, 8), np.float32)
    kernel[:, ::2] = 1  # of every four outputs two are zero, of every four inputs none
    assert not sparsity.holds_2_of_4(kernel, layout="keras")
    assert sparsity.holds_2_of_4(kernel, layout="tflite")


def test_2_of_4_counts_a_shorter_last_group_by_itself() -> None:
    assert sparsity.holds_2_of_4(np.array([[1, 1, 0, 0, 1, 1]]), layout="tflite")
    assert not sparsity.holds_2_of_4(np.array([[1, 1, 0, 0, 1, 1, 1]]), layout="tflite")


def test_2_of_4_refuses_to_prune_channels_that_are_no_multiple_of_four() -> None:
    with pytest.raises(ValueError, match="6 input channels"):
        sparsity.prune_2_of_4(np.ones((6, 4), np.float32))


def test_blocks_of_least_mean_become_zero_along_the_inputs() -> None:
    pruned = sparsity.prune_blocks(DENSE, 7)
    stored = as_in_file(pruned)
    means = {
        (row, start): np.abs(as_in_file(DENSE)[row, start : start + 16]).mean()
        for row in range(6)
        for start in (0, 16, 32)  # the last block of a row has 8 weights
    }
    smallest = sorted(means, key=means.__getitem__)[:7]
    for row, start in means:
        block = stored[row, start : start + 16]
        assert (block == 0).all() == ((row, start) in smallest)
    assert sparsity.zero_blocks(pruned, layout="keras") == (7, 18)
    assert sparsity.zero_blocks(stored, layout="tflite") == (7, 18)


def test_prune_smallest_leaves_exactly_the_largest() -> None:
    pruned = sparsity.prune_smallest(CONV, 300)
    assert sparsity.zeros(pruned) == 300
    assert np.abs(pruned[pruned != 0]).min() >= np.abs(CONV[pruned == 0]).max()
    np.testing.assert_array_equal(pruned[pruned != 0], CONV[pruned != 0])


def test_prune_smallest_is_exact_among_equal_weights() -> None:
    assert sparsity.zeros(sparsity.prune_smallest(np.ones((4, 4)), 5)) == 5


def test_zeros_of_a_quantised_kernel_are_its_zero_points() -> None:
    assert sparsity.zeros(np.array([128, 0, 128], np.uint8), zero_point=128) == 2
    assert sparsity.holds_2_of_4(np.array([[128, 128, 1, 2]], np.uint8), layout="tflite", zero_point=128)


@pytest.mark.parametrize("axis", [0, 3])
def test_levels_in_a_channel_are_the_most_of_any(axis: int) -> None:
    kernel = RANDOM.integers(-3, 4, size=(4, 3, 3, 5))
    expected = max(len(set(np.take(kernel, index, axis=axis).reshape(-1))) for index in range(kernel.shape[axis]))
    assert levels_in_a_channel(kernel, axis=axis) == expected
    assert sparsity.levels(kernel) == len(set(kernel.reshape(-1).tolist()))


@pytest.mark.parametrize(("count", "share", "zeros"), [(10, 0.8, 8), (5, 0.5, 3), (3, 0.99, 2), (1, 0.9, 0)])
def test_zeros_wanted_leaves_at_least_one_weight(count: int, share: float, zeros: int) -> None:
    assert sparsity.zeros_wanted(count, share) == zeros
