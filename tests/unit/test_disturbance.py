from __future__ import annotations

import doctest
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgefm.benchmarking import presence
from edgefm.benchmarking.stopping import half_width, reason_to_stop
from edgefm.statistics.estimates import Estimate
from edgefm.statistics.pairing import shared
from edgefm.statistics.round_comparison import compare_paired
from edgefm.worker import disturbance, energy
from edgefm.worker.disturbance import Watch, reasons

CALM: dict[str, Any] = {
    "wall_ns": 10**8, "cpu_ns": 10**8, "stolen_share": 0.0, "stolen_ticks": 0, "other_cores": 0.1, "other_ticks": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "threads", "cores", "words"),
    [
        pytest.param({}, 1, 2, [], id="calm"),
        pytest.param({"cpu_ns": 9 * 10**7}, 1, 2, ["off the processor for 10.0 % of its turn"], id="off"),
        pytest.param({"cpu_ns": 9 * 10**7}, 2, 2, [], id="threads-wait-for-each-other"),
        pytest.param({"stolen_share": 0.05, "stolen_ticks": 1}, 1, 2, [], id="one-tick-proves-nothing"),
        pytest.param({"stolen_share": 0.05, "stolen_ticks": 3}, 1, 2, ["the hypervisor took 5.0 %"], id="stolen"),
        pytest.param(
            {"other_cores": 0.8, "other_ticks": 8.0}, 1, 2, ["other programs used 0.8 of 2 cores"], id="others"
        ),
        pytest.param({"other_cores": 0.8, "other_ticks": 8.0}, 1, 8, [], id="others-have-cores-enough"),
        pytest.param({"other_cores": 9.0, "other_ticks": 1.0}, 1, 2, [], id="one-tick-of-a-short-turn"),
    ],
)
def test_reasons_tell_causes(changes: dict[str, Any], threads: int, cores: int, words: list[str]) -> None:
    found = reasons({**CALM, **changes}, threads=threads, cores=cores)
    assert len(found) == len(words)
    assert all(word in reason for word, reason in zip(words, found, strict=True))


def test_reasons_of_a_system_that_tells_only_times() -> None:
    assert reasons({"wall_ns": 100, "cpu_ns": 100}, threads=1, cores=1) == []


def test_watch_sees_a_process_that_sleeps() -> None:
    watch = Watch()
    watch.start()
    time.sleep(0.05)
    found = watch.stop()
    assert found["wall_ns"] > 4e7 and found["cpu_ns"] < 0.5 * found["wall_ns"]
    assert any("off the processor" in reason for reason in reasons(found, threads=1, cores=64))


class _Clock:
    """A clock that stands still until it is moved."""

    now = 0

    def __call__(self) -> int:
        return self.now


def test_watch_counts_ticks_of_others_and_of_the_hypervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat, wall, cpu = tmp_path / "stat", _Clock(), _Clock()
    monkeypatch.setattr(disturbance, "_STAT", stat)
    monkeypatch.setattr(disturbance.time, "perf_counter_ns", wall)
    monkeypatch.setattr(disturbance.time, "process_time_ns", cpu)
    monkeypatch.setattr(disturbance.os, "sched_getaffinity", lambda pid: {1, 2}, raising=False)
    # Core 0 is busy all the time, but this process may not run there.
    stat.write_text("cpu  9 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0\ncpu1 1000 0 0 5 0 0 0 10 0 0\ncpu2 7 0 0 5 0 0 0 0\n")
    watch = Watch()
    watch.start()
    second = os.sysconf("SC_CLK_TCK")
    stat.write_text(
        f"cpu  9 0 0 0 0 0 0 0\ncpu0 {second} 0 0 0 0 0 0 0\ncpu1 {1000 + second} 0 0 5 0 0 0 {10 + second} 0 0\n"
        f"cpu2 {7 + second} 0 0 5 0 0 0 0\n"
    )
    wall.now, cpu.now = 10**9, 10**9 // 2
    found = watch.stop()
    assert found["stolen_share"] == pytest.approx(1 / 3, abs=1e-3) and found["stolen_ticks"] == second
    assert found["other_cores"] == pytest.approx(1.5) and found["other_ticks"] == pytest.approx(1.5 * second)


def test_energy_is_the_difference_of_the_counters_also_when_one_wraps_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path)
    zones = (
        ("intel-rapl:0", "package-0", 1000),
        ("intel-rapl:1", "package-1", 9990),
        ("intel-rapl:0:0", "core", 5),
        ("intel-rapl:2", "psys", 100),
    )
    for package, name, value in zones:
        (tmp_path / package).mkdir()
        (tmp_path / package / "name").write_text(f"{name}\n")
        (tmp_path / package / "energy_uj").write_text(f"{value}\n")
        (tmp_path / package / "max_energy_range_uj").write_text("9999\n")
    meter = energy.Meter()
    meter.start()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("1500\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("20\n")
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("400\n")  # a part of package 0: counted there
    (tmp_path / "intel-rapl:2" / "energy_uj").write_text("900\n")  # the whole system: the packages are in it
    assert meter.microjoules() == 500 + 30
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.microjoules() is None
    assert meter.reason is not None and "cannot be read" in meter.reason


def test_energy_of_a_turn_shorter_than_the_counter_resolves_is_not_told() -> None:
    assert not doctest.testmod(energy).failed
    # The truth is 20 W. The counter moves once a millisecond: by nothing or by a whole step in a turn of 0.2 ms.
    for moved in (0, 20_000):
        found = energy.of_invoke(moved, [20_000] * 10)
        assert found["value"] is None and "0.2 ms" in found["reason"]
    for moved in (480_000, 500_000, 520_000):
        assert energy.of_invoke(moved, [1_000_000] * 25)["value"] == pytest.approx(20e-3, rel=0.05)


def test_energy_without_counter_gives_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path)
    meter = energy.Meter()
    meter.start()
    assert meter.microjoules() is None
    assert meter.reason is not None and "no energy counter" in meter.reason


