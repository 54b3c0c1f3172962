from __future__ import annotations

import doctest
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edgefm.profiling import limits, names, profile, result, synthetic
from edgefm.profiling.limits import Limits, Peak, limited_by, measure_limits
from edgefm.profiling.timing import Timed, Turns
from edgefm.tflite.inspection import Inspection, inspect

FOUND = Limits(
    peaks={"int8": Peak(gmac_per_s=200.0, layer="a"), "float32": Peak(gmac_per_s=50.0, layer="b")},
    bandwidth=((1_000, 100.0), (1_000_000, 50.0), (100_000_000, 10.0)),
    call_ns=500.0,
    operator_ns=40.0,
)


@pytest.mark.parametrize("module", [limits, names, profile, result], ids=lambda module: str(module.__name__))
def test_examples_of_profiling_hold(module: object) -> None:
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)  # type: ignore[arg-type]  # a module
    assert not outcome.failed


@pytest.mark.parametrize("layer", synthetic.LAYERS, ids=lambda layer: str(layer.name))
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_synthetic_layers_have_the_macs_they_say(layer: synthetic.SyntheticLayer, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "layer.tflite"
    path.write_bytes(synthetic.layer(layer, dtype=dtype))
    inspection = inspect(path)
    assert inspection.macs == layer.macs
    assert inspection.tensors[1].dtype == dtype


def test_stream_moves_the_bytes_it_says(tmp_path: Path) -> None:
    path = tmp_path / "stream.tflite"
    path.write_bytes(synthetic.stream(1 << 20))
    assert sum(tensor.size_bytes for tensor in inspect(path).tensors) == 1 << 20


def test_floors_are_macs_at_the_peak_and_bytes_at_the_bandwidth_of_their_cache() -> None:
    near = FOUND.floors_ns(macs=2_000_000, dtype="int8", size_bytes=1_000, among_bytes=0)
    assert near == {"call": 40.0, "compute": pytest.approx(10_000), "memory": pytest.approx(10)}
    far = FOUND.floors_ns(macs=0, dtype=None, size_bytes=1_000, among_bytes=1_000_000_000)
    assert far == {"call": 40.0, "memory": pytest.approx(100)}


@pytest.mark.parametrize(
    ("time_ns", "macs", "size_bytes", "wanted"),
    [
        pytest.param(11_000, 2_000_000, 1_000, "compute", id="near the peak"),
        pytest.param(30_000, 2_000_000, 1_000, "kernel", id="far from all"),
        pytest.param(25_000, 20_000, 1_000_000, "memory", id="near the bandwidth"),
        pytest.param(60, 100, 20, "call", id="small"),
        pytest.param(-30, 0, 20, "call", id="too small to tell"),
        pytest.param(500, 0, 1_000_000, "elided", id="faster than its bytes"),
        pytest.param(500, 2_000_000, 1_000, "compute", id="faster than the peak"),
    ],
)
def test_limited_by_names_the_floor_that_explains_the_time(
    time_ns: float, macs: int, size_bytes: int, wanted: str
) -> None:
    floors = FOUND.floors_ns(macs=macs, dtype="int8", size_bytes=size_bytes, among_bytes=0)
    assert limited_by(time_ns, floors) == wanted


RATES = {32 << 10: 120.0, 256 << 10: 100.0, 4 << 20: 50.0, 64 << 20: 10.0}
PEAKS = {"int8": 200.0, "float32": 50.0}
OPERATOR_NS = 40.0


@dataclass
class MadeUpRuntime:
    """Stands in for the timing: what an operator takes is known, and each round has noise of its own.

    Attributes:
      seed: of the noise.
      call_ns: a call takes anything between these two; it is drawn anew each round, as each has a new process.
      joins: the operators of a chain that streams are done in one.
    """

    seed: int
    call_ns: tuple[float, float] = (600.0, 1000.0)
    joins: bool = False

    def __call__(self, models: Sequence[Timed], *, turns: Turns, **rest: object) -> str:
        noise = np.random.default_rng(self.seed)
        for model in models:
            work_ns = self.work_ns(inspect(model.path))
            for _ in range(turns.rounds):
                call_ns = noise.uniform(*self.call_ns)
                samples = (call_ns + work_ns) * (1 + noise.exponential(0.02, 50))
                model.rounds.append([round(sample) for sample in samples])
        return "1"

    def work_ns(self, model: Inspection) -> float:
        first, size = model.tensors[0], 2 * model.tensors[0].size_bytes
        if model.macs:
            return OPERATOR_NS + model.macs / PEAKS[first.dtype]
        operator_ns = OPERATOR_NS + (size / RATES[size] if size in RATES else 0.0)
        return operator_ns * (1 if self.joins and size in RATES else len(model.operators))


def measure_made_up(runtime: MadeUpRuntime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Limits:
    monkeypatch.setattr(limits, "time_models", runtime)
    measured, _ = measure_limits(runtime="litert", turns=Turns(rounds=4), folder=folder)
    return measured


def test_limits_under_noise_are_near_the_truth_and_their_intervals_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noise of a call is larger than one operator on 32 KiB: 400 ns against 273 ns."""
    held = 0
    for seed in range(10):
        measured = measure_made_up(MadeUpRuntime(seed), tmp_path, monkeypatch)
        assert not measured.unresolved
        assert dict(measured.bandwidth) == pytest.approx(RATES, rel=0.1)
        assert {dtype: peak.gmac_per_s for dtype, peak in measured.peaks.items()} == pytest.approx(PEAKS, rel=0.02)
        assert measured.operator_ns == pytest.approx(OPERATOR_NS, rel=0.5)
        held += sum(
            measured.intervals[size].low <= rate <= measured.intervals[size].high for size, rate in RATES.items()
        )
    # The samples of a round are never faster than the truth: of the longest ones the slowest round may miss it.
    assert held >= 0.5 * 10 * len(RATES)


def test_chain_that_the_runtime_joins_has_no_bandwidth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """33 operators in the time of one would be 4,000 GB/s."""
    for seed in range(10):
        measured = measure_made_up(MadeUpRuntime(seed, joins=True), tmp_path, monkeypatch)
        assert 32 << 10 not in dict(measured.bandwidth)
        assert "must differ by a factor of 2" in measured.unresolved[32 << 10]
        # No smaller array stands in for it.
        assert measured.gb_per_s(1_000) is None
        assert "memory" not in measured.floors_ns(macs=0, dtype=None, size_bytes=1_000, among_bytes=0)


def test_limits_drowned_in_noise_are_not_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(10):
        measured = measure_made_up(MadeUpRuntime(seed, call_ns=(1e3, 1e6)), tmp_path, monkeypatch)
        for size, rate in measured.bandwidth:
            assert rate == pytest.approx(RATES[size], rel=0.5)
        for dtype, peak in measured.peaks.items():
            assert peak.gmac_per_s == pytest.approx(PEAKS[dtype], rel=0.5)
        assert {"operator", 32 << 10, 256 << 10} <= set(measured.unresolved)
        assert measured.operator_ns == 0.0
        value = measured.to_json()
        assert len(value["unresolved"]) == len(measured.notes()) == len(measured.unresolved)


@pytest.mark.parametrize(
    ("size_bytes", "wanted"),
    [
        pytest.param(500, None, id="none is smaller"),
        pytest.param(50_000, 50.0, id="resolved"),
        pytest.param(5_000_000, 50.0, id="the next smaller one"),
        pytest.param(50_000_000, 10.0, id="resolved again"),
        pytest.param(5_000_000_000, 10.0, id="beyond all"),
    ],
)
def test_bandwidth_that_is_not_resolved_is_never_that_of_a_larger_array(size_bytes: int, wanted: float | None) -> None:
    known = replace(
        FOUND, bandwidth=((1_000_000, 50.0), (100_000_000, 10.0)), unresolved={1_000: "noise", 10_000_000: "noise"}
    )
    assert known.gb_per_s(size_bytes) == wanted


@pytest.mark.serial
def test_measured_limits_are_what_a_machine_can_have(tmp_path: Path) -> None:
    turns = Turns(rounds=1, turn_seconds=0.005)
    measured, version = measure_limits(runtime="litert", turns=turns, folder=tmp_path)
    assert version
    assert set(measured.peaks) == {"int8", "float32"}
    # From a slow board to a core with matrix units.
    assert all(0.1 < peak.gmac_per_s < 10_000 for peak in measured.peaks.values())
    assert all(0.1 < rate < 10_000 for _, rate in measured.bandwidth)
    assert 0 < measured.call_ns < 1e6 and 0 <= measured.operator_ns < 1e6
    assert np.all(np.diff([size for size, _ in measured.bandwidth]) > 0)
