"""The runtimes beside LiteRT, on real files: the same details, the answers of the right kernel family, clear refusals.

A runtime whose package is not installed is left out with the reason; one that is installed and does not work fails.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from edgefm import runtimes
from edgefm.core.errors import ModelError, RuntimeUnavailableError
from edgefm.runtimes import litert, onnxruntime, openvino, tflite_ends, tflite_runtime, tflm
from edgefm.runtimes.base import Available
from edgefm.runtimes.onnxruntime import tflite_to_onnx
from edgefm.targets.host import HostPlace
from edgefm.targets.worker_process import WorkerProcess
from tests.fixtures import tiny_models
from tests.fixtures.tiny_models import Graph, Operator, Tensor, build

SHIPPED = Path("android_demo_assets/int8/model.tflite")
PACKAGES = {"tflm": "tflite_micro", "openvino": "openvino", "onnxruntime": "onnxruntime"}
OTHER_PYTHON = "EDGEFM_PYTHON_TFLITE_RUNTIME"
_CONVERTS = ("onnxruntime", "onnx", "tf2onnx", "tensorflow")

needs_converter = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in _CONVERTS),
    reason=f"one of {', '.join(_CONVERTS)} is not installed",
)
needs_tflite_runtime = pytest.mark.skipif(
    not os.environ.get(OTHER_PYTHON), reason=f"{OTHER_PYTHON} names no Python with tflite-runtime"
)


def _needs(name: str) -> pytest.MarkDecorator:
    package = PACKAGES[name]
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def _runtimes(*names: str) -> Any:
    return pytest.mark.parametrize("runtime", [pytest.param(name, marks=_needs(name)) for name in names])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of conversions for the tests of this file: each file is converted once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(cache))


@pytest.fixture
def converts_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert in this process: TensorFlow is imported once for all tests that need a conversion, not a way to it."""
    monkeypatch.setattr(tflite_to_onnx, "_convert_beside", lambda path, out, _: tflite_to_onnx._convert(path, out))


def _write(folder: Path, content: bytes, name: str = "model.tflite") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _pictures(count: int = 12) -> NDArray[np.uint8]:
    """Return bright objects on black, uint8 [n, 28, 28, 1]: blurred blocks in the middle, as clothes are."""
    generator = np.random.default_rng(7)
    pictures = np.zeros((count, 28, 28, 1))
    for picture in pictures:
        for _ in range(3):
            top, left = generator.integers(2, 12, 2)
            height, width = generator.integers(6, 16, 2)
            picture[top : top + height, left : left + width] += generator.uniform(40, 160)
        for _ in range(2):
            picture[1:-1, 1:-1] = (picture[:-2, 1:-1] + picture[2:, 1:-1] + picture[1:-1, :-2] + picture[1:-1, 2:]) / 4
        picture += generator.normal(0, 6, picture.shape) * (picture > 0)
    return np.clip(pictures, 0, 255).astype(np.uint8)


def _answers(runtime: str, path: Path, inputs: NDArray[Any], **options: Any) -> NDArray[Any]:
    """Return the first output for each input, [n, ...] in the model's own dtype."""
    with importlib.import_module(runtimes.module_of(runtime)).load(path, **options) as session:
        return np.concatenate([session.run(one[np.newaxis]) for one in inputs])


def _levels(one: NDArray[Any], other: NDArray[Any]) -> int:
    """Return the largest difference in levels of quantised answers."""
    assert one.dtype == other.dtype and one.dtype.kind in "iu"
    return int(np.abs(one.astype(int) - other.astype(int)).max())


# --- agreement on the shipped int8 file


@pytest.fixture(scope="module")
def xnnpack() -> NDArray[Any]:
    answers = _answers("litert", SHIPPED, _pictures())
    assert len(np.unique(answers.argmax(axis=1))) >= 3, "the pictures must not all look alike to the model"
    return answers


@pytest.fixture(scope="module")
def builtin() -> NDArray[Any]:
    return _answers("litert", SHIPPED, _pictures(), kernels="builtin")


