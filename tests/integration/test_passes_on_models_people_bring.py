"""Passes on models with augmentation, slices, attention and nested models: carried, not refused, and right."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

import edgefm
from edgefm.recipes import FineTuning, Prune, Qat, Slim
from tests.fixtures import models_people_bring as bring

_SAMPLES = 48
_UNTRAINED = FineTuning(epochs=0)


def _data(model: Any, path: Any) -> tuple[NDArray[Any], Any]:
    (samples,) = bring.inputs_of(model, _SAMPLES)
    labels = np.arange(_SAMPLES) % int(model.outputs[0].shape[-1])
    np.savez(path, images=samples, labels=labels)
    return samples, path


def _answers(content: bytes, samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return the real outputs of a .tflite file, run by the Interpreter itself."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for sample in samples:
        value = sample[None]
        scale, zero = source["quantization"]
        if source["dtype"] != np.float32:
            limits = np.iinfo(source["dtype"])
            value = np.clip(np.round(value / scale) + zero, limits.min, limits.max)
        interpreter.set_tensor(source["index"], value.astype(source["dtype"]))
        interpreter.invoke()
        output = interpreter.get_tensor(sink["index"])[0]
        scale, zero = sink["quantization"]
        answers.append((output.astype(np.float32) - zero) * scale if scale else output)
    return np.stack(answers)


@pytest.fixture
def seeded() -> None:
    keras.utils.set_random_seed(3)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", bring.TRAINABLE)
def test_tf_keras_copy_answers_as_keras_and_its_training_comes_back(name: str) -> None:
    from edgefm_converters.bridge.bridge import from_tf_keras, to_tf_keras

    model = getattr(bring, name)()
    (samples,) = bring.inputs_of(model, 8)
    copy = to_tf_keras(model)
    np.testing.assert_allclose(copy(samples, training=False), model.predict(samples, verbose=0), atol=1e-5)
    before = copy.get_weights()
    assert sum(weight.size for weight in before) >= sum(np.size(weight) for weight in model.trainable_weights)
    copy.compile("sgd", "sparse_categorical_crossentropy")
    copy.train_on_batch(samples, np.arange(8) % 3)
    moved = [not np.array_equal(old, new) for old, new in zip(before, copy.get_weights(), strict=True)]
    assert sum(moved) >= len(model.trainable_weights) - 2, "weights of carried layers are trained, too"
    back = from_tf_keras(copy, model)
    np.testing.assert_allclose(back.predict(samples, verbose=0), copy(samples, training=False), atol=1e-5)


def test_tf_keras_copy_of_a_nested_backbone_answers_as_keras() -> None:
    from edgefm_converters.bridge.bridge import to_tf_keras

    model = bring.backbone()
    (samples,) = bring.inputs_of(model, 2)
    np.testing.assert_allclose(to_tf_keras(model)(samples, training=False), model(samples, training=False), atol=1e-5)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", [*bring.TRAINABLE, "simple_rnn", "einsums"])
def test_qat_file_answers_as_keras(name: str, tmp_path: Any) -> None:
    model = getattr(bring, name)()
    samples, data = _data(model, tmp_path / "data.npz")
    expected = model.predict(samples, verbose=0)
    done = edgefm.qat(model, data=data, recipe=Qat(fine_tuning=_UNTRAINED), progress=False)
    assert done.int8 is not None
    np.testing.assert_allclose(done.model.predict(samples, verbose=0), expected, atol=1e-4)
    np.testing.assert_allclose(_answers(done.int8, samples), expected, atol=0.03)
    kinds = {operator["op_name"] for operator in Interpreter(model_content=done.int8)._get_ops_details()}
    assert not any(kind.startswith("Flex") for kind in kinds)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", ["augmented", "sliced", "operations", "attention", "nested", "normalised"])
def test_pruning_takes_them(name: str, tmp_path: Any) -> None:
    model = bring.TRAINABLE[name]()
    samples, data = _data(model, tmp_path / "data.npz")
    pruned = edgefm.prune(model, data=data, recipe=Prune(sparsity=0.5, fine_tuning=_UNTRAINED), progress=False)
    kernels = [np.asarray(pruned.model.get_layer(entry["layer"]).kernel) for entry in pruned.facts["kernels"]]
    zeros, weights = sum(int((kernel == 0).sum()) for kernel in kernels), sum(kernel.size for kernel in kernels)
    assert zeros == pytest.approx(weights / 2, abs=len(kernels))
    assert np.isfinite(pruned.model.predict(samples, verbose=0)).all()


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", ["augmented", "nested", "upsampled", "wide_slices"])
def test_slimming_takes_channels_around_what_it_does_not_know(name: str, tmp_path: Any) -> None:
    model = getattr(bring, name)()
    samples, data = _data(model, tmp_path / "data.npz")
    recipe = Slim(keep=0.5, round_to=1, fine_tuning=_UNTRAINED)
    slimmed = edgefm.slim(model, data=data, recipe=recipe, progress=False)
    assert slimmed.model.count_params() < model.count_params()
    assert slimmed.model.predict(samples, verbose=0).shape == (len(samples), 3)


@pytest.mark.usefixtures("seeded")
def test_slimming_leaves_a_convolution_in_groups_whole(tmp_path: Any) -> None:
    model = bring.grouped()
    samples, data = _data(model, tmp_path / "data.npz")
    recipe = Slim(keep=0.5, round_to=1, fine_tuning=_UNTRAINED)
    slimmed = edgefm.slim(model, data=data, recipe=recipe, progress=False).model
    kept = {name: slimmed.get_layer(name).kernel.shape for name in ("before", "in_groups", "behind")}
    assert kept["before"][-1] == 8 and kept["in_groups"] == model.get_layer("in_groups").kernel.shape
    assert kept["behind"][-1] == 4
    assert slimmed.predict(samples, verbose=0).shape == (len(samples), 3)


@pytest.mark.usefixtures("seeded")
def test_qat_teaches_a_model_that_gives_a_dictionary(tmp_path: Any) -> None:
    inputs = keras.Input(bring.PICTURE)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(inputs))
    outputs = {"a": keras.layers.Dense(3, activation="softmax")(x), "b": keras.layers.Dense(2, name="further")(x)}
    model = keras.Model(inputs, outputs)
    samples, data = _data(model, tmp_path / "data.npz")
    expected = model.predict(samples, verbose=0)
    done = edgefm.qat(model, data=data, progress=False)
    assert set(done.model.output) == {"a", "b"} and done.int8 is not None
    answers = done.model.predict(samples, verbose=0)
    assert float(np.abs(answers["b"] - expected["b"]).max()) < 0.1 * float(np.ptp(expected["b"]))


def test_a_copied_normalization_computes_with_its_own_statistics() -> None:
    from edgefm.keras_graph.graph import Graph, call_copy

    model = bring.preprocessed()
    (samples,) = bring.inputs_of(model, 4)
    copies: dict[int, Any] = {}
    again = Graph(model).rebuild(lambda call, _, args, kwargs: call_copy(call, args, kwargs, copies=copies))
    np.testing.assert_allclose(again.predict(samples, verbose=0), model.predict(samples, verbose=0), atol=1e-6)
