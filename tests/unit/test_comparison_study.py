"""The study of false alarms: what it counts, and that its slowdown is the one it says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import false_alarms, slowed
from edgefm.core.environment import environment
from edgefm.core.errors import ModelError
from edgefm.recipes import BenchmarkProtocol
from tests.fixtures import tiny_models

NONE = "no difference seen"


def _done(kind: str, verdicts: list[str]) -> list[dict[str, Any]]:
    return [{"kind": kind, "verdict": verdict} for verdict in verdicts]


@pytest.mark.parametrize(
    ("same", "slower", "held"),
    [
        pytest.param([NONE] * 185 + ["slower"] * 8 + ["faster"] * 7, ["slower"] * 9 + ["faster"], True, id="held"),
        pytest.param([NONE] * 183 + ["slower"] * 17, ["slower"] * 10, False, id="too-many-alarms"),
        pytest.param([NONE] * 200, ["slower"] * 8 + [NONE] * 2, False, id="too-few-found"),
        pytest.param([NONE] * 200, [], True, id="one-half-alone"),
    ],
)
def test_rates_count_alarms_and_hold_the_limits(same: list[str], slower: list[str], held: bool) -> None:
    found = false_alarms.rates([*_done("same", same), *_done("slower", slower)])
    assert found["same"]["n"] == 200
    assert found["same"]["hits"] == sum(verdict in ("slower", "faster") for verdict in same)
    assert false_alarms.held(found) == held


@pytest.mark.serial
def test_slowed_session_takes_as_much_longer_as_the_file_s_name_says(tmp_path: Path) -> None:
    took = {}
    for extra_ns in (0, 200_000):
        path = tmp_path / f"copy-{extra_ns}ns.tflite"
        path.write_bytes(tiny_models.relu())
        with slowed.load(path) as session:
            samples = []
            for _ in range(200):
                started = time.perf_counter_ns()
                session.invoke()
                samples.append(time.perf_counter_ns() - started)
        took[extra_ns] = float(np.median(samples))
    assert 200_000 < took[200_000] - took[0] + 5_000 < 400_000  # on a busy machine it takes longer


def test_slowed_file_without_a_time_in_its_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.relu())
    with pytest.raises(ModelError, match="does not say how slow"):
        slowed.load(path)


def test_write_and_resume_keep_what_was_compared(tmp_path: Path) -> None:
    model, out = tmp_path / "m.tflite", tmp_path / "out.json"
    model.write_bytes(tiny_models.relu())
    done = _done("same", ["slower"])
    false_alarms.write(out, done, model=model, protocol=BenchmarkProtocol())
    assert json.loads(out.read_text())["rates"]["same"]["hits"] == 1
    assert false_alarms._kept(out, model, BenchmarkProtocol()) == done
    with pytest.raises(SystemExit, match="another model or protocol"):
        false_alarms._kept(out, model, BenchmarkProtocol(rounds=3))


@pytest.mark.parametrize("changed", [{"cpu": "Another CPU"}, {"cores": 64}])
@pytest.mark.parametrize("where", ["study", "comparison"])
def test_resume_mixes_no_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], where: str
) -> None:
    model, out = tmp_path / "m.tflite", tmp_path / "out.json"
    model.write_bytes(tiny_models.relu())
    here = false_alarms._machine(environment())
    mine = [{**one, "machine": here} for one in _done("same", [NONE, NONE])]
    false_alarms.write(out, mine, model=model, protocol=BenchmarkProtocol())
    assert false_alarms._kept(out, model, BenchmarkProtocol()) == mine
    if where == "study":
        monkeypatch.setattr(false_alarms, "environment", lambda: {**environment(), **changed})
    else:
        others = [mine[0], {**mine[1], "machine": {**here, **changed}}]
        false_alarms.write(out, others, model=model, protocol=BenchmarkProtocol())
    with pytest.raises(SystemExit, match="another machine"):
        false_alarms._kept(out, model, BenchmarkProtocol())


def test_comparison_tells_its_machine(tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(tiny_models.relu())
    protocol = BenchmarkProtocol(rounds=1, rounds_at_most=1, round_seconds=0.0, round_invokes=5, repeats_at_most=0)
    found = false_alarms.compare_once("same", model, protocol, seed=0)
    assert found["machine"] == false_alarms._machine(environment())
