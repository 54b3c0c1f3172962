"""Rounds of fresh processes: repeats of disturbed turns, targets that go away, other Pythons, what the record keeps."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
import pytest

from edgefm import runtimes
from edgefm.benchmarking import harness, presence, record
from edgefm.benchmarking.measured import ModelFile
from edgefm.benchmarking.step import benchmark_files
from edgefm.core.errors import ModelError, RecipeError
from edgefm.recipes import BenchmarkProtocol
from edgefm.runtimes.base import Availability, Available
from edgefm.targets.base import Figure, TargetError
from edgefm.targets.bundle import bundle
from edgefm.targets.host import Host, HostPlace
from edgefm.targets.raw_outputs import raw_outputs
from edgefm.targets.worker_process import WorkerError
from edgefm.targets.worker_start import WORKER
from tests.fixtures import tiny_models

FAKE = "tests.fixtures.fake_runtime"


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(runtimes.RUNTIMES, "fake", FAKE)
    monkeypatch.setattr(presence, "root_folder", lambda: tmp_path)  # other benchmarks here are no concern


def _quick(**changes: Any) -> BenchmarkProtocol:
    settings: dict[str, Any] = {"rounds": 3, "rounds_at_most": 3, "round_seconds": 0.002, "round_invokes": 5}
    return BenchmarkProtocol(**{"runtime": "fake", "model_seconds": 20.0, **settings, **changes})


def _fake(folder: Path, name: str, **behaviour: Any) -> ModelFile:
    path = folder / f"{name}.tflite"
    path.write_text(json.dumps(behaviour))
    return ModelFile(name=name, path=path)


class _Lossy(HostPlace):
    """A place that goes away after so many processes."""

    left = 0

    def start(self, *, log: IO[bytes]) -> subprocess.Popen[str]:
        if type(self).left == 0:
            raise TargetError("the board gives no answer any more")
        type(self).left -= 1
        return super().start(log=log)


class _Board(Host):
    name = "board"
    runtimes = ("fake", "litert")

    def open(self, runtime: str) -> HostPlace:
        return _Lossy()

    def figures(self, model: Path) -> tuple[Figure, ...]:
        return (Figure(name="instructions", value=12.0, mode="simulated", details={"cpu": "a72"}),)


class _Estimator(_Board):
    name = "estimator"
    mode = "estimated"
    latency = False
    runtimes = ()

    def availability(self) -> Availability:
        return Available()


def _target(monkeypatch: pytest.MonkeyPatch, made: Host) -> None:
    monkeypatch.setattr(harness, "target_at", lambda address: made)


@pytest.mark.serial
def test_each_turn_is_a_process_of_its_own_with_a_cold_start(tmp_path: Path) -> None:
    pids: list[int] = []

    class Listens:
        def step(self, label: str, done: int, total: int, figures: Any = None) -> None:
            workers = (
                child for child in psutil.Process().children() if any(WORKER in part for part in child.cmdline())
            )
            pids.extend(worker.pid for worker in workers)

        def note(self, message: str) -> None:
            return

    models = [_fake(tmp_path, "a"), _fake(tmp_path, "b")]
    found = harness.measure(models, dataset=None, protocol=_quick(), reference="a", progress=Listens())
    assert pids == []  # between turns no worker is left that could disturb the next
    for row in found.record["models"]:
        assert len(row["rounds"]) >= 3
        for turn in row["rounds"]:
            assert all(turn["cold_start_ns"][part] > 0 for part in ("process", "runtime", "load", "first_invoke"))
        total = row["cold_start_ns"]["total"]
        assert total["low"] <= total["value"] <= total["high"]
        assert total["value"] > row["cold_start_ns"]["process"]["value"]
    test = found.record["models"][1]["against_reference"]["latency_test"]
    assert test["verdict"] == "too few rounds" and test["rounds"] == 3


@pytest.mark.serial
def test_disturbed_turn_is_flagged_repeated_and_kept(tmp_path: Path) -> None:
    models = [_fake(tmp_path, "dozes", invoke="doze")]
    found = harness.measure(models, dataset=None, protocol=_quick(repeats_at_most=2))
    (row,) = found.record["models"]
    attempts = [(turn["index"], turn["attempt"]) for turn in row["rounds"]]
    assert attempts == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]  # two repeats are allowed, each at once
    assert all(any("off the processor" in why for why in turn["disturbed"]) for turn in row["rounds"])
    assert row["disturbed"] == {"turns": 5, "used": True}
    assert [turn["used"] for turn in row["rounds"]] == [False, True, False, True, True]
    assert "dozes: 3 of 3 rounds were disturbed" in found.record["session"]["disturbed"][0]
    assert row["latency_ns"]["p50"]["value"] > 2e6


@pytest.mark.serial
def test_rounds_end_when_intervals_are_narrow_or_time_is_up(tmp_path: Path) -> None:
    models = [_fake(tmp_path, "dozes", invoke="doze")]
    protocol = _quick(rounds=3, rounds_at_most=9, interval=10.0, repeats_at_most=0)
    session = harness.measure(models, dataset=None, protocol=protocol).record
    assert "narrow enough" in session["session"]["stopped"]
    assert len(session["models"][0]["rounds"]) < 9
    short = harness.measure(models, dataset=None, protocol=_quick(rounds_at_most=9, budget_seconds=1e-6)).record
    assert short["session"]["stopped"] == "time budget used up"
    assert len({turn["index"] for turn in short["models"][0]["rounds"]}) == 1


def test_target_that_goes_away_leaves_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _target(monkeypatch, _Board())
    _Lossy.left = 1 + 2 + 2 * 2  # environment, a load each, two rounds
    models = [_fake(tmp_path, "a"), _fake(tmp_path, "b")]
    found = harness.measure(models, dataset=None, protocol=_quick(repeats_at_most=0)).record
    assert [row["status"] for row in found["models"]] == ["failed", "failed"]
    assert all(row["reason"] == "the board gives no answer any more" for row in found["models"])
    assert [len(row["rounds"]) for row in found["models"]] == [2, 2]
    assert all(row["latency_ns"]["p50"]["value"] > 0 for row in found["models"])
    assert found["target"] == {"name": "board", "mode": "measured", "latency": True}


def test_target_tells_figures_beside_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _target(monkeypatch, _Board())
    _Lossy.left = 100
    (row,) = harness.measure([_fake(tmp_path, "a")], dataset=None, protocol=_quick()).record["models"]
    assert row["figures"] == [
        {"name": "instructions", "value": 12.0, "mode": "simulated", "reason": None, "details": {"cpu": "a72"}}
    ]


def test_target_that_runs_nothing_gives_figures_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _target(monkeypatch, _Estimator())
    found = harness.measure([_fake(tmp_path, "a")], dataset=None, protocol=_quick(runtime="")).record
    (row,) = found["models"]
    assert (found["mode"], row["status"], row["latency_ns"], row["rounds"]) == ("estimated", "ok", None, [])
    assert row["figures"][0]["value"] == 12.0
    with pytest.raises(RecipeError, match="runs no models"):
        harness.measure([_fake(tmp_path, "a")], dataset=None, protocol=_quick())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"target": "hots"}, "did you mean 'host'", id="target"),
        pytest.param({"target": "host:1"}, "not understood", id="rest"),
        pytest.param({"target": "browser", "runtime": "fake"}, "has no runtime 'fake'", id="runtime-of-target"),
        pytest.param({"runtime": "litrt"}, "did you mean 'litert'", id="runtime"),
    ],
)
def test_unknown_target_or_runtime_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        harness.measure([_fake(tmp_path, "a")], dataset=None, protocol=_quick(**changes))


def test_unknown_kernel_set_is_a_failed_row(tmp_path: Path) -> None:
    path = tmp_path / "relu.tflite"
    path.write_bytes(tiny_models.relu())
    model = ModelFile(name="relu", path=path)
    (row,) = harness.measure([model], dataset=None, protocol=_quick(runtime="litert:refrence")).record["models"]
    assert row["status"] == "failed" and "reference" in row["reason"]


def test_two_benchmarks_at_once_are_noticed_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []

    class Listens:
        def step(self, label: str, done: int, total: int, figures: Any = None) -> None:
            return

        def note(self, message: str) -> None:
            notes.append(message)

    monkeypatch.setattr(presence, "others", lambda: [4321])
    found = harness.measure([_fake(tmp_path, "a")], dataset=None, protocol=_quick(), progress=Listens()).record
    assert "another edgefm benchmark runs on this machine" in found["session"]["disturbed"][0]
    assert any("process 4321" in note for note in notes)


def test_record_of_version_2_is_read_as_one_of_the_newest(tmp_path: Path) -> None:
    models = [_fake(tmp_path, "a"), _fake(tmp_path, "b")]
    value = copy.deepcopy(harness.measure(models, dataset=None, protocol=_quick(), reference="a").record)
    new = ("cold_start_ns", "energy_j", "facts", "figures", "disturbed", "file_facts")
    for row in value["models"]:
        row["rounds"] = [
            {name: turn[name] for name in ("index", "position", "warmup_ns", "invoke_ns", "end_to_end_ns")}
            for turn in row["rounds"]
        ]
        for name in new:
            del row[name]
    value["models"][1]["against_reference"].pop("latency_test")
    old = {**value, "schema_version": 2}
    del old["target"], old["session"]
    (tmp_path / "record.json").write_text(json.dumps(old))
    found = record.read(tmp_path / "record.json")
    record.validate(found)
    assert found["target"]["name"] == "host" and found["models"][0]["rounds"][0]["used"]
    assert found["models"][1]["against_reference"]["latency_test"] is None


def test_worker_bundle_needs_numpy_and_a_runtime_alone(tmp_path: Path) -> None:
    """The zip is the only place that edgefm is found in: a Python without this project's folders."""
    path = tmp_path / "relu.tflite"
    path.write_bytes(tiny_models.relu())
    load = {"command": "load", "path": str(path), "runtime": "edgefm.runtimes.litert", "kernels": "builtin"}
    lines = [{**load, "threads": 1, "memory_bytes": 1 << 32}, {"command": "environment"}]
    blocker = tmp_path / "block"
    blocker.mkdir()
    # Whatever is installed beside numpy and the runtime must not be needed.
    (blocker / "sitecustomize.py").write_text(
        "import sys\n"
        "for name in ('click', 'psutil', 'tqdm', 'dacite', 'filelock', 'jsonschema', 'pooch', 'requests'):\n"
        "    sys.modules[name] = None\n"
    )
    done = subprocess.run(
        [sys.executable, str(bundle(tmp_path))],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "PYTHONPATH": str(blocker)},
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["ok"] for answer in answers] == [True, True, True], done.stderr
    assert answers[2]["environment"]["memory_bytes"] > 10**8


