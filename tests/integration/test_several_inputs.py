"""Models with several inputs, from Keras to files and figures; the oracles are Keras, the Interpreter and numpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

import edgefm
from edgefm import runtimes
from edgefm.cli.main import cli
from edgefm.cli.main import run as run_command
from edgefm.core import joined
from edgefm.core.errors import DataError, ModelError
from edgefm.tflite import contract as contracts
from tests.fixtures import models_of_several_inputs as several
from tests.fixtures.models_of_several_inputs import Samples

LIMITS = {"float32": 1e-4, "int8_w8a8": 0.05, "int16x8": 0.03}
SOME = 24


def _real(values: NDArray[Any], tensor: dict[str, Any]) -> NDArray[np.float32]:
    scale, zero = tensor["quantization"]
    return (values.astype(np.float32) - zero) * scale if scale else values.astype(np.float32)


def _levels(values: NDArray[Any], tensor: dict[str, Any]) -> NDArray[Any]:
    scale, zero = tensor["quantization"]
    if not scale:
        return values.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(tensor["dtype"])


def _answers(content: bytes, samples: Samples) -> dict[str, NDArray[np.float32]]:
    """Return the real outputs by name, from the Interpreter's runner of the signature: no code of edgefm's."""
    runner = Interpreter(model_content=content).get_signature_runner()
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    answers: dict[str, list[NDArray[np.float32]]] = {name: [] for name in outputs}
    for place in range(SOME):
        given = {name: _levels(samples[name][place : place + 1], tensor) for name, tensor in inputs.items()}
        for name, values in runner(**given).items():
            answers[name].append(_real(values, outputs[name]))
    return {name: np.concatenate(values) for name, values in answers.items()}


def _targets(outputs: list[NDArray[np.float32]]) -> NDArray[Any]:
    first = outputs[0]
    classes = first.shape[1] > 1
    return (first - first.mean(axis=0)).argmax(axis=1) if classes else (first[:, 0] > np.median(first)).astype(int)


@pytest.mark.parametrize("build", several.KINDS, ids=lambda build: str(build.__name__))
def test_files_take_each_input_by_its_name_and_answer_as_keras(build: Callable[[], tuple[Any, Samples]]) -> None:
    keras.utils.set_random_seed(3)
    model, samples = build()
    expected = several.answers_of_keras(model, samples)
    regression = build is several.dictionaries  # its first output, by the order of the keys, is a box
    data = edgefm.data.from_arrays(
        dict(reversed(samples.items())),
        expected[0] if regression else _targets(expected),
        task="regression" if regression else None,
        progress=False,
    )
    files = edgefm.quantize(model, list(LIMITS), data=data, progress=False)
    for variant, tolerance in LIMITS.items():
        answers = _answers(files[variant].path.read_bytes(), samples)
        names = [tensor.name for tensor in files[variant].contract.outputs]
        for name, wanted in zip(names, expected, strict=True):
            span = max(1.0, float(np.ptp(wanted)))
            np.testing.assert_allclose(answers[name], wanted[:SOME], atol=tolerance * span, err_msg=f"{variant} {name}")
    parts = files["int8_w8a8"].contract.input.parts
    assert {part.name for part in parts} == set(samples)
    assert {part.dtype for part in parts} <= {"int8", "int32"}


def test_int8_is_as_near_to_keras_as_the_stock_converter_s() -> None:
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    model, samples = several.subtracted()
    expected = several.answers_of_keras(model, samples)[0][:SOME]
    stock = tf.lite.TFLiteConverter.from_keras_model(model)
    stock.optimizations = [tf.lite.Optimize.DEFAULT]
    stock.representative_dataset = lambda: (
        [samples["zebra"][place : place + 1], samples["ant"][place : place + 1]] for place in range(several.COUNT)
    )
    stock.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    stock.inference_input_type = stock.inference_output_type = tf.int8
    data = edgefm.data.from_arrays(samples, np.arange(several.COUNT) % 3, progress=False)
    files = edgefm.quantize(model, ["int8_w8a8"], data=data, progress=False)
    errors = [
        float(np.abs(next(iter(_answers(content, samples).values())) - expected).mean())
        for content in (files["int8_w8a8"].path.read_bytes(), stock.convert())
    ]
    assert errors[0] <= 1.1 * errors[1], errors


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stock converter's file of two inputs of one shape, in the alphabet's order, and data beside it."""
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    model, samples = several.subtracted()
    folder = tmp_path_factory.mktemp("stock")
    (folder / "two.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    model.save(folder / "two.keras")
    expected = several.answers_of_keras(model, samples)[0]
    labels = expected.argmax(axis=1)
    labels[-30:] = (labels[-30:] + 1) % 3  # a known share of wrong answers
    arrays = {f"x_{split}_{name}": values[part] for name, values in samples.items() for split, part in _PARTS.items()}
    np.savez(folder / "two.npz", **arrays, **{f"y_{split}": labels[part] for split, part in _PARTS.items()})
    np.save(folder / "expected.npy", expected)
    return folder / "two.tflite"


_PARTS = {"train": slice(0, 100), "val": slice(100, 140), "test": slice(140, None)}


@pytest.mark.parametrize("name", ["litert", "tflm", "openvino", "onnxruntime"])
def test_each_runtime_feeds_inputs_of_one_shape_by_their_names(name: str, stock: Path) -> None:
    module = runtimes.import_runtime(runtimes.RUNTIMES[name])
    _, samples = several.subtracted()
    records, expected = joined.join(samples), np.load(stock.parent / "expected.npy")
    prepare = getattr(module, "prepare", None)
    if prepare is not None:
        prepare(stock)
    with module.load(stock) as session:
        answers = np.concatenate([session.run(records[place : place + 1]) for place in range(8)])
        swapped = joined.join({"ant": samples["zebra"], "zebra": samples["ant"]})
        other = np.concatenate([session.run(swapped[place : place + 1]) for place in range(8)])
        with pytest.raises(ValueError, match=r"zebra|ant"):
            session.set_input(joined.join({"ant": samples["ant"][:1]}))
    np.testing.assert_allclose(answers, expected[:8], atol=1e-6)
    assert np.abs(other - expected[:8]).max() > 0.01


def test_benchmark_and_agree_measure_a_stock_file(stock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = edgefm.benchmark(stock, data=stock.parent / "two.npz", rounds_at_most=1, progress=False)
    value = record.to_json()
    (row,) = value["models"]
    assert row["accuracy"]["value"] == pytest.approx(0.7) and value["dataset"]["images"] == 100
    assert [part["name"] for part in row["input"]["parts"]] == ["ant", "zebra"]
    agreed = ["agree", str(stock), "--data", str(stock.parent / "two.npz"), "--samples", "5", "--runtime", "litert"]
    assert run_command(lambda: cli.main(agreed, standalone_mode=False)) == 0
    assert "2 of 2 compared cells are within" in capsys.readouterr().out


def test_tokens_and_floats_survive_a_contract(tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    model, samples = several.tokens_and_floats()
    data = edgefm.data.from_arrays(samples, np.arange(several.COUNT) % 3, progress=False)
    files = edgefm.quantize(model, ["int8_w8a8"], data=data, value_range=(0, 1), progress=False)
    files.save(tmp_path / "files")
    agreed = contracts.read(tmp_path / "files" / "int8_w8a8" / "model.tflite")
    assert agreed is not None and agreed.no_pixels is not None and "several inputs" in agreed.no_pixels
    encoded = joined.split(agreed.encode(joined.join(samples)))
    np.testing.assert_array_equal(encoded["words"], samples["words"])
    (facts,) = (part for part in agreed.input.parts if part.name == "facts")
    levels = np.clip(np.round(samples["facts"] / facts.scale) + facts.zero_point, -128, 127)
    np.testing.assert_array_equal(encoded["facts"], levels)
    with pytest.raises(ModelError, match="takes the inputs"):
        agreed.encode(samples["facts"])


def test_a_saved_model_of_two_inputs_is_converted(tmp_path: Path) -> None:
    import tensorflow as tf

    class Difference(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, 4), name="minuend"), tf.TensorSpec((None, 4), name="less")])  # type: ignore[untyped-decorator]
        def __call__(self, minuend: Any, less: Any) -> dict[str, Any]:
            return {"difference": minuend - 2 * less}

    module = Difference()
    tf.saved_model.save(module, tmp_path / "saved", signatures=module.__call__)
    samples = {name: np.random.default_rng(1).normal(size=(SOME, 4)).astype(np.float32) for name in ("less", "minuend")}
    files = edgefm.quantize(tmp_path / "saved", ["float32"], head="logits", progress=False)
    answers = _answers(files["float32"].path.read_bytes(), samples)["difference"]
    np.testing.assert_allclose(answers, samples["minuend"] - 2 * samples["less"], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {"zebra": x["zebra"]}, "lacks 'ant'"),
        (lambda x: {**x, "cat": x["ant"]}, "has the unknown 'cat'"),
        (lambda x: {"zebra": x["zebra"], "Ant": x["ant"]}, "lacks 'ant' and has the unknown 'Ant'"),
        (lambda x: {**x, "ant": x["ant"][:, :7]}, r"'ant' of .* has shape \[8, 8, 1\]"),
        (lambda x: x["ant"], "has 2 inputs"),
        (lambda x: {**x, "ant": x["ant"][:-1]}, "unequal lengths"),
        (lambda x: {**x, "ant": np.full_like(x["ant"], np.nan)}, "'ant' of .* hold NaN"),
        (lambda x: {**x, "ant": x["ant"].astype("U8")}, "'ant' of .* have dtype"),
        (lambda x: {}, "holds no inputs"),
    ],
)
def test_data_that_do_not_fit_are_refused(change: Callable[[Samples], Any], message: str) -> None:
    model, samples = several.subtracted()
    with pytest.raises(DataError, match=message):
        data = edgefm.data.from_arrays(change(samples), np.arange(several.COUNT) % 3, progress=False)
        edgefm.quantize(model, ["float32"], data=data, progress=False)