def test_presence_sees_another_benchmark_and_forgets_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "root_folder", lambda: tmp_path)
    assert presence.others() == []
    script = (
        "import sys; from pathlib import Path; from edgefm.benchmarking import presence\n"
        f"presence.root_folder = lambda: Path({str(tmp_path)!r})\n"
        "with presence.announced():\n    print(presence.others(), flush=True)\n    sys.stdin.read()\n"
    )
    with presence.announced():
        assert presence.others() == []  # itself is no other
        (tmp_path / "benchmark-of-999999999-left").write_text("")  # of one that was killed
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None and other.stdin is not None
            assert other.stdout.readline() == f"[{os.getpid()}]\n"
            assert presence.others() == [other.pid]
            other.kill()
        assert presence.others() == []
    assert list(tmp_path.glob("benchmark-of-*")) == []


STEADY = [100.0, 100.2, 99.9, 100.1, 100.0, 99.8]
WILD = [100.0, 150.0, 90.0, 120.0, 170.0, 80.0]


@pytest.mark.parametrize(
    ("calm", "used", "rounds", "seconds", "words"),
    [
        pytest.param([STEADY], [STEADY], 6, 1.0, "narrow enough", id="narrow"),
        pytest.param([STEADY, WILD], [STEADY, WILD], 6, 1.0, None, id="one-is-wide"),
        pytest.param([STEADY[:3]], [STEADY], 6, 1.0, None, id="too-few-undisturbed"),
        pytest.param([STEADY[:3]], [STEADY * 2], 12, 1.0, "though the machine was disturbed", id="always-disturbed"),
        pytest.param([WILD], [WILD], 20, 1.0, "maximum number", id="most"),
        pytest.param([WILD], [WILD], 6, 99.0, "time budget", id="budget"),
        pytest.param([], [], 1, 0.0, "every model failed", id="none"),
    ],
)
def test_reason_to_stop(
    calm: list[list[float]], used: list[list[float]], rounds: int, seconds: float, words: str | None
) -> None:
    found = reason_to_stop(
        calm, used=used, pairs=6, rounds=rounds, least=6, most=20, interval=0.02, seconds=seconds, budget_seconds=60
    )
    assert found is None if words is None else found is not None and words in found


def test_rounds_go_on_until_two_models_have_enough_in_common() -> None:
    settings: dict[str, Any] = {
        "rounds": 8,
        "least": 6,
        "most": 20,
        "interval": 0.02,
        "seconds": 1,
        "budget_seconds": 9,
    }
    assert reason_to_stop([STEADY, STEADY], used=[STEADY, STEADY], pairs=3, **settings) is None
    assert reason_to_stop([STEADY, STEADY], used=[STEADY, STEADY], pairs=6, **settings) is not None


def test_a_clock_too_coarse_for_the_model_breaks_nothing() -> None:
    assert half_width([0.0] * 6) == 0
    found = compare_paired([[0, 0]] * 6, [[0, 0]] * 6)
    assert found.round_ratio == Estimate(1.0, 1.0, 1.0)


def _turn(index: int, *, disturbed: bool = False, refused: bool = False) -> dict[str, Any]:
    return {"index": index, "disturbed": ["x"] if disturbed else [], "refused": refused, "invoke_ns": [index]}


def test_pairs_are_of_undisturbed_rounds_as_long_as_these_suffice() -> None:
    one = [_turn(index, disturbed=index < 4) for index in range(15)]
    other = [_turn(index, disturbed=index > 11) for index in range(15)]
    assert [mine["index"] for mine, _ in shared(one, other)] == list(range(4, 12))
    # Each has undisturbed rounds enough, but hardly one in common: all rounds tell more than one.
    one = [_turn(index, disturbed=index % 2 == 0) for index in range(15)]
    other = [_turn(index, disturbed=index % 2 == 1) for index in range(15)]
    assert [mine["index"] for mine, _ in shared(one, other)] == list(range(15))


def test_pairs_take_the_repeat_of_a_disturbed_turn_and_never_a_refused_one() -> None:
    one = [_turn(0, disturbed=True), {**_turn(0), "invoke_ns": [7]}, _turn(1, disturbed=True, refused=True)]
    other = [_turn(0), _turn(1)]
    assert [mine["invoke_ns"] for mine, _ in shared(one, other)] == [[7]]


def test_half_width_grows_with_the_spread_and_knows_nothing_of_two_rounds() -> None:
    assert half_width(STEADY) < 0.005 < half_width(WILD)
    assert half_width([1.0, 1.0]) == float("inf")
