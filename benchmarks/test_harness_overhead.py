"""What the harness adds to an invoke: its timed loop against a bare loop, on a one-op model.

Both loops run in this process on the same session, in turns; the figure is the median, over the turns, of the
difference in wall time per invoke. It must be at most one microsecond. Run: pytest benchmarks/test_harness_overhead.py.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.recorded import write_result
from benchmarks.tracked import median
from edgefm.runtimes import litert
from edgefm.worker.timing import timed_calls
from tests.fixtures import tiny_models

# Short turns: most of them then lie within one time slice, also on a busy machine.
CALLS = 200
TURNS = 1001
LIMIT_NS = 1000


def test_harness_adds_at_most_a_microsecond_to_an_invoke(tmp_path: Path) -> None:
    path = tmp_path / "relu.tflite"
    path.write_bytes(tiny_models.relu())
    with litert.load(path) as session:
        bare, harness, differences, sample = overhead(session.invoke)
    difference = median(differences)
    print(
        f"\none-op model, {TURNS} turns of {CALLS} invokes, median wall time per invoke: bare loop {bare:.0f} ns, "
        f"timed loop {harness:.0f} ns, difference {difference['value']:.0f} ns; median sample {sample:.0f} ns"
    )
    write_result(
        "harness_overhead",
        what="what the timed loop adds to an invoke of a one-op model, median over turns",
        command="pytest benchmarks/test_harness_overhead.py",
        figures={
            "turns": TURNS,
            "invokes_a_turn": CALLS,
            "bare_ns": bare,
            "timed_ns": harness,
            "overhead_ns": {"p50": difference["value"], "low": difference["low"], "high": difference["high"]},
        },
    )
    assert difference["value"] <= LIMIT_NS


def overhead(invoke: Callable[[], object]) -> tuple[float, float, list[float], float]:
    """Return nanoseconds: the medians of bare and timed loop, their difference turn by turn, the median sample."""
    bare, harness, samples = [], [], []
    for turn in range(TURNS):
        # First one, then the other goes first: neither always finds the warmer cache.
        for timed in (turn % 2 == 0, turn % 2 == 1):
            started = time.perf_counter_ns()
            if timed:
                found = timed_calls(invoke, least_calls=CALLS, least_ns=0, most_calls=CALLS, most_ns=10**12)
                harness.append((time.perf_counter_ns() - started) / CALLS)
                samples.append(statistics.median(found))
            else:
                for _ in range(CALLS):
                    invoke()
                bare.append((time.perf_counter_ns() - started) / CALLS)
    differences = [h - b for h, b in zip(harness, bare, strict=True)]
    return statistics.median(bare), statistics.median(harness), differences, statistics.median(samples)