def test_floats_for_tokens_and_several_arrays_for_one_input_are_refused() -> None:
    model, samples = several.tokens_and_floats()
    floats = {**samples, "words": samples["words"].astype(np.float32)}
    labels = np.arange(several.COUNT) % 3
    with pytest.raises(DataError, match="takes whole numbers"):
        edgefm.quantize(model, ["float32"], data=edgefm.data.from_arrays(floats, labels, progress=False))
    single = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    with pytest.raises(DataError, match="has one input"):
        edgefm.quantize(single, ["float32"], data=edgefm.data.from_arrays(samples, labels, progress=False))
    with pytest.raises(DataError, match="have no labels"):
        edgefm.data.from_arrays(samples, progress=False)


def test_commands_say_what_they_do_with_several_inputs(
    stock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*args: object) -> int:
        return run_command(lambda: cli.main([str(arg) for arg in args], standalone_mode=False))

    run, data = tmp_path / "run", stock.parent / "two.npz"
    variants = ("--variant", "float32", "--variant", "int8_w8a8", "--variant", "qat_int8")
    assert call("quantize", stock.parent / "two.keras", "--data", data, "--run", run, *variants) == 1
    made = json.loads((run / "01-quantize" / "quantize.json").read_text())
    assert [variant["variant"] for variant in made["variants"]] == ["float32", "int8_w8a8"]
    assert "passes take models of one input" in json.dumps(made["skipped"])
    capsys.readouterr()
    assert call("export", "android", run, "--out", tmp_path / "app") == 2
    assert "models of one input; model.tflite has several ('zebra', 'ant')" in capsys.readouterr().err
    assert not (tmp_path / "app").exists()
    picture = Path(__file__).parents[2] / "docs" / "images" / "report.png"
    assert call("predict", picture, "--model", run / "01-quantize" / "float32") == 2
    assert "a picture alone is not enough" in capsys.readouterr().err


