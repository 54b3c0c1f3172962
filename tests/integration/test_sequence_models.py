"""Recurrent layers and one-dimensional convolutions: written out step by step, quantised, and right."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.keras_graph.unrolling import recurrent_layers, unrolled
from edgefm.quantization.applicability import applicability
from edgefm_converters.tflite.keras_to_tflite import float32_tflite
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite
from tests.fixtures import models_people_bring as bring


def _answers(content: bytes, samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return the real outputs of a .tflite file, run by the Interpreter itself."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for sample in samples:
        scale, zero = source["quantization"]
        value = sample[None] if not scale else np.clip(np.round(sample[None] / scale) + zero, -128, 127)
        interpreter.set_tensor(source["index"], value.astype(source["dtype"]))
        interpreter.invoke()
        scale, zero = sink["quantization"]
        output = interpreter.get_tensor(sink["index"])[0].astype(np.float32)
        answers.append((output - zero) * scale if scale else output)
    return np.stack(answers)


@pytest.mark.parametrize("name", bring.SEQUENCES)
def test_float32_drq_and_int8_files_answer_as_keras(name: str) -> None:
    keras.utils.set_random_seed(4)
    model = bring.SEQUENCES[name]()
    (samples,) = bring.inputs_of(model, 24)
    if name == "masked":
        samples[:, 6:] = 0
    expected = model.predict(samples, verbose=0)
    float32 = float32_tflite(model)
    np.testing.assert_allclose(_answers(float32, samples), expected, atol=1e-5)
    np.testing.assert_allclose(_answers(quantize_tflite(float32, "float16"), samples), expected, atol=2e-3)
    np.testing.assert_allclose(_answers(quantize_tflite(float32, "drq_w8"), samples), expected, atol=0.02)
    if name == "masked":
        return  # XNNPACK 2.3 prepares no int8 file with NOT_EQUAL and SELECT; edgefm says so when it loads the file
    ranges = calibrate(float32, samples, value_range=None)
    int8 = quantize_tflite(float32, "int8_w8a8", calibration=ranges)
    np.testing.assert_allclose(_answers(int8, samples), expected, atol=0.05)
    assert Interpreter(model_content=int8).get_input_details()[0]["dtype"] == np.int8


def test_unrolled_keeps_names_weights_and_answers_and_leaves_other_models_alone() -> None:
    model = bring.bidirectional_lstm()
    (samples,) = bring.inputs_of(model, 5)
    written_out = unrolled(model)
    assert [layer.name for layer in written_out.layers[1:]] == [layer.name for layer in model.layers]
    assert written_out.count_params() == model.count_params()
    np.testing.assert_allclose(written_out.predict(samples, verbose=0), model.predict(samples, verbose=0), atol=1e-6)
    assert not model.layers[0].forward_layer.unroll
    assert [(entry.kind, entry.steps) for entry in recurrent_layers(model)] == [("Bidirectional", 18)]
    plain = bring.conv_chain()
    assert unrolled(plain) is plain


@pytest.mark.parametrize(
    ("shape", "layer", "words"),
    [
        pytest.param((700, 2), lambda: layers.GRU(2, name="long"), r"700 steps.*'long' 700", id="too many steps"),
        pytest.param((None, 2), lambda: layers.LSTM(2, name="open"), "dynamic size|any number of steps", id="open"),
    ],
)
def test_inspect_foresees_what_conversion_refuses_and_names_the_way_out(shape: Any, layer: Any, words: str) -> None:
    model = keras.Sequential([keras.Input(shape), layer(), layers.Dense(2)])
    foreseen = applicability(model).refused["tflite"]
    with pytest.raises(ModelError, match=words) as refused:
        float32_tflite(model)
    assert foreseen == str(refused.value)
    assert refused.value.hint


def test_inspect_foresees_a_layer_that_keeps_its_state() -> None:
    inputs = keras.Input(batch_shape=(1, 5, 2))
    model = keras.Model(inputs, layers.Dense(2)(layers.GRU(2, stateful=True, name="keeps")(inputs)))
    assert "'keeps' (GRU) keeps its state" in applicability(model).refused["tflite"]
    assert "tflite" not in applicability(bring.gru()).refused


def test_inspect_foresees_several_inputs_and_passes_on_tokens() -> None:
    one, other = keras.Input((3,)), keras.Input((4,))
    model = keras.Model([one, other], layers.Dense(2)(layers.Concatenate()([one, other])))
    for seen, why in ((model, "several inputs"), (bring.token_classifier(), "takes tokens")):
        refused = applicability(seen).refused
        assert "tflite" not in refused and set(refused) == {"slim", "prune", "cluster", "qat"}
        assert all(why in refused[name] for name in ("slim", "prune", "cluster"))
    assert all("tokens" in refused[name] for name in ("slim", "prune", "cluster"))
