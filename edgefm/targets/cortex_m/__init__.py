"""Cortex-M microcontrollers, emulated by QEMU: instruction counts, outputs and memory of a real firmware; no latency.

Address: 'cortex-m' (an M4), 'cortex-m:m7', 'cortex-m:m55'. The firmware is built from the model with edgefm's own
int8 kernels in plain C (firmware/edgefm_kernels.c), whose arithmetic is that of TensorFlow Lite for
Microcontrollers. With 'cortex-m:m4,firmware=build/app.elf' it is one that you linked from your own project and
firmware/edgefm_firmware.c; the model then only says what goes in and what should come out.

QEMU counts instructions, not cycles: it knows no pipeline, no caches and no wait states of a flash.
See docs/targets-npu-mcu.md.
"""

from __future__ import annotations

import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import scratch
from edgefm.core.artefacts import sha256_file
from edgefm.core.errors import EdgefmError, ModelError, RecipeError, unknown_name
from edgefm.runtimes.base import Availability, Available, Unavailable
from edgefm.targets.base import Figure, Mode, Place, TargetError
from edgefm.targets.cortex_m import boards, build, run
from edgefm.targets.cortex_m.boards import BOARDS, COMPILER, EMULATOR, CortexMBoard
from edgefm.targets.cortex_m.graph import FirmwareGraph
from edgefm.targets.cortex_m.graph import read as read_graph
from edgefm.targets.cortex_m.run import Counted, FirmwareError
from edgefm.targets.cortex_m.samples import by_operator, outputs_of, random_inputs
from edgefm.targets.cortex_m.source import FirmwareSource, source_of
from edgefm.targets.host import Host, HostPlace
from edgefm.targets.worker_start import start_here

DEFAULT = "m4"
RUNTIME = "cortex-m-firmware"  # its module is `runtime`
VARIABLE = "EDGEFM_CORTEX_M"  # tells a worker the address behind 'cortex-m:'
REFERENCE = "litert:builtin"
INPUTS = 4
_OPTIONS = ("firmware",)
_OWN = "edgefm's int8 kernels in plain C, without CMSIS-NN and without vector instructions"
_MEANING = "instructions of one inference; neither cycles nor latency"


def target(rest: str) -> CortexM:
    """Return the microcontroller at an address.

    Raises:
      RecipeError: an unknown core or option.
    """
    first, *others = rest.split(",", 1) if rest else [DEFAULT]
    if "=" in first:
        first, others = DEFAULT, [rest]
    if first not in BOARDS:
        raise unknown_name("Cortex-M core", first, BOARDS)
    firmware = None
    for other in others:
        key, _, value = other.partition("=")
        if key not in _OPTIONS:
            raise unknown_name("option of the target cortex-m", key, _OPTIONS)
        if not value:
            raise RecipeError(f"'cortex-m:{rest}' names no firmware", hint="Write firmware=PATH of an .elf file.")
        firmware = Path(value).expanduser()
    return CortexM(name=f"cortex-m:{rest}" if rest else "cortex-m", board=BOARDS[first], firmware=firmware)


