"""A model on an Android device, run and timed by Google's benchmark_model.

benchmark_model prints a summary, not the time of each run (`output`). So that raw samples are
kept, each process of it times a loop of two runs, whose summary tells both: the first and the last. A turn is so many
processes, each warmed up for a moment first: the cores' frequency rises with the load.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.runtimes.android_benchmark import state
from edgefm.runtimes.android_benchmark.adb import AndroidDevice
from edgefm.runtimes.android_benchmark.device_runs import DeviceRuns
from edgefm.runtimes.android_benchmark.program import Program
from edgefm.runtimes.base import TimedInvokes
from edgefm.runtimes.model_ends import ModelEnds
from edgefm.runtimes.session import BaseSession, check_input

RESOLUTION_NS = 1000
_RUNS = 2
_WARMUP_SECONDS = 0.1
_AT_ONCE = 50
# A device that throttles is given a moment to cool before a turn: at most so long, and not longer than the turn.
COOLING_SECONDS = 20.0
_COOLING_STEP_SECONDS = 1.0


class AndroidSession(BaseSession):
    """A model file on a device. An input goes there with the next run; outputs are fetched when they are asked for."""

    def __init__(
        self, path: Path, ends: ModelEnds, *, device: AndroidDevice, program: Program, threads: int, kernels: str
    ) -> None:
        super().__init__(ends.source, [end.details for end in ends.outputs], self._invoke)
        self._device, self._program = device, program
        self._facts: dict[str, Any] = {}
        self._given: bytes | None = None
        self._runs = DeviceRuns(path, ends, device=device, program=program, threads=threads, kernels=kernels)

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape."""
        check_input(self.input, array)
        self._given = np.ascontiguousarray(array).tobytes()

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return the outputs of the last invoke.

        Raises:
          ModelError: this benchmark_model gives no outputs.
        """
        if self._runs.gives_outputs is None:
            raise RuntimeError("nothing was invoked")
        return self._runs.outputs()

    def outputs_of(self, inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the outputs for many inputs, [n, ...] each; they are sent, run and fetched by the handful.

        Args:
          inputs: [n, ...] of the input's dtype and shape, without the batch of 1.
        Raises:
          ModelError: this benchmark_model gives no outputs.
        """
        blocks = [inputs[start : start + _AT_ONCE] for start in range(0, len(inputs), _AT_ONCE)]
        return tuple(np.concatenate(parts) for parts in zip(*map(self._runs.outputs_of, blocks), strict=True))

    def timed_invokes(
        self, *, warmup_calls: int, least_calls: int, least_ns: int, most_calls: int, most_ns: int
    ) -> TimedInvokes:
        """Return the time of invokes on the input that is set, as benchmark_model tells it, in whole microseconds.

        Each process warms up for at least 0.1 s and one run, the first of them for `warmup_calls` runs, and then gives
        two samples. Of its warm-up, benchmark_model tells the first and the last run: those of the first process are
        returned. The limits hold for the whole turn, processes and all; a device that throttles is given a moment to
        cool before it.
        """
        before = self._cooled(min(COOLING_SECONDS, most_ns / 1e9))
        samples: list[int] = []
        warmup_us: tuple[int, ...] = ()
        loaded: list[tuple[state.CoreCluster, ...]] = []
        started = time.perf_counter_ns()
        while True:
            left_ns = most_ns - (time.perf_counter_ns() - started)
            report, clusters = self._runs.run(
                self._input(),
                runs=_RUNS,
                warmup_runs=1 if samples else max(1, warmup_calls),
                warmup_seconds=_WARMUP_SECONDS,
                most_seconds=max(left_ns / 1e9, 0.1),
                doing="being timed",
            )
            warmup_us = warmup_us or report.warmup_us
            samples += [RESOLUTION_NS * sample for sample in report.timed_us]
            loaded.append(clusters)
            spent = time.perf_counter_ns() - started
            if len(samples) >= most_calls or spent >= most_ns or (len(samples) >= least_calls and spent >= least_ns):
                break
        after = state.current(self._device)
        return TimedInvokes(
            warmup_ns=[RESOLUTION_NS * sample for sample in warmup_us],
            invoke_ns=samples[:most_calls],
            disturbed=state.disturbances(loaded),
            refused=state.refusals(before, after),
        )

    def facts(self) -> Mapping[str, Any]:
        """Return what the device is, and what its cold start took there."""
        return {
            **self._runs.properties,
            "benchmark_model_sha256": self._program.sha256,
            "resolution_ns": RESOLUTION_NS,
            "gives_outputs": bool(self._runs.gives_outputs),
            **self._facts,
        }

    def close(self) -> None:
        """Remove what this session alone put on the device."""
        super().close()
        self._runs.close()

    def _input(self) -> bytes:
        assert self._given is not None, "no input is set"
        return self._given

    def _invoke(self) -> None:
        """Run once, and keep the outputs on the device."""
        report = self._runs.invoke(self._input())
        # The loop of one run is the first there is: no warm-up came before it.
        cold = {"load_ns": report.init_us, "first_invoke_ns": report.timed_us[0] if report.timed_us else None}
        self._facts |= {name: RESOLUTION_NS * value for name, value in cold.items() if value is not None}
        if report.memory_bytes is not None:
            self._facts["memory_bytes"] = report.memory_bytes

    def _cooled(self, seconds: float) -> state.State:
        """Return the state of the device once it does not throttle, or after so many seconds."""
        until = time.monotonic() + seconds
        while (now := state.current(self._device)).thermal_status and time.monotonic() < until:
            time.sleep(min(_COOLING_STEP_SECONDS, max(0.0, until - time.monotonic())))
        return now