def test_kernel_sets_of_litert_are_two_families_a_few_levels_apart(
    xnnpack: NDArray[Any], builtin: NDArray[Any]
) -> None:
    reference = _answers("litert", SHIPPED, _pictures(), kernels="reference")
    # Measured with 1,000 pictures of Fashion-MNIST, levels of 1/256: XNNPACK and built-in 6 at most, in 593 of 10,000
    # values; built-in and reference 2 at most, in 22.
    assert 0 < _levels(xnnpack, builtin) <= 8
    assert _levels(builtin, reference) <= 3


@_needs("tflm")
def test_tflm_answers_as_the_built_in_kernels_bit_for_bit(builtin: NDArray[Any]) -> None:
    np.testing.assert_array_equal(_answers("tflm", SHIPPED, _pictures()), builtin)


@_needs("openvino")
def test_openvino_answers_as_xnnpack_but_for_single_levels(xnnpack: NDArray[Any]) -> None:
    answers = _answers("openvino", SHIPPED, _pictures())
    # Measured: other in 14 of 10,000 values with 1,000 pictures of Fashion-MNIST, in 1 of 120 with these; by 2 levels.
    assert _levels(answers, xnnpack) <= 3
    assert (answers != xnnpack).mean() < 0.05


@needs_converter
@pytest.mark.usefixtures("converts_here")
def test_onnxruntime_answers_as_xnnpack_but_for_single_levels(xnnpack: NDArray[Any]) -> None:
    answers = _answers("onnxruntime", SHIPPED, _pictures())
    # Measured: other in 7 of 10,000 values with 1,000 pictures of Fashion-MNIST, by 2 levels.
    assert _levels(answers, xnnpack) <= 3
    assert (answers != xnnpack).mean() < 0.05


@needs_tflite_runtime
@pytest.mark.parametrize("kernels", tflite_runtime.KERNELS)
def test_tflite_runtime_answers_from_its_own_python(kernels: str, builtin: NDArray[Any], tmp_path: Path) -> None:
    pictures = _pictures()
    np.save(tmp_path / "inputs.npy", pictures)
    python = runtimes.interpreter_of("tflite-runtime")
    assert python is not None
    with (
        HostPlace(python=python) as place,
        WorkerProcess(place=place, folder=tmp_path, name="worker") as worker,
    ):
        told = worker.load(SHIPPED, runtime=f"tflite-runtime:{kernels}", threads=1, memory_bytes=1 << 30, seconds=60)
        assert (told["runtime"], told["version"]) == ("tflite-runtime", "2.14.0")
        out = place.scratch("out.npz")
        worker.request(
            "outputs",
            doing="answering",
            seconds=60,
            inputs=place.put(tmp_path / "inputs.npy"),
            start=0,
            stop=len(pictures),
            out=out,
        )
        with np.load(out) as held:
            answers = held["0"]
    # Its XNNPACK delegate takes no int8: all of its kernel sets answer as the built-in kernels.
    np.testing.assert_array_equal(answers, builtin)


