from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.compression.fine_tuning.task import Task
from edgefm.data.dataset import Dataset, Split
from edgefm.data.preprocessing import preprocessing
from edgefm.data.quality import quality
from edgefm.recipes import Qat

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def model() -> Any:
    """Return a detector of a kind: boxes in hundreds of pixels and scores from 0 to 1 in one output."""
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    wide = keras.initializers.RandomNormal(stddev=2)
    source = keras.Input(SHAPE, name="picture")
    x = layers.Flatten()(layers.Conv2D(8, 3, activation="relu", name="conv")(source))
    x = layers.Dense(16, activation="relu", name="features")(x)
    boxes = layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(stddev=300), name="boxes")(x)
    scores = layers.Dense(2, activation="sigmoid", kernel_initializer=wide, name="scores")(x)
    return keras.Model(source, layers.Concatenate(name="joined")([boxes, scores]), name="detector")


@pytest.fixture(scope="module")
def data(model: Any) -> Dataset:
    random = np.random.default_rng(0)

    def split(name: str, count: int) -> Split:
        images = random.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
        targets = model.predict(images.astype(np.float32) / 255, verbose=0)
        return Split(name=name, images=images, labels=targets)  # type: ignore[arg-type]  # the three names

    return Dataset(
        name="boxes and scores",
        labels=(),
        train=split("train", 128),
        validation=split("validation", 128),
        test=split("test", 16),
        sha256="0" * 64,
        task="regression",
    )


def test_quantize_keeps_the_scores_and_says_what_stays_float32(model: Any, data: Dataset, tmp_path: Path) -> None:
    from edgefm_converters.tflite.tflite_outputs import tflite_outputs

    files = edgefm.quantize(model, ["int8_w8a8", "int16x8"], data=data, value_range=(0, 1), progress=False)
    files.save(tmp_path / "out")
    report = json.loads((tmp_path / "out" / "quantize.json").read_text())
    facts = {entry["variant"]: entry["post_training"] for entry in report["variants"]}
    (shared,) = facts["int8_w8a8"]["shared_scales"]
    assert shared["layer"] == "joined" and [lost["name"] for lost in shared["lost"]] == ["scores"]
    assert "shared_scales" not in facts["int16x8"] and max(facts["int16x8"]["kernels"].values()) < 1
    contract = json.loads((tmp_path / "out" / "int8_w8a8" / "contract.json").read_text())
    assert contract["made_by"]["post_training"]["shared_scales"] == [shared]
    assert contract["outputs"][0]["dtype"] == "float32" and contract["input"]["dtype"] == "uint8"
    inputs = data.validation.images.astype(np.float32) / 255
    answers = tflite_outputs((tmp_path / "out" / "int8_w8a8" / "model.tflite").read_bytes(), inputs)[0]
    expected = model.predict(inputs, verbose=0)
    assert all(len(np.unique(answers[:, column])) >= 64 for column in (4, 5))
    assert (np.abs(answers - expected).max(axis=0) < 0.08 * np.ptp(expected, axis=0)).all()


def test_qat_keeps_the_scores_and_says_what_stays_float32(model: Any, data: Dataset) -> None:
    from edgefm.compression.qat.qat import quantization_aware_train
    from edgefm_converters.tflite.tflite_outputs import tflite_outputs

    recipe = Qat()
    tuning = replace(recipe.fine_tuning, epochs=1, learning_rate=1e-9, distillation=None)
    task = Task(dataset=data, encoding=preprocessing((0, 1)), quality=quality("mse", task="regression"))
    result = quantization_aware_train(model, replace(recipe, fine_tuning=tuning), task, seed=0)
    assert "'scores_sigmoid' (0 to" in result.facts["float32"]["joined"]
    inputs = data.validation.images.astype(np.float32) / 255
    answers, expected = tflite_outputs(result.int8, inputs)[0], model.predict(inputs, verbose=0)
    assert all(len(np.unique(answers[:, column])) >= 64 for column in (4, 5))
    assert (np.abs(answers - expected).max(axis=0) < 0.08 * np.ptp(expected, axis=0)).all()
    assert result.parity.held


def test_network_without_dense_layers_gets_no_fc4_file(data: Dataset) -> None:
    import keras
    from keras import layers

    source = keras.Input(SHAPE)
    x = layers.Conv2D(40, 3, activation="relu", name="first")(source)
    network = keras.Model(source, layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, name="last")(x)))
    variants = ["int8_w8a8", "int8_w8a8_fc4", "drq_w8"]
    files = edgefm.quantize(network, variants, data=data, value_range=(0, 1), progress=False)
    assert list(files) == ["int8_w8a8", "drq_w8"]
    assert "same file as int8_w8a8" in files.skipped["int8_w8a8_fc4"]


def test_weights_beyond_float16_leave_the_other_variants(data: Dataset) -> None:
    import keras
    from keras import layers

    source = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, activation="relu", name="large")(source)
    network = keras.Model(source, layers.Dense(6, name="last")(layers.Flatten()(x)))
    kernel, bias = network.get_layer("large").get_weights()
    network.get_layer("large").set_weights([kernel * np.float32(1e6), bias])
    files = edgefm.quantize(network, ["float32", "float16", "drq_w8"], data=data, value_range=(0, 1), progress=False)
    assert list(files) == ["float32", "drq_w8"]
    assert "kernel of 'large'" in files.skipped["float16"] and "65,504" in files.skipped["float16"]
