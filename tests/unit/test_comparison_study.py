"""The study of false alarms: what it counts, and that its slowdown is the one it says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import false_alarms, slowed
from edgefm.errors import ModelError
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
    assert 200_000 < took[200_000] - took[0] + 5_000 < 230_000


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
