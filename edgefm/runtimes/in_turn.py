"""Several models in one process, invoked one after the other: each finds the caches as the others left them.

No runtime of its own and not listed: the operators of a model, cut apart, are timed with it as they run in the whole
model. Its file is JSON: {"runtime": module, "kernels": name or null, "models": [paths]}.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.documents import read_json
from edgefm.core.errors import RecipeError
from edgefm.runtimes import import_runtime
from edgefm.runtimes.base import (
    Availability,
    Available,
    RuntimeSession,
    TensorDetails,
    TimedInvokes,
    TimesItself,
)
from edgefm.runtimes.random_inputs import random_input
from edgefm.runtimes.session import check_available

name = "in-turn"


def version() -> str:
    """Return nothing: the version that counts is that of the runtime within, which `facts` tells."""
    return ""


def availability() -> Availability:
    """It is always there; whether the runtime within is, turns out when it loads."""
    return Available()


def load(path: Path, *, threads: int = 1) -> InTurn:
    """Return a session of all models that a JSON file names.

    Raises:
      ModelError: a model cannot be loaded.
      RuntimeUnavailableError: the runtime within cannot be used here.
      RecipeError: its sessions time themselves, elsewhere: a clock around their invokes would time the way there.
    """
    request = read_json(path, what="list of models")
    module = import_runtime(request["runtime"])
    check_available(module.availability())
    options = {} if request["kernels"] is None else {"kernels": request["kernels"]}
    sessions = [module.load(Path(model), threads=threads, **options) for model in request["models"]]
    if any(isinstance(session, TimesItself) for session in sessions):
        raise RecipeError(f"{module.name} times models outside this process: they cannot be timed in turn")
    return InTurn(sessions, version=module.version())


class InTurn:
    """Loaded models; its own input and output are there for form alone."""

    def __init__(self, sessions: list[RuntimeSession], *, version: str) -> None:
        self.input = TensorDetails(name="none", dtype="float32", shape=(1,), scale=None, zero_point=None)
        self.output = self.input
        self.outputs = (self.input,)
        self._sessions = sessions
        self._inputs = [random_input(session.input) for session in sessions]
        self._version = version
        for session, array in zip(self._sessions, self._inputs, strict=True):
            session.set_input(array)

    def invoke(self) -> None:
        """Invoke each model once."""
        for session in self._sessions:
            session.invoke()

    def facts(self) -> Mapping[str, Any]:
        """Return the version of the runtime within."""
        return {"version": self._version}

    def timed_invokes(
        self, *, warmup_calls: int, least_calls: int, least_ns: int, most_calls: int, most_ns: int
    ) -> TimedInvokes:
        """Return the times of invokes of the first model, the second, …, the first again, and so on.

        The limits are those of `edgefm.worker.timing.timed_calls`; a call is one of all models. Each input is
        set anew right before its invoke, untimed: so it lies in a near cache, as a result that was just made does.
        """
        clock = time.perf_counter_ns
        calls = [
            (session.set_input, array, session.invoke)
            for session, array in zip(self._sessions, self._inputs, strict=True)
        ]
        warmup: list[int] = []
        samples: list[int] = []
        collecting = gc.isenabled()
        gc.disable()
        try:
            for keep, least, enough_ns, most in (
                (warmup, warmup_calls, 0, warmup_calls),
                (samples, least_calls, least_ns, most_calls),
            ):
                started = clock()
                for turn in range(1, most + 1):
                    for set_input, array, invoke in calls:
                        set_input(array)
                        before = clock()
                        invoke()
                        keep.append(clock() - before)
                    over = clock() - started
                    if over >= enough_ns and (turn >= least or over >= most_ns):
                        break
        finally:
            if collecting:
                gc.enable()
        return TimedInvokes(warmup_ns=warmup, invoke_ns=samples)

    def set_input(self, array: NDArray[Any]) -> None:
        """Do nothing: each model has its own input."""

    def get_output(self) -> NDArray[Any]:
        """Return nothing of use."""
        return np.zeros(1, np.float32)

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return nothing of use."""
        return (self.get_output(),)

    def run(self, array: NDArray[Any]) -> NDArray[Any]:
        """Invoke each model once."""
        self.invoke()
        return self.get_output()

    def __enter__(self) -> InTurn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sessions = []
