import numpy as np

from edgefm.training.augmentation import epoch_order, flip_and_shift


def images(count: int = 200) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 6, 5, 1), dtype=np.uint8)


def test_epoch_order_is_a_permutation_that_follows_from_seed_and_epoch() -> None:
    first, _ = epoch_order(100, seed=1, epoch=2)
    again, _ = epoch_order(100, seed=1, epoch=2)
    other, _ = epoch_order(100, seed=1, epoch=3)
    assert sorted(first) == list(range(100))
    assert (first == again).all()
    assert (first != other).any()


def test_no_augmentation_returns_an_equal_copy() -> None:
    given = images()
    result = flip_and_shift(given, np.random.default_rng(0), flip=False, shift_pixels=0)
    assert (result == given).all()
    assert result is not given


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_rest() -> None:
    given = images()
    result = flip_and_shift(given, np.random.default_rng(0), flip=True, shift_pixels=0)
    same = (result == given).all(axis=(1, 2, 3))
    mirrored = (result == given[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_shift_moves_within_reach_and_fills_with_black() -> None:
    given = images()
    result = flip_and_shift(given, np.random.default_rng(0), flip=False, shift_pixels=1)
    padded = np.pad(given, ((0, 0), (1, 1), (1, 1), (0, 0)))
    moved = [padded[:, row : row + 6, column : column + 5] for row in range(3) for column in range(3)]
    matches = np.stack([(result == candidate).all(axis=(1, 2, 3)) for candidate in moved])
    assert (matches.sum(axis=0) == 1).all()
    assert (matches.sum(axis=1) > 5).all()
