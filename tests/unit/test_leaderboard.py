from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import leaderboard
from edgefm import runtimes
from edgefm.benchmarking import record, record_versions
from edgefm.cli.main import cli, run
from edgefm.core.errors import RunError
from edgefm.report.leaderboard import page, write_leaderboard
from edgefm.report.leaderboard.entries import board
from edgefm.runtimes.base import Available, Unavailable
from tests.fixtures import sample_run


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    """A valid record of the newest version with several models on this machine."""
    value = record_versions.upgraded(sample_run.record(images=200, rounds=3))
    record.validate(value)
    return value


def _record(
    base: dict[str, Any],
    folder: Path,
    name: str,
    *,
    target: str = "host",
    mode: str = "measured",
    latency: bool = True,
    kernels: str | None = None,
    created: str = "2026-11-25T10:00:00+00:00",
    figures: tuple[dict[str, Any], ...] = (),
    factor: float = 1.0,
    failed: str | None = None,
) -> Path:
    value = copy.deepcopy(base)
    value |= {"mode": mode, "created": created, "target": {"name": target, "mode": mode, "latency": latency}}
    value["models"] = value["models"][:1]
    (row,) = value["models"]
    row["runtime"]["options"] = {"module": "edgefm.runtimes.litert", "kernels": kernels, "threads": 1}
    row["figures"] = list(figures)
    if failed:
        row |= {"status": "failed", "reason": failed, "latency_ns": None, "rounds": []}
    elif not latency:
        row |= {"latency_ns": None, "end_to_end_ns": None, "rounds": []}
    else:
        for estimate in row["latency_ns"].values():
            estimate.update({name: factor * figure for name, figure in estimate.items()})
    return record.write(folder / name / "record.json", value)


def _figure(name: str, value: float | None, mode: str, reason: str | None = None) -> dict[str, Any]:
    return {"name": name, "value": value, "mode": mode, "reason": reason, "details": {}}


@pytest.fixture
def folder(base: dict[str, Any], tmp_path: Path) -> Path:
    _record(base, tmp_path, "litert")
    _record(base, tmp_path, "reference", kernels="reference", factor=40.0)
    counted = (_figure("instructions", 3_280_000, "simulated"),)
    _record(base, tmp_path, "a72", target="qemu-aarch64:cortex-a72", mode="simulated", latency=False, figures=counted)
    told = (_figure("latency_ns", 1.85e6, "estimated"), _figure("arena_bytes", 59_440, "estimated"))
    vela = _record(base, tmp_path, "vela", target="vela:ethos-u55-128", mode="estimated", latency=False, figures=told)
    value = json.loads(vela.read_text())
    value["models"][0]["runtime"]["options"]["module"] = None
    record.write(vela, value)
    _record(base, tmp_path, "tflm", target="board", failed="it ran out of arena")
    return tmp_path


def test_board_orders_measured_before_estimated_before_counted_before_failed(folder: Path) -> None:
    (model,) = board(sorted(folder.rglob("record.json"))).models
    assert [(entry.runtime, entry.target, entry.mode) for entry in model.entries] == [
        ("litert", "host", "measured"),
        ("litert:reference", "host", "measured"),
        ("", "vela:ethos-u55-128", "estimated"),
        ("litert", "qemu-aarch64:cortex-a72", "simulated"),
        ("litert", "board", "measured"),
    ]
    fast, slow, npu, emulated, failed = model.entries
    assert fast.p50 is not None and slow.p50 is not None and npu.p50 is not None
    assert slow.p50.value == pytest.approx(40 * fast.p50.value)
    assert npu.p50.bare and npu.p50.value == 1.85e6 and npu.arena_bytes == 59_440
    assert emulated.p50 is None and emulated.instructions == 3_280_000
    assert failed.reason == "it ran out of arena"