def test_worker_runs_under_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_PYTHON_LITERT", sys.executable)
    path = tmp_path / "relu.tflite"
    path.write_bytes(tiny_models.relu())
    values = np.array([[-1.0], [2.0]], np.float32)
    (found,) = raw_outputs(path, values, runtime="litert:reference", target=Host())
    assert found.tolist() == [[0.0], [2.0]]
    monkeypatch.setenv("EDGEFM_PYTHON_LITERT", str(tmp_path / "nowhere"))
    with pytest.raises(RecipeError, match="EDGEFM_PYTHON_LITERT is"):
        raw_outputs(path, values, runtime="litert", target=Host())


def test_raw_outputs_refuse_inputs_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "relu.tflite"
    path.write_bytes(tiny_models.relu())
    with pytest.raises(WorkerError, match="do not fit"):
        raw_outputs(path, np.zeros((2, 3), np.float32), runtime="litert", target=Host())


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    """A dense model of 200 MB."""
    path = tmp_path / "large.tflite"
    path.write_bytes(tiny_models.dense(np.zeros((5000, 10_000), np.float32), picture=(10_000,)))
    yield path
    path.unlink()


def test_model_of_200_mb_is_measured(large: Path) -> None:
    assert large.stat().st_size > 200e6
    protocol = _quick(runtime="litert", rounds=1, rounds_at_most=1, round_invokes=2, warmup_invokes=1)
    (row,) = benchmark_files([large], protocol=protocol, accuracy=False)["models"]
    assert row["status"] == "ok" and row["macs"] == 50_000_000