def test_a_file_with_two_signatures_is_measured_by_its_main_graph_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tensorflow as tf

    class Two(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((1, 4), name="x")])  # type: ignore[untyped-decorator]
        def double(self, x: Any) -> dict[str, Any]:
            return {"doubled": x * 2}

        @tf.function(input_signature=[tf.TensorSpec((1, 3), name="left"), tf.TensorSpec((1, 3), name="right")])  # type: ignore[untyped-decorator]
        def add(self, left: Any, right: Any) -> dict[str, Any]:
            return {"sum": left + right}

    module = Two()
    signatures = {"double": module.double, "add": module.add}
    tf.saved_model.save(module, tmp_path / "saved", signatures=signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"), signature_keys=["double", "add"])
    path = tmp_path / "two.tflite"
    path.write_bytes(converter.convert())
    details = Interpreter(str(path)).get_input_details()
    main, other = ("double", "add") if len(details) == 1 else ("add", "double")
    found = {signature.key: signature for signature in edgefm.inspect(path).signatures}
    assert found["add"].inputs == ("left", "right") and found["double"].outputs == ("doubled",)
    assert found[main].subgraph == 0 and found[other].subgraph == 1
    assert run_command(lambda: cli.main(["inspect", str(path)], standalone_mode=False)) == 0
    assert "signature add: left, right -> sum" in capsys.readouterr().out
    record = edgefm.benchmark(path, rounds_at_most=1, progress=False).to_json()
    note = f"has 2 signatures: its main graph ('{main}') is run, not '{other}'"
    assert note in record["models"][0]["facts"]["file_note"]
    with pytest.raises(ModelError, match=r"2 graphs \(2 signatures: .*\); one is expected"):
        edgefm.quantize(path, ["float32"], progress=False)
    with pytest.raises(ModelError, match=r"no signature 'serving_default'; it has: .*add"):
        edgefm.quantize(tmp_path / "saved", ["float32"], progress=False)