def test_page_says_what_is_measured_and_what_is_not(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_leaderboard([folder], out)
    html, text = (out / "leaderboard.html").read_text(), (out / "leaderboard.md").read_text()
    for part in (html, text):
        assert "runs fastest with litert" in part and "takes 40 times as long" in part
        assert "estimated" in part and "simulated" in part and "3,280,000" in part
        assert "it ran out of arena" in part
    assert "<svg" in html and "http" not in html.replace("http://www.w3.org", "").replace("<meta http-equiv=", "")
    assert len(list(out.glob("*.png"))) == 1
    assert json.loads((out / "leaderboard.json").read_text())["kind"] == "leaderboard"
    again = write_leaderboard([folder], out)  # its own JSON lies beside the records now and is passed over
    assert len(again.models) == 1


def test_page_shows_each_file_of_one_name_its_own_picture(base: dict[str, Any], tmp_path: Path) -> None:
    for place, folder in enumerate(("one", "two")):
        path = _record(base, tmp_path / "records", folder, factor=1.0 + 9 * place)
        value = json.loads(path.read_text())
        value["models"][0]["sha256"] = str(place) * 64
        record.write(path, value)
    assert len({model.name for model in write_leaderboard([tmp_path / "records"], tmp_path / "out").models}) == 1
    html = (tmp_path / "out" / "leaderboard.html").read_text()
    sections = html.split("<section id=")[1:]
    assert len(sections) == 2 and len(list((tmp_path / "out").glob("*.png"))) == 2
    for place, section in enumerate(sections):
        assert f"board-{str(place) * 8}-0" in section and f"board-{str(1 - place) * 8}-0" not in section


def test_headline_names_no_failed_run_though_it_has_times(base: dict[str, Any], tmp_path: Path) -> None:
    _record(base, tmp_path, "slow", kernels="reference", factor=40.0)
    path = _record(base, tmp_path, "fast", factor=0.1)
    value = json.loads(path.read_text())
    value["models"][0] |= {"status": "failed", "reason": "the worker hung in round 9"}
    record.write(path, value)
    found = board(sorted(tmp_path.rglob("record.json")))
    assert [entry.runtime for entry in found.models[0].timed] == ["litert:reference"]
    assert "runs fastest with litert:reference" in page.headline(found)


def test_newest_of_several_records_counts(base: dict[str, Any], tmp_path: Path) -> None:
    _record(base, tmp_path, "new", created="2026-11-25T12:00:00+00:00", factor=2.0)
    _record(base, tmp_path, "old", created="2026-11-25T11:00:00+00:00")
    (model,) = board(sorted(tmp_path.rglob("record.json"))).models
    (entry,) = model.entries
    assert entry.created.startswith("2026-11-25T12")


def test_texts_of_records_are_escaped(base: dict[str, Any], tmp_path: Path) -> None:
    path = _record(base, tmp_path, "x", failed="<script>alert(1)</script>")
    assert "<script>alert" not in page.html(board([path]), {})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda folder: [folder], "no benchmark record was found", id="empty-folder"),
        pytest.param(lambda folder: [folder / "nowhere.json"], "no benchmark record at", id="missing"),
        pytest.param(lambda folder: [_written(folder, "{")], "damaged", id="damaged"),
        pytest.param(lambda folder: [_written(folder, '{"kind": "other"}')], "not a benchmark record", id="other"),
        pytest.param(
            lambda folder: [_written(folder, '{"kind": "benchmark-record", "schema_version": 99}')],
            "schema version 99",
            id="newer",
        ),
    ],
)
def test_bad_records_are_refused(tmp_path: Path, make: Any, words: str) -> None:
    with pytest.raises(RunError, match=words):
        write_leaderboard(make(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _written(folder: Path, text: str) -> Path:
    path = folder / "record.json"
    path.write_text(text)
    return path


def test_places_of_the_shipped_leaderboard_have_each_runtime_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "target", lambda address: _Nowhere())
    monkeypatch.setattr(runtimes, "import_runtime", lambda module: SimpleNamespace(availability=Available))
    names = {runtime.partition(":")[0] for target, runtime, _ in leaderboard.places() if target == "host"}
    assert "litert" in names and not names & runtimes.OF_TARGETS


class _Nowhere:
    def availability(self) -> Unavailable:
        return Unavailable("not here")


def test_leaderboard_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["leaderboard", str(folder), "--out", str(tmp_path / "out")]
    assert run(lambda: cli.main(arguments, standalone_mode=False)) == 0
    assert "5 results, 3 with latency" in capsys.readouterr().out
    assert run(lambda: cli.main([*arguments, "--json"], standalone_mode=False)) == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1
    assert run(lambda: cli.main(["leaderboard", str(tmp_path / "nothing")], standalone_mode=False)) == 2