@needs_tflite_runtime
def test_tflite_runtime_beside_numpy_2_is_found_out() -> None:
    python = os.environ[OTHER_PYTHON]
    code = "import sys, sysconfig; print(sysconfig.get_path('purelib')); print(*sys.version_info[:2])"
    theirs, version = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )[:2]
    if version != f"{sys.version_info[0]} {sys.version_info[1]}" or int(np.__version__.split(".")[0]) < 2:
        pytest.skip("it is for another Python than this, or numpy here is older than 2")
    # Behind this Python's own packages, so that numpy is the one here.
    code = (
        f"import sys; sys.path.append({theirs!r}); from edgefm.runtimes import tflite_runtime;"
        "print(tflite_runtime.availability())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"fails on first use with numpy {np.__version__}" in done.stdout
    assert done.stderr == ""


# --- the same details and order as LiteRT tells


@pytest.mark.usefixtures("converts_here")
@_runtimes("tflm", "openvino", "onnxruntime")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(tiny_models.per_tensor_int8(), id="per-tensor-int8"),
        pytest.param(tiny_models.two_heads(), id="two-heads"),
    ],
)
def test_ends_and_all_outputs_are_those_of_litert(runtime: str, content: bytes, tmp_path: Path) -> None:
    if runtime == "onnxruntime" and importlib.util.find_spec("tf2onnx") is None:
        pytest.skip("tf2onnx is not installed")
    path = _write(tmp_path, content)
    generator = np.random.default_rng(3)
    with litert.load(path, kernels="builtin") as wanted, runtimes.runtime(runtime).load(path) as session:
        assert (session.input, session.outputs) == (wanted.input, wanted.outputs)
        for _ in range(10):
            sample = (generator.normal(0, 60, wanted.input.shape)).astype(wanted.input.dtype)
            for one in (wanted, session):
                one.set_input(sample)
                one.invoke()
            for given, right in zip(session.get_outputs(), wanted.get_outputs(), strict=True):
                assert given.dtype == right.dtype
                np.testing.assert_allclose(
                    given.astype(float), right.astype(float), atol=1
                )  # a level; of floats: equal
            kept = session.get_output()
            session.run(np.zeros_like(sample))  # an output that is kept does not change with the next invoke
            np.testing.assert_allclose(kept.astype(float), wanted.get_output().astype(float), atol=1)


