"""LiteRT.js in a real browser: what it answers, how long it takes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import psutil
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgefm.core.errors import ModelError
from edgefm.runtimes import litert, litertjs
from edgefm.runtimes.litertjs import package
from edgefm.targets import target
from edgefm.targets.raw_outputs import raw_outputs
from edgefm.targets.worker_process import WorkerError, WorkerProcess
from tests.fixtures import tiny_models
from tests.fixtures.first_line import first_line
from tests.fixtures.processes import is_alive

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ROOT / "android_demo_assets" / "int8" / "model.tflite"
LIMITS = {"least_calls": 20, "least_ns": 50_000_000, "most_calls": 5_000, "most_ns": 2_000_000_000}

_LACKS = package.missing()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(_LACKS), reason=f"it needs {'; '.join(_LACKS)}"),
]


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def session(request: pytest.FixtureRequest) -> Iterator[litertjs.LiteRTJsSession]:
    with litertjs.load(SHIPPED, threads=request.param) as loaded:
        yield loaded


def test_int8_outputs_equal_those_of_python_bit_for_bit(session: litertjs.LiteRTJsSession) -> None:
    generator = np.random.default_rng(0)
    with litert.load(SHIPPED) as reference:
        assert session.input == reference.input
        assert session.outputs == reference.outputs
        answers = []
        for _ in range(12):
            picture = generator.integers(0, 256, session.input.shape).astype(np.uint8)
            answers.append(session.run(picture))
            np.testing.assert_array_equal(answers[-1], reference.run(picture))
    assert len({answer.tobytes() for answer in answers}) > 1, "all answers are the same: that proves nothing"


def test_times_are_those_of_the_page(session: litertjs.LiteRTJsSession) -> None:
    session.set_input(np.zeros(session.input.shape, np.uint8))
    session.invoke()
    facts = session.facts()
    started = time.perf_counter_ns()
    timed = session.timed_invokes(warmup_calls=5, **LIMITS)
    wall_ns = time.perf_counter_ns() - started
    assert len(timed.warmup_ns) == 5
    assert 20 <= len(timed.invoke_ns) <= 5_000
    # 7.8 M multiply-accumulates: more than 10 us anywhere; a second would be a hang.
    assert all(10_000 < sample < 1_000_000_000 for sample in timed.invoke_ns)
    timed_ns = sum(timed.warmup_ns) + facts["calls_a_sample"] * sum(timed.invoke_ns)
    assert 25_000_000 < timed_ns < wall_ns


def test_facts_say_what_was_run_and_by_which_clock(session: litertjs.LiteRTJsSession) -> None:
    facts = session.facts()
    threaded = facts["threads"] == 2
    assert facts["wasm_build"] == ("litert_wasm_threaded_internal" if threaded else "litert_wasm_internal")
    assert facts["browser"].startswith("chrome ")
    assert facts["cross_origin_isolated"] is True
    # 5 us where the page is isolated; 100 us would say that the headers did not work.
    assert 1_000 <= facts["clock_resolution_ns"] <= 20_000
    assert facts["calls_a_sample"] >= 1
    assert facts["wasm_heap_bytes"] >= facts["wasm_heap_bare_bytes"] > 1_000_000
    assert min(facts["wasm_load_ns"], facts["compile_ns"], facts["first_invoke_ns"]) > 0


def test_input_of_another_shape_or_type_is_refused(session: litertjs.LiteRTJsSession) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(1, 28, 28, 1\) is expected"):
        session.set_input(np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(ValueError, match="the input is float32"):
        session.set_input(np.zeros((1, 28, 28, 1), np.float32))


def test_worker_times_a_float_model_and_answers_as_python_to_rounding(tmp_path: Path) -> None:
    model = tmp_path / "float.tflite"
    model.write_bytes(tiny_models.enhanced_cnn())
    pictures = np.random.default_rng(1).random((6, 28, 28, 1), np.float32)
    np.save(tmp_path / "inputs.npy", pictures)
    with (
        target("browser").open("litertjs") as place,
        WorkerProcess(place=place, folder=tmp_path, name="browser") as worker,
    ):
        loaded = worker.load(model, runtime="litertjs", threads=1, memory_bytes=1 << 30, seconds=60)
        assert (loaded["runtime"], loaded["version"]) == ("litertjs", litertjs.version())
        assert loaded["facts"]["threads"] == 1
        turn = worker.request("samples", doing="timing", seconds=60, warmup_calls=3, **LIMITS)
        assert len(turn["warmup_ns"]) == 3
        assert min(turn["invoke_ns"]) > 10_000
        given, out = place.put(tmp_path / "inputs.npy"), place.scratch("outputs.npz")
        worker.request("outputs", doing="answering", seconds=60, inputs=given, start=0, stop=6, out=out)
        with np.load(out) as held:
            answers = held["0"]
        processes = _browser_processes(psutil.Process(worker.pid))
        assert processes
    _wait_until(lambda: not _alive(processes), "the browser outlived its worker")
    with litert.load(model) as reference:
        expected = np.concatenate([reference.run(picture[np.newaxis]) for picture in pictures])
    # float32 sums of up to 1,152 products, added in another order by other vector units: a few units of 1e-7 each.
    np.testing.assert_allclose(answers.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def _with_signature(model: bytes, *outputs: tuple[str, int]) -> bytes:
    """Return a model with a signature whose outputs are these (name, tensor), in this order."""
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = [_named("x", 0)], [_named(*output) for output in outputs]
    parsed.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _named(name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), tensor
    return entry


def test_outputs_come_in_the_graphs_order_and_a_dead_page_is_told(tmp_path: Path) -> None:
    model = tmp_path / "two_heads.tflite"
    # The graph gives relu (tensor 1), then |x| (tensor 2); the signature the other way round, under other names.
    model.write_bytes(_with_signature(tiny_models.two_heads(), ("first", 2), ("second", 1)))
    with litertjs.load(model) as loaded:
        given = np.array([[-2, -1, 0, 3]], np.float32)
        loaded.set_input(given)
        loaded.invoke()
        relu, absolute = loaded.get_outputs()
        np.testing.assert_array_equal(relu, np.maximum(given, 0))
        np.testing.assert_array_equal(absolute, np.abs(given))
        assert [tensor.name for tensor in loaded.outputs] == ["relu", "absolute"]

        for process in _browser_processes(psutil.Process(loaded.guard_pid)):
            if "--type=renderer" in _command(process):
                process.kill()
        with pytest.raises(ModelError, match="the page crashed while invoking the model"):
            loaded.run(given)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(tiny_models.custom("MyMadeUpOp"), "custom operator 'MyMadeUpOp'", id="custom operator"),
        # LiteRT.js itself gives back what was in memory, without an error.
        pytest.param(
            tiny_models.build(
                tiny_models.Graph(
                    tensors=[tiny_models.Tensor(name=name, shape=(1, 4), dtype="int32") for name in ("x", "y")],
                    operators=[tiny_models.Operator(name="RELU", inputs=(0,), outputs=(1,))],
                    inputs=[0],
                    outputs=[1],
                )
            ),
            "got INT32",
            id="type that an operator lacks",
        ),
    ],
)
def test_invoke_that_fails_in_the_page_is_an_error(content: bytes, expected: str, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(content)
    with litertjs.load(model) as loaded, pytest.raises(ModelError, match=expected):
        loaded.run(np.ones(loaded.input.shape, loaded.input.dtype))


def test_damaged_model_is_refused_by_name_and_leaves_no_browser(tmp_path: Path) -> None:
    model = tmp_path / "damaged.tflite"
    content = bytearray(SHIPPED.read_bytes())
    parsed = schema.Model.GetRootAs(content, 0)
    # The vtable of an operator of the graph: what edgefm reads itself stays whole.
    table = parsed.Subgraphs(0).Operators(0)._tab.Pos
    content[table : table + 4] = b"\xff\xff\xff\x7f"
    model.write_bytes(content)
    before = set(_guards())
    with pytest.raises(ModelError, match=r"LiteRT\.js failed while loading the model, .*damaged\.tflite"):
        litertjs.load(model)
    assert set(_guards()) == before


_HANGS = """
import sys
from pathlib import Path
import flatbuffers
import numpy as np
from edgefm.runtimes import litertjs
loaded = litertjs.load(Path(sys.argv[1]))
print(loaded.guard_pid, flush=True)
loaded.run(np.ones(loaded.input.shape, np.float32))
"""


def test_nothing_is_left_of_a_killed_worker_whose_page_hangs(tmp_path: Path) -> None:
    model = tmp_path / "endless.tflite"
    model.write_bytes(tiny_models.endless_loop())
    process = subprocess.Popen(
        [sys.executable, "-c", _HANGS, str(model)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        guard = psutil.Process(int(first_line(process)))
        time.sleep(0.5)  # let the page enter the loop
        assert process.poll() is None, "the endless loop ended"
        processes = [guard, *_browser_processes(guard)]
        (folder,) = {
            Path(word.removeprefix("--user-data-dir=")).parent
            for one in processes
            for word in _command(one)
            if word.startswith("--user-data-dir=")
        }
        assert folder.is_dir()
        assert len(processes) > 4, "driver, browser, page and more are expected"
    finally:
        process.kill()
        process.communicate()
    _wait_until(lambda: not _alive(processes), "processes were left")
    _wait_until(lambda: not folder.exists(), f"{folder} was left")


def test_worker_whose_page_hangs_is_ended_by_its_time_limit(tmp_path: Path) -> None:
    model = tmp_path / "endless.tflite"
    model.write_bytes(tiny_models.endless_loop())
    with pytest.raises(WorkerError, match="no answer for 3 s"):
        raw_outputs(model, np.ones((1,), np.float32), runtime="litertjs", target=target("browser"), seconds=3)


def _browser_processes(root: psutil.Process) -> list[psutil.Process]:
    return [process for process in root.children(recursive=True) if process.is_running()]


def _command(process: psutil.Process) -> list[str]:
    try:
        command: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return command


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if is_alive(process)]


def _guards() -> list[int]:
    return [one.pid for one in psutil.Process().children(recursive=True) if "litertjs.guard" in " ".join(_command(one))]


def _wait_until(held: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 30
    while not held():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
