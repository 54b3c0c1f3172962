"""benchmark_model on an Android device: its processes, the files that they read there, and those that they write."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import scratch
from edgefm.core.artefacts import sha256_bytes, sha256_file
from edgefm.core.errors import ModelError
from edgefm.runtimes.android_benchmark.adb import AdbError, AndroidDevice, Done
from edgefm.runtimes.android_benchmark.environment import describe
from edgefm.runtimes.android_benchmark.output import Report
from edgefm.runtimes.android_benchmark.output import read as read_report
from edgefm.runtimes.android_benchmark.program import FOLDER as ON_DEVICE
from edgefm.runtimes.android_benchmark.program import OUTPUT, Program, check_known
from edgefm.runtimes.android_benchmark.program import command as command_line
from edgefm.runtimes.android_benchmark.state import FREQUENCIES, CoreCluster, clusters, without_clusters
from edgefm.runtimes.base import TensorDetails
from edgefm.runtimes.model_ends import ModelEnds

FOLDER = "EDGEFM_ANDROID_FOLDER"
_SLACK_SECONDS = 60.0
_MOST_SECONDS = 600.0  # of one invoke that is not timed
_NOTE = "run.pid"


def kill_leftovers(device: AndroidDevice, folder: str) -> None:
    """End what a worker that is gone left running on the device."""
    device.shell(
        f'for p in {folder}/*.pid; do if [ -f "$p" ]; then kill -9 "$(cat "$p")"; rm -f "$p"; fi; done',
        doing="ending what runs there",
    )


class DeviceRuns:
    """Runs of a model file on a device. `close` removes what it alone put there.

    Attributes:
      properties: of the device, see `edgefm.runtimes.android_benchmark.environment.describe`.
      gives_outputs: whether this benchmark_model writes outputs; None where nothing was run yet.
    """

    def __init__(
        self, path: Path, ends: ModelEnds, *, device: AndroidDevice, program: Program, threads: int, kernels: str
    ) -> None:
        """Send the model unless it is there.

        Args:
          path: of the model.
          ends: its inputs and outputs.
          device: where it runs.
          program: benchmark_model there.
          threads: of the runtime.
          kernels: 'xnnpack' or 'builtin'.
        Raises:
          AdbError: it cannot be sent.
        """
        self._device = device
        self.properties = describe(device.properties())
        self.gives_outputs: bool | None = None
        self._program, self._threads, self._kernels = program, threads, kernels
        self._input, self._outputs = ends.source, [end.details for end in ends.outputs]
        self._sent: bytes | None = None
        named = os.environ.get(FOLDER)
        self._folder = named or f"{ON_DEVICE}/worker-{secrets.token_hex(4)}"
        self._mine = named is None
        self._shell(f"mkdir -p {self._folder}", doing="making a folder")
        self._graph = f"{self._folder}/{sha256_file(path)[:16]}.tflite"
        size = path.stat().st_size
        if device.shell(f"wc -c <{self._graph}", doing="looking for the model").output.strip() != str(size):
            device.push(path, f"{self._graph}.part")
            self._shell(f"mv -f {self._graph}.part {self._graph}", doing="placing the model")

    def close(self) -> None:
        """Remove what this session alone put on the device."""
        if self._mine:
            with contextlib.suppress(AdbError):  # unplugged: nothing can be removed
                self._device.shell(f"rm -rf {self._folder}", doing="removing files")

    def invoke(self, given: bytes) -> Report:
        """Run once on an input's bytes and keep the outputs on the device; return what benchmark_model told."""
        report, _ = self.run(
            given, runs=1, warmup_runs=0, warmup_seconds=0, most_seconds=_MOST_SECONDS, doing="being invoked",
            output=f"{self._folder}/out",
        )  # fmt: skip
        self.gives_outputs = OUTPUT not in report.unknown
        return report

    def outputs(self) -> tuple[NDArray[Any], ...]:
        """Return the outputs of the last `invoke`."""
        outputs = self._split(self._fetch(f"{self._folder}/out", 1), 1)
        return tuple(array.reshape(tensor.shape) for array, tensor in zip(outputs, self._outputs, strict=True))

    def run(
        self,
        given: bytes,
        *,
        runs: int,
        warmup_runs: int,
        warmup_seconds: float,
        most_seconds: float,
        doing: str,
        output: str | None = None,
    ) -> tuple[Report, tuple[CoreCluster, ...]]:
        """Return what a process of benchmark_model told, and the frequencies right after it."""
        line = self._line(
            self._send(given),
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
            raise ModelError(f"one invoke takes longer than {most_seconds:g} s on the device")
        return report, clusters(conditions)

    def _line(self, inputs: str, *, runs: int, output: str | None, **limits: Any) -> str:
        """Return the command line of a process; `limits` are those of `program.command`."""
        return command_line(
            self._program,
            graph=self._graph,
            inputs=inputs,
            shape=self._input.shape,
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
        printed = Done(output=without_clusters(result.output), status=result.status)
        report = read_report(printed, abi=self.properties.get("abi", "unknown"), doing=doing)
        check_known(report.unknown)
        return report, result.output

    def _send(self, given: bytes) -> str:
        """Return the file there with the bytes of the input; sent where they changed."""
        there = f"{self._folder}/input-{sha256_bytes(given)[:16]}"
        if given != self._sent:
            with scratch.folder("adb") as folder:
                here = folder / "input"
                here.write_bytes(given)
                self._shell(f"rm -f {self._folder}/input-*", doing="removing files")
                self._device.push(here, there)
            self._sent = given
        return there

    def outputs_of(self, inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the outputs for inputs, [n, ...]: one process each, but one copy there and one back."""
        if inputs.dtype.name != self._input.dtype or inputs.shape[1:] != self._input.shape[1:]:
            raise ValueError(f"inputs of {inputs.dtype.name} {inputs.shape[1:]} do not fit {self._input}")
        count, size = len(inputs), _bytes_of(self._input)
        inputs_there, part, out, all_outs = (f"{self._folder}/{name}" for name in ("given", "part", "out", "outs"))
        with scratch.folder("adb") as folder:
            here = folder / "given"
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
        self.gives_outputs = OUTPUT not in report.unknown
        return self._split(self._fetch(all_outs, count), count)

    def _split(self, content: bytes, count: int) -> tuple[NDArray[Any], ...]:
        """Return the outputs, [count, ...] each, whose bytes stand one behind the other for each input."""
        rows = np.frombuffer(content, np.uint8).reshape(count, -1)
        outputs, start = [], 0
        for tensor in self._outputs:
            part = np.ascontiguousarray(rows[:, start : start + _bytes_of(tensor)]).view(tensor.dtype)
            first, *others = tensor.shape or (1,)
            outputs.append(part.reshape((count * first, *others)).copy())
            start += _bytes_of(tensor)
        return tuple(outputs)

    def _fetch(self, there: str, count: int) -> bytes:
        """Return the bytes of the outputs of some invokes."""
        if not self.gives_outputs:
            raise ModelError(
                f"this benchmark_model cannot write outputs: it does not have {OUTPUT}",
                hint="Latency can be measured with it; outputs need benchmark_model of 2023 or later.",
            )
        size = count * sum(map(_bytes_of, self._outputs))
        with scratch.folder("adb") as folder:
            here = folder / "out"
            self._device.pull(there, here, size=size)
            content = here.read_bytes()
        if len(content) != size:
            raise ModelError(f"benchmark_model wrote {len(content)} bytes of outputs; {size} are expected")
        return content

    def _shell(self, script: str, *, doing: str) -> None:
        result = self._device.shell(script, doing=doing)
        if result.status:
            raise AdbError(f"adb:{self._device.serial}: {doing} failed: {result.output.strip()}")


def _bytes_of(tensor: TensorDetails) -> int:
    return np.dtype(tensor.dtype).itemsize * math.prod(tensor.shape)