def _conv_and_dense(sample: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the answer of `tiny_models.per_tensor_int8` to int8 [1, 8, 8, 1] in exact arithmetic, in levels [10]."""
    generator = np.random.default_rng(0)
    kernel = generator.integers(-127, 127, (4, 3, 3, 1), endpoint=True)
    kernel_bias = generator.integers(-500, 500, 4)
    dense = generator.integers(-127, 127, (10, 64), endpoint=True)
    dense_bias = generator.integers(-500, 500, 10)
    # Padding SAME of stride 2 on an even side: one row and one column behind.
    image = np.pad(sample[0, :, :, 0].astype(float) + 128, ((0, 1), (0, 1))) / 255
    feature = np.zeros((4, 4, 4))
    for row in range(4):
        for column in range(4):
            patch = image[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            feature[row, column] = (kernel[..., 0] * patch).sum(axis=(1, 2)) * 0.01 + kernel_bias * 0.01 / 255
    levels = np.clip(np.round(np.maximum(feature, 0) / 0.03), 0, 255)
    scores = dense @ (levels.reshape(-1) * 0.03) * 0.005 + dense_bias * 0.03 * 0.005
    return np.asarray(np.clip(np.round(scores / 0.02) + 5, -128, 127))


@pytest.mark.parametrize(
    "runtime", ["litert", *(pytest.param(name, marks=_needs(name)) for name in ("tflm", "openvino"))]
)
def test_int8_file_with_a_scale_a_tensor_answers_as_integer_arithmetic_says(runtime: str, tmp_path: Path) -> None:
    path = _write(tmp_path, tiny_models.per_tensor_int8())
    samples = np.random.default_rng(5).integers(-128, 127, (20, 8, 8, 1), endpoint=True).astype(np.int8)
    answers = _answers(runtime, path, samples)
    right = np.stack([_conv_and_dense(sample[np.newaxis]) for sample in samples])
    # A feature that lies half way between two levels may round either way, by 0.03 * 0.635 / 0.02 levels of a score.
    assert np.abs(answers - right).max() <= 2
    assert np.abs(answers - right).mean() < 0.05
    assert right.std() > 20


@_needs("tflm")
def test_tflm_answers_a_float_model_as_the_reference_kernels_bit_for_bit(tmp_path: Path) -> None:
    path = _write(tmp_path, tiny_models.enhanced_cnn())
    inputs = _pictures(4).astype(np.float32) / 255
    reference = _answers("litert", path, inputs, kernels="reference")
    np.testing.assert_array_equal(_answers("tflm", path, inputs), reference)


@_runtimes("tflm", "openvino")
def test_float_model_answers_in_float32(runtime: str, tmp_path: Path) -> None:
    path = _write(tmp_path, tiny_models.enhanced_cnn(numbered=True))
    inputs = _pictures(4).astype(np.float32) / 255
    # bfloat16, which OpenVINO takes by itself where the processor has it, would differ by more than 0.01.
    np.testing.assert_allclose(_answers(runtime, path, inputs), _answers("litert", path, inputs), atol=1e-4)


# --- bad input

_BAD = {
    "empty": (b"", "is empty"),
    "other-format": (b"PK\x03\x04" + bytes(100), "not a TFLite file"),
    "cut": (tiny_models.enhanced_cnn()[:800_000], "cut off or damaged"),
    "no-input": (tiny_models.without_input(), "has no input"),
    "dynamic": (tiny_models.dynamic(), r"dynamic shape \(1, -1\)"),
    "batch": (tiny_models.relu((8, 4)), "batch of 8"),
}


@pytest.mark.parametrize("runtime", ["tflm", "openvino", "onnxruntime"])
@pytest.mark.parametrize("case", _BAD)
def test_bad_file_is_refused_with_the_reason_before_native_code_sees_it(
    runtime: str, case: str, tmp_path: Path
) -> None:
    content, words = _BAD[case]
    path = _write(tmp_path, content)
    with pytest.raises(ModelError, match=words) as caught:
        runtimes.runtime(runtime).load(path)
    assert str(path) in caught.value.message


def _atan2() -> bytes:
    """Return a model of an operator that few runtimes have: atan2(x, x)."""
    tensors = [Tensor(name="x", shape=(1, 4)), Tensor(name="y", shape=(1, 4))]
    operator = Operator(name="ATAN2", inputs=(0, 0), outputs=(1,))
    return build(Graph(tensors=tensors, operators=[operator], inputs=[0], outputs=[1]))


def _without_options() -> bytes:
    """Return x + x, the table of ADD's options left out."""
    tensors = [Tensor(name="x", shape=(1, 4)), Tensor(name="y", shape=(1, 4))]
    operator = Operator(name="ADD", inputs=(0, 0), outputs=(1,))
    return build(Graph(tensors=tensors, operators=[operator], inputs=[0], outputs=[1]))


def _hybrid() -> bytes:
    """Return a dense layer with int8 weights and float activations."""
    tensors = [
        Tensor(name="x", shape=(1, 16)),
        Tensor(name="w", shape=(10, 16), dtype="int8", data=np.ones((10, 16), np.int8), scale=[0.1]),
        Tensor(name="y", shape=(1, 10)),
    ]
    operator = tiny_models._fully_connected((0, 1, -1), 2)
    return build(Graph(tensors=tensors, operators=[operator], inputs=[0], outputs=[2]))


@pytest.mark.parametrize(
    ("runtime", "content", "words"),
    [
        pytest.param("tflm", tiny_models.custom(), "Failed to get registration from op code CUSTOM", id="tflm-custom"),
        pytest.param("tflm", _atan2(), "ATAN2", id="tflm-unsupported"),
        pytest.param("tflm", _hybrid(), "Input type: FLOAT32 with filter type: INT8 not supported", id="tflm-hybrid"),
        pytest.param(
            "openvino", tiny_models.custom("TheirOp"), "No translator found for TheirOp", id="openvino-custom"
        ),
        pytest.param("openvino", tiny_models.enhanced_cnn(), "Unknown tensor name", id="openvino-names"),
        pytest.param("openvino", _without_options(), "Builtin Option is not accessible", id="openvino-options"),
    ],
)
def test_operator_that_a_runtime_lacks_is_named_in_its_own_words(
    runtime: str, content: bytes, words: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(PACKAGES[runtime]) is None:
        pytest.skip(f"{PACKAGES[runtime]} is not installed")
    with pytest.raises(ModelError, match=words) as caught:
        runtimes.runtime(runtime).load(_write(tmp_path, content))
    assert caught.value.message.startswith(f"{runtime} cannot load ")
    if content == _hybrid():
        assert "use full int8 quantization" in str(caught.value.hint)


@_needs("tflm")
def test_tflm_says_in_its_own_words_why_it_does_not_run_an_input(tmp_path: Path) -> None:
    tensors = [
        Tensor(name="place", shape=(1,), dtype="int32"),
        Tensor(name="table", shape=(4, 3), data=np.ones((4, 3), np.float32)),
        Tensor(name="row", shape=(1, 3)),
    ]
    looks_up = Operator(name="EMBEDDING_LOOKUP", inputs=(0, 1), outputs=(2,))
    path = _write(tmp_path, build(Graph(tensors=tensors, operators=[looks_up], inputs=[0], outputs=[2])))
    with tflm.load(path) as session:
        with pytest.raises(ModelError, match=r"on this input: .*index out of bounds\. Got 9.*EMBEDDING_LOOKUP"):
            session.run(np.array([9], np.int32))
        np.testing.assert_array_equal(session.run(np.array([3], np.int32)), np.ones((1, 3)))


# --- TFLite Micro's arena


@_needs("tflm")
def test_tflm_arena_is_what_suffices_and_little_less_does_not() -> None:
    with tflm.load(SHIPPED) as session:
        session.run(np.zeros((1, 28, 28, 1), np.uint8))
        facts = session.facts()
    # The largest pair of activations (int8 28 x 28 x 32 and its pool) lies in it, and the tables of the interpreter.
    assert facts["arena_activation_bytes"] == 28 * 28 * 32 + 14 * 14 * 32
    assert facts["arena_bytes"] == facts["arena_activation_bytes"] + facts["arena_persistent_bytes"]
    assert 30_000 < facts["arena_bytes"] < 60_000
    library = importlib.import_module("tflite_micro.python.tflite_micro.runtime")
    alignment = 16
    interpreter = library.Interpreter.from_file(str(SHIPPED), arena_size=facts["arena_bytes"] + alignment)
    interpreter.invoke()
    with pytest.raises(RuntimeError, match="failed to allocate"):
        library.Interpreter.from_file(str(SHIPPED), arena_size=facts["arena_bytes"] - alignment)


@_needs("tflm")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(tiny_models.relu((1, 1 << 20)), id="large-activations"),
        pytest.param(tiny_models.enhanced_cnn(), id="float"),
        pytest.param(tiny_models.per_tensor_int8(), id="small"),
    ],
)
def test_tflm_is_given_an_arena_that_suffices(content: bytes, tmp_path: Path) -> None:
    path = _write(tmp_path, content)
    with tflm.load(path) as session:
        session.run(np.zeros(session.input.shape, session.input.dtype))
        assert session.facts()["arena_bytes"] <= tflm.arena_bytes(path)


