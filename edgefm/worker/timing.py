"""The timed loop: raw nanoseconds of each call, with as little between the calls as can be."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def timed_calls(
    action: Callable[[], object], *, least_calls: int, least_ns: int, most_calls: int, most_ns: int
) -> list[int]:
    """Return the duration of each of some calls in nanoseconds, in order.

    It goes on until both `least_calls` are made and `least_ns` are over, but stops after `most_calls`, or once
    `most_ns` are over. At least one call is made when `most_calls` is 1 or more.

    A sample holds the call and one reading of the clock. The loop adds another reading, an append and a
    comparison between two calls; benchmarks/test_harness_overhead.py measures how much that is. Garbage is not
    collected meanwhile.

    Args:
      action: what is timed.
      least_calls: see above.
      least_ns: see above.
      most_calls: bounds the memory of the samples.
      most_ns: bounds the time of a slow model.
    """
    clock = time.perf_counter_ns
    samples: list[int] = []
    keep = samples.append
    collecting = gc.isenabled()
    gc.disable()
    try:
        started = clock()
        enough, latest = started + least_ns, started + most_ns
        for _ in range(most_calls):
            before = clock()
            action()
            after = clock()
            keep(after - before)
            if after >= enough and (len(samples) >= least_calls or after >= latest):
                break
    finally:
        if collecting:
            gc.enable()
    return samples
