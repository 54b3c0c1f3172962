from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgefm import runtimes
from edgefm.core.errors import ModelError, RecipeError
from edgefm.runtimes import interpreter_session, litert, onnx_file, probe, tflite_ends, tflite_runtime, tflm
from edgefm.runtimes.base import Available, Unavailable
from edgefm.runtimes.native_output import captured
from edgefm.targets.bundle import bundle
from edgefm.tflite import tflite_file
from tests.fixtures import tiny_models
from tests.fixtures.tiny_models import Graph, Operator, Tensor, build


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


def test_litert_runs_a_linear_model_as_numpy_does(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((10, 16)).astype(np.float32)
    picture = np.random.default_rng(1).random((1, 4, 4, 1)).astype(np.float32)
    with litert.load(_write(tmp_path, tiny_models.dense(weights))) as session:
        assert (session.input.dtype, session.input.shape) == ("float32", (1, 4, 4, 1))
        assert (session.output.scale, session.output.zero_point) == (None, None)
        first = session.run(picture)
        np.testing.assert_allclose(first[0], weights @ picture.reshape(-1), rtol=1e-5, atol=1e-5)
        session.run(2 * picture)  # an output that is kept neither changes nor stops the next invoke
        np.testing.assert_allclose(first[0], weights @ picture.reshape(-1), rtol=1e-5, atol=1e-5)


def test_litert_tells_quantisation_of_input_and_output(tmp_path: Path) -> None:
    content = tiny_models.quantized_dense(np.ones((10, 16), np.int8), output_scale=20.0)
    with litert.load(_write(tmp_path, content)) as session:
        assert (session.input.dtype, session.input.scale, session.input.zero_point) == ("int8", 1.0, -128)
        assert (session.output.scale, session.output.zero_point) == (20.0, 0)


def test_litert_session_is_closed_after_its_block(tmp_path: Path) -> None:
    with litert.load(_write(tmp_path, tiny_models.relu())) as session:
        session.invoke()
    with pytest.raises(RuntimeError, match="closed"):
        session.invoke()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(np.random.default_rng(0).bytes(5000), "not a TFLite file", id="random"),
        pytest.param(b"PK\x03\x04" + bytes(100), "not a TFLite file", id="keras"),
        pytest.param(
            b"\x1c\0\0\0TFL3" + np.random.default_rng(0).bytes(5000), "damaged", id="random-behind-identifier"
        ),
        pytest.param(tiny_models.enhanced_cnn()[:800_000], "cut off or damaged", id="cut"),
        pytest.param(tiny_models.custom("TheirOp"), "custom operator 'TheirOp'", id="custom"),
        pytest.param(tiny_models.without_input(), "has no input", id="no-input"),
        pytest.param(tiny_models.dynamic(), r"dynamic shape \(1, -1\)", id="dynamic"),
        pytest.param(tiny_models.relu((8, 4)), "batch of 8", id="batch"),
    ],
)
def test_litert_refuses_file_with_the_reason(tmp_path: Path, content: bytes, words: str) -> None:
    path = _write(tmp_path, content)
    with pytest.raises(ModelError, match=words) as caught:
        litert.load(path)
    assert str(path) in caught.value.message


def test_litert_refuses_zero_threads(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="threads 0"):
        litert.load(_write(tmp_path, tiny_models.relu()), threads=0)


def test_litert_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file at"):
        litert.load(tmp_path / "nowhere.tflite")


def test_check_accepts_a_file_with_a_zip_behind_it(tmp_path: Path) -> None:
    tflite_file.check(_write(tmp_path, tiny_models.relu() + b"PK\x05\x06" + bytes(18)))


def test_check_names_what_a_wrong_file_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        tflite_file.check(_write(tmp_path, b"PK\x03\x04" + bytes(100)))
    assert caught.value.hint is not None and ".keras" in caught.value.hint


def test_check_every_cut_of_a_small_file_is_refused(tmp_path: Path) -> None:
    content = tiny_models.dense(np.ones((10, 784), np.float32))
    end = len(content)
    # The weights lie at the end; a cut of up to 16 bytes may only take padding.
    for length in range(0, end - 16, 997):
        with pytest.raises(ModelError):
            tflite_file.check(_write(tmp_path, content[:length]))


def test_runtime_by_name_is_the_module() -> None:
    found = runtimes.runtime("litert")
    assert found.name == "litert"
    assert isinstance(found.availability(), Available)
    assert found.version() == importlib.metadata.version("ai-edge-litert")


def test_runtime_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'litert'"):
        runtimes.runtime("litrt")


def test_runtimes_of_other_packages_are_found_but_take_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint("fake", "tests.fixtures.fake_runtime", runtimes.ENTRY_POINT_GROUP),
        importlib.metadata.EntryPoint("litert", "tests.fixtures.fake_runtime", runtimes.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points if group == "edgefm.runtimes" else [])
    assert runtimes.runtime("fake").version() == "1.0"
    assert runtimes.module_of("litert") == "edgefm.runtimes.litert"