@_needs("tflm")
def test_tflm_says_that_an_arena_did_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflm, "arena_bytes", lambda _: 1 << 14)
    with pytest.raises(ModelError, match=r"an arena of 16,384 bytes was too small \(Failed to resize buffer"):
        tflm.load(SHIPPED)


def test_tflm_refuses_a_model_that_no_microcontroller_holds(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="may need an arena of 2,049 MiB; 1,024 MiB is the limit"):
        tflm.arena_bytes(_write(tmp_path, tiny_models.relu((1, 1 << 27))))


# --- OpenVINO


@_needs("openvino")
def test_openvino_has_the_threads_and_the_precision_that_were_asked_for(tmp_path: Path) -> None:
    for threads in (1, 2):
        with openvino.load(_write(tmp_path, tiny_models.relu()), threads=threads) as session:
            compiled = session._request.get_compiled_model()
            assert compiled.get_property("INFERENCE_NUM_THREADS") == min(threads, os.cpu_count() or 1)
            assert "float32" in str(compiled.get_property("INFERENCE_PRECISION_HINT"))


class _Port:
    """An end of a model that OpenVINO compiled."""

    def __init__(self, shape: tuple[int, ...] | None) -> None:
        self._shape = shape
        self.element_type = self

    def to_dtype(self) -> type[np.float32]:
        return np.float32

    @property
    def shape(self) -> tuple[int, ...]:
        if self._shape is None:
            raise RuntimeError("to_shape was called on a dynamic shape.")
        return self._shape


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        pytest.param([_Port((1, 4))], [_Port(None)], "openvino cannot load .*dynamic shape", id="dynamic"),
        pytest.param([_Port((1, 4))], [], "makes 1 inputs and 0 outputs of .*, which has 1 and 1", id="fewer"),
        pytest.param([_Port((1, 4))], [_Port((4,))], r"makes float32 \(4,\) of 'y'", id="shape"),
    ],
)
def test_openvino_that_makes_other_ends_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[_Port], outputs: list[_Port], words: str
) -> None:
    compiled = SimpleNamespace(inputs=inputs, outputs=outputs)
    core = SimpleNamespace(
        available_devices=["CPU"], read_model=lambda path: None, compile_model=lambda *arguments: compiled
    )
    monkeypatch.setattr(openvino.importlib, "import_module", lambda name: SimpleNamespace(Core=lambda: core))
    with pytest.raises(ModelError, match=words):
        openvino.load(_write(tmp_path, tiny_models.relu((1, 4))))


