"""Latency of the models in android_demo_assets/ on LiteRT's kernel sets, with the fixture that users have.

Run: pytest benchmarks/test_shipped_models.py --benchmark-enable.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.recorded import write_result

MODELS = sorted((Path(__file__).parent.parent / "android_demo_assets").glob("*/model.tflite"))
RUNTIMES = ("litert:xnnpack", "litert:builtin")


@pytest.fixture(scope="module")
def results() -> Iterator[list[Any]]:
    """Collect the results and record them once all have been measured."""
    found: list[Any] = []
    yield found
    if len(found) == len(MODELS) * len(RUNTIMES):
        write_result(
            "shipped_models",
            what="latency of the shipped models, one thread, p50 with its 95 % interval over rounds",
            command="pytest benchmarks/test_shipped_models.py --benchmark-enable",
            figures={
                "environment": found[0].record["environment"],
                "protocol": found[0].record["protocol"],
                "session": {"disturbed": [told for one in found for told in one.record["session"]["disturbed"]]},
                "models": [_row(one) for one in found],
            },
        )


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.parent.name)
def test_latency(tflite_benchmark: Any, results: list[Any], model: Path, runtime: str) -> None:
    found = tflite_benchmark(model, runtime=runtime)
    results.append(found)
    assert found.p50_us > 0


def _row(found: Any) -> dict[str, Any]:
    options = found.row["runtime"]["options"]
    return {
        "name": "/".join(found.row["file"].split("/")[-2:]),
        "runtime": f"{found.row['runtime']['name']}:{options['kernels']}",
        "version": found.row["runtime"]["version"],
        "sha256": found.row["sha256"],
        "size_bytes": found.size_bytes,
        "p50_ns": found.p50_ns.to_json(),
        "p90_ns": found.row["latency_ns"]["p90"],
        "rounds": len(found.row["rounds"]),
        "disturbed": found.row["disturbed"],
        "peak_memory_bytes": found.peak_memory_bytes,
    }
