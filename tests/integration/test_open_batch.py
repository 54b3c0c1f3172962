"""Files whose batch is left open (-1), as TensorFlow's own converter writes them: taken as a batch of 1, and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from click.testing import CliRunner
from keras import layers

import edgefm
from edgefm import runtimes
from edgefm.cli.inspect import command
from edgefm.core.errors import ModelError
from edgefm.runtimes import litert, tflite_ends
from edgefm.runtimes.base import Unavailable
from edgefm.tflite.open_batch import fixed_batch
from tests.fixtures import tiny_models
from tests.fixtures.protocols import ONCE
from tests.fixtures.tiny_models import Graph, Operator, Tensor, build


def _picture() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def _series() -> Any:
    return keras.Sequential([keras.Input((12, 4)), layers.Conv1D(4, 3), layers.Flatten(), layers.Dense(2)])


def _flat() -> Any:
    return keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="tanh"), layers.Dense(1)])


def _two_outputs() -> Any:
    inputs = keras.Input((8, 8, 1))
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, [layers.Dense(3)(x), layers.Dense(2)(x)])


MODELS: dict[str, Callable[[], Any]] = {"picture": _picture, "series": _series, "flat": _flat, "two": _two_outputs}


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """Return a model and the file that TensorFlow's converter makes of it, its batch not fixed."""
    made: dict[str, tuple[Any, Path]] = {}
    folder = tmp_path_factory.mktemp("stock")

    def of(name: str) -> tuple[Any, Path]:
        if name not in made:
            import tensorflow as tf

            keras.utils.set_random_seed(1)
            model = MODELS[name]()
            exported = folder / name
            model.export(str(exported), format="tf_saved_model", verbose=False)
            path = folder / f"{name}.tflite"
            path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(exported)).convert())
            (source,) = Interpreter(str(path)).get_input_details()
            assert source["shape_signature"][0] == -1, "the premise: the converter leaves the batch open"
            made[name] = (model, path)
        return made[name]

    return of


@pytest.mark.parametrize("runtime", ["litert", "litert:builtin", "litert:reference", "tflm", "openvino", "onnxruntime"])
@pytest.mark.parametrize("name", MODELS)
def test_every_runtime_answers_as_keras_does(name: str, runtime: str, stock: Any) -> None:
    module, kernels = runtimes.split(runtime)
    if isinstance(runtimes.runtime(module).availability(), Unavailable):
        pytest.skip(f"{module} is not here")
    model, path = stock(name)
    sample = np.random.default_rng(2).uniform(0, 1, (1, *model.inputs[0].shape[1:])).astype(np.float32)
    expected = keras.tree.flatten(model.predict(sample, verbose=0))
    options = {"kernels": kernels} if kernels else {}
    with runtimes.runtime(module).load(path, **options) as session:
        assert session.input.shape == sample.shape
        session.set_input(sample)
        session.invoke()
        outputs = session.get_outputs()
    pairs = {tuple(output.shape): output for output in outputs}
    for value in expected:
        np.testing.assert_allclose(pairs[value.shape], value, atol=1e-4)