def test_model_that_needs_more_memory_than_allowed_is_a_failed_row(large: Path) -> None:
    protocol = _quick(runtime="litert", rounds=1, rounds_at_most=1, model_memory_bytes=50_000_000)
    (row,) = benchmark_files([large], protocol=protocol, accuracy=False)["models"]
    assert row["status"] == "failed" and ("memory" in row["reason"] or "LiteRT cannot load" in row["reason"])


def test_worker_of_a_small_file_stays_below_2_gb_unless_more_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [_fake(tmp_path, "hoards", load="allocate")]
    for stated, says in ((None, "1,611 MB; EDGEFM_UNPACK_LIMIT_MB=3073 allows more"), (200_000_000, "200 MB")):
        protocol = _quick(runtime="fake", rounds=1, rounds_at_most=1, model_memory_bytes=stated)
        (row,) = harness.measure(models, dataset=None, protocol=protocol).record["models"]
        assert row["reason"] == f"out of memory while loading (limit: {says})"
    monkeypatch.setenv("EDGEFM_UNPACK_LIMIT_MB", "1200")
    (row,) = harness.measure(models, dataset=None, protocol=_quick(runtime="fake", rounds=1)).record["models"]
    assert "limit: 1,795 MB" in row["reason"]


BAD = {
    "no-input": (tiny_models.without_input, "has no input"),
    "dynamic": (tiny_models.dynamic, "dynamic shape"),
    "custom": (tiny_models.custom, "custom operator"),
}


