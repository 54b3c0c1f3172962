"""Post-training variants of attention, gates, transposed convolutions, PReLU and mixed precision answer as Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

import edgefm
from tests.fixtures import models_people_bring as bring

# int16x8 keeps activations almost as they are; int8 rounds each of them.
LIMITS = {"float32": 1e-4, "float16": 3e-3, "drq_w8": 0.03, "int8_w8a8": 0.06, "int16x8": 0.03}
KINDS = ("attention", "squeezed", "upsampled", "normalised", "operations", "mixed_precision")


def _answers(path: Path, samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return the real outputs of a .tflite file, run by the Interpreter itself."""
    interpreter = Interpreter(str(path))
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


@pytest.mark.parametrize("name", KINDS)
def test_variants_answer_as_keras(name: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(11)
    model = getattr(bring, name)()
    (samples,) = bring.inputs_of(model, 40)
    np.savez(tmp_path / "data.npz", images=samples, labels=np.arange(40) % 3)
    expected = model.predict(samples, verbose=0)
    rounding = 0.01 if name == "mixed_precision" else 0.0  # Keras itself computes in bfloat16 there
    files = edgefm.quantize(model, list(LIMITS), data=tmp_path / "data.npz", progress=False)
    assert "same file" in files.skipped.get("drq_w8", "same file")  # of some models no kernel is large enough
    for variant, tolerance in LIMITS.items():
        if variant == "drq_w8" and variant in files.skipped:
            continue
        answers = _answers(files[variant].path, samples[:12])
        np.testing.assert_allclose(answers, expected[:12], atol=tolerance + rounding, err_msg=variant)
