"""The adb target against a fake `adb` that speaks its command line; no phone: tests/fixtures/fake_adb/README.md."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm import targets
from edgefm.benchmarking import harness, rounds
from edgefm.benchmarking.measured import ModelFile
from edgefm.core.errors import ModelError, RecipeError
from edgefm.recipes import BenchmarkProtocol
from edgefm.runtimes import android_benchmark, litert
from edgefm.runtimes.android_benchmark import session as android_session
from edgefm.runtimes.android_benchmark.adb import AdbError
from edgefm.runtimes.android_benchmark.session import AndroidSession
from edgefm.runtimes.base import Available, TimedInvokes, Unavailable
from edgefm.targets.adb import AdbPlace
from edgefm.targets.base import TargetError
from edgefm.targets.raw_outputs import raw_outputs
from edgefm.targets.worker_process import WorkerError, WorkerProcess
from tests.fixtures import tiny_models
from tests.fixtures.fake_adb import phone

_RUNTIME = "android-benchmark"
_OTHER = "R5CT1234567"
_THERE = phone.TMP.lstrip("/")

Connect = Callable[..., Path]


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return a function that connects a device as it says, and returns the device's folder."""

    def made(*, program: bool = True, **changes: Any) -> Path:
        folder = tmp_path / "device"
        bin_here = phone.make(folder, **changes)
        monkeypatch.setenv("PATH", f"{bin_here}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv(phone.FOLDER, str(folder / "phone"))
        for variable in ("ANDROID_SERIAL", "ANDROID_HOME", "ANDROID_SDK_ROOT", "EDGEFM_ANDROID_BENCHMARK"):
            monkeypatch.delenv(variable, raising=False)
        if program:
            _program(folder / "phone" / _THERE / "benchmark_model")
        return folder / "phone"

    return made


def _program(path: Path) -> Path:
    return phone.program(path, phone.HERE / "benchmark_model.py")


def _model(folder: Path) -> Path:
    path = folder / "it's a model.tflite"
    path.write_bytes(tiny_models.two_heads((1, 4)))
    return path


def _calls(device: Path) -> str:
    return (device / "calls.log").read_text()


@contextlib.contextmanager
def _session(model: Path) -> Iterator[AndroidSession]:
    """Load a model as a worker does, in this process."""
    android_benchmark._device.cache_clear()
    android_benchmark._program.cache_clear()
    with android_benchmark.load(model) as session:
        session.set_input(np.ones((1, 4), np.float32))
        yield session


def _times(session: AndroidSession, **limits: int) -> TimedInvokes:
    given = {"warmup_calls": 3, "least_calls": 4, "least_ns": 0, "most_calls": 100, "most_ns": 60 * 10**9, **limits}
    return session.timed_invokes(**given)


def _place(address: str = "adb") -> AdbPlace:
    opened = targets.target(address).open(_RUNTIME)
    assert isinstance(opened, AdbPlace)
    return opened


def _load(worker: WorkerProcess, model: Path, runtime: str = _RUNTIME) -> dict[str, Any]:
    return worker.load(model, runtime=runtime, threads=2, memory_bytes=1 << 30, seconds=60)


def _time(worker: WorkerProcess, **limits: int) -> dict[str, Any]:
    given = {"warmup_calls": 3, "least_calls": 4, "least_ns": 0, "most_calls": 100, "most_ns": 60 * 10**9, **limits}
    return worker.request("samples", doing="being timed", seconds=60, **given)


def test_device_gives_its_own_times_and_tells_of_itself(connect: Connect, tmp_path: Path) -> None:
    device = connect(benchmark={"times_us": [1042, 1038]})
    model = _model(tmp_path)
    with _place() as place, WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
        environment = worker.request("environment", doing="telling", seconds=60)["environment"]
        assert environment["cpu"] == "Google Tensor G3 (Google Pixel 8)"
        assert environment["os"] == "Android 14 (Linux 5.15.110-android14, aarch64)"
        assert (environment["cores"], environment["memory_bytes"]) == (9, 7716284 * 1024)
        assert environment["cpu_features"] == ["asimd", "asimdhp", "asimddp", "i8mm", "bf16"]
        told = _load(worker, model)
        assert told["version"] == f"benchmark_model {environment['versions']['benchmark_model']}"
        facts = told["facts"]
        assert (facts["device"], facts["android"], facts["abi"]) == ("Google Pixel 8", "14", "arm64-v8a")
        # The phone's cold start, not this machine's.
        assert (facts["load_ns"], facts["first_invoke_ns"]) == (20_283_000, 1_042_000)
        timed = _time(worker)
        assert timed["invoke_ns"] == [1_042_000, 1_038_000] * 2
        assert timed["warmup_ns"] == [4 * 1_042_000, 1_038_000]  # the first and the last of three
        assert timed["disturbed"] == []
        assert place.state()["temperature_c"] == 51.2
        assert len(list((device / _THERE / "edgefm").glob("session-*/*.tflite"))) == 1
    assert "--num_threads=2" in _calls(device) and "--use_xnnpack=true" in _calls(device)
    assert not list((device / _THERE / "edgefm").iterdir())  # nothing is left there


def test_outputs_are_those_of_the_device(connect: Connect, tmp_path: Path) -> None:
    device = connect(benchmark={"answers": True})
    inputs = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    relu, absolute = raw_outputs(_model(tmp_path), inputs, runtime=f"{_RUNTIME}:builtin", target=targets.target("adb"))
    np.testing.assert_array_equal(relu, np.maximum(inputs, 0))
    np.testing.assert_array_equal(absolute, np.abs(inputs))
    assert "--use_xnnpack=false" in _calls(device) and "--use_xnnpack=true" not in _calls(device)


def test_outputs_of_many_inputs_take_one_copy_there_and_back(connect: Connect, tmp_path: Path) -> None:
    device = connect(benchmark={"answers": True})
    path = tmp_path / "model.tflite"
    weights = np.random.default_rng(0).integers(-9, 9, (10, 16)).astype(np.int8)
    path.write_bytes(tiny_models.quantized_dense(weights, output_scale=20.0))
    android_benchmark._device.cache_clear()
    android_benchmark._program.cache_clear()
    with android_benchmark.load(path) as session:
        inputs = np.random.default_rng(1).integers(-128, 127, (4, *session.input.shape[1:])).astype(np.int8)
        [found] = session.outputs_of(inputs)
        assert _calls(device).count(" push ") == 2 and _calls(device).count(" pull ") == 1  # the other is the model
    with litert.load(path) as here:
        np.testing.assert_array_equal(found, np.concatenate([here.run(row[np.newaxis]) for row in inputs]))


def test_many_inputs_stop_at_the_first_that_fails(connect: Connect, tmp_path: Path) -> None:
    device = connect(benchmark={"answers": False, "after": {"2": {"benchmark": {"fault": "SIGSEGV"}}}})
    with (
        _session(_model(tmp_path)) as session,
        pytest.raises(ModelError, match="crashed with SIGSEGV while answering 5 inputs"),
    ):
        session.outputs_of(np.ones((5, 4), np.float32))
    assert (device / "processes").read_text() == "3"  # the fault is there from the third on


def test_turn_keeps_to_its_limits(connect: Connect, tmp_path: Path) -> None:
    connect(benchmark={"times_us": [7, 5]})
    with _session(_model(tmp_path)) as session:
        assert _times(session, least_calls=1, most_calls=1).invoke_ns == [7000]
        assert len(_times(session, least_calls=3).invoke_ns) == 4
        assert len(_times(session, least_calls=50, most_ns=1).invoke_ns) == 2
        assert len(_times(session, least_calls=1, least_ns=10**8, most_calls=2).invoke_ns) == 2


def test_users_program_is_sent_once(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = connect(program=False)
    monkeypatch.setenv("EDGEFM_ANDROID_BENCHMARK", str(_program(tmp_path / "my benchmark")))
    for _ in range(2):
        with _session(_model(tmp_path)) as session:
            session.invoke()
    assert _calls(device).count("push " + str(tmp_path / "my benchmark")) == 1
    assert [path.name[:16] for path in (device / _THERE / "edgefm").iterdir()] == ["benchmark_model-"]


def test_missing_program_is_an_error_that_says_where_to_get_it(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = connect(program=False)
    with pytest.raises(TargetError, match="the device has no /data/local/tmp/benchmark_model") as caught:
        _place()
    assert not (device / _THERE / "edgefm").exists()
    assert "bazel build" in str(caught.value.hint) and "EDGEFM_ANDROID_BENCHMARK" in str(caught.value.hint)
    monkeypatch.setenv("EDGEFM_ANDROID_BENCHMARK", str(tmp_path / "nowhere"))
    with pytest.raises(TargetError, match="which is not a file"):
        _place()


def test_machine_without_adb_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(TargetError, match="program 'adb' is not installed") as caught:
        _place()
    assert "apt-get install adb" in str(caught.value.hint)
    usable = targets.target("adb").availability()
    assert isinstance(usable, Unavailable) and "program 'adb' is not installed" in usable.reason


def test_adb_of_the_android_sdk_is_found(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = connect()
    tools = tmp_path / "sdk" / "platform-tools"
    tools.mkdir(parents=True)
    (device.parent / "bin" / "adb").rename(tools / "adb")
    monkeypatch.setenv("PATH", str(tmp_path / "without-adb"))
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    assert targets.target("adb").availability() == Available()


@pytest.mark.parametrize(
    ("devices", "address", "words", "hint"),
    [
        ([], "adb", "adb finds no device", "allow USB debugging"),
        ([[phone.SERIAL, "device"]], "adb:nobody", "no device 'nobody'; there are: " + phone.SERIAL, "adb devices"),
        ([[phone.SERIAL, "device"], [_OTHER, "device"]], "adb", f"several devices: .*{_OTHER}", "adb:SERIAL"),
        ([[phone.SERIAL, "unauthorized"]], "adb", "the device is unauthorized", "allow USB debugging"),
        ([[phone.SERIAL, "offline"]], f"adb:{phone.SERIAL}", "the device is offline", "adb reconnect offline"),
        ([[phone.SERIAL, "no permissions (udev)"]], "adb", "the device is no permissions", "udev rules"),
        ([[phone.SERIAL, "recovery"]], "adb", "the device is recovery", "Start Android"),
    ],
    ids=["none", "unknown", "several", "unauthorized", "offline", "no-permissions", "recovery"],
)
def test_device_that_cannot_be_used_is_an_error(
    connect: Connect, devices: list[list[str]], address: str, words: str, hint: str
) -> None:
    connect(devices=devices)
    with pytest.raises(TargetError, match=words) as caught:
        _place(address)
    assert hint in str(caught.value.hint)
    assert isinstance(targets.target(address).availability(), Unavailable)


def test_one_of_several_devices_is_named(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    device = connect(devices=[[_OTHER, "device"], [phone.SERIAL, "device"]])
    with _place(f"adb:{phone.SERIAL}"):
        assert f"-s {_OTHER}" not in _calls(device)
    monkeypatch.setenv("ANDROID_SERIAL", _OTHER)
    with _place() as place:
        assert place.state()
    assert f"-s {_OTHER}" in _calls(device)


def test_the_one_device_that_is_ready_is_taken(connect: Connect) -> None:
    connect(devices=[[_OTHER, "offline"], ["192.168.1.7:5555", "device"]])
    with _place("adb:192.168.1.7:5555"), _place() as place:
        assert place.state()


def test_device_that_is_unplugged_in_a_turn_is_told(connect: Connect, tmp_path: Path) -> None:
    device = connect()
    with _place() as place, WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
        _load(worker, _model(tmp_path))
        phone.change(device, gone_after=2)
        with pytest.raises(WorkerError, match=rf"adb:{phone.SERIAL}: being timed failed: error: closed"):
            _time(worker, least_calls=50)
        with pytest.raises(TargetError, match=f"device '{phone.SERIAL}' not found") as caught:
            place.state()
        assert "the cable" in str(caught.value.hint)
        with pytest.raises(TargetError, match="not found"), (tmp_path / "log").open("wb") as log:
            place.start(log=log)


def test_device_that_is_unplugged_while_a_model_runs_is_told(connect: Connect, tmp_path: Path) -> None:
    connect(benchmark={"after": {"2": {"devices": []}}})
    with _place() as place, WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
        _load(worker, _model(tmp_path))
        with pytest.raises(WorkerError, match="being timed failed: error: closed before the command ended"):
            _time(worker)


@pytest.mark.parametrize(
    "why", ["couldn't create file: Read-only file system", "write failed: No space left on device"]
)
def test_copy_that_fails_is_told(connect: Connect, tmp_path: Path, why: str) -> None:
    connect(push_fails=why)
    with pytest.raises(AdbError, match=rf"failed to copy .*: remote {why}"), _session(_model(tmp_path)):
        pass


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("not_executable", AdbError, r"built for another processor; the device's is arm64-v8a: .*64-bit ELF file"),
        ("custom_operator", ModelError, "the custom operator 'MyMadeUpOp'"),
        (
            "newer_operator",
            ModelError,
            "while being invoked: Didn't find op for builtin opcode 'FULLY_CONNECTED'",
        ),
        ("SIGSEGV", ModelError, "crashed with SIGSEGV while being invoked"),
        ("SIGKILL", ModelError, r"SIGKILL \(usually the system's out-of-memory killer\)"),
    ],
)
def test_model_that_fails_on_the_device_tells_why(
    connect: Connect, tmp_path: Path, fault: str, kind: type[Exception], words: str
) -> None:
    connect(benchmark={"fault": fault})
    with _session(_model(tmp_path)) as session, pytest.raises(kind, match=words):
        session.invoke()


def test_model_that_hangs_is_ended_on_the_device(connect: Connect, tmp_path: Path) -> None:
    device = connect(benchmark={"after": {"1": {"benchmark": {"fault": "hang"}}}})  # from the second on
    model = _model(tmp_path)
    limits = {"warmup_calls": 1, "least_calls": 2, "least_ns": 0, "most_calls": 2, "most_ns": 60 * 10**9}
    with _place() as place:
        with WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
            _load(worker, model)

            def give_up() -> None:
                """Kill the worker as its parent does when the time is up: once the model runs."""
                until = time.monotonic() + 60
                while not any(map(Path.read_text, device.rglob("run.pid"))) and time.monotonic() < until:
                    time.sleep(0.02)
                worker._process.kill()

            threading.Thread(target=give_up, daemon=True).start()
            with pytest.raises(WorkerError, match="SIGKILL while being timed"):
                worker.request("samples", doing="being timed", seconds=120, **limits)
        [note] = device.rglob("run.pid")
        process = int(note.read_text())
        os.kill(process, 0)  # it runs on
        phone.change(device, benchmark={"fault": None, "after": {}})
        with WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
            assert _load(worker, model)["ok"]
        assert _gone(process)


def test_shell_that_gives_no_answer_is_told(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    device = connect()
    with _place() as place:
        monkeypatch.setattr("edgefm.runtimes.android_benchmark.adb._SHORT_SECONDS", 0.5)
        monkeypatch.setattr(type(place._device).shell, "__kwdefaults__", {"seconds": 0.5})
        phone.change(device, hang=True)
        with pytest.raises(TargetError, match=r"asking for its state: no answer for 0\.5 s"):
            place.state()
        phone.change(device, hang=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": 2, "degrees": 61.3}, "the device throttled: thermal status 2 (moderate), 61 C"),
        ({"saver": "1"}, "battery saver is on"),
        (
            {
                "frequencies": {
                    "policy8": {"governor": "x", "now": 2_914_000, "limit": 1_803_000, "greatest": 2_914_000}
                }
            },
            "the limit of policy8 fell from 2,914 MHz to 1,803 MHz",
        ),
    ],
    ids=["thermal", "saver", "limit"],
)
def test_turn_on_a_throttled_device_is_refused(
    connect: Connect, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    connect(benchmark={"after": {"2": changes}})
    with _session(_model(tmp_path)) as session:
        assert _times(session, least_calls=2).refused == ()
        timed = _times(session, least_calls=2)
        assert (timed.refused, timed.disturbed) == ((words,), ())


def test_device_that_cools_in_time_is_timed_then(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = connect(status=1)
    monkeypatch.setattr(android_session, "_COOLING_STEP_SECONDS", 0.05)
    cooler = threading.Timer(0.3, phone.change, [device], {"status": 0})
    with _session(_model(tmp_path)) as session:
        cooler.start()
        timed = _times(session, least_calls=2)
        cooler.join()
    assert (timed.refused, timed.invoke_ns) == ((), [1_042_000, 1_038_000])


def _measure(model: Path, **changes: Any) -> dict[str, Any]:
    """Return the row of a model in the record of a benchmark of a few short rounds."""
    settings: dict[str, Any] = {"rounds": 3, "rounds_at_most": 3, "round_seconds": 0.002, "round_invokes": 2, **changes}
    protocol = BenchmarkProtocol(target="adb", runtime=_RUNTIME, model_seconds=60.0, repeats_at_most=0, **settings)
    (row,) = harness.measure([ModelFile(name="m", path=model)], dataset=None, protocol=protocol).record["models"]
    return dict(row)


def test_benchmark_keeps_what_was_measured_before_the_device_was_unplugged(connect: Connect, tmp_path: Path) -> None:
    # Processes: one to load, then two a round, one to load and one to time; the sixth begins the third round.
    connect(benchmark={"after": {"6": {"devices": []}}})
    row = _measure(_model(tmp_path))
    assert row["status"] == "failed" and f"device '{phone.SERIAL}' not found" in row["reason"]
    assert [turn["invoke_ns"] for turn in row["rounds"]] == [[1_042_000, 1_038_000]] * 2
    assert 1_038_000 <= row["latency_ns"]["p50"]["value"] <= 1_042_000


def test_benchmark_on_a_device_that_throttles_has_no_latency(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(status=2, degrees=61.3)
    monkeypatch.setattr(rounds, "_SHARE_OF_LIMIT", 1 / 200)  # nor is it given long to cool
    row = _measure(_model(tmp_path), rounds=1, rounds_at_most=1)
    words = "the device throttled: thermal status 2 (moderate), 61 C"
    assert row["status"] == "ok"
    for turn in row["rounds"]:
        assert turn["refused"] and turn["disturbed"] == [words] and not turn["used"]
        assert turn["invoke_ns"] == [1_042_000, 1_038_000]
    assert row["latency_ns"]["p50"]["value"] is None and words in row["latency_ns"]["p50"]["reason"]


def test_frequency_that_falls_from_process_to_process_is_flagged(connect: Connect, tmp_path: Path) -> None:
    slow = {
        name: {"governor": "x", "now": now, "limit": limit, "greatest": limit}
        for name, now, limit in (
            ("policy0", 800_000, 1_704_000),
            ("policy4", 900_000, 2_367_000),
            ("policy8", 1_100_000, 2_914_000),
        )
    }
    connect(benchmark={"after": {"2": {"frequencies": slow}}})
    with _session(_model(tmp_path)) as session:
        timed = _times(session)
        assert timed.refused == ()
        assert timed.disturbed == ("the frequency under load fell from 2,914 MHz to 1,100 MHz",)


def test_old_program_gives_times_but_no_outputs(connect: Connect, tmp_path: Path) -> None:
    old = {"transcript": "benchmark_2021", "unknown": ["--output_filepath"]}
    connect(benchmark=old, newlines="\r\n", status=None)
    with _place() as place, _session(_model(tmp_path)) as session:
        session.invoke()
        assert session.facts()["gives_outputs"] is False
        assert _times(session).invoke_ns == [1_042_000, 1_038_000] * 2
        with pytest.raises(ModelError, match="cannot write outputs: it does not have --output_filepath"):
            session.get_outputs()
        assert place.state()["temperature_c"] == 27.4  # the battery's: before Android 10 nothing else is told


def test_outputs_of_another_size_are_refused(connect: Connect, tmp_path: Path) -> None:
    connect()
    with _session(_model(tmp_path)) as session:
        session.invoke()
        with pytest.raises(ModelError, match="wrote 0 bytes of outputs; 32 are expected"):
            session.get_output()


def test_benchmark_of_compiled_models_is_refused(connect: Connect, tmp_path: Path) -> None:
    unknown = [
        "--use_xnnpack",
        "--input_layer",
        "--input_layer_shape",
        "--input_layer_value_files",
        "--output_filepath",
    ]
    connect(benchmark={"transcript": "benchmark_compiled_model", "unknown": unknown})
    words = r"lacks --use_xnnpack, .*CompiledModel"
    with _session(_model(tmp_path)) as session, pytest.raises(AdbError, match=words):
        session.invoke()


@pytest.mark.parametrize("content", [tiny_models.add(), tiny_models.dynamic(), b"PK\x03\x04" + bytes(100)])
def test_model_that_is_none_for_edgefm_never_reaches_the_device(
    connect: Connect, tmp_path: Path, content: bytes
) -> None:
    device = connect()
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=r"2 inputs|dynamic shape|not a TFLite file"):
        android_benchmark.load(tmp_path / "model.tflite")
    assert not (device / "calls.log").exists()


def test_options_that_are_none_are_refused(connect: Connect, tmp_path: Path) -> None:
    connect()
    with pytest.raises(RecipeError, match="threads 0"):
        android_benchmark.load(_model(tmp_path), threads=0)
    with pytest.raises(RecipeError, match="unknown kernel set 'reference'"):
        android_benchmark.load(_model(tmp_path), kernels="reference")
    with _session(_model(tmp_path)) as session, pytest.raises(ValueError, match="float32"):
        session.set_input(np.ones((1, 4), np.uint8))


def test_other_runtime_is_refused(connect: Connect) -> None:
    connect()
    with pytest.raises(TargetError, match="the runtime 'litert' is not available through adb"):
        targets.target("adb").open("litert")


def test_target_says_what_it_is(connect: Connect) -> None:
    connect()
    device = targets.target(f"adb:{phone.SERIAL}")
    assert (device.name, device.mode, device.latency) == (f"adb:{phone.SERIAL}", "measured", True)
    assert device.runtimes == (_RUNTIME,) and device.figures(Path("model")) == ()
    assert targets.target("adb").name == "adb"


def _gone(process: int) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().split(") ")[1].startswith("Z"):
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    return False
