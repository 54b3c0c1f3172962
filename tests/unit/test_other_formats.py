"""Core ML and ExecuTorch: what is refused and why; where the libraries are, what they write against Keras itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from edgefm.core.errors import ModelError, RuntimeUnavailableError
from edgefm.jobs.export.formats import check_answers, check_model
from edgefm.jobs.export.models import MeantModel
from edgefm_converters.through_torch.beside import Converted, check_library, converted

SHIPPED = Path(__file__).parents[2] / "edgefm" / "shipped_model" / "model.tflite"
_RUN = cast(Any, object())  # a run that nothing is asked of
# Marks, not `importorskip`: they skip before the network is built.
_EXECUTORCH, _COREMLTOOLS = (
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("executorch", "coremltools")
)


def test_a_file_and_a_quantised_variant_are_refused_with_the_reason() -> None:
    with pytest.raises(ModelError, match=r"^a \.tflite file cannot be written as coreml") as refused:
        check_model(MeantModel(path=SHIPPED), ["coreml"])
    assert "Give the run" in (refused.value.hint or "")
    with pytest.raises(ModelError, match=r"^int8_w8a8 cannot be written as executorch: it is quantised") as refused:
        check_model(MeantModel(path=SHIPPED, run=_RUN, variant="int8_w8a8"), ["onnx", "executorch"])
    assert "variant float32" in (refused.value.hint or "")


@pytest.mark.parametrize(("name", "library"), [("coreml", "coremltools"), ("executorch", "executorch")])
def test_a_library_that_is_missing_is_named_with_its_extra(
    name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == library else found("json"))
    with pytest.raises(RuntimeUnavailableError, match=f"needs {library}") as refused:
        check_library(name)
    assert refused.value.hint == f"Install it with: pip install 'edgefm[{name}]'"


def test_answers_are_held_to_the_largest_magnitude_of_each_output() -> None:
    one, other = np.array([[100.0, 1.0]], np.float32), np.array([[0.5]], np.float32)
    apart = check_answers([one, other], [one + np.float32(0.005), other], limit=1e-4, title="X")
    assert apart == pytest.approx(5e-5, rel=0.01)
    for wrong in (other + np.float32(0.005), np.array([[np.nan]], np.float32), other[:, :0]):
        with pytest.raises(ModelError, match="the X model"):
            check_answers([one, other], [one, wrong], limit=1e-4, title="X")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A small network of logits with batch normalisation, inputs, and Keras' own answers through a softmax."""
    import keras

    from edgefm.keras_graph.backend import use_backend

    use_backend("tensorflow")
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.uniform(0.1, 0.5, weight.shape))
    inputs = generator.integers(0, 256, (3, 8, 8, 3)).astype(np.float32)
    logits = np.asarray(model(inputs, training=False), np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    path = tmp_path_factory.mktemp("small") / "model.keras"
    model.save(path)
    return path, inputs, shares / shares.sum(axis=1, keepdims=True)


def _written(name: str, small: tuple[Path, Any, Any]) -> Converted:
    return converted(name, small[0], small[1], added="softmax", source="image", outputs=("probabilities",))


@pytest.mark.slow
@_EXECUTORCH
def test_executorch_answers_as_keras(small: tuple[Path, Any, Any]) -> None:
    result = _written("executorch", small)
    assert list(result.files) == ["model.pte"] and result.files["model.pte"][4:8].startswith(b"ET")
    assert result.outputs is not None and len(result.outputs) == 1
    np.testing.assert_allclose(result.outputs[0], small[2], rtol=0, atol=1e-5)
    assert _written("executorch", small).files == result.files


@pytest.mark.slow
@_COREMLTOOLS
def test_core_ml_package_has_the_ends_of_the_model_and_the_same_bytes(small: tuple[Path, Any, Any]) -> None:
    from coremltools.proto import FeatureTypes_pb2, Model_pb2

    result = _written("coreml", small)
    assert sorted(path.partition("/")[2] for path in result.files) == [
        "Data/com.apple.CoreML/model.mlmodel",
        "Data/com.apple.CoreML/weights/weight.bin",
        "Manifest.json",
    ]
    spec = Model_pb2.Model()
    spec.ParseFromString(result.files["model.mlpackage/Data/com.apple.CoreML/model.mlmodel"])
    (source,), (sink,) = spec.description.input, spec.description.output
    assert (source.name, list(source.type.multiArrayType.shape)) == ("image", [1, 8, 8, 3])
    assert (sink.name, list(sink.type.multiArrayType.shape)) == ("probabilities", [1, 3])
    assert {each.type.multiArrayType.dataType for each in (source, sink)} == {FeatureTypes_pb2.ArrayFeatureType.FLOAT32}
    if result.outputs is not None:  # on macOS
        np.testing.assert_allclose(result.outputs[0], small[2], rtol=0, atol=1e-5)
    assert _written("coreml", small).files == result.files


@pytest.mark.slow
@_EXECUTORCH
def test_code_in_a_model_is_not_run(tmp_path: Path, small: tuple[Path, Any, Any]) -> None:
    import keras

    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Lambda(lambda values: values)])
    model.save(tmp_path / "code.keras")
    with pytest.raises(ModelError, match=r"cannot be written as executorch: .*Lambda"):
        converted("executorch", tmp_path / "code.keras", np.zeros((1, 2), np.float32), source="a", outputs=("b",))
