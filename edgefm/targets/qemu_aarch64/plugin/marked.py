"""Invokes a model in the emulator, with a mark for the plugin before and after each invoke. Run as a script there.

Argument: JSON with path, runtime (its module), kernels (or null), warmup_calls, calls. It writes one JSON object:
name and version of the runtime, or the reason why the model could not be run. Marks n and n + 1 of an even n enclose
one call; the first `calls` pairs enclose calls of an empty function, the others invokes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.core.errors import EdgefmError
from edgefm.runtimes import import_runtime
from edgefm.runtimes.base import TensorDetails

MARK = 0x45444745 << 32  # as in instructions.c
_LOOP_WARMUP = 30
_UNREAD = 1 << 20  # numbers of marks that nobody reads
_NULL = os.open(os.devnull, os.O_RDONLY)


def marked_calls(action: Callable[[], object], *, first: int, calls: int) -> None:
    """Call an action some times, each between two marks; `first` is the number of the first mark."""
    for number in range(first, first + 2 * calls, 2):
        _mark(number)
        action()
        _mark(number + 1)


def _mark(number: int) -> None:
    os.lseek(_NULL, MARK + number, os.SEEK_SET)  # in /dev/null there is no position: it does nothing


def _nothing() -> None:
    return


def _some_input(details: TensorDetails) -> Any:
    """Return the same numbers each time: no zeros, no denormals."""
    dtype, generator = np.dtype(details.dtype), np.random.default_rng(0)
    if dtype.kind == "f":
        return generator.random(details.shape).astype(dtype)
    return generator.integers(1, 2 if dtype.kind == "b" else 100, details.shape).astype(dtype)


def run(*, path: str, runtime: str, kernels: str | None, warmup_calls: int, calls: int) -> dict[str, Any]:
    """Load the model and make the marked calls."""
    module = import_runtime(runtime)
    with module.load(Path(path), threads=1, **({} if kernels is None else {"kernels": kernels})) as session:
        session.set_input(_some_input(session.input))
        # Python rewrites a function's code in its first calls; so the marked loop itself is warmed up too.
        marked_calls(_nothing, first=_UNREAD, calls=_LOOP_WARMUP)
        marked_calls(session.invoke, first=_UNREAD, calls=warmup_calls)
        marked_calls(_nothing, first=0, calls=calls)
        marked_calls(session.invoke, first=2 * calls, calls=calls)
    return {"runtime": module.name, "version": module.version()}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what native code prints
    try:
        answer = run(**json.loads(sys.argv[1]))
    except (EdgefmError, MemoryError, RuntimeError, ValueError) as error:
        answer = {"reason": getattr(error, "message", None) or str(error) or type(error).__name__}
    answers.write(json.dumps(answer))
    answers.flush()
