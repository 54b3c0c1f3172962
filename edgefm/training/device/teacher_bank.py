"""A teacher's answers about images that are only mirrored and moved: each view is asked once in a training.

By whole pixels an image has 2 * (2 * shift + 1)^2 views. Their answers are kept, so that a long training soon has all
that it needs and the teacher no longer runs. Turned, erased and mixed images are hardly ever the same twice: they have
no bank.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgefm.core.progress import Progress
from edgefm.recipes import Training
from edgefm.training.distillation import Teacher, answers_of

# More than this is not kept: 60,000 images of ten classes in 50 views are 120 MB.
_MOST_BYTES = 1 << 30

# From int32 [m] images and int32 [m, 3] moves (see `epoch_chance`) to the teacher's inputs, float32 [m, h, w, c].
Views = Callable[[NDArray[np.int32], NDArray[np.int32]], NDArray[np.float32]]


class TeacherBank:
    """What a teacher answered about the views of one training's images."""

    def __init__(
        self, teacher: Teacher, recipe: Training, *, count: int, classes: int, batch: int, progress: Progress
    ) -> None:
        """Take a teacher of `count` training images in `classes` classes, that is asked about `batch` at once."""
        self._teacher, self._batch, self._progress = teacher, batch, progress
        self._shift = recipe.shift_pixels
        self._answers = np.full((count, _views(recipe), classes), np.nan, np.float32)

    def answers(self, order: NDArray[np.int32], moves: NDArray[np.int32] | None, views: Views) -> NDArray[np.float32]:
        """Return what the teacher answers about the images of an epoch in their order, float32 [n, classes].

        Args:
          order: int32 [n], each image once.
          moves: int32 [n, 3]; None where none is mirrored or moved.
          views: makes the teacher's inputs.
        """
        moves = np.zeros((len(order), 3), np.int32) if moves is None else moves
        place = self._place(moves)
        found: NDArray[np.float32] = self._answers[order, place]
        missing = np.flatnonzero(np.isnan(found[:, 0]))
        if len(missing):
            found[missing] = answers_of(
                self._teacher,
                missing,
                lambda some: _in_one_size(views, order[some], moves[some], batch=self._batch),
                batch=self._batch,
                label="teacher outputs",
                progress=self._progress,
            )
            self._answers[order, place] = found
        return found

    def _place(self, moves: NDArray[np.int32]) -> NDArray[np.int64]:
        down, right, mirrored = moves.astype(np.int64).T
        side = 2 * self._shift + 1
        place: NDArray[np.int64] = (mirrored * side + down + self._shift) * side + right + self._shift
        return place


def bank_of(
    teacher: Teacher, recipe: Training, *, count: int, classes: int, batch: int, progress: Progress
) -> TeacherBank | None:
    """Return a bank for a training; None where its images are other ones in each epoch, or it would be too large."""
    changing = recipe.rotation_degrees or recipe.zoom or recipe.erasing or recipe.mixup or recipe.cutmix
    if changing or recipe.epochs < 2 or count * _views(recipe) * classes * 4 > _MOST_BYTES:
        return None
    return TeacherBank(teacher, recipe, count=count, classes=classes, batch=batch, progress=progress)


def _views(recipe: Training) -> int:
    return (2 if recipe.flip else 1) * (2 * recipe.shift_pixels + 1) ** 2


def _in_one_size(
    views: Views, order: NDArray[np.int32], moves: NDArray[np.int32], *, batch: int
) -> NDArray[np.float32]:
    """Return views, made in batches of one size: another one would be compiled anew."""
    filled = np.resize(np.arange(len(order)), batch)
    return views(order[filled], moves[filled])[: len(order)]
