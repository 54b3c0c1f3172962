"""LiteRT with a slowdown of known size: the runtime of the A/B half of `benchmarks.false_alarms`.

The model file's name says how many nanoseconds each invoke takes longer: 'plain-0ns.tflite', 'slow-1590ns.tflite'.
The time is spent in a loop that reads the clock; a file with 0 ns goes through the same wrapper.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from edgefm.core.errors import ModelError
from edgefm.runtimes import litert
from edgefm.runtimes.base import Availability, RuntimeSession

name = "slowed"
_EXTRA = re.compile(r"-(\d+)ns$")


def version() -> str:
    """Return the version of LiteRT."""
    return litert.version()


def availability() -> Availability:
    """Return whether LiteRT can be used."""
    return litert.availability()


def load(path: Path, *, threads: int = 1) -> SlowedSession:
    """Return LiteRT's session of a file, slowed by what the file's name says."""
    found = _EXTRA.search(path.stem)
    if found is None:
        raise ModelError(f"{path.name} does not say how slow it is", hint="Call it NAME-<nanoseconds>ns.tflite.")
    return SlowedSession(litert.load(path, threads=threads), extra_ns=int(found[1]))


class SlowedSession:
    """A session whose every invoke takes some nanoseconds longer."""

    def __init__(self, session: RuntimeSession, *, extra_ns: int) -> None:
        self.input, self.output, self.outputs = session.input, session.output, session.outputs
        self.set_input, self.get_output, self.get_outputs = session.set_input, session.get_output, session.get_outputs
        self._session = session
        bare, clock = session.invoke, time.perf_counter_ns

        def invoke() -> None:
            bare()
            end = clock() + extra_ns
            while clock() < end:
                pass

        self.invoke: Callable[[], object] = invoke

    def run(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the first output for one input."""
        self.set_input(array)
        self.invoke()
        return self.get_output()

    def __enter__(self) -> SlowedSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.__exit__(kind, error, trace)
