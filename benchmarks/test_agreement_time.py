"""How long `edgefm agree` takes: 1,000 test images through five runtimes or more, all that are here, in three minutes.

Run: pytest benchmarks/test_agreement_time.py --benchmark-enable. Targets that are there take part: the browser and
the emulated Arm core.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.recorded import write_result
from edgefm.cli.main import cli, run

MODEL = Path(__file__).parent.parent / "android_demo_assets" / "model.tflite"
IMAGES = 1000
LEAST_CELLS = 5
LIMIT_SECONDS = 180.0


def test_agreement_of_1000_images_takes_at_most_three_minutes(
    benchmark: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["agree", str(MODEL), "-n", str(IMAGES), "--target", "all", "--json"]

    def agree() -> tuple[int, float]:
        started = time.perf_counter()
        code = run(lambda: cli.main(arguments, standalone_mode=False))
        return code, time.perf_counter() - started

    code, seconds = benchmark.pedantic(agree, rounds=1)
    value = json.loads(capsys.readouterr().out)
    cells = {cell["name"]: cell["seconds"] for cell in value["cells"] if cell["status"] == "ran"}
    if len(cells) < LEAST_CELLS:
        pytest.skip(f"{len(cells)} runtimes and targets are here, {LEAST_CELLS} are wanted: {', '.join(cells)}")
    write_result(
        "agreement_time",
        what="wall-clock seconds of `edgefm agree` on 1,000 images through all runtimes and targets that are here",
        command="pytest benchmarks/test_agreement_time.py --benchmark-enable",
        figures={"images": IMAGES, "seconds": seconds, "cells": cells, "verdict": value["verdict"]},
    )
    assert code == 0, value["verdict"]["lines"]
    assert seconds <= LIMIT_SECONDS
