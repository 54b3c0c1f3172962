"""A model on an Android device, run and timed by Google's benchmark_model.

benchmark_model prints a summary, not the time of each run (`output`). So that raw samples are
kept, each process of it times a loop of two runs, whose summary tells both: the first and the last. A turn is so many
processes, each warmed up for a moment first: the cores' frequency rises with the load.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core.artefacts import sha256_bytes, sha256_file
from edgefm.core.errors import ModelError
from edgefm.runtimes.android_benchmark.adb import AdbError, AndroidDevice, Done
from edgefm.runtimes.android_benchmark.output import Report
from edgefm.runtimes.android_benchmark.output import read as read_report
from edgefm.runtimes.android_benchmark.program import FOLDER as ON_DEVICE
from edgefm.runtimes.android_benchmark.program import OUTPUT, Program, check_known
from edgefm.runtimes.android_benchmark.program import command as command_line
from edgefm.runtimes.android_benchmark.state import (
    FREQUENCIES,
    SCRIPT,
    CoreCluster,
    State,
    disturbances,
    refusals,
    without_clusters,
)
from edgefm.runtimes.android_benchmark.state import clusters as clusters_in
from edgefm.runtimes.android_benchmark.state import read as read_state
from edgefm.runtimes.base import TensorDetails, TimedInvokes
from edgefm.runtimes.model_ends import ModelEnds
from edgefm.runtimes.session import BaseSession, check_input

FOLDER = "EDGEFM_ANDROID_FOLDER"
RESOLUTION_NS = 1000
_RUNS = 2
_WARMUP_SECONDS = 0.1
_SLACK_SECONDS = 60.0
_MOST_SECONDS = 600.0  # of one invoke that is not timed
_AT_ONCE = 50
# A device that throttles is given a moment to cool before a turn: at most so long, and not longer than the turn.
COOLING_SECONDS = 20.0
_COOLING_STEP_SECONDS = 1.0
_NOTE = "run.pid"


def kill_leftovers(device: AndroidDevice, folder: str) -> None:
    """End what a worker that is gone left running on the device."""
    device.shell(
        f'for p in {folder}/*.pid; do if [ -f "$p" ]; then kill -9 "$(cat "$p")"; rm -f "$p"; fi; done',
        doing="ending what runs there",
    )


def state(device: AndroidDevice) -> State:
    """Return what may disturb a measurement on a device now."""
    return read_state(device.shell(SCRIPT, doing="asking for its state").output)


def describe(properties: Mapping[str, str]) -> dict[str, str]:
    """Return what a device is, from its properties; what it does not tell is absent."""
    get = properties.get
    maker, model = get("ro.product.manufacturer", ""), get("ro.product.model", "")
    # The SoC's properties came with Android 12.
    soc = " ".join(filter(None, (get("ro.soc.manufacturer"), get("ro.soc.model")))) or get("ro.board.platform", "")
    facts = {
        "device": f"{maker} {model}".strip(),
        "soc": soc or get("ro.hardware", ""),
        "android": get("ro.build.version.release", ""),
        "abi": get("ro.product.cpu.abi", ""),
    }
    return {name: value for name, value in facts.items() if value}


class AndroidSession(BaseSession):
    """A model file on a device. An input goes there with the next run; outputs are fetched when they are asked for."""

    def __init__(
        self, path: Path, ends: ModelEnds, *, device: AndroidDevice, program: Program, threads: int, kernels: str
    ) -> None:
        super().__init__(ends.inputs[0].details, [end.details for end in ends.outputs], self._invoke)
        self._device, self._program = device, program
        self._threads, self._kernels = threads, kernels
        self._properties = describe(device.properties())
        self._facts: dict[str, Any] = {}
        self._given: bytes | None = None
        self._sent: bytes | None = None
        self._known_outputs: bool | None = None
        named = os.environ.get(FOLDER)
        self._folder = named or f"{ON_DEVICE}/worker-{secrets.token_hex(4)}"
        self._mine = named is None
        self._run(f"mkdir -p {self._folder}", doing="making a folder")
        self._graph = f"{self._folder}/{sha256_file(path)[:16]}.tflite"
        size = path.stat().st_size
        if self._device.shell(f"wc -c <{self._graph}", doing="looking for the model").output.strip() != str(size):
            device.push(path, f"{self._graph}.part")
            self._run(f"mv -f {self._graph}.part {self._graph}", doing="placing the model")

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape."""
        check_input(self.input, array)
        self._given = np.ascontiguousarray(array).tobytes()

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return the outputs of the last invoke.

        Raises:
          ModelError: this benchmark_model gives no outputs.
        """
        if self._known_outputs is None:
            raise RuntimeError("nothing was invoked")
        outputs = self._split(self._fetch(f"{self._folder}/out", 1), 1)
        return tuple(array.reshape(tensor.shape) for array, tensor in zip(outputs, self.outputs, strict=True))

    def outputs_of(self, inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the outputs for many inputs, [n, ...] each; they are sent, run and fetched by the handful.

        Args:
          inputs: [n, ...] of the input's dtype and shape, without the batch of 1.
        Raises:
          ModelError: this benchmark_model gives no outputs.
        """
        answers = [self._few(inputs[start : start + _AT_ONCE]) for start in range(0, len(inputs), _AT_ONCE)]
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))

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
        loaded: list[tuple[CoreCluster, ...]] = []
        started = time.perf_counter_ns()
        while True:
            left_ns = most_ns - (time.perf_counter_ns() - started)
            report, clusters = self._process(
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
        after = state(self._device)
        return TimedInvokes(
            warmup_ns=[RESOLUTION_NS * sample for sample in warmup_us],
            invoke_ns=samples[:most_calls],
            disturbed=disturbances(loaded),
            refused=refusals(before, after),
        )

    def _cooled(self, seconds: float) -> State:
        """Return the state of the device once it does not throttle, or after so many seconds."""
        until = time.monotonic() + seconds
        while (now := state(self._device)).thermal_status and time.monotonic() < until:
            time.sleep(min(_COOLING_STEP_SECONDS, max(0.0, until - time.monotonic())))
        return now

    def facts(self) -> Mapping[str, Any]:
        """Return what the device is, and what its cold start took there."""
        return {
            **self._properties,
            "benchmark_model_sha256": self._program.sha256,
            "resolution_ns": RESOLUTION_NS,
            "gives_outputs": bool(self._known_outputs),
            **self._facts,
        }

    def close(self) -> None:
        """Remove what this session alone put on the device."""
        super().close()
        if self._mine:
            with contextlib.suppress(AdbError):  # unplugged: nothing can be removed
                self._device.shell(f"rm -rf {self._folder}", doing="removing files")

    def _invoke(self) -> None:
        """Run once, and keep the outputs on the device."""
        out = f"{self._folder}/out"
        report, _ = self._process(
            runs=1, warmup_runs=0, warmup_seconds=0, most_seconds=_MOST_SECONDS, doing="being invoked", output=out
        )
        self._known_outputs = OUTPUT not in report.unknown
        # The loop of one run is the first there is: no warm-up came before it.
        cold = {"load_ns": report.init_us, "first_invoke_ns": report.timed_us[0] if report.timed_us else None}
        self._facts |= {name: RESOLUTION_NS * value for name, value in cold.items() if value is not None}
        if report.memory_bytes is not None:
            self._facts["memory_bytes"] = report.memory_bytes

    def _process(
        self,
        *,
        runs: int,
        warmup_runs: int,
        warmup_seconds: float,
        most_seconds: float,
        doing: str,
        output: str | None = None,
    ) -> tuple[Report, tuple[CoreCluster, ...]]:
        """Return what a process of benchmark_model told, and the frequencies right behind it."""
        line = self._line(
            self._send_input(),
            runs=runs,
            warmup_runs=warmup_runs,
            warmup_seconds=warmup_seconds,
            most_seconds=most_seconds,
            output=output,
        )
        removed = "" if output is None else f"rm -f {output}; "
        report, conditions = self._watched(
            f"{removed}{self._in_sight(line)}; r=$?; {FREQUENCIES}; (exit $r)",
            doing=doing,
            seconds=2 * most_seconds + _SLACK_SECONDS,
        )
        if not report.timed_us:
            raise ModelError(f"one run takes longer than {most_seconds:g} s on the device")
        return report, clusters_in(conditions)

    def _line(self, inputs: str, *, runs: int, output: str | None, **limits: Any) -> str:
        """Return the command line of a process; `limits` are those of `program.command`."""
        return command_line(
            self._program,
            graph=self._graph,
            inputs=inputs,
            shape=self.input.shape,
            threads=self._threads,
            xnnpack=self._kernels == "xnnpack",
            runs=runs,
            output=output,
            **limits,
        )

    def _in_sight(self, line: str) -> str:
        """Return a script that runs a command so that it can be found and ended from elsewhere."""
        note = f"{self._folder}/{_NOTE}"
        return f"{line} & echo $! >{note}; wait $!; r=$?; rm -f {note}; (exit $r)"

    def _watched(self, script: str, *, doing: str, seconds: float) -> tuple[Report, str]:
        """Run a script that ends with a process of benchmark_model; return its report and all that was said."""
        try:
            result = self._device.shell(script, doing=doing, seconds=seconds)
        except AdbError:
            with contextlib.suppress(AdbError):
                kill_leftovers(self._device, self._folder)
            raise
        said = Done(output=without_clusters(result.output), status=result.status)
        report = read_report(said, abi=self._properties.get("abi", "unknown"), doing=doing)
        check_known(report.unknown)
        return report, result.output

    def _send_input(self) -> str:
        """Return the file there with the bytes of the input; sent where they changed."""
        assert self._given is not None, "no input is set"
        there = f"{self._folder}/input-{sha256_bytes(self._given)[:16]}"
        if self._given != self._sent:
            with tempfile.TemporaryDirectory(prefix="edgefm-adb-") as folder:
                here = Path(folder) / "input"
                here.write_bytes(self._given)
                self._run(f"rm -f {self._folder}/input-*", doing="removing files")
                self._device.push(here, there)
            self._sent = self._given
        return there

    def _few(self, inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the outputs for some inputs: one process each, but one copy there and one back."""
        if inputs.dtype.name != self.input.dtype or inputs.shape[1:] != self.input.shape[1:]:
            raise ValueError(f"inputs of {inputs.dtype.name} {inputs.shape[1:]} do not fit {self.input}")
        count, size = len(inputs), _bytes_of(self.input)
        inputs_there, part, out, all_outs = (f"{self._folder}/{name}" for name in ("given", "part", "out", "outs"))
        with tempfile.TemporaryDirectory(prefix="edgefm-adb-") as folder:
            here = Path(folder) / "given"
            here.write_bytes(np.ascontiguousarray(inputs).tobytes())
            self._device.push(here, inputs_there)
        line = self._line(part, runs=1, warmup_runs=0, warmup_seconds=0, most_seconds=_MOST_SECONDS, output=out)
        log = f"{self._folder}/log"
        script = (
            f"rm -f {all_outs}; i=0; r=0; while [ $i -lt {count} ] && [ $r -eq 0 ]; do "
            f"dd if={inputs_there} of={part} bs={size} skip=$i count=1 2>/dev/null; rm -f {out}; "
            f"{self._in_sight(f'{line} >{log} 2>&1')}; r=$?; "
            f"if [ -f {out} ]; then cat {out} >>{all_outs}; fi; i=$((i+1)); done; cat {log}; (exit $r)"
        )
        report, _ = self._watched(script, doing=f"answering {count} inputs", seconds=_MOST_SECONDS + _SLACK_SECONDS)
        self._known_outputs = OUTPUT not in report.unknown
        return self._split(self._fetch(all_outs, count), count)

    def _split(self, content: bytes, count: int) -> tuple[NDArray[Any], ...]:
        """Return the outputs, [count, ...] each, whose bytes stand one behind the other for each input."""
        rows = np.frombuffer(content, np.uint8).reshape(count, -1)
        outputs, start = [], 0
        for tensor in self.outputs:
            part = np.ascontiguousarray(rows[:, start : start + _bytes_of(tensor)]).view(tensor.dtype)
            first, *others = tensor.shape or (1,)
            outputs.append(part.reshape((count * first, *others)).copy())
            start += _bytes_of(tensor)
        return tuple(outputs)

    def _fetch(self, there: str, count: int) -> bytes:
        """Return the bytes of the outputs of some invokes."""
        if not self._known_outputs:
            raise ModelError(
                f"this benchmark_model gives no outputs: it does not know {OUTPUT}",
                hint="Its times can be had. For outputs take a newer one, of 2023 or later.",
            )
        size = count * sum(map(_bytes_of, self.outputs))
        with tempfile.TemporaryDirectory(prefix="edgefm-adb-") as folder:
            here = Path(folder) / "out"
            self._device.pull(there, here, size=size)
            content = here.read_bytes()
        if len(content) != size:
            raise ModelError(f"benchmark_model wrote {len(content)} bytes of outputs; {size} were expected")
        return content

    def _run(self, script: str, *, doing: str) -> None:
        result = self._device.shell(script, doing=doing)
        if result.status:
            raise AdbError(f"adb:{self._device.serial}: {doing} failed: {result.output.strip()}")


def _bytes_of(tensor: TensorDetails) -> int:
    return np.dtype(tensor.dtype).itemsize * math.prod(tensor.shape)
