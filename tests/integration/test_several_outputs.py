"""Pictures in, several outputs: each keeps its name, its place and its values in every variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import edgefm
from edgefm.tflite.inspection import inspect
from tests.fixtures import models_people_bring as bring


def _trunk() -> tuple[Any, Any]:
    inputs = keras.Input(bring.PICTURE)
    x = layers.Conv2D(8, 3, activation="relu")(inputs)
    return inputs, layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))


def _list() -> Any:
    inputs, x = _trunk()
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    return keras.Model(inputs, [kind, layers.Dense(4, name="box")(x), layers.Dense(1, name="aged")(x)])


def _dictionary() -> Any:
    inputs, x = _trunk()
    heads = {"shape": layers.Dense(3, activation="softmax", name="d1")(x), "where": layers.Dense(4, name="d2")(x)}
    return keras.Model(inputs, {**heads, "weight": layers.Dense(1, name="d0")(x)})


def _logits() -> Any:
    inputs, x = _trunk()
    scores = layers.Dense(3, name="scores")(x * 40.0)
    return keras.Model(inputs, {"a_scores": scores, "b_map": layers.Dense(6, name="other")(x)})


def _maps() -> Any:
    inputs = keras.Input(bring.PICTURE)
    x = layers.Conv2D(4, 3, padding="same", name="fine")(layers.Rescaling(1 / 255)(inputs))
    coarse = layers.Conv2D(2, 3, strides=2, padding="same", name="coarse")(x)
    kind = layers.Dense(3, activation="softmax", name="kind")(layers.GlobalMaxPooling2D()(x))
    return keras.Model(inputs, [kind, coarse, x])


NAMES = {
    "list": (_list, ("kind", "box", "aged")),
    "dictionary": (_dictionary, ("shape", "weight", "where")),
    "logits": (_logits, ("edgefm_softmax", "b_map")),
    "maps": (_maps, ("kind", "coarse", "fine")),
}


@pytest.mark.parametrize("case", ["list", "dictionary", "maps"])
def test_names_order_and_values_of_outputs_are_the_models(case: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(6)
    build, names = NAMES[case]
    model = build()
    pixels = np.random.default_rng(7).integers(0, 256, (40, *bring.PICTURE), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=pixels, labels=np.arange(40) % 3)
    expected = keras.tree.flatten(model.predict(pixels.astype(np.float32), verbose=0))
    limits = {"float32": 1e-4, "drq_w8": 0.1, "int8_w8a8": 0.1}
    files = edgefm.quantize(model, list(limits), data=tmp_path / "data.npz", progress=False)
    assert "same file" in files.skipped.get("drq_w8", "same file")  # of some models no kernel is large enough
    for variant, tolerance in limits.items():
        if variant == "drq_w8" and variant in files.skipped:
            continue
        path = files[variant].path
        inside = inspect(path)
        assert tuple(inside.tensors[index].name for index in inside.outputs) == names
        contract = files[variant].contract
        assert contract is not None
        assert tuple(tensor.name for tensor in contract.outputs) == names
        runner = Interpreter(str(path)).get_signature_runner()
        assert set(runner.get_output_details()) == set(names)
        (source,) = runner.get_input_details()
        for place in range(8):
            sample = pixels[place][None].astype(runner.get_input_details()[source]["dtype"])
            answers = runner(**{source: sample})
            for name, wanted in zip(names, expected, strict=True):
                scale, zero = runner.get_output_details()[name]["quantization"]
                answer = answers[name][0].astype(np.float32)
                real = (answer - zero) * scale if scale else answer
                size = max(1.0, float(np.abs(wanted).max()))
                np.testing.assert_allclose(real, wanted[place], atol=tolerance * size, err_msg=f"{variant} {name}")
