"""Models that take tokens: whole numbers go in as they are, tables of embeddings are weights like any others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

import edgefm
from edgefm.core.errors import DataError, ModelError
from tests.fixtures import models_people_bring as bring
from tests.fixtures.protocols import ONCE


def _answers(path: Path, samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return the real outputs of a .tflite file, run by the Interpreter itself, tokens as they are."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert source["dtype"] == samples.dtype
    assert not source["quantization"][0]
    answers = []
    for sample in samples:
        interpreter.set_tensor(source["index"], sample[None])
        interpreter.invoke()
        output = interpreter.get_tensor(sink["index"])[0].astype(np.float32)
        scale, zero = sink["quantization"]
        answers.append((output - zero) * scale if scale else output)
    return np.stack(answers)


@pytest.mark.parametrize("name", bring.TOKENS)
def test_post_training_variants_take_tokens_and_answer_as_keras(name: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(5)
    model = bring.TOKENS[name]()
    (samples,) = bring.inputs_of(model, 40)
    np.savez(tmp_path / "data.npz", images=samples, labels=np.arange(40) % 3)
    expected = model.predict(samples, verbose=0)
    limits = {"float32": 1e-5, "float16": 2e-3, "drq_w8": 0.02, "int8_w8a8": 0.05}
    files = edgefm.quantize(model, list(limits), data=tmp_path / "data.npz", progress=False)
    for variant, tolerance in limits.items():
        np.testing.assert_allclose(_answers(files[variant].path, samples), expected, atol=tolerance)
        contract = files[variant].contract
        assert contract is not None
        assert contract.input.dtype == str(samples.dtype)
        np.testing.assert_array_equal(contract.encode(samples), samples)
    tables = [int(np.prod(weight.shape)) for weight in model.weights if "embeddings" in weight.path]
    tables = [count for count in tables if count > 8 * 12]  # that of places is a constant of its own
    for variant, width in (("float16", 2), ("drq_w8", 1), ("int8_w8a8", 1)):
        stored = _constants(files[variant].path)
        assert all((count, width) in stored for count in tables), f"{variant}: {stored}"


def _constants(path: Path) -> set[tuple[int, int]]:
    from edgefm.tflite import inspection

    return {
        (int(np.prod(tensor.shape)), tensor.size_bytes // int(np.prod(tensor.shape)))
        for tensor in inspection.inspect(path).tensors
        if tensor.constant and np.prod(tensor.shape)
    }


def test_without_data_random_tokens_of_the_vocabulary_are_compared(tmp_path: Path) -> None:
    model = bring.token_classifier()
    files = edgefm.quantize(model, ["float32", "drq_w8"], progress=False)
    assert files["float32"].report["max_abs_difference"] < 1e-5
    again = edgefm.quantize(files["float32"].path, ["drq_w8"], progress=False)
    assert again["drq_w8"].content == files["drq_w8"].content


def test_benchmark_answers_tokens_and_measures_quality(tmp_path: Path) -> None:
    model = bring.token_classifier()
    (samples,) = bring.inputs_of(model, 60)
    classes = model.predict(samples, verbose=0).argmax(axis=1)
    np.savez(tmp_path / "data.npz", images=samples, labels=np.arange(60) % 3, label_names=["a", "b", "c"])
    files = edgefm.quantize(model, ["float32"], data=tmp_path / "data.npz", progress=False)
    record = edgefm.benchmark(files, data=tmp_path / "data.npz", protocol=ONCE, progress=False)
    assert not record.failed
    assert record["float32"]["quality"]["value"] is not None
    assert len(classes) == 60


def test_kinds_that_do_not_fit_are_refused_with_the_way_out(tmp_path: Path) -> None:
    model = bring.token_classifier()
    floats, tokens = tmp_path / "floats.npz", tmp_path / "tokens.npz"
    np.savez(floats, images=np.ones((30, 10), np.float32), labels=np.arange(30) % 3)
    np.savez(tokens, images=np.ones((30, 20), np.int64), labels=np.arange(30) % 3)
    with pytest.raises(DataError, match="the model takes whole numbers, such as tokens"):
        edgefm.quantize(model, ["float32"], data=floats, progress=False)
    with pytest.raises(DataError, match=r"whole numbers from 1 to 1 that are no uint8; .*the model takes floats"):
        edgefm.quantize(bring.sliced(), ["float32"], data=tokens, progress=False)
    (samples,) = bring.inputs_of(model, 40)
    np.savez(tokens, images=samples, labels=np.arange(40) % 3)
    with pytest.raises(ModelError, match="passes take inputs of floats"):
        edgefm.quantize(model, ["qat_int8"], data=tokens, progress=False)