# --- ONNX Runtime


def _onnx_model(
    shape: list[int | str], *, inputs: tuple[str, ...] = ("x",), operator: str = "Abs", domain: str = ""
) -> bytes:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs]
    sinks = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("absolute", "negative")]
    source = inputs[0] if inputs else "constant"
    nodes = [
        helper.make_node(operator, [source], ["absolute"], domain=domain),
        helper.make_node("Neg", [source], ["negative"]),
    ]
    if not inputs:
        value = helper.make_tensor("value", TensorProto.FLOAT, [1, 4], [1.0, 2.0, 3.0, 4.0])
        nodes.insert(0, helper.make_node("Constant", [], ["constant"], value=value))
    graph = helper.make_graph(nodes, "graph", ends, sinks)
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return content


needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="onnx is not installed")


@needs_onnx
@_runtimes("onnxruntime", "openvino")
def test_onnx_file_is_run_as_it_is(runtime: str, tmp_path: Path) -> None:
    path = _write(tmp_path, _onnx_model([1, 4]), "model.onnx")
    with runtimes.runtime(runtime).load(path) as session:
        assert (session.input.name, session.input.dtype, session.input.shape) == ("x", "float32", (1, 4))
        assert [tensor.name for tensor in session.outputs] == ["absolute", "negative"]
        session.set_input(np.array([[-1, 2, -3, 4]], np.float32))
        session.invoke()
        absolute, negative = session.get_outputs()
        assert absolute.tolist() == [[1, 2, 3, 4]]
        assert negative.tolist() == [[1, -2, 3, -4]]
        with pytest.raises(ValueError, match=r"the input is float64 \(1, 4\); float32 \(1, 4\) is expected"):
            session.set_input(np.zeros((1, 4), np.float64))
    with pytest.raises(RuntimeError, match="closed"):
        session.invoke()


@needs_onnx
@_runtimes("onnxruntime", "openvino")
@pytest.mark.parametrize(
    ("case", "words"),
    [
        pytest.param("dynamic", r"dynamic shape \(1, -1\)", id="dynamic"),
        pytest.param("batch", "batch of 8", id="batch"),
        pytest.param("none", "has no input", id="no-input"),
        pytest.param("custom", "TheirOp", id="custom"),
        pytest.param("cut", "cut off or damaged", id="cut"),
        pytest.param("tflite", "not an ONNX file", id="tflite"),
        pytest.param("rotten", "cannot load", id="damaged-inside"),
    ],
)
def test_bad_onnx_file_is_refused_with_the_reason(runtime: str, case: str, words: str, tmp_path: Path) -> None:
    whole = _onnx_model([1, 4])
    content = {
        "dynamic": lambda: _onnx_model([1, "n"]),
        "batch": lambda: _onnx_model([8, 4]),
        "none": lambda: _onnx_model([1, 4], inputs=()),
        "custom": lambda: _onnx_model([1, 4], operator="TheirOp", domain="their.domain"),
        "cut": lambda: whole[:-9],
        "tflite": lambda: tiny_models.relu(),
        "rotten": lambda: whole.replace(b"Abs", b"\xff\x07\x00"),
    }[case]()
    path = _write(tmp_path, content, "model.onnx")
    with pytest.raises(ModelError, match=words) as caught:
        runtimes.runtime(runtime).load(path)
    assert str(path) in caught.value.message