@pytest.mark.parametrize("name", ["picture", "two"])
def test_fixed_batch_changes_nothing_but_the_signatures(name: str, stock: Any, tmp_path: Path) -> None:
    model, path = stock(name)
    content = path.read_bytes()
    fixed = tmp_path / "fixed.tflite"
    fixed.write_bytes(fixed_batch(content))
    assert fixed.stat().st_size == len(content)
    assert fixed_batch(fixed.read_bytes()) == fixed.read_bytes()
    for end in (*Interpreter(str(fixed)).get_input_details(), *Interpreter(str(fixed)).get_output_details()):
        assert end["shape_signature"].tolist() == end["shape"].tolist()
    sample = np.ones((1, *model.inputs[0].shape[1:]), np.float32)
    with litert.load(path) as before, litert.load(fixed) as after:
        np.testing.assert_array_equal(before.run(sample), after.run(sample))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        pytest.param((1, -1), (1, -1), id="length"),
        pytest.param((-1, -1), (-1, -1), id="batch and length"),
        pytest.param((1, 4), (-1, 4), id="output alone"),
        pytest.param((1, 4), (1, -1), id="length of the output"),
    ],
)
@pytest.mark.parametrize("runtime", ["litert", "tflm", "openvino", "onnxruntime"])
def test_another_open_size_is_refused_with_the_reason(
    x: tuple[int, ...], y: tuple[int, ...], runtime: str, tmp_path: Path
) -> None:
    tensors = [Tensor(name="x", shape=(1, 4), signature=x), Tensor(name="y", shape=(1, 4), signature=y)]
    relu = Operator(name="RELU", inputs=(0,), outputs=(1,))
    path = tmp_path / "model.tflite"
    path.write_bytes(build(Graph(tensors=tensors, operators=[relu], inputs=[0], outputs=[1])))
    with pytest.raises(ModelError, match=r"dynamic shape .*only the batch") as caught:
        runtimes.runtime(runtime).load(path)
    assert "fixed sizes" in str(caught.value.hint)


def test_open_batch_that_is_laid_out_for_8_is_resized_by_litert_and_refused_by_others(tmp_path: Path) -> None:
    tensors = [Tensor(name="x", shape=(8, 4), signature=(-1, 4)), Tensor(name="y", shape=(8, 4), signature=(-1, 4))]
    relu = Operator(name="RELU", inputs=(0,), outputs=(1,))
    path = tmp_path / "model.tflite"
    path.write_bytes(build(Graph(tensors=tensors, operators=[relu], inputs=[0], outputs=[1])))
    with litert.load(path) as session:
        assert session.run(np.array([[1, -1, 2, -2]], np.float32)).tolist() == [[1, 0, 2, 0]]
    with pytest.raises(ModelError, match="batch of 8"):
        runtimes.runtime("tflm").load(path)
    assert fixed_batch(path.read_bytes()) == path.read_bytes()


def test_benchmark_profile_agree_and_compare_measure_a_batch_of_1_and_say_so(stock: Any, tmp_path: Path) -> None:
    _, path = stock("picture")
    record = edgefm.benchmark({"a": path, "b": path}, protocol=ONCE, progress=False)
    assert not record.failed
    assert "batch of 1" in record["a"]["facts"]["file_note"]
    assert edgefm.compare(record, "a", "b").verdict
    profiled = edgefm.profile(path, rounds=3, progress=False)
    assert any("batch of 1" in note for note in profiled.notes)
    assert len(profiled.operators) >= 3
    agreement = edgefm.agree(path, runtime=("litert", "litert:builtin"), samples=4, progress=False)
    assert not [cell for cell in agreement.document["cells"] if cell["status"] != "ran"]


def test_inspect_says_that_the_batch_is_open(stock: Any) -> None:
    _, path = stock("flat")
    result = CliRunner().invoke(command, [str(path)])
    assert result.exit_code == 0
    assert "batch is left open (-1): every command takes it as 1" in result.output


def test_quantize_writes_fixed_files_of_a_file_with_an_open_batch(stock: Any) -> None:
    model, path = stock("picture")
    made = edgefm.quantize(path, ["float32", "float16"], progress=False)
    sample = np.random.default_rng(3).uniform(0, 1, (1, 8, 8, 3)).astype(np.float32)
    for name, tolerance in (("float32", 1e-4), ("float16", 3e-3)):
        (source,) = tflite_ends.read(made[name].path).inputs
        assert source.signature == (1, 8, 8, 3)
        with litert.load(made[name].path) as session:
            np.testing.assert_allclose(session.run(sample), model.predict(sample, verbose=0), atol=tolerance)


def test_a_fixed_file_is_not_touched_and_not_noted(tmp_path: Path) -> None:
    path = tmp_path / "fixed.tflite"
    path.write_bytes(tiny_models.relu((1, 4)))
    assert fixed_batch(path.read_bytes()) == path.read_bytes()
    assert tflite_ends.file_note(path, name="x") is None
