"""What Google's benchmark_model prints, and what its failures mean.

It prints a summary of each of its two loops, warm-up and timed, in whole microseconds:

    count=2 first=1042 curr=1038 min=1038 max=1042 avg=1040 std=2
    count=1 curr=1042
    count=3 curr=1038(all same)

Newer ones (2024 on) add ' p5=1038 median=1042 p95=1042'. No option makes it print every run, and a summary cannot be
turned back into samples. But `first` and `curr`, the last, are samples: of a loop of two runs nothing is left out.

Sources: tensorflow/tensorflow, tensorflow/core/util/stats_calculator.h (later xla/tsl/util/stats_calculator.h),
`Stat::OutputToStream` and `StatWithPercentiles::OutputToStream`; tensorflow/lite/tools/benchmark/benchmark_model.cc,
`BenchmarkLoggingListener::OnBenchmarkEnd`; tensorflow/lite/tools/logging.h (the prefixes 'INFO: ', 'ERROR: ', …; older
ones print none). LiteRT has the same files in google-ai-edge/LiteRT, tflite/tools/benchmark.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from edgefm.core.errors import EdgefmError, ModelError
from edgefm.runtimes.android_benchmark.adb import AdbError, Done

_SUMMARY = re.compile(
    r"^(?:INFO: )?count=(?P<count>\d+)(?: first=(?P<first>\d+))?(?: curr=(?P<last>\d+))?(?P<same>\(all same\))?"
)
_TIMINGS = re.compile(r"Inference timings in us: Init: (\d+), First inference: (\d+),")
_MEMORY = re.compile(r"Memory footprint delta from the start of the tool \(MB\): init=(\S+) overall=(\S+)")
_UNKNOWN = re.compile(r"Unconsumed cmdline flags: (.*)")
_CUSTOM = re.compile(r"unresolved custom op: (\S+?)\.?(?:\s|$)")
_NEWER = "Didn't find op for builtin opcode"
_OTHER_PROCESSOR = ("not executable:", "Exec format error", "CANNOT LINK EXECUTABLE", "has unexpected e_machine")
_NOT_THERE = ("inaccessible or not found", "not found", "No such file or directory")
_SHELL_CANNOT, _SHELL_NOT_FOUND = 126, 127
_ALWAYS_LAST = "Benchmarking failed"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one process of benchmark_model told.

    Attributes:
      warmup_us: first and last run of the warm-up, or the only one.
      timed_us: the same of the timed loop.
      init_us: to load the model; None where it is not told.
      first_us: the first run after that.
      memory_bytes: that its memory grew by, as it estimates; None where the system does not tell.
      unknown: options that it does not know.
    """

    warmup_us: tuple[int, ...]
    timed_us: tuple[int, ...]
    init_us: int | None
    first_us: int | None
    memory_bytes: int | None
    unknown: tuple[str, ...]


def read(result: Done, *, abi: str, doing: str) -> Report:
    """Return what a process told.

    Args:
      result: of the process.
      abi: of the device, for errors.
      doing: what it was to do, for errors.
    Raises:
      ModelError: it failed on the model.
      AdbError: the program cannot be run on this device, or is none that edgefm can read.
    """
    if result.status:
        raise failure(result, abi=abi, doing=doing)
    loops = [match for match in map(_SUMMARY.match, result.output.splitlines()) if match]
    timings, memory = _TIMINGS.search(result.output), _MEMORY.search(result.output)
    unknown = _UNKNOWN.search(result.output)
    if len(loops) != 2:
        raise AdbError(
            f"benchmark_model reported {len(loops)} loops while {doing}; 2 are expected: {_last_line(result.output)}",
            hint="Use Google's benchmark_model from TensorFlow Lite or LiteRT.",
        )
    flags = unknown[1].split() if unknown else []
    return Report(
        warmup_us=_samples(loops[0]),
        timed_us=_samples(loops[1]),
        init_us=int(timings[1]) if timings else None,
        first_us=int(timings[2]) if timings else None,
        memory_bytes=_megabytes(memory[2]) if memory else None,
        unknown=tuple(flag.partition("=")[0] for flag in flags),
    )


def failure(result: Done, *, abi: str, doing: str) -> EdgefmError:
    """Return the error for a process that ended with another status than 0."""
    text = result.output
    if result.status in (1, _SHELL_CANNOT, _SHELL_NOT_FOUND):
        last = _last_line(text)
        if any(words in text for words in _OTHER_PROCESSOR):
            return AdbError(
                f"benchmark_model is built for another processor; the device's is {abi}: {last}",
                hint=f"Use the build for {abi}.",
            )
        if result.status == _SHELL_NOT_FOUND or (result.status != 1 and any(words in text for words in _NOT_THERE)):
            return AdbError(f"benchmark_model is no longer on the device: {last}")
        if result.status == _SHELL_CANNOT:
            return AdbError(f"benchmark_model cannot be run: {last}")
    custom = _CUSTOM.search(text)
    if custom:
        return ModelError(
            f"the model uses the custom operator '{custom[1]}', which this benchmark_model does not have",
            hint="Convert the model with built-in operators only, or build benchmark_model with the operator.",
        )
    errors = [line for line in text.splitlines() if re.match(r"(ERROR|FATAL): ", line) and _ALWAYS_LAST not in line]
    newer = [line for line in errors if _NEWER in line]
    why = (newer or errors or [_last_line(text)])[0]
    why = re.sub(r"^(ERROR|FATAL): ", "", why)[:200]
    if result.status > 128:
        return ModelError(f"benchmark_model crashed with {_signal_name(result.status - 128)} while {doing}: {why}")
    hint = "Use a newer benchmark_model." if newer else None
    return ModelError(f"benchmark_model failed while {doing}: {why}", hint=hint)


def _samples(loop: re.Match[str]) -> tuple[int, ...]:
    """Return the runs of a loop that its summary tells one by one."""
    count = int(loop["count"])
    if count == 0:
        return ()
    if loop["first"] is None:  # all of them took equally long
        return (int(loop["last"]),) * min(count, 2)
    return int(loop["first"]), int(loop["last"])


def _megabytes(value: str) -> int | None:
    try:
        return int(float(value) * (1 << 20))
    except ValueError:
        return None


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (usually the system's out-of-memory killer)" if name == "SIGKILL" else name


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no error message"