@needs_converter
@pytest.mark.usefixtures("converts_here")
def test_tflite_file_is_converted_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, SHIPPED.read_bytes())
    onnxruntime.prepare(path)
    monkeypatch.setattr(tflite_to_onnx, "_convert_beside", lambda *_: pytest.fail("it was converted again"))
    with onnxruntime.load(path) as session:
        assert session.facts() == {
            "converted_by": f"tf2onnx {importlib.metadata.version('tf2onnx')}, opset {tflite_to_onnx.OPSET}"
        }
        (end,) = tflite_ends.read(path).inputs
        assert session.input == end.details


@needs_converter
@pytest.mark.parametrize(
    ("content", "words"),
    [
        # A dense layer that takes a feature map: tf2onnx 1.17.0 puts its channels first and says nothing.
        pytest.param(tiny_models.enhanced_cnn(numbered=True), "gives other outputs: 'dense_21' differs", id="wrong"),
        pytest.param(tiny_models.custom("TheirOp"), "is not valid .*TFL_TheirOp", id="custom"),
    ],
)
def test_conversion_that_is_wrong_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        tflite_to_onnx._convert(_write(tmp_path, content), tmp_path / "model.onnx")
    assert caught.value.hint == "Give an .onnx file of the model instead."


@needs_converter
def test_failed_conversion_tells_its_reason_through_the_process_and_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    with pytest.raises(ModelError, match=r"onnxruntime cannot run .*TFL_MyMadeUpOp"):
        onnxruntime.load(_write(tmp_path, tiny_models.custom()))
    assert list((tmp_path / "onnx").iterdir()) == []


def test_conversion_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflite_to_onnx.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(tflite_to_onnx.importlib.metadata, "version", lambda _: "1.0")
    slow = _write(tmp_path, b"#!/bin/sh\nexec sleep 20\n", "python")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    with pytest.raises(ModelError, match=r"tf2onnx did not convert .* in 1 s"):
        tflite_to_onnx.converted(_write(tmp_path, tiny_models.relu()), seconds=1)


