"""The harness with real worker processes: real models, and a runtime that misbehaves as told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edgefm import runtimes
from edgefm.benchmarking import harness, record, rounds
from edgefm.benchmarking.measured import ModelFile
from edgefm.core.progress import SILENT
from edgefm.data.dataset import Dataset, Split
from edgefm.recipes import BenchmarkProtocol
from edgefm.targets.host import HostPlace
from edgefm.targets.worker_process import WorkerError, WorkerProcess
from edgefm.targets.worker_start import WORKER
from tests.fixtures import tiny_models

REPOSITORY = Path(__file__).parents[2]
LABELS = tuple("abcdefghij")
FAKE = "tests.fixtures.fake_runtime"


def _dataset(side: int, *, count: int = 60) -> Dataset:
    """Pictures of ten stripes, of which the brightest is the class."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, count)
    images = generator.integers(0, 100, (count, 10, side * side // 10), dtype=np.uint8)
    images[np.arange(count), labels] += 100
    images = images.reshape(count, side, side, 1)
    split = Split(name="test", images=images, labels=labels)
    return Dataset(name="stripes", labels=LABELS, train=split, validation=split, test=split, sha256="0" * 64)


def _stripes(side: int) -> np.ndarray[Any, Any]:
    """Weights of the linear model that sums each stripe."""
    return np.repeat(np.eye(10, dtype=np.float32), side * side // 10, axis=1)


def _quick(**changes: Any) -> BenchmarkProtocol:
    settings: dict[str, Any] = {"rounds": 3, "round_seconds": 0.002, "round_invokes": 5, "model_seconds": 20.0}
    settings |= {"repeats_at_most": 0, **changes}
    return BenchmarkProtocol(**{"rounds_at_most": settings["rounds"], **settings})


def _file(folder: Path, name: str, content: bytes) -> ModelFile:
    path = folder / f"{name}.tflite"
    path.write_bytes(content)
    return ModelFile(name=name, path=path)


def _fake(folder: Path, name: str, **behaviour: Any) -> ModelFile:
    return _file(folder, name, json.dumps(behaviour).encode())


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", FAKE)


def _workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any(WORKER in part for part in child.cmdline())]


def _by_name(measurement: harness.Measurement) -> dict[str, dict[str, Any]]:
    return {model["name"]: model for model in measurement.record["models"]}


@pytest.mark.serial
def test_measure_real_models_agrees_with_numpy(tmp_path: Path) -> None:
    dataset = _dataset(10)
    generator = np.random.default_rng(3)
    weights = _stripes(10) + generator.normal(0, 0.8, (10, 100)).astype(np.float32)
    levels = np.clip(np.round(weights * 10), -127, 127).astype(np.int8)
    models = [
        _file(tmp_path, "float32", tiny_models.dense(weights, picture=(10, 10, 1))),
        _file(tmp_path, "int8", tiny_models.quantized_dense(levels, picture=(10, 10, 1), output_scale=400.0)),
    ]
    found = harness.measure(models, dataset=dataset, protocol=_quick(), reference="float32", mean=0, std=1)

    pixels = dataset.test.images.reshape(60, 100).astype(np.float64)
    scores = pixels @ weights.T.astype(np.float64)
    rows = _by_name(found)
    np.testing.assert_array_equal(found.predictions["float32/predicted"], scores.argmax(1))
    # A dense layer without contract gives logits; confidence is their softmax, to the rounding of float32 sums.
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found.predictions["float32/confidence"], 1 / powers.sum(axis=1), atol=1e-3)
    np.testing.assert_array_equal(found.predictions["truth"], dataset.test.labels)
    assert rows["float32"]["accuracy"]["value"] == np.mean(scores.argmax(1) == dataset.test.labels)
    quantised = np.clip(np.round(pixels @ levels.T.astype(np.float64) / 400), -128, 127)
    assert rows["int8"]["accuracy"]["value"] == np.mean(quantised.argmax(1) == dataset.test.labels)

    for row in rows.values():
        assert (row["status"], row["reason"], row["macs"]) == ("ok", None, 1000)
        assert row["load_ns"] > 0 and row["memory"]["peak_bytes"] >= row["memory"]["bare_bytes"] > 10**6
        assert [turn["index"] for turn in row["rounds"]] == [0, 1, 2]
        for turn in row["rounds"]:
            assert len(turn["invoke_ns"]) >= 5 and len(turn["end_to_end_ns"]) >= 5 and len(turn["warmup_ns"]) == 20
        assert 0 < row["latency_ns"]["p50"]["value"] <= row["latency_ns"]["p99"]["value"]
        assert row["end_to_end_ns"]["p50"]["value"] > row["latency_ns"]["p50"]["value"]
    flipped = np.flatnonzero(scores.argmax(1) != quantised.argmax(1)).tolist()
    assert rows["int8"]["against_reference"]["flipped"] == flipped
    assert not _workers()


def test_measure_draws_the_order_anew_each_round(tmp_path: Path, fake: None) -> None:
    models = [_fake(tmp_path, name) for name in "abc"]
    found = harness.measure(models, dataset=None, protocol=_quick(runtime="fake", rounds=8, seed=5))
    places = np.array([[turn["position"] for turn in model["rounds"]] for model in found.record["models"]])
    order = rounds.turn_order(3, rounds=8, seed=5)
    assert (np.array(order) == np.argsort(places, axis=0).T).all()
    assert len({tuple(row) for row in order}) > 2
    assert rounds.turn_order(3, rounds=8, seed=5) == order != rounds.turn_order(3, rounds=8, seed=6)


MISBEHAVIOUR = {
    "abort": ({"load": "abort"}, "the runtime crashed with SIGABRT while loading"),
    "segfault": ({"load": "segfault"}, "the runtime crashed with SIGSEGV while loading"),
    "exit": ({"load": "exit"}, "the process ended with exit code 7 while loading"),
    "hang": ({"load": "hang"}, "no answer for 5 s while loading; the process was killed"),
    "raise": ({"load": "raise"}, "RuntimeError: the kernel said no"),
    "allocate": ({"load": "allocate"}, "out of memory while loading (limit: 300 MB)"),
    "abort-later": ({"invoke": "abort", "good_calls": 1}, "the runtime crashed with SIGABRT while being timed"),
    "hang-later": ({"invoke": "hang", "good_calls": 1}, "no answer for 5 s while being timed"),
    "nan": ({"nan": True}, "its output is NaN for 8 images, first image 0"),
}


@pytest.fixture(scope="module")
def misbehaved(tmp_path_factory: pytest.TempPathFactory) -> harness.Measurement:
    """All misbehaving models and a good one in one benchmark."""
    folder = tmp_path_factory.mktemp("models")
    models = [_fake(folder, name, **behaviour) for name, (behaviour, _) in MISBEHAVIOUR.items()]
    models.append(_fake(folder, "good"))
    protocol = _quick(runtime="fake", model_seconds=5.0, model_memory_bytes=300_000_000, rounds=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(runtimes.RUNTIMES, "fake", FAKE)
        found = harness.measure(models, dataset=_dataset(10), protocol=protocol, reference="good", mean=0, std=1)
    assert not _workers()
    return found


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_measure_misbehaving_model_is_a_failed_row_with_the_reason(misbehaved: harness.Measurement, name: str) -> None:
    row = _by_name(misbehaved)[name]
    assert row["status"] == "failed"
    assert MISBEHAVIOUR[name][1] in row["reason"]
    assert row["accuracy"] == {"value": None, "reason": row["reason"]}
    assert f"{name}/predicted" not in misbehaved.predictions


def test_measure_misbehaving_models_leave_the_good_one_alone(misbehaved: harness.Measurement) -> None:
    row = _by_name(misbehaved)["good"]
    assert row["status"] == "ok" and row["accuracy"]["value"] == 1.0
    assert [turn["index"] for turn in row["rounds"]] == [0, 1]


def test_measure_runtime_that_prints_disturbs_nothing(tmp_path: Path, fake: None) -> None:
    models = [_fake(tmp_path, "loud", load="print", invoke="print")]
    found = harness.measure(models, dataset=_dataset(10), protocol=_quick(runtime="fake"), mean=0, std=1)
    assert _by_name(found)["loud"]["accuracy"]["value"] == 1.0


def test_measure_model_that_no_picture_fits_gets_latency_and_the_reason(tmp_path: Path, fake: None) -> None:
    models = [_fake(tmp_path, "other", shape=[1, 5, 4, 1])]
    found = harness.measure(models, dataset=_dataset(10), protocol=_quick(runtime="fake"), mean=0, std=1)
    row = _by_name(found)["other"]
    reason = "the test images are 10 x 10 x 1; its input is 5 x 4 x 1"
    assert row["status"] == "ok" and row["accuracy"] == {"value": None, "reason": reason}
    assert row["latency_ns"]["p50"]["value"] > 0
    assert row["end_to_end_ns"]["p50"] == {"value": None, "reason": reason}


def test_measure_damaged_files_are_failed_rows(tmp_path: Path) -> None:
    content = tiny_models.enhanced_cnn()
    generator = np.random.default_rng(0)
    models = [
        _file(tmp_path, "whole", tiny_models.dense(_stripes(10), picture=(10, 10, 1))),
        _file(tmp_path, "half", content[: len(content) // 2]),
        _file(tmp_path, "random", generator.bytes(3000)),
        _file(tmp_path, "endless", tiny_models.endless_loop()),
    ]
    for index in range(4):
        damaged = bytearray(content)
        for place in (*generator.integers(8, 2000, 4), *generator.integers(len(content) - 2000, len(content), 4)):
            damaged[int(place)] ^= 1 << int(generator.integers(8))
        models.append(_file(tmp_path, f"flipped-{index}", bytes(damaged)))
    protocol = _quick(model_seconds=5.0, rounds=2)
    rows = _by_name(harness.measure(models, dataset=_dataset(10), protocol=protocol, mean=0, std=1))
    assert rows.pop("whole")["accuracy"]["value"] == 1.0
    assert "cut off" in rows["half"]["reason"]
    assert "not a TFLite file" in rows["random"]["reason"]
    assert "no answer for 5 s" in rows["endless"]["reason"]
    flipped = [row for name, row in rows.items() if name.startswith("flipped")]
    assert any(row["status"] == "failed" for row in flipped)
    assert all(bool(row["reason"]) == (row["status"] == "failed") for row in flipped)
    assert not _workers()


def test_measure_file_that_is_not_its_contract_s_fails(tmp_path: Path) -> None:
    from edgefm.benchmarking import feeding
    from edgefm.runtimes import litert
    from edgefm.tflite.contract import Contract

    model = _file(tmp_path, "model", tiny_models.dense(_stripes(10), picture=(10, 10, 1)))
    with litert.load(model.path) as session:
        contract = feeding.contract_for(
            model.path, source=session.input, sinks=session.outputs, labels=LABELS, mean=0, std=1
        )
    assert isinstance(contract, Contract)
    contract.write(tmp_path)  # its sha256 is not that of the file
    row = _by_name(harness.measure([model], dataset=_dataset(10), protocol=_quick()))["model"]
    assert row["status"] == "failed" and "sha256" in row["reason"]


def test_measure_stopped_by_the_user_leaves_no_worker(tmp_path: Path, fake: None) -> None:
    class Stops:
        def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
            if label == "latency":
                raise KeyboardInterrupt

        def note(self, message: str) -> None:
            raise AssertionError(message)

    models = [_fake(tmp_path, "a"), _fake(tmp_path, "b")]
    with pytest.raises(KeyboardInterrupt):
        harness.measure(models, dataset=None, protocol=_quick(runtime="fake"), progress=Stops())
    assert not _workers()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_worker_that_hangs_ends_with_its_parent(tmp_path: Path, stop: signal.Signals) -> None:
    model = _fake(tmp_path, "stuck", load="hang")
    # A job in the background ignores Ctrl-C, and its children do, too: this one hears it as in a terminal.
    script = f"""
        import signal
        from pathlib import Path
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from edgefm import runtimes
        from edgefm.benchmarking.harness import ModelFile, measure
        from edgefm.recipes import BenchmarkProtocol
        runtimes.RUNTIMES["fake"] = "{FAKE}"
        measure([ModelFile(name="stuck", path=Path({str(model.path)!r}))], dataset=None,
                protocol=BenchmarkProtocol(runtime="fake"))
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )
    worker = _await_worker(parent.pid)
    # Ctrl-C reaches the whole group, as in a terminal; kill reaches the parent alone.
    (os.killpg if stop == signal.SIGINT else os.kill)(parent.pid, stop)
    assert parent.wait(20) != 0
    gone, alive = psutil.wait_procs([worker], timeout=10)
    assert gone and not alive


def _await_worker(parent: int) -> psutil.Process:
    """Return the parent's worker once it hangs: asleep, with its limits set."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in psutil.Process(parent).children():
            if child.rlimit(psutil.RLIMIT_DATA)[0] != psutil.RLIM_INFINITY:
                time.sleep(0.2)
                return child
        time.sleep(0.05)
    raise AssertionError("no worker came up")


@pytest.mark.serial
def test_worker_waiting_for_its_turn_uses_no_processor_time(tmp_path: Path) -> None:
    model = _file(tmp_path, "m", tiny_models.enhanced_cnn())
    with HostPlace() as place, WorkerProcess(place=place, folder=tmp_path, name="w") as worker:
        worker.load(model.path, runtime="litert", threads=2, memory_bytes=4 << 30, seconds=60)
        worker.request("feed", doing="", seconds=20, contract=None, pictures=None)
        limits = {"least_calls": 20, "least_ns": 0, "most_calls": 20, "most_ns": 10**9}
        worker.request("samples", doing="", seconds=20, warmup_calls=5, **limits)
        time.sleep(0.5)  # XNNPACK's threads spin for some milliseconds
        before = sum(psutil.Process(worker.pid).cpu_times()[:2])
        time.sleep(0.5)
        assert sum(psutil.Process(worker.pid).cpu_times()[:2]) - before <= 0.1


def test_worker_protocol_is_json_lines_on_a_clean_channel(tmp_path: Path) -> None:
    model = _file(tmp_path, "m", tiny_models.relu())
    request = {
        "command": "load",
        "path": str(model.path),
        "runtime": "edgefm.runtimes.litert",
        "kernels": None,
        "threads": 1,
        "memory_bytes": 1 << 32,
    }
    done = subprocess.run(
        [sys.executable, "-m", "edgefm.worker.worker"],
        input=json.dumps(request) + "\n" + json.dumps({"command": "peak"}) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
        check=True,
    )
    ready, loaded, peak = (json.loads(line) for line in done.stdout.splitlines())
    assert ready == {"ok": True, "protocol": 3}
    assert loaded["input"]["shape"] == [1, 1] and loaded["runtime"] == "litert"
    assert peak["peak_bytes"] >= loaded["bare_bytes"]


def test_worker_is_gone_after_a_failure(tmp_path: Path, fake: None) -> None:
    with HostPlace() as place, WorkerProcess(place=place, folder=tmp_path, name="w") as worker:
        pid = worker.pid
        with pytest.raises(WorkerError, match="SIGABRT"):
            worker.load(
                _fake(tmp_path, "x", load="abort").path,
                runtime="fake",
                threads=1,
                memory_bytes=1 << 30,
                seconds=20,
            )
        with pytest.raises(WorkerError, match="SIGABRT"):
            worker.request("peak", doing="resting", seconds=5)
    assert not psutil.pid_exists(pid)


def test_measure_needs_no_progress_and_writes_a_valid_record(tmp_path: Path, fake: None) -> None:
    found = harness.measure(
        [_fake(tmp_path, "a")], dataset=_dataset(10), protocol=_quick(runtime="fake"), mean=0, std=1, progress=SILENT
    )
    assert record.read(record.write(tmp_path / "record.json", found.record)) == found.record
