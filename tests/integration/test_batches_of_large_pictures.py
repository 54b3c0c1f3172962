"""Models are asked about large pictures a few at a time: as many as a step of the training takes, or fit anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from edgefm.compression.channels.slimming import quality_of
from edgefm.compression.fine_tuning.loop import fine_tune
from edgefm.compression.fine_tuning.steps import outputs_of
from edgefm.compression.fine_tuning.task import Task
from edgefm.data.dataset import Dataset, Split
from edgefm.data.preprocessing import preprocessing
from edgefm.data.quality import quality
from edgefm.keras_graph.class_maps import Scored
from edgefm.recipes import SELF, Distillation, FineTuning, Training
from edgefm.training.distillation import load_teacher
from edgefm_converters.bridge.bridge import to_tf_keras
from edgefm_converters.tflite.outputs import of_model
from tests.fixtures.small_networks import small_network, trained

SIDE = 112
# Pictures of this size with as many values as 500 of 32 x 32.
FIT = 500 * 32 * 32 // SIDE**2
LABELS = np.arange(3 * FIT + 7) % 3
PIXELS = np.random.default_rng(0).integers(0, 256, (len(LABELS), SIDE, SIDE, 3), np.uint8)
SPLIT = Split(name="large", images=PIXELS, labels=LABELS)
DATA = Dataset(name="large", labels=("a", "b", "c"), train=SPLIT, validation=SPLIT, test=SPLIT, sha256="")


def seeing() -> tuple[Any, list[int]]:
    """Return a model, and how many pictures it was asked about each time."""
    sizes: list[int] = []

    class Sees(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            if inputs.shape[0] is not None:
                sizes.append(int(inputs.shape[0]))
            return inputs

    model = small_network(shape=(SIDE, SIDE, 3), classes=3, extra=[Sees()])
    model.compile(run_eagerly=True)
    sizes.clear()
    return model, sizes


@pytest.mark.parametrize("batch", [8, 2 * FIT], ids=["small steps", "large steps"])
@pytest.mark.parametrize("changes", [{"flip": True, "epochs": 2}, {"erasing": 0.5, "epochs": 1}], ids=["bank", "anew"])
def test_teacher_of_large_pictures_is_asked_about_no_more_than_a_step_or_an_evaluation_takes(
    changes: dict[str, Any], batch: int, tmp_path: Path
) -> None:
    model, sizes = seeing()
    teacher = load_teacher([SELF], source=model, classes=3, input_shape=(SIDE, SIDE, 3))
    recipe = Training(batch_size=batch, distillation=Distillation(teachers=(SELF,)), **changes)
    trained(DATA, recipe, tmp_path, model=lambda: small_network(shape=(SIDE, SIDE, 3), classes=3), teacher=teacher)
    assert sizes and max(sizes) <= max(batch, FIT)


def test_teacher_of_a_pass_is_asked_about_large_pictures_a_few_at_a_time() -> None:
    sizes: list[int] = []

    def teacher(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        sizes.append(len(inputs))
        return np.full((len(inputs), 3), 1 / 3, np.float32)

    task = Task(dataset=DATA, encoding=preprocessing((0, 255)), quality=quality("accuracy", task="classification"))
    model = to_tf_keras(small_network(shape=(SIDE, SIDE, 3), classes=3))
    recipe = FineTuning(epochs=1, batch_size=8, distillation=Distillation())
    fine_tune(model, recipe, task, seed=0, label="tune", teacher=teacher)
    assert set(sizes) == {FIT}


def answers_of_steps(model: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a model's outputs as fine-tuning measures them."""
    task: Any = SimpleNamespace(inputs=lambda images: images)
    (found,) = outputs_of(lambda part: [keras.ops.convert_to_tensor(model(part, training=False))], inputs, task)
    return found


@pytest.mark.parametrize(
    "ask",
    [lambda model, inputs: of_model(model, inputs)[0], answers_of_steps],
    ids=["explanation", "fine-tuning"],
)
def test_large_pictures_are_asked_about_a_few_at_a_time_and_answered_as_one_by_one(
    ask: Callable[[Any, NDArray[np.float32]], NDArray[np.float32]],
) -> None:
    model, sizes = seeing()
    inputs = PIXELS.astype(np.float32)
    found = ask(model, inputs)
    assert sum(sizes) == len(inputs) and max(sizes) <= FIT
    expected = [np.asarray(model(inputs[place : place + 1], training=False))[0] for place in (0, FIT, len(inputs) - 1)]
    np.testing.assert_allclose(found[[0, FIT, -1]], expected, atol=1e-5)


def test_features_of_large_pictures_are_taken_a_few_at_a_time() -> None:
    model, _ = seeing()
    done: list[int] = []
    Scored(model).features(PIXELS.astype(np.float32), told=done.append)
    assert np.diff([0, *done]).max() <= FIT and done[-1] == len(PIXELS)


def test_quality_of_large_pictures_is_measured_a_few_at_a_time() -> None:
    asked: list[int] = []

    def inputs(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        asked.append(len(images))
        return images.astype(np.float32)

    task: Any = SimpleNamespace(dataset=DATA, inputs=inputs, quality=SimpleNamespace(function=lambda *both: 0.5))
    assert quality_of(seeing()[0], task) == 0.5
    assert sum(asked) == len(PIXELS) and max(asked) <= FIT
