from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest

from edgefm.profiling import limits, names, profile, result, synthetic
from edgefm.profiling.limits import Limits, Peak, limited_by, measure_limits
from edgefm.profiling.timing import Turns
from edgefm.tflite.inspection import inspect

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
    found = inspect(path)
    assert found.macs == layer.macs
    assert found.tensors[1].dtype == dtype


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


def test_measured_limits_are_what_a_machine_can_have(tmp_path: Path) -> None:
    turns = Turns(rounds=1, turn_seconds=0.005)
    found, version = measure_limits(runtime="litert", turns=turns, folder=tmp_path)
    assert version
    assert set(found.peaks) == {"int8", "float32"}
    # From a slow board to a core with matrix units.
    assert all(0.1 < peak.gmac_per_s < 10_000 for peak in found.peaks.values())
    assert all(0.1 < rate < 10_000 for _, rate in found.bandwidth)
    assert 0 < found.call_ns < 1e6 and 0 <= found.operator_ns < 1e6
    assert np.all(np.diff([size for size, _ in found.bandwidth]) > 0)
