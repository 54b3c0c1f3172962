"""What the harness adds to an invoke: its timed loop against a bare loop, on a one-op model.

Both loops run in this process on the same session, in turns; the figure is the median, over the turns, of the
difference in wall time per invoke. It must be at most one microsecond.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from edgefm import artefacts, runs
from edgefm.benchmarking.timing import timed_calls
from edgefm.environment import environment
from edgefm.runtimes import litert
from tests.fixtures import tiny_models

RESULT = Path(__file__).parent / "results" / "harness_overhead.json"
# Short turns: most of them then lie within one time slice, also on a busy machine.
CALLS = 200
TURNS = 1001
LIMIT_NS = 1000


def test_harness_adds_at_most_a_microsecond_to_an_invoke(tmp_path: Path) -> None:
    path = tmp_path / "relu.tflite"
    path.write_bytes(tiny_models.relu())
    with litert.load(path) as session:
        bare, harness, difference, sample = overhead(session.invoke)
    print(
        f"\none-op model, {TURNS} turns of {CALLS} invokes, median wall time per invoke: bare loop {bare:.0f} ns, "
        f"timed loop {harness:.0f} ns, difference {difference:.0f} ns; median sample {sample:.0f} ns"
    )
    artefacts.write_json(
        RESULT,
        {
            "what": "what the timed loop adds to an invoke of a one-op model, median over turns",
            "command": "pytest benchmarks/test_harness_overhead.py",
            "created": runs.now(),
            "environment": environment(),
            "turns": TURNS,
            "invokes_a_turn": CALLS,
            "bare_ns": bare,
            "timed_ns": harness,
            "overhead_ns": {"p50": difference},
        },
    )
    assert difference <= LIMIT_NS


def overhead(invoke: Callable[[], object]) -> tuple[float, float, float, float]:
    """Return medians in nanoseconds: bare loop, timed loop, their difference turn by turn, and the sample."""
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
    difference = statistics.median(h - b for h, b in zip(harness, bare, strict=True))
    return statistics.median(bare), statistics.median(harness), difference, statistics.median(samples)
