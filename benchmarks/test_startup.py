"""How long `edgefm --help` takes as a process of its own.

Run: pytest benchmarks/test_startup.py --benchmark-enable.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.recorded import write_result

LIMIT_SECONDS = 0.06


def test_help_takes_at_most_60_ms(benchmark: Any) -> None:
    command = [str(Path(sys.executable).with_name("edgefm")), "--help"]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=31, warmup_rounds=2)
    figures = benchmark.stats.stats
    write_result(
        "startup",
        what="wall-clock seconds of `edgefm --help` as a process of its own",
        command="pytest benchmarks/test_startup.py --benchmark-enable",
        figures={"seconds": {"p50": figures.median, "samples": figures.data}},
    )
    assert figures.median <= LIMIT_SECONDS
