"""Names that Keras takes and TensorFlow does not are foreseen by `inspect`, and nothing sends them to the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

from edgefm.cli.main import cli, run
from edgefm.core.errors import ModelError
from edgefm.quantization.applicability import applicability
from edgefm_converters.tflite.keras_to_tflite import float32_tflite

ESCAPES = "a\x1b]0;b\x07\x1b[31mc"


def _model(name: str, *, of_model: str = "model", of_input: str = "given") -> Any:
    inputs = keras.Input((6, 6, 1), name=of_input)
    x = layers.Flatten()(layers.Conv2D(2, 3, name=name)(inputs))
    return keras.Model(inputs, layers.Dense(3)(x), name=of_model)


@pytest.mark.parametrize("name", ["my conv", "größe", "_conv", "-conv", "a:b", "a\nb", ESCAPES], ids=ascii)
def test_a_name_that_tensorflow_does_not_take_is_foreseen(name: str) -> None:
    model = _model(name)
    refused = applicability(model).refused
    with pytest.raises(ModelError, match="has a name that TensorFlow does not take") as said:
        float32_tflite(model)
    assert refused["tflite"] == str(said.value) and name in said.value.message
    assert f"the layer '{name}'" in refused["qat"]


def test_the_models_own_name_is_looked_at_too() -> None:
    model = _model("conv", of_model="my model")
    with pytest.raises(ModelError, match=r"the model 'my model' has a name .* it has others than"):
        float32_tflite(model)
    assert "my model" in applicability(model).refused["tflite"]


@pytest.mark.parametrize(("name", "of_input"), [("a.b-c_d>e", "given"), ("9", "given"), ("conv", "my größe")])
def test_other_names_are_taken(name: str, of_input: str) -> None:
    model = _model(name, of_input=of_input)
    assert applicability(model).refused == {}
    assert float32_tflite(model)


def test_inspect_shows_escapes_in_names_and_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _model(ESCAPES, of_model=ESCAPES).save(tmp_path / "named.keras")
    capfd.readouterr()
    assert run(lambda: cli.main(["inspect", str(tmp_path / "named.keras")], standalone_mode=False)) == 0
    shown = capfd.readouterr()  # of TensorFlow's native code, too
    assert "\x1b" not in shown.out + shown.err and "\x07" not in shown.out + shown.err
    assert r"the model 'a\x1b]0;b\x07\x1b[31mc' has a name" in shown.out
    assert "\n  Build the model with another name" in shown.out
