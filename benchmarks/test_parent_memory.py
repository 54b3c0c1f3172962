"""Whether the parent process stays flat while it measures 200 models, one benchmark after the other.

Run: pytest benchmarks/test_parent_memory.py --benchmark-enable.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.recorded import write_result
from edgefm.benchmarking.step import benchmark_files
from edgefm.recipes import BenchmarkProtocol
from tests.fixtures import tiny_models

MODELS = 200
# Imports and caches fill up with the first ones.
SETTLED = 20
LIMIT_BYTES = 5e6


def test_parent_is_flat_over_200_models(tmp_path: Path, benchmark: Any) -> None:
    protocol = BenchmarkProtocol(rounds=1, rounds_at_most=1, round_seconds=0.01, repeats_at_most=0)
    generator = np.random.default_rng(0)
    process, sizes = psutil.Process(), []

    def all_models() -> None:
        for index in range(MODELS):
            path = tmp_path / f"model-{index}.tflite"
            path.write_bytes(tiny_models.dense(generator.random((10, 784), np.float32), picture=(28, 28, 1)))
            benchmark_files([path], protocol=protocol, accuracy=False, out=tmp_path / f"record-{index}")
            sizes.append(process.memory_info().rss)

    benchmark.pedantic(all_models, rounds=1)
    settled = np.array(sizes[SETTLED:], dtype=np.float64)
    spread = float(settled.max() - settled.min()) / 2
    growth = float(np.median(settled[-SETTLED:]) - np.median(settled[:SETTLED]))
    print(f"\n{MODELS} models: +- {spread / 1e6:.2f} MB, grown by {growth / 1e6:+.2f} MB")
    write_result(
        "parent_memory",
        what=f"resident set of the parent process over {MODELS} models, one benchmark each, after the first {SETTLED}",
        command="pytest benchmarks/test_parent_memory.py --benchmark-enable",
        figures={"models": MODELS, "spread_bytes": spread, "growth_bytes": growth, "rss_bytes": sizes},
    )
    assert spread <= LIMIT_BYTES