def test_models_that_cannot_be_measured_cost_their_rows_alone(tmp_path: Path) -> None:
    models = []
    for name, (make, _) in BAD.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(make())
        models.append(ModelFile(name=name, path=path))
    (tmp_path / "per-tensor.tflite").write_bytes(tiny_models.per_tensor_int8())
    models.append(ModelFile(name="per-tensor", path=tmp_path / "per-tensor.tflite"))
    found = harness.measure(models, dataset=None, protocol=_quick(runtime="litert"))
    rows = {row["name"]: row for row in found.record["models"]}
    assert rows["per-tensor"]["status"] == "ok" and rows["per-tensor"]["latency_ns"]["p50"]["value"] > 0
    for name, (_, words) in BAD.items():
        assert rows[name]["status"] == "failed" and words in rows[name]["reason"], rows[name]["reason"]


def test_model_that_allocates_without_end_in_an_invoke_costs_its_row(tmp_path: Path) -> None:
    models = [_fake(tmp_path, "hoards", invoke="allocate", good_calls=1), _fake(tmp_path, "good")]
    protocol = _quick(model_memory_bytes=300_000_000)
    hoards, good = harness.measure(models, dataset=None, protocol=protocol).record["models"]
    assert hoards["status"] == "failed" and "out of memory while being timed" in hoards["reason"]
    assert good["status"] == "ok"


def test_turns_that_the_device_refused_are_kept_and_never_used(tmp_path: Path) -> None:
    models = [_fake(tmp_path, "hot", refuse="the phone throttled: status 2")]
    (row,) = harness.measure(models, dataset=None, protocol=_quick(repeats_at_most=0)).record["models"]
    assert row["status"] == "ok" and len(row["rounds"]) == 3
    assert all(turn["refused"] and not turn["used"] for turn in row["rounds"])
    assert row["latency_ns"]["p50"]["value"] is None
    assert "the phone throttled" in row["latency_ns"]["p50"]["reason"]


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        benchmark_files([tmp_path / "nowhere.tflite"], protocol=_quick(), accuracy=False)
