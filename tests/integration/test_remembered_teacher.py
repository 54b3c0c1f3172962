"""A teacher is asked about each form of a picture once, whichever pass, seed or share of the samples asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from edgefm.quantization.chain import Chain
from edgefm.recipes import Distillation, FineTuning, Prune, Qat
from edgefm.training import distillation
from tests.fixtures.blobs import CHANNELS, CLASSES, SIZE, blobs

TAUGHT = FineTuning(epochs=2, batch_size=32, flip=True, distillation=Distillation(weight=0.5))


def _network(scaling: list[Any]) -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, CHANNELS))
    x = image
    for layer in scaling:
        x = layer(x)
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    x = layers.Dense(CLASSES, activation="softmax", name="scores")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, x)


@pytest.mark.parametrize(
    "scaling",
    [
        [lambda: layers.Rescaling(1 / 255)],
        [lambda: layers.Rescaling(1 / 127.5, offset=-1)],
        [lambda: layers.Rescaling(0.017, offset=-2.1)],
        [],
    ],
)
def test_passes_and_seeds_share_what_a_teacher_answered(
    scaling: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[NDArray[np.float32]] = []

    def load_teacher(*names: Any, **options: Any) -> distillation.Teacher:
        def teach(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            asked.append(inputs)
            return np.full((len(inputs), CLASSES), 1 / CLASSES, np.float32)

        return teach

    monkeypatch.setattr(distillation, "load_teacher", load_teacher)
    task, teachers = blobs(), {}
    model = _network([make() for make in scaling])
    for seed in (0, 1):
        chain = Chain(model=model, key="0", task=task, folder=tmp_path, seed=seed, teachers=teachers)
        chain.run((Prune(fine_tuning=TAUGHT), Qat(fine_tuning=TAUGHT)))
    images = task.dataset.train.images
    forms = {form.tobytes() for picture in images for form in (picture, picture[:, ::-1])}
    rows = [row for batch in asked for row in batch]
    assert {row.astype(np.uint8).tobytes() for row in rows} <= forms
    assert len(rows) == len({row.tobytes() for row in rows}) <= len(forms), "none is asked twice"
    assert all(np.array_equal(row, np.round(row)) for row in rows), "pixels as they are"
