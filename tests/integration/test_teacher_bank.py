"""The bank of a teacher's answers: those about each view as numpy makes it, asked once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from keras import ops
from numpy.typing import NDArray

from edgefm.core.progress import SILENT
from edgefm.recipes import Training
from edgefm.training.device.chance import epoch_chance
from edgefm.training.device.teacher_bank import bank_of
from edgefm.training.device.views import view

COUNT = 40
IMAGES = np.random.default_rng(0).integers(1, 256, (COUNT, 8, 8, 1), dtype=np.uint8)
RECIPE = Training(epochs=30, flip=True, shift_pixels=1, seed=4)


def shown(image: NDArray[np.uint8], move: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return an image mirrored and then moved, 0 where nothing comes in; by padding and slicing."""
    down, right, mirrored = move.tolist()
    padded = np.pad(image[:, ::-1] if mirrored else image, ((1, 1), (1, 1), (0, 0)))
    return padded[1 + down : 9 + down, 1 + right : 9 + right]


class Teacher:
    """Answers a picture's sums of its halves; counts what it is asked."""

    asked = 0

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        self.asked += len(inputs)
        return self.of(inputs)

    @staticmethod
    def of(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        left, top = inputs[:, :, :4].sum((1, 2, 3)), inputs[:, :4].sum((1, 2, 3))
        return np.stack([left, top], axis=1).astype(np.float32)


def moved(order: NDArray[np.int32], moves: NDArray[np.int32]) -> NDArray[np.float32]:
    rows = {"moves": ops.convert_to_tensor(moves)}
    return np.asarray(ops.convert_to_numpy(view(ops.convert_to_tensor(IMAGES[order]), rows)), np.float32)


def test_answers_are_those_about_the_views_and_each_is_asked_once() -> None:
    teacher = Teacher()
    bank = bank_of(teacher, RECIPE, count=COUNT, classes=2, batch=1024, progress=SILENT)
    assert bank is not None
    seen = set()
    for epoch in range(RECIPE.epochs):
        order, chance = epoch_chance(RECIPE, count=COUNT, shape=(8, 8, 1), epoch=epoch)
        moves = chance["moves"]
        found = bank.answers(order, moves, moved)
        pictures = np.stack([shown(IMAGES[image], move) for image, move in zip(order, moves, strict=True)])
        np.testing.assert_array_equal(found, Teacher.of(pictures.astype(np.float32)))
        seen |= {(int(image), *move.tolist()) for image, move in zip(order, moves, strict=True)}
        assert teacher.asked == len(seen)
    assert len(seen) <= COUNT * 18 < COUNT * RECIPE.epochs


def test_images_that_are_not_augmented_are_asked_once() -> None:
    teacher, recipe = Teacher(), replace(RECIPE, flip=False, shift_pixels=0)
    bank = bank_of(teacher, recipe, count=COUNT, classes=2, batch=1024, progress=SILENT)
    assert bank is not None
    for epoch in range(3):
        order, chance = epoch_chance(recipe, count=COUNT, shape=(8, 8, 1), epoch=epoch)
        found = bank.answers(order, chance.get("moves"), moved)
        np.testing.assert_array_equal(found, Teacher.of(IMAGES[order].astype(np.float32)))
    assert teacher.asked == COUNT


@pytest.mark.parametrize("change", [{"erasing": 0.5}, {"mixup": 0.2}, {"cutmix": 0.5}, {"zoom": 0.1}, {"epochs": 1}])
def test_images_that_are_never_the_same_have_no_bank(change: dict[str, float]) -> None:
    recipe = replace(RECIPE, **change)  # type: ignore[arg-type]  # each is of its field's type
    assert bank_of(Teacher(), recipe, count=COUNT, classes=2, batch=1024, progress=SILENT) is None


def test_a_bank_that_would_be_too_large_is_not_made() -> None:
    recipe = replace(RECIPE, shift_pixels=10)
    assert bank_of(Teacher(), recipe, count=1_000_000, classes=1000, batch=1024, progress=SILENT) is None
