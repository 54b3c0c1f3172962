"""Augmentation on the device against numpy, pixel by pixel."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from edgefm.core.errors import DataError, RecipeError
from edgefm.recipes import Training
from edgefm.training.augmentation import epoch_order, flip_and_shift
from edgefm.training.augmentation_check import check_augmentation
from edgefm.training.device.chance import epoch_chance
from edgefm.training.device.covering import erased, exchanged, mixed
from edgefm.training.device.moving import moved, turned
from edgefm.training.device.objective import Objective, class_weights, margin_losses
from edgefm.training.device.views import labels_seen, view

SHAPE = (9, 7, 2)
PLAIN = Training(flip=False)
EVERYTHING = Training(shift_pixels=2, rotation_degrees=20, zoom=0.2, erasing=0.5, mixup=0.4, cutmix=0.5)


def images(count: int = 60) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def test_flip_and_shift_on_the_device_are_those_of_numpy() -> None:
    recipe = Training(shift_pixels=2, seed=3)
    given = images()
    order, rows = epoch_chance(recipe, count=len(given), shape=SHAPE, epoch=4)
    expected_order, generator = epoch_order(len(given), seed=3, epoch=4)
    expected = flip_and_shift(given[expected_order], generator, flip=True, shift_pixels=2)
    np.testing.assert_array_equal(order, expected_order)
    np.testing.assert_array_equal(np.asarray(moved(given[order], rows["moves"])), expected)


def test_turning_by_nothing_is_moving() -> None:
    given = images()
    _, rows = epoch_chance(Training(shift_pixels=2), count=len(given), shape=SHAPE, epoch=0)
    still = np.tile(np.float32([1, 0, 0, 1]), (len(given), 1))
    np.testing.assert_allclose(
        np.asarray(turned(given, rows["moves"], still)), np.asarray(moved(given, rows["moves"])), atol=1e-3
    )


def test_a_quarter_turn_is_that_of_numpy() -> None:
    square = np.random.default_rng(2).integers(0, 256, (3, 6, 6, 1), dtype=np.uint8)
    quarter = np.tile(np.float32([0, 1, -1, 0]), (3, 1))
    result = np.asarray(turned(square, np.zeros((3, 3), np.int32), quarter))
    np.testing.assert_allclose(result, np.rot90(square, axes=(1, 2)).astype(np.float32), atol=1e-3)


def test_zoom_and_rotation_keep_to_what_the_recipe_says() -> None:
    recipe = Training(flip=False, rotation_degrees=30, zoom=0.25)
    _, rows = epoch_chance(recipe, count=2000, shape=SHAPE, epoch=0)
    matrix = rows["turns"].reshape(-1, 2, 2).astype(np.float64)
    zoom = 1 / np.sqrt(np.linalg.det(matrix))
    angle = np.degrees(np.arctan2(matrix[:, 0, 1], matrix[:, 0, 0]))
    assert 0.75 <= zoom.min() < 0.76 and 1.24 < zoom.max() <= 1.25 + 1e-6
    assert -30 - 1e-4 <= angle.min() < -29 and 29 < angle.max() <= 30 + 1e-4


def test_interpolation_is_bilinear_and_zero_outside() -> None:
    given = images(1)
    half = np.float32([[0.5, 0, 0, 0.5]])  # enlarged twice about the centre
    result = np.asarray(turned(given, np.zeros((1, 3), np.int32), half))
    assert result[0, 4, 3, 0] == pytest.approx(float(given[0, 4, 3, 0]))
    # One row below the centre lies half a row below it in the old image.
    assert result[0, 5, 3, 0] == pytest.approx(float(given[0, 4:6, 3, 0].astype(float).mean()))
    twice = np.float32([[2, 0, 0, 2]])
    assert np.asarray(turned(given, np.zeros((1, 3), np.int32), twice))[0, 0, 0].tolist() == [0, 0]


def test_erasing_covers_boxes_of_the_stated_area_in_the_stated_share_of_images() -> None:
    shape = (28, 28, 1)
    _, rows = epoch_chance(Training(flip=False, erasing=0.3), count=4000, shape=shape, epoch=0)
    white = np.full((4000, *shape), 255, np.uint8)
    black = (np.asarray(erased(white, rows["erased"])) == 0).mean(axis=(1, 2, 3))
    assert 0.27 < (black > 0).mean() < 0.33
    assert black[black > 0].min() > 0.005 and black.max() < 0.45  # 0.02 to 0.4, in whole pixels
    top, bottom, left, right = rows["erased"].T
    assert top.min() == 0 and left.min() == 0 and bottom.max() == 28 and right.max() == 28
    np.testing.assert_allclose(black, (bottom - top) * (right - left) / 784)


def test_cutmix_takes_pixels_and_label_share_of_the_image_before() -> None:
    given = images().astype(np.float32)
    _, rows = epoch_chance(Training(flip=False, cutmix=0.5), count=len(given), shape=SHAPE, epoch=0)
    result = np.asarray(exchanged(given, rows["exchanged"], given))
    labels = np.arange(len(given), dtype=np.int32) % 5
    shares = np.asarray(labels_seen(labels, rows, classes=5))
    for index, (top, bottom, left, right) in enumerate(rows["exchanged"]):
        expected = given[index].copy()
        expected[top:bottom, left:right] = given[index - 1, top:bottom, left:right]
        np.testing.assert_array_equal(result[index], expected)
        share = (bottom - top) * (right - left) / (SHAPE[0] * SHAPE[1])
        wanted = (1 - share) * np.eye(5)[labels[index]] + share * np.eye(5)[labels[index - 1]]
        np.testing.assert_allclose(shares[index], wanted, atol=1e-6)
    assert 15 < (rows["second"] > 0).sum() < 45


def test_mixup_mixes_pixels_and_labels_by_at_most_its_share() -> None:
    given = images().astype(np.float32)
    _, rows = epoch_chance(Training(flip=False, mixup=0.4), count=len(given), shape=SHAPE, epoch=0)
    share = rows["shares"][:, None, None, None]
    assert share.min() >= 0 and 0.3 < share.max() <= 0.4
    np.testing.assert_allclose(
        np.asarray(mixed(given, rows["shares"])), (1 - share) * given + share * np.roll(given, 1, axis=0), atol=1e-3
    )
    np.testing.assert_array_equal(rows["second"], rows["shares"])


def test_an_image_is_mixed_or_cut_never_both() -> None:
    _, rows = epoch_chance(EVERYTHING, count=500, shape=SHAPE, epoch=0)
    cut = rows["exchanged"].any(axis=1)
    assert 200 < cut.sum() < 300
    assert (rows["shares"][cut] == 0).all() and (rows["shares"][~cut] > 0).all()


def test_a_box_of_a_mixed_image_holds_the_second_image_alone() -> None:
    recipe = Training(flip=False, mixup=0.4, cutmix=0.5)
    given = np.zeros((60, *SHAPE), np.uint8) + (np.arange(60, dtype=np.uint8) * 4)[:, None, None, None]
    labels = np.arange(60, dtype=np.int32)
    _, rows = epoch_chance(recipe, count=60, shape=SHAPE, epoch=0)
    # Each image is as bright as its label: its mean brightness is that of its labels.
    seen = np.asarray(view(given, rows)).mean(axis=(1, 2, 3))
    shares = np.asarray(labels_seen(labels, rows, classes=60))
    np.testing.assert_allclose(seen, shares @ (labels * 4.0), rtol=1e-4)


def test_weights_of_classes_weigh_each_label_of_a_mixed_image_by_its_own() -> None:
    recipe = Training(flip=False, mixup=0.5)
    _, rows = epoch_chance(recipe, count=4, shape=SHAPE, epoch=0)
    labels, weights = np.int32([0, 1, 1, 0]), np.float32([0.5, 5.0])
    share = rows["second"]
    found = np.asarray(labels_seen(labels, rows, classes=2, weights=weights))
    own, before = weights[labels] * (1 - share), weights[np.roll(labels, 1)] * share
    expected = own[:, None] * np.eye(2)[labels] + before[:, None] * np.eye(2)[np.roll(labels, 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_nothing_asked_for_leaves_pixels_as_they_are() -> None:
    given = images()
    order, rows = epoch_chance(PLAIN, count=len(given), shape=SHAPE, epoch=0)
    assert rows == {}
    seen = np.asarray(view(given[order], rows))
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, given[order])


def test_one_kind_of_augmentation_does_not_change_the_order_nor_the_moves_of_a_seed() -> None:
    order, rows = epoch_chance(Training(shift_pixels=2), count=50, shape=SHAPE, epoch=1)
    more_order, more = epoch_chance(replace(EVERYTHING, seed=0), count=50, shape=SHAPE, epoch=1)
    np.testing.assert_array_equal(order, more_order)
    np.testing.assert_array_equal(rows["moves"], more["moves"])
    other, _ = epoch_chance(Training(seed=1), count=50, shape=SHAPE, epoch=1)
    assert (order != other).any()


@pytest.mark.parametrize(
    ("changes", "shape", "dtype", "message"),
    [
        ({"shift_pixels": 1}, (20,), "float32", "shift_pixels is 1, which needs pictures"),
        ({"cutmix": 0.5}, (20, 3), "float32", "cutmix is 0.5, which needs pictures"),
        ({"erasing": 0.5}, (8, 8, 1), "float32", "fills with 0, the black of uint8 pixels; the inputs are float32"),
        ({"shift_pixels": 8}, (8, 12, 3), "uint8", "moves pictures of 8 x 12 pixels out of sight"),
        ({"mixup": 0.5}, (20,), "int32", "inputs of dtype int32 cannot be mixed"),
    ],
    ids=["no pictures", "sequences", "floats", "too far", "tokens"],
)
def test_augmentation_that_cannot_be_done_is_refused(
    changes: dict, shape: tuple[int, ...], dtype: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        check_augmentation(Training(**changes), shape=shape, dtype=dtype)
    check_augmentation(Training(), shape=shape, dtype=dtype)


def test_multi_margin_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=(20, 6)).astype(np.float32), random.integers(0, 6, 20)
    expected = torch.nn.MultiMarginLoss(reduction="none")(torch.tensor(scores), torch.tensor(labels)).numpy()
    found = np.asarray(margin_losses(scores, np.eye(6, dtype=np.float32)[labels]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("form", ["logits", "probabilities"])
def test_weighted_losses_have_their_slope_whether_tensorflow_is_deterministic_or_not(
    form: Literal["logits", "probabilities"],
) -> None:
    import tensorflow as tf
    from tensorflow.python.framework import config

    random = np.random.default_rng(2)
    logits = random.normal(size=(4, 3)).astype(np.float32)
    weights, shares = np.float32([3, 1, 0]), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    shares[3] = 0.75, 0, 0.25  # a mixed image, of which a part weighs nothing
    targets = shares * weights
    objective = Objective(recipe=Training(label_smoothing=0.1), classes=3, form=form)

    @tf.function
    def found(scores: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(scores)
            outputs = scores if form == "logits" else tf.nn.softmax(scores)
            losses = objective.weighted_losses(outputs, tf.constant(targets))
        return losses, tape.gradient(losses, scores)

    deterministic = config.is_op_determinism_enabled()
    config.disable_op_determinism()
    try:
        losses, slopes = found(tf.constant(logits))
    finally:
        if deterministic:
            config.enable_op_determinism()
    answers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    smooth = 0.9 * targets + 0.1 / 3 * targets.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(losses, -(smooth * np.log(answers)).sum(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slopes, targets.sum(axis=1, keepdims=True) * answers - smooth, atol=1e-5)


def test_balanced_weights_make_classes_count_alike() -> None:
    labels = np.repeat([0, 1, 2], [10, 30, 5])
    weights = class_weights(labels, ("a", "b", "c"))
    # The formula of sklearn.utils.class_weight.compute_class_weight: n / (k * n_c).
    np.testing.assert_allclose(weights, [45 / 30, 45 / 90, 45 / 15], rtol=1e-6)
    np.testing.assert_allclose(np.bincount(labels, weights[labels]), [15, 15, 15], rtol=1e-6)
    with pytest.raises(DataError, match="the training split has none of: d"):
        class_weights(labels, ("a", "b", "c", "d"))
