"""`make best` on a few pictures: killed and gone on with, and what it records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.best_rows import named
from edgefm.core.subprocesses import import_path
from edgefm.recipes import Training
from edgefm.tflite.inspection import inspect

ROOT = Path(__file__).parent.parent.parent
SECONDS = 600


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return 10 classes that a network learns in seconds: the class is where the bright stripe stands."""
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for name, count in (("train", 300), ("validation", 100), ("test", 100)):
        labels = np.arange(count) % 10
        images = generator.integers(0, 40, (count, 28, 28, 1), np.uint8)
        for place, label in enumerate(labels):
            images[place, 2 * label : 2 * label + 3] = 255
        arrays |= {f"x_{name}": images, f"y_{name}": labels}
    path = tmp_path / "stripes.npz"
    np.savez(path, **arrays)
    return path


def series(folder: Path, data: Path, *more: str) -> list[str]:
    where = ["--runs", str(folder / "runs"), "--record", str(folder / "best.json"), "--data", str(data)]
    fixed = ["--rows", "small,tiny", "--seeds", "1", "--epochs", "2", "--backend", "tensorflow", "--no-latency"]
    return [sys.executable, "-m", "benchmarks.best", *fixed, *where, *more]


def started(command: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": import_path()}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=environment
    )


@pytest.mark.slow
def test_killed_series_goes_on_and_trains_nothing_twice(tmp_path: Path, pictures: Path) -> None:
    record = tmp_path / "best.json"
    first = started(series(tmp_path, pictures))
    checkpoint = tmp_path / "runs" / "tiny-2e-seed0"
    ends = time.monotonic() + SECONDS
    # Killed within the second training, when the first is recorded.
    while first.poll() is None and time.monotonic() < ends and not list(checkpoint.glob("*")):
        time.sleep(0.1)
    assert first.poll() is None, first.communicate()[0]
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = json.loads(record.read_text(encoding="utf-8"))
    assert set(before["rows"]) == {"small"}

    again = started(series(tmp_path, pictures))
    said, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said
    assert "small-2e" not in said and "tiny-2e-seed0: " in said
    after = json.loads(record.read_text(encoding="utf-8"))
    assert after["rows"]["small"] == before["rows"]["small"]
    (tiny,) = after["rows"]["tiny"]["entries"]
    (row,) = named("tiny")
    assert Training.from_json(tiny["recipe"]) == row.training(seed=0, epochs=2)
    assert tiny["shortened"] and tiny["validation_accuracy"] is None and tiny["test"]["images"] == 100
    assert 0 <= tiny["test"]["accuracy"] <= 1 and tiny["parameters"] == 9_874
    inspection = inspect(Path(tiny["file"]))
    assert (tiny["size_bytes"], tiny["macs"]) == (inspection.size_bytes, inspection.macs)

    whole = started(series(tmp_path, pictures))
    said, _ = whole.communicate(timeout=SECONDS)
    assert whole.returncode == 0 and "training" not in said, said
    assert json.loads(record.read_text(encoding="utf-8")) == after, "nothing was left to do, nothing is written"
