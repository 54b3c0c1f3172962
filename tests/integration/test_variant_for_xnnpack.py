"""`int8_w8a8_xnnpack` from a Keras model to its folder: equal answers, and facts of what was done or why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.data.dataset import Dataset
from edgefm_converters.tflite.surgery import operators
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

SHAPE = (20, 20, 1)


@pytest.fixture(autouse=True, scope="module")
def backend() -> None:
    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")


@pytest.fixture(scope="module")
def data() -> Dataset:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 60)
    images = (60 * labels[:, None, None, None] + generator.integers(0, 120, (180, *SHAPE))).astype(np.uint8)
    return edgefm.data.from_arrays(images, labels, class_names=["dark", "grey", "light"])


def network(filters: int) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    source = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(source)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)))
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    return keras.Model(source, layers.Dense(3, activation="softmax")(x))


def test_variant_for_xnnpack_answers_as_the_one_without(data: Dataset, tmp_path: Path) -> None:
    names = ["int8_w8a8", "int8_w8a8_xnnpack"]
    files = edgefm.quantize(network(32), names, data=data, progress=False)
    files.save(tmp_path / "out")
    plain, rewritten = ((tmp_path / "out" / name / "model.tflite").read_bytes() for name in names)
    inputs = np.asarray(data.validation.images, np.float32)
    for builtin in (False, True):
        answers = [tflite_outputs(content, inputs, builtin_kernels=builtin)[0] for content in (plain, rewritten)]
        np.testing.assert_array_equal(*answers)
    assert operators(plain).count("CONV_2D") == 1 and operators(rewritten).count("CONV_2D") == 2
    report = json.loads((tmp_path / "out" / "quantize.json").read_text())
    facts = {entry["variant"]: entry["post_training"] for entry in report["variants"]}
    assert "for_xnnpack" not in facts["int8_w8a8"]
    (rewrite,) = facts["int8_w8a8_xnnpack"]["for_xnnpack"]["rewrites"]
    assert rewrite["rewrite"] == "few_channels" and rewrite["patch"] == 16
    assert facts["int8_w8a8_xnnpack"]["for_xnnpack"]["equal_samples"] > 16
    contract = json.loads((tmp_path / "out" / names[1] / "contract.json").read_text())
    assert contract["made_by"]["variant"]["for_xnnpack"] is True


def test_variant_for_xnnpack_of_a_network_that_gains_nothing_is_left_out(data: Dataset) -> None:
    files = edgefm.quantize(network(4), ["int8_w8a8", "int8_w8a8_xnnpack"], data=data, progress=False)
    assert list(files) == ["int8_w8a8"]
    assert "same file as without '_xnnpack'" in files.skipped["int8_w8a8_xnnpack"]


def test_variant_for_xnnpack_is_measured_beside_the_one_without(data: Dataset) -> None:
    files = edgefm.quantize(network(32), ["int8_w8a8", "int8_w8a8_xnnpack"], data=data, progress=False)
    record = edgefm.benchmark(files, data=data, rounds=2, rounds_at_most=2, progress=False)
    accuracy = {row["name"]: row["accuracy"]["value"] for row in record.to_json()["models"]}
    assert accuracy["int8_w8a8"] == accuracy["int8_w8a8_xnnpack"]