def test_litert_availability_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("libLiteRt.so: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", broken)
    found = litert.availability()
    assert isinstance(found, Unavailable) and "libLiteRt.so" in found.reason


@pytest.mark.parametrize("kernels", litert.KERNELS)
def test_litert_runs_each_kernel_set(tmp_path: Path, kernels: str) -> None:
    weights = np.random.default_rng(0).standard_normal((10, 16)).astype(np.float32)
    picture = np.random.default_rng(1).random((1, 4, 4, 1)).astype(np.float32)
    with litert.load(_write(tmp_path, tiny_models.dense(weights)), kernels=kernels) as session:
        np.testing.assert_allclose(session.run(picture)[0], weights @ picture.reshape(-1), rtol=1e-5, atol=1e-5)


def test_litert_takes_the_resolver_of_the_kernel_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ai_edge_litert import interpreter

    taken = []

    class Spy(interpreter.Interpreter):  # type: ignore[misc]  # the library has no types
        def __init__(self, **options: object) -> None:
            taken.append(options["experimental_op_resolver_type"].name)  # type: ignore[attr-defined]  # an enum
            super().__init__(**options)

    monkeypatch.setattr(interpreter, "Interpreter", Spy)
    path = _write(tmp_path, tiny_models.relu())
    for kernels in (None, "builtin", "reference"):
        litert.load(path, kernels=kernels)
    assert taken == ["AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"]


def test_litert_unknown_kernel_set_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown kernel set 'refrence'; did you mean 'reference'") as caught:
        litert.load(_write(tmp_path, tiny_models.relu()), kernels="refrence")
    assert caught.value.hint == "Known: xnnpack, builtin, reference."


def _ends() -> Iterator[tuple[str, bytes]]:
    """Models whose ends LiteRT tells, so that what is read from the bytes can be compared."""
    yield "relu", tiny_models.relu((1, 3, 5))
    yield "two heads", tiny_models.two_heads()
    yield "int8", tiny_models.per_tensor_int8()
    yield "float", tiny_models.enhanced_cnn()
    yield "metadata", tiny_models.dense(np.ones((10, 16), np.float32), metadata={"a": b"b"})
    yield "shipped", Path("android_demo_assets/int8/model.tflite").read_bytes()


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in _ends()])
def test_ends_read_from_the_bytes_are_those_that_litert_tells(tmp_path: Path, content: bytes) -> None:
    path = _write(tmp_path, content)
    ends = tflite_ends.read(path)
    with litert.load(path) as session:
        assert [end.details for end in ends.inputs] == [session.input]
        assert tuple(end.details for end in ends.outputs) == session.outputs


def test_ends_tell_a_dynamic_shape_and_that_no_scale_fits_several(tmp_path: Path) -> None:
    (source,) = tflite_ends.read(_write(tmp_path, tiny_models.dynamic())).inputs
    assert (source.signature, source.details.shape) == ((1, -1), (1, 4))
    tensors = [
        Tensor(name="x", shape=(1, 2), dtype="int8", scale=[0.5, 0.25], axis=1),
        Tensor(name="y", shape=(1, 2), dtype="int8", scale=[0.5]),
    ]
    graph = Graph(
        tensors=tensors, operators=[Operator(name="RELU", inputs=(0,), outputs=(1,))], inputs=[0], outputs=[1]
    )
    ends = tflite_ends.read(_write(tmp_path, build(graph)))
    assert (ends.inputs[0].details.scale, ends.outputs[0].details.scale) == (None, 0.5)


def test_ends_of_a_type_without_array_are_refused(tmp_path: Path) -> None:
    tensors = [Tensor(name="words", shape=(1,), dtype="string"), Tensor(name="y", shape=(1,))]
    graph = Graph(tensors=tensors, operators=[], inputs=[0], outputs=[1])
    with pytest.raises(ModelError, match=r"'words' of .* has the tensor type 5"):
        tflite_ends.read(_write(tmp_path, build(graph)))


def test_ends_of_damaged_files_are_read_or_refused_never_worse(tmp_path: Path) -> None:
    content = tiny_models.per_tensor_int8()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[generator.integers(8, len(damaged), 12)] = generator.integers(0, 256, 12)
        try:
            tflite_ends.read(_write(tmp_path, damaged.tobytes()))
        except ModelError:
            refused += 1
    assert 0 < refused < 400


def test_trial_model_is_the_one_operator_that_the_schema_writes() -> None:
    assert tiny_models.relu() == tflite_runtime.TRIAL


