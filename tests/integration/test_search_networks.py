"""Networks from scratch in a search: built for the data of a model of the zoo, trained, and proposed for a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm import zoo
from edgefm.compression.fine_tuning.loop import _seeded
from edgefm.compression.fine_tuning.task import Task
from edgefm.compression.networks.from_scratch import train_from_scratch
from edgefm.core.errors import ModelError
from edgefm.data.dataset import Dataset, Split
from edgefm.data.preprocessing import preprocessing
from edgefm.data.quality import quality
from edgefm.jobs import search as search_job
from edgefm.recipes import BenchmarkProtocol, FineTuning, FromScratch
from edgefm.searching.space import Space
from edgefm.training.fit import make_deterministic
from tests.fixtures.search_driver import latency

ONCE = BenchmarkProtocol(rounds=1, rounds_at_most=1, repeats_at_most=0, round_seconds=0.01)
SHAPE = (32, 32, 3)


def _split(name: str, count: int, seed: int) -> Split:
    """Return pictures of noise in one of four colours, which is their class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [160, 160, 160]])[labels]
    images = colours[:, None, None, :] + random.integers(-40, 41, (count, *SHAPE))
    return Split(name=name, images=images.clip(0, 255).astype(np.uint8), labels=labels.astype(np.int64))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset(
        name="colours",
        labels=("red", "green", "blue", "grey"),
        train=_split("train", 512, 0),
        validation=_split("validation", 64, 1),
        test=_split("test", 64, 2),
        sha256="colours",
    )


def _task(data: Dataset, low: float = 0.0, high: float = 255.0) -> Task:
    measure = quality("accuracy", task="classification")
    return Task(dataset=data, encoding=preprocessing((low, high)), quality=measure, head="softmax")


def test_search_builds_a_network_and_proposes_its_file(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras
    import tensorflow as tf

    given = zoo.build("strided_cnn", input_shape=SHAPE, classes=4)
    first = Space.known

    def networks_alone(space: Space) -> list[Any]:
        labels_alone = {"scheme": "int8_w8a8", "teacher": "none"}  # the given model has learnt nothing
        return [{**point, **labels_alone} for point in first(space) if point["network"] != "given"]

    monkeypatch.setattr(Space, "known", networks_alone)
    monkeypatch.setattr(Space, "corners", lambda space: networks_alone(space)[:1])
    monkeypatch.setattr(search_job, "_latency", lambda folder, progress: latency)
    monkeypatch.setattr(search_job, "_rough", lambda folder, budgets, progress: (None, {}))
    asked: dict[str, Any] = {"data": data, "out": tmp_path / "s", "epochs": 1, "protocol": ONCE, "progress": False}
    result = edgefm.search(given, {"any": {"max_macs": "1.5 M"}}, trials=1, seeds=1, **asked)

    (entry,) = result.front
    assert (
        entry["words"]
        == "new network: 1 plain block a stage, 16 channels, first stride 2; without a teacher; int8_w8a8"
    )
    assert entry["words"] in (result.folder / "result.md").read_text()
    assert json.loads((tmp_path / "s" / "search.json").read_text())["scratch_epochs"] == 2
    # 3x3 convolutions of 3 > 16 > 16 > 32 > 32 channels, each with scale and shift; then four classes.
    macs = 16 * 16 * 9 * (3 * 16 + 16 * 16) + 8 * 8 * 9 * 16 * 32 + 4 * 4 * 9 * 32 * 32 + 32 * 4
    assert entry["figures"]["macs"] == macs and result.met["any"]

    passes = {path.name: json.loads((path / "pass.json").read_text()) for path in (tmp_path / "s" / "passes").iterdir()}
    trained = {len(about["history"]): name for name, about in passes.items() if name.startswith("from_scratch")}
    assert set(trained) == {0, 2, 4}  # epochs of the forecast, of the trial, of the finalist
    network = keras.saving.load_model(tmp_path / "s" / "passes" / trained[4] / "model.keras", compile=False)
    kernels = 9 * (3 * 16 + 16 * 16 + 16 * 32 + 32 * 32)
    assert network.count_params() == kernels + 4 * (16 + 16 + 32 + 32) + 33 * 4

    interpreter = tf.lite.Interpreter(str(result.files["any"]))
    interpreter.allocate_tensors()
    (taken,), (answered,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for image in data.test.images:
        interpreter.set_tensor(taken["index"], image[None].astype(taken["dtype"]))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(answered["index"])[0])
    exact = network.predict(data.test.images.astype(np.float32), verbose=0)
    scale, zero_point = answered["quantization"]
    np.testing.assert_allclose(scale * (np.array(answers, np.float64) - zero_point), exact, atol=0.1)
    assert (exact.argmax(axis=1) == data.test.labels).mean() > 0.5  # a guess: 0.25


@pytest.mark.parametrize(
    ("values", "last", "reason"),
    [((0, 255), "sigmoid", "ends in a softmax"), ((0, 1), "softmax", "takes inputs of 0 to 1")],
)
def test_model_whose_place_no_network_can_take_is_named(
    data: Dataset, values: tuple[float, float], last: str, reason: str
) -> None:
    import keras
    from keras import layers

    outputs = 4 if last == "softmax" else 1
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(outputs, last)], name="mine")
    recipe = FromScratch(fine_tuning=FineTuning(epochs=0))
    with pytest.raises(ModelError, match=f"take the place of 'mine': it .*{reason}"):
        train_from_scratch(model, recipe, _task(data, *values), seed=0)


def test_passes_after_a_training_do_not_ask_a_gpu_for_what_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf
    from tensorflow.python.util import _pywrap_determinism

    make_deterministic()  # as the training from scratch does
    with monkeypatch.context() as patched:
        patched.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
        _seeded(0)
        assert not _pywrap_determinism.is_enabled()
    _seeded(0)
    assert _pywrap_determinism.is_enabled()
