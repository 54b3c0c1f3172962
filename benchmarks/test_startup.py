"""How long `edgefm --help` takes as a process of its own, and `import edgefm` in a new one.

Run: pytest benchmarks/test_startup.py --benchmark-enable.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.recorded import write_result

LIMIT_SECONDS, IMPORT_LIMIT_SECONDS = 0.06, 0.1


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


def test_import_takes_at_most_100_ms(benchmark: Any) -> None:
    code = "import time; started = time.perf_counter(); import edgefm; print(time.perf_counter() - started)"
    seconds: list[float] = []

    def imported() -> None:
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds.append(float(answer.stdout))

    benchmark.pedantic(imported, rounds=31, warmup_rounds=2)
    p50 = statistics.median(seconds)
    write_result(
        "import_time",
        what="seconds of `import edgefm` in a new process",
        command="pytest benchmarks/test_startup.py --benchmark-enable",
        figures={"seconds": {"p50": p50, "samples": seconds}},
    )
    assert p50 <= IMPORT_LIMIT_SECONDS