@dataclass(frozen=True, kw_only=True)
class CortexM:
    """An emulated microcontroller.

    Attributes:
      name: the address.
      board: core, memory and clock.
      firmware: of the user; None builds one from each model.
    """

    name: str
    board: CortexMBoard
    firmware: Path | None = None
    mode: Mode = "simulated"
    latency: bool = False
    runtimes: tuple[str, ...] = (RUNTIME,)

    def availability(self) -> Availability:
        """Return whether emulator and compiler are here, and the firmware where one is given."""
        try:
            for program in self._programs():
                boards.version(boards.find(program))
            if self.firmware is not None:
                build.read(self.firmware)
        except EdgefmError as error:
            return Unavailable(str(error))
        return Available()

    def open(self, runtime: str) -> Place:
        """Return this machine's place: the worker runs here and feeds the firmware in an emulator.

        Raises:
          TargetError: the runtime does not run there.
        """
        if runtime != RUNTIME:
            raise TargetError(f"the runtime '{runtime}' does not run on a Cortex-M", hint=f"Use '{RUNTIME}'.")
        return CortexMPlace(self.name.partition(":")[2])

    def figures(self, model: Path) -> tuple[Figure, ...]:
        """Return what an emulated run of the model with a few inputs tells.

        Figures, all simulated: 'instructions' of one inference (median; by operator in its details), 'flash_bytes'
        and 'ram_bytes' of the firmware, and 'output_difference': the largest one to LiteRT's built-in kernels on
        the same inputs, in levels of a quantised output.

        Raises:
          ModelError: a kernel for it is missing, or it does not fit the memory.
          TargetError: a program is missing, or the user's firmware does not do what it should.
        """
        graph = read_graph(Path(model))
        inputs = random_inputs(graph, count=INPUTS)
        with scratch.folder("cortex-m") as folder:
            source, firmware = self.firmware_for(graph, folder)
            counted = self._run(graph, firmware, inputs)
            outputs = outputs_of(graph, counted)
        details = self._details(source)
        steps = () if source is None else source.steps
        counts = counted.instructions
        return (
            self._figure(
                "instructions",
                value=float(statistics.median(counts)),
                details=details
                | {
                    "meaning": _MEANING,
                    "inputs": len(counts),
                    "least": min(counts),
                    "most": max(counts),
                    "resolution": self.board.tick_ns,
                    "by_operator": by_operator(counted, steps),
                },
            ),
            self._figure("flash_bytes", value=float(firmware.flash_bytes), details=details),
            self._figure(
                "ram_bytes",
                value=float(firmware.ram_bytes),
                details=details
                | {"stack": "not counted", "arena_bytes": None if source is None else source.arena_bytes},
            ),
            self._difference(Path(model), inputs, outputs, details),
        )

    def outputs(self, model: Path, inputs: NDArray[Any], *, seconds: float = run.SECONDS) -> tuple[NDArray[Any], ...]:
        """Return the outputs for raw inputs, [n, ...] each in the model's own dtype, in the file's order.

        Args:
          model: .tflite file.
          inputs: [n, ...] in the model's own dtype and shape, without the batch of 1.
          seconds: for the whole run; an inference of 60 M instructions takes about 0.3 s.
        Raises:
          ModelError: see `figures`; or inputs of another shape or dtype.
          TargetError: see `figures`.
        """
        graph = read_graph(Path(model))
        tensor = graph.inputs[0]
        if inputs.dtype != np.dtype(tensor.dtype) or inputs.shape[1:] != tensor.shape[1:] or not len(inputs):
            raise ModelError(
                f"inputs are {inputs.dtype} {inputs.shape}; {model} takes {tensor.dtype} {tensor.shape[1:]}"
            )
        with scratch.folder("cortex-m") as folder:
            _, firmware = self.firmware_for(graph, folder)
            return outputs_of(graph, self._run(graph, firmware, inputs, seconds=seconds))

    def _programs(self) -> tuple[str, ...]:
        return (EMULATOR, COMPILER) if self.firmware is None else (EMULATOR,)

    def firmware_for(self, graph: FirmwareGraph, folder: Path) -> tuple[FirmwareSource | None, build.Firmware]:
        """Return the user's firmware, or the one that is built in a folder, with its source.

        Raises:
          ModelError: a kernel for the model is missing, or it does not fit the memory.
          TargetError: the compiler is missing, or the user's firmware is not an ELF file for Arm.
        """
        if self.firmware is not None:
            return None, build.read(self.firmware)
        source = source_of(graph)
        source.write(folder)
        return source, build.read(build.build(folder, board=self.board))

    def _run(
        self,
        graph: FirmwareGraph,
        firmware: build.Firmware,
        inputs: NDArray[Any],
        *,
        seconds: float = run.SECONDS,
    ) -> Counted:
        try:
            return run.run(
                firmware,
                np.ascontiguousarray(inputs).tobytes(),
                board=self.board,
                input_bytes=graph.inputs[0].size_bytes,
                seconds=seconds,
            )
        except FirmwareError as error:
            if self.firmware is None:  # edgefm's own: what went wrong is the model's
                raise ModelError(f"{graph.path} could not be run on an emulated Cortex-M: {error.message}") from error
            raise

    def _details(self, source: FirmwareSource | None) -> dict[str, Any]:
        details: dict[str, Any] = {
            "cpu": self.board.cpu,
            "machine": self.board.machine,
            "qemu": boards.version(boards.find(EMULATOR)),
        }
        if source is None:
            assert self.firmware is not None
            # Its name, not its place on this machine: records are passed on.
            kernels = f"those of the given firmware {self.firmware.name}"
            return details | {"kernels": kernels, "firmware_sha256": sha256_file(self.firmware)}
        compiler = boards.version(boards.find(COMPILER))
        flags = " ".join(build.flags_of(self.board))
        return details | {"kernels": _OWN, "compiler": f"{COMPILER} {compiler}", "flags": flags}

    def _figure(
        self, name: str, *, value: float | None = None, reason: str | None = None, details: dict[str, Any]
    ) -> Figure:
        return Figure(name=name, value=value, mode=self.mode, reason=reason, details=details)

    def _difference(
        self, model: Path, inputs: NDArray[Any], outputs: tuple[NDArray[Any], ...], details: dict[str, Any]
    ) -> Figure:
        """Compare with LiteRT on this machine, in a worker of its own."""
        from edgefm.targets.raw_outputs import raw_outputs

        name = "output_difference"
        details = details | {"reference": REFERENCE, "inputs": len(inputs)}
        try:
            expected = raw_outputs(model, inputs, runtime=REFERENCE, target=Host())
        except EdgefmError as error:
            return self._figure(name, reason=f"{REFERENCE} could not run it: {error.message}", details=details)
        differences = [
            np.abs(mine.astype(np.float64) - other.astype(np.float64).reshape(mine.shape))
            for mine, other in zip(outputs, expected, strict=True)
        ]
        details["differing_values"] = int(sum(np.count_nonzero(difference) for difference in differences))
        details["values"] = int(sum(difference.size for difference in differences))
        return self._figure(name, value=float(max(np.max(mine) for mine in differences)), details=details)


class CortexMPlace(HostPlace):
    """The place of workers on this machine that are told which core to emulate."""

    def __init__(self, address: str) -> None:
        """Use the place.

        Args:
          address: behind 'cortex-m:'.
        """
        super().__init__()
        self._address = address

    def start(self, *, log: IO[bytes]) -> subprocess.Popen[str]:
        """Return a new worker process; its files are gone with the place, even where it is killed."""
        return start_here(log=log, variables={VARIABLE: self._address, "TMPDIR": str(self._folder)})
