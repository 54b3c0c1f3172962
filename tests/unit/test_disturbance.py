from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from edgefm.benchmarking import disturbance, energy, presence
from edgefm.benchmarking.disturbance import Watch, reasons
from edgefm.benchmarking.stopping import half_width, reason_to_stop

CALM: dict[str, Any] = {"wall_ns": 10**8, "cpu_ns": 10**8, "stolen_share": 0.0, "stolen_ticks": 0, "other_cores": 0.1}


@pytest.mark.parametrize(
    ("changes", "threads", "cores", "words"),
    [
        pytest.param({}, 1, 2, [], id="calm"),
        pytest.param({"cpu_ns": 9 * 10**7}, 1, 2, ["kept off the processor for 10.0 % of its turn"], id="off"),
        pytest.param({"cpu_ns": 9 * 10**7}, 2, 2, [], id="threads-wait-for-each-other"),
        pytest.param({"stolen_share": 0.05, "stolen_ticks": 1}, 1, 2, [], id="one-tick-proves-nothing"),
        pytest.param({"stolen_share": 0.05, "stolen_ticks": 3}, 1, 2, ["the hypervisor took 5.0 %"], id="stolen"),
        pytest.param({"other_cores": 0.8}, 1, 2, ["other programs used 0.8 of 2 cores"], id="others"),
        pytest.param({"other_cores": 0.8}, 1, 8, [], id="others-have-cores-enough"),
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
    assert any("kept off the processor" in reason for reason in reasons(found, threads=1, cores=64))


def test_watch_counts_ticks_of_others_and_of_the_hypervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(disturbance, "_STAT", stat)
    stat.write_text("cpu  1000 0 0 5000 0 0 0 10 0 0\ncpu0 1\n")
    watch = Watch()
    watch.start()
    per_second = os.sysconf("SC_CLK_TCK")
    stat.write_text(f"cpu  {1000 + per_second} 0 0 5000 0 0 0 {10 + per_second} 0 0\n")
    watch._wall_ns -= 10**9  # a second went by
    found = watch.stop()
    assert found["stolen_share"] == 0.5 and found["stolen_ticks"] == per_second
    assert found["other_cores"] == pytest.approx(1, abs=0.1)


def test_energy_is_the_difference_of_the_counters_also_when_one_wraps_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path)
    for package, value in (("intel-rapl:0", 1000), ("intel-rapl:1", 9990), ("intel-rapl:0:0", 5)):
        (tmp_path / package).mkdir()
        (tmp_path / package / "energy_uj").write_text(f"{value}\n")
        (tmp_path / package / "max_energy_range_uj").write_text("9999\n")
    meter = energy.Meter()
    meter.start()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("1500\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("20\n")
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("400\n")  # a part of package 0: counted there
    assert meter.microjoules() == 500 + 30


def test_energy_without_counter_gives_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path)
    meter = energy.Meter()
    meter.start()
    assert meter.microjoules() is None
    assert meter.reason is not None and "no energy counter" in meter.reason


def test_presence_sees_another_benchmark_and_forgets_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "_folder", lambda: tmp_path / "benchmarks")
    assert presence.others() == []
    with presence.announced():
        assert presence.others() == []  # itself is no other
        (tmp_path / "benchmarks" / str(os.getppid())).write_text("")
        (tmp_path / "benchmarks" / "999999999").write_text("")
        assert presence.others() == [os.getppid()]
    assert sorted(path.name for path in (tmp_path / "benchmarks").iterdir()) == [str(os.getppid())]


STEADY = [100.0, 100.2, 99.9, 100.1, 100.0, 99.8]
WILD = [100.0, 150.0, 90.0, 120.0, 170.0, 80.0]


@pytest.mark.parametrize(
    ("calm", "used", "rounds", "seconds", "words"),
    [
        pytest.param([STEADY], [STEADY], 6, 1.0, "narrow enough", id="narrow"),
        pytest.param([STEADY, WILD], [STEADY, WILD], 6, 1.0, None, id="one-is-wide"),
        pytest.param([STEADY[:3]], [STEADY], 6, 1.0, None, id="too-few-undisturbed"),
        pytest.param([STEADY[:3]], [STEADY * 2], 12, 1.0, "though the machine was disturbed", id="always-disturbed"),
        pytest.param([WILD], [WILD], 20, 1.0, "greatest number", id="most"),
        pytest.param([WILD], [WILD], 6, 99.0, "time budget", id="budget"),
        pytest.param([], [], 1, 0.0, "no model is left", id="none"),
    ],
)
def test_reason_to_stop(
    calm: list[list[float]], used: list[list[float]], rounds: int, seconds: float, words: str | None
) -> None:
    found = reason_to_stop(
        calm, used=used, rounds=rounds, least=6, most=20, interval=0.02, seconds=seconds, budget_seconds=60
    )
    assert found is None if words is None else found is not None and words in found


def test_half_width_grows_with_the_spread_and_knows_nothing_of_two_rounds() -> None:
    assert half_width(STEADY) < 0.005 < half_width(WILD)
    assert half_width([1.0, 1.0]) == float("inf")
