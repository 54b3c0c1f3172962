"""Google's benchmark_model on an Android device: where it is, and the command line that runs it.

The options and their meaning: tensorflow/tensorflow, tensorflow/lite/tools/benchmark/README.md, benchmark_model.cc and
benchmark_tflite_model.cc (in LiteRT: google-ai-edge/LiteRT, tflite/tools/benchmark). It is the benchmark of the
Interpreter; LiteRT's newer one of the same name, for CompiledModel (litert/tools/benchmark_litert_model.h), takes
neither inputs nor kernels, and is refused.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefm.core.artefacts import sha256_file
from edgefm.runtimes.android_benchmark.adb import AdbError, AndroidDevice

VARIABLE = "EDGEFM_ANDROID_BENCHMARK"
FOLDER = "/data/local/tmp/edgefm"  # the one place where adb's user may write and run programs on any device
ON_DEVICE = "/data/local/tmp/benchmark_model"
INSTALL = (
    "get benchmark_model for the device's processor: prebuilt ones are linked from "
    "https://ai.google.dev/edge/litert/models/measurement, or build it from TensorFlow's source with: "
    "bazel build -c opt --config=android_arm64 //tensorflow/lite/tools/benchmark:benchmark_model; then set "
    f"{VARIABLE} to its path, or: adb push benchmark_model {ON_DEVICE}"
)
# Without one of these the figures would be of something else than was asked for.
NEEDED = (
    "--graph",
    "--num_threads",
    "--num_runs",
    "--min_secs",
    "--max_secs",
    "--warmup_runs",
    "--warmup_min_secs",
    "--use_xnnpack",
    "--input_layer",
    "--input_layer_shape",
    "--input_layer_value_files",
)
OUTPUT = "--output_filepath"
# The name of the input need not be the model's (README.md, input_layer); a model's may hold ':' and ','.
_INPUT = "input"


@dataclass(frozen=True, kw_only=True)
class Program:
    """The program on the device.

    Attributes:
      path: there.
      sha256: of its content.
    """

    path: str
    sha256: str


def find(device: AndroidDevice) -> Program:
    """Return the program, sent to the device where EDGEFM_ANDROID_BENCHMARK names one.

    Raises:
      AdbError: there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return _send(device, Path(named).expanduser())
    listing = device.shell(f"sha256sum {ON_DEVICE} && chmod 755 {ON_DEVICE}", doing="looking for benchmark_model")
    digest = listing.output.split(" ")[0]
    if len(digest) != 64:
        raise AdbError(f"adb:{device.serial}: the device has no {ON_DEVICE}, and {VARIABLE} is not set", hint=INSTALL)
    return Program(path=ON_DEVICE, sha256=digest)


def command(
    program: Program,
    *,
    graph: str,
    inputs: str,
    shape: Sequence[int],
    threads: int,
    xnnpack: bool,
    runs: int,
    warmup_runs: int,
    warmup_seconds: float,
    most_seconds: float,
    output: str | None = None,
) -> str:
    """Return the command line of a process.

    Args:
      program: that is run.
      graph: model file on the device.
      inputs: file with the bytes of the input there.
      shape: of the input.
      threads: of the interpreter.
      xnnpack: apply XNNPACK; otherwise the built-in kernels run.
      runs: of the timed loop; it has exactly so many unless it takes longer than `most_seconds`.
      warmup_runs: least number of runs before it.
      warmup_seconds: least time of these.
      most_seconds: neither loop starts a run after that.
      output: file for the bytes of the outputs, one behind the other.
    """
    options = {
        "--graph": graph,
        "--num_threads": str(threads),
        "--num_runs": str(runs),
        "--min_secs": "0",
        "--max_secs": f"{most_seconds:.3f}",
        "--warmup_runs": str(warmup_runs),
        "--warmup_min_secs": f"{warmup_seconds:.3f}",
        "--use_xnnpack": "true" if xnnpack else "false",
        "--input_layer": _INPUT,
        "--input_layer_shape": ",".join(map(str, shape)),
        "--input_layer_value_files": f"{_INPUT}:{inputs}",
        **({} if output is None else {OUTPUT: output}),
    }
    assert set(NEEDED) <= set(options), "what is needed is what is given"
    return shlex.join([program.path, *(f"{name}={value}" for name, value in options.items())])


def check_known(unknown: Sequence[str]) -> None:
    """Raise an AdbError where a program does not know an option that it must know.

    Args:
      unknown: options that it told it does not know.
    """
    missing = [name for name in NEEDED if name in unknown]
    if missing:
        raise AdbError(
            f"this benchmark_model lacks {', '.join(missing)}: it is too old, or the CompiledModel one of LiteRT",
            hint=f"Use the one for the Interpreter: {INSTALL}",
        )


def _send(device: AndroidDevice, here: Path) -> Program:
    if not here.is_file():
        raise AdbError(f"{VARIABLE} is '{here}', which is not a file", hint=INSTALL)
    digest = sha256_file(here)
    there = f"{FOLDER}/benchmark_model-{digest[:16]}"
    doing = "looking for benchmark_model"
    listing = device.shell(f"sha256sum {there}", doing=doing)
    if listing.output.split(" ")[0] != digest:
        device.shell(f"mkdir -p {FOLDER}", doing=doing)
        device.push(here, f"{there}.part")
        placed = device.shell(f"chmod 755 {there}.part && mv -f {there}.part {there}", doing="placing benchmark_model")
        if placed.status:
            raise AdbError(f"adb:{device.serial}: benchmark_model cannot be placed there: {placed.output}")
    return Program(path=there, sha256=digest)