def _as_tflite_runtime(monkeypatch: pytest.MonkeyPatch, interpreter: object) -> None:
    """Put a module in the place of tflite_runtime.interpreter."""
    from ai_edge_litert.interpreter import OpResolverType

    module = types.SimpleNamespace(Interpreter=interpreter, OpResolverType=OpResolverType)
    monkeypatch.setitem(sys.modules, "tflite_runtime", types.ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", module)  # type: ignore[arg-type]  # as a module
    monkeypatch.setattr(tflite_runtime, "version", lambda: "2.14.0")
    monkeypatch.setattr(tflite_runtime, "availability", tflite_runtime.availability.__wrapped__)


def test_tflite_runtime_that_fails_on_first_use_is_unavailable_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(**_: object) -> None:  # as 2.14.0 does with numpy 2
        os.write(2, b"A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.6 ...\n")
        raise SystemError("<built-in method CreateWrapperFromFile> returned a result with an exception set")

    _as_tflite_runtime(monkeypatch, fails)
    found = tflite_runtime.availability()
    assert isinstance(found, Unavailable)
    assert f"fails on first use with numpy {np.__version__} (SystemError)" in found.reason
    assert capfd.readouterr().err == ""


def test_tflite_runtime_that_answers_is_available_and_runs_each_kernel_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    _as_tflite_runtime(monkeypatch, Interpreter)
    assert isinstance(tflite_runtime.availability(), Available)
    for kernels in tflite_runtime.KERNELS:
        with tflite_runtime.load(_write(tmp_path, tiny_models.relu()), kernels=kernels) as session:
            assert session.run(np.array([[3]], np.float32)).tolist() == [[3.0]]


def test_tflm_has_one_thread(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="tflm has one thread"):
        tflm.load(_write(tmp_path, tiny_models.relu()), threads=2)


def test_output_of_native_code_is_caught_and_then_let_through_again(capfd: pytest.CaptureFixture[str]) -> None:
    with captured() as output:
        os.write(2, b"first\n\n  second \xff\n")
    os.write(2, b"third\n")
    assert output.lines == ["first", "second \ufffd"]
    assert capfd.readouterr().err == "third\n"


def _onnx() -> bytes:
    """The least that ModelProto's outermost fields can be: ir_version 8 and a graph of three bytes, an opset."""
    return b"\x08\x08" + b"\x3a\x03abc" + b"\x42\x02\x10\x11"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(np.random.default_rng(0).bytes(5000), "not an ONNX file", id="random"),
        pytest.param(tiny_models.relu(), "not an ONNX file", id="tflite"),
        pytest.param(b"\x08\x08", "not an ONNX file", id="no-graph"),
        pytest.param(_onnx()[:-2], "cut off or damaged: it has 9 bytes", id="cut-in-a-field"),
        pytest.param(b"\x08\x08\x3a\xff\xff\x03abc", "cut off or damaged", id="cut-in-the-graph"),
        pytest.param(b"\x08\x08\x3a\xff", "cut off or damaged", id="cut-in-a-length"),
        pytest.param(b"\x08" + b"\xff" * 12, "not an ONNX file", id="endless-number"),
    ],
)
def test_check_of_onnx_refuses_file_with_the_reason(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        onnx_file.check(path)
    assert str(path) in caught.value.message


def test_check_of_onnx_accepts_a_whole_file_and_misses_none(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match="no model file at"):
        onnx_file.check(path)
    path.write_bytes(_onnx())
    onnx_file.check(path)


def test_probe_tells_version_kernels_and_what_helps() -> None:
    found = probe.probe("edgefm.runtimes.litert")
    assert found == probe.Probed(
        version=importlib.metadata.version("ai-edge-litert"),
        kernels=interpreter_session.KERNELS,
        install=litert.INSTALL,
    )


def test_probe_of_a_module_that_breaks_is_a_reason() -> None:
    found = probe.probe("no_such_module_of_mine")
    assert found.version is None and "ModuleNotFoundError" in str(found.reason)


def test_runtimes_are_imported_from_the_bundle_where_there_is_only_numpy(tmp_path: Path) -> None:
    modules = [runtimes.RUNTIMES[name] for name in ("litert", "tflite-runtime", "tflm", "openvino", "onnxruntime")]
    # Every package that is installed but numpy is hidden, so that what a bare board lacks is lacking here.
    code = f"""
import importlib, importlib.abc, sys
class OnlyNumpy(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if path is None and top not in sys.stdlib_module_names and top not in ("numpy", "edgefm"):
            raise ModuleNotFoundError(f"No module named '{{top}}'", name=top)
sys.meta_path.insert(0, OnlyNumpy())
for module in {modules!r}:
    loaded = importlib.import_module(module)
    assert "worker.zip" in loaded.__file__, loaded.__file__
    print(loaded.name, type(loaded.availability()).__name__)
"""
    path = bundle(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        word
        for name in ("litert", "tflite-runtime", "tflm", "openvino", "onnxruntime")
        for word in (name, "Unavailable")
    ]
