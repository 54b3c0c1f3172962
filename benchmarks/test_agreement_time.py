"""How long `edgefm agree` takes: 1,000 test images through the shipped model, and 50 random inputs through ResNet-8.

Run: pytest benchmarks/test_agreement_time.py --benchmark-enable. Targets that are there take part: the browser and
the emulated Arm core.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import deep_models
from benchmarks.recorded import write_result
from edgefm.cli.main import cli, run

MODEL = Path(__file__).parent.parent / "android_demo_assets" / "int8" / "model.tflite"
IMAGES = 1000
LEAST_CELLS = 5
LIMIT_SECONDS = 180.0
DEEP_SAMPLES, DEEP_LIMIT_SECONDS = 50, 60.0


def test_agreement_of_1000_images_takes_at_most_three_minutes(
    benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    value, code, seconds, cells = _agree(benchmark, capsys, MODEL, IMAGES)
    write_result(
        "agreement_time",
        what="wall-clock seconds of `edgefm agree` on 1,000 images through all runtimes and targets that are here",
        command="pytest benchmarks/test_agreement_time.py --benchmark-enable",
        figures={"images": IMAGES, "seconds": seconds, "cells": cells, "verdict": value["verdict"]},
    )
    assert code == 0, value["verdict"]["lines"]
    assert seconds <= LIMIT_SECONDS


def test_agreement_of_resnet8_on_50_samples_takes_at_most_a_minute(
    benchmark: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow")
    path = tmp_path / "resnet8.tflite"
    network = deep_models.resnet8()
    deep_models.randomise(network, seed=1)
    path.write_bytes(deep_models.int8(network, seed=2))
    value, code, seconds, cells = _agree(benchmark, capsys, path, DEEP_SAMPLES)
    write_result(
        "agreement_time_resnet8",
        what="wall-clock seconds of `edgefm agree` on 50 random inputs of ResNet-8 (int8, 32 x 32 x 3) through all "
        "runtimes and targets that are here",
        command="pytest benchmarks/test_agreement_time.py --benchmark-enable",
        figures={"images": DEEP_SAMPLES, "seconds": seconds, "cells": cells, "verdict": value["verdict"]},
    )
    assert code == 0, value["verdict"]["lines"]
    assert seconds <= DEEP_LIMIT_SECONDS


def _agree(
    benchmark: Any, capsys: pytest.CaptureFixture[str], model: Path, samples: int
) -> tuple[dict[str, Any], int, float, dict[str, float]]:
    """Return the document, the exit code, the wall-clock seconds and those of each cell."""
    arguments = ["agree", str(model), "-n", str(samples), "--target", "all", "--json"]

    def agree() -> tuple[int, float]:
        started = time.perf_counter()
        code = run(lambda: cli.main(arguments, standalone_mode=False))
        return code, time.perf_counter() - started

    capsys.readouterr()
    code, seconds = benchmark.pedantic(agree, rounds=1)
    value = json.loads(capsys.readouterr().out)
    cells = {cell["name"]: cell["seconds"] for cell in value["cells"] if cell["status"] == "ran"}
    if len(cells) < LEAST_CELLS:
        pytest.skip(f"{len(cells)} runtimes and targets are here, {LEAST_CELLS} are wanted: {', '.join(cells)}")
    return value, code, seconds, cells