def _converter(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script in the place of the Python that converts; $4 and $5 are the files."""
    monkeypatch.setattr(tflite_to_onnx.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(tflite_to_onnx.importlib.metadata, "version", lambda _: "1.0")
    python = _write(folder, f"#!/bin/sh\n{script}\n".encode(), "python")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


@pytest.mark.parametrize("says", ["hello", "[]", "$(printf '%0100000d' 0 | tr 0 [)"], ids=["words", "list", "brackets"])
def test_conversion_that_says_something_else_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    _converter(tmp_path, monkeypatch, f'echo "{says}"')
    with pytest.raises(ModelError, match=r"the conversion of .* to ONNX failed with exit code 0"):
        tflite_to_onnx.converted(_write(tmp_path, tiny_models.relu()))


def test_conversion_takes_no_more_memory_than_a_file_of_its_size_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = SimpleNamespace(from_tflite=lambda path, opset: np.ones(2 << 30, np.uint8))
    monkeypatch.setattr(tflite_to_onnx.importlib, "import_module", lambda _: made)
    monkeypatch.setattr(tflite_to_onnx.importlib.metadata, "version", lambda _: "1.0")
    with pytest.raises(ModelError, match=r"tf2onnx 1\.0 cannot convert it \(.*MemoryError"):
        tflite_to_onnx._convert(_write(tmp_path, tiny_models.relu()), tmp_path / "model.onnx")


def test_conversion_is_found_again_without_a_look_at_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    _converter(tmp_path, monkeypatch, 'echo one >"$5"; echo \'{"ok": true}\'')
    path = _write(tmp_path, tiny_models.relu())
    first = tflite_to_onnx.converted(path)
    assert first.read_text() == "one\n"
    with monkeypatch.context() as patch:
        patch.setattr(tflite_to_onnx, "sha256_file", lambda _: pytest.fail("the file is read again"))
        assert tflite_to_onnx.converted(path) == first
    path.write_bytes(tiny_models.relu((1, 8)))
    assert tflite_to_onnx.converted(path) != first
    first.unlink()
    path.write_bytes(tiny_models.relu())
    assert tflite_to_onnx.converted(path) == first and first.is_file()  # made anew


def test_cache_holds_whole_conversions_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path / "cache"))
    listed = tmp_path / "listed"
    _converter(
        tmp_path, monkeypatch, f'echo half >"$5"; ls -A {tmp_path}/cache/onnx >{listed}; echo \'{{"ok": true}}\''
    )
    out = tflite_to_onnx.converted(_write(tmp_path, tiny_models.relu()))
    assert listed.read_text() == "", "a process that is killed here leaves something in the cache"
    assert list(out.parent.iterdir()) == [out]


_CONVERTS_FOR_EVER = """
import sys
from pathlib import Path
from edgefm.runtimes.onnxruntime import tflite_to_onnx
sys.executable = sys.argv[1]
tflite_to_onnx._convert_beside(Path("model.tflite"), Path("model.onnx"), 60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a child ends with its parent on Linux alone")
def test_conversion_ends_with_the_worker_that_asked_for_it(tmp_path: Path) -> None:
    slow = _write(tmp_path, b"#!/bin/sh\necho $$ >pid.part; mv pid.part pid; exec sleep 120\n", "python")
    slow.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    worker = subprocess.Popen([sys.executable, "-c", _CONVERTS_FOR_EVER, str(slow)], cwd=tmp_path, env=environment)
    try:
        _soon((tmp_path / "pid").exists, "the conversion did not begin")
    finally:
        worker.kill()
        worker.wait()
    child = int((tmp_path / "pid").read_text())
    try:
        _soon(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie", "it goes on")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _soon(held: Callable[[], bool], otherwise: str) -> None:
    latest = time.monotonic() + 60
    while not held():
        assert time.monotonic() < latest, otherwise
        time.sleep(0.02)


def test_without_a_converter_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tflite_to_onnx.importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else object()
    )
    with pytest.raises(RuntimeUnavailableError, match=r"converting model.tflite needs tf2onnx") as caught:
        onnxruntime.load(_write(tmp_path, tiny_models.relu()))
    assert "pip install 'edgefm[peers,compress]'" in str(caught.value.hint)


# --- in workers


@_runtimes("tflm", "openvino")
def test_worker_measures_with_the_runtime_within_its_memory_limit(runtime: str, tmp_path: Path) -> None:
    with HostPlace() as place, WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
        told = worker.load(SHIPPED, runtime=runtime, threads=1, memory_bytes=1 << 30, seconds=60)
        assert told["runtime"] == runtime
        assert told["outputs"][0]["scale"] == pytest.approx(1 / 256)
        assert json.dumps(told["facts"])
        assert ("arena_bytes" in told["facts"]) == (runtime == "tflm")


@needs_converter
def test_worker_converts_outside_of_the_memory_limit_of_the_model(tmp_path: Path) -> None:
    # 300 MB would not hold TensorFlow.
    path = _write(tmp_path, tiny_models.relu((1, 4)))
    with HostPlace() as place, WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
        told = worker.load(path, runtime="onnxruntime", threads=1, memory_bytes=300_000_000, seconds=300)
        assert told["facts"]["converted_by"].startswith("tf2onnx")


@pytest.mark.parametrize("runtime", ["tflm", "openvino", "onnxruntime"])
def test_runtime_that_is_installed_works(runtime: str) -> None:
    if importlib.util.find_spec(PACKAGES[runtime]) is None:
        pytest.skip(f"{PACKAGES[runtime]} is not installed")
    module = runtimes.runtime(runtime)
    assert isinstance(module.availability(), Available)
    assert module.version() == importlib.metadata.version(PACKAGES[runtime].replace("_", "-"))
