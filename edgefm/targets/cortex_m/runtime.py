"""The firmware of the target 'cortex-m' as a runtime: a worker of this machine feeds it in QEMU, input by input.

It is of that target alone, whose place tells the worker which core and which firmware by EDGEFM_CORTEX_M. The
emulator runs without counting here, which takes half the time; counts are the target's figures.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefm.core import scratch
from edgefm.core.errors import EdgefmError, ModelError, RecipeError
from edgefm.core.with_parent import end_with_parent
from edgefm.runtimes.base import Availability, TensorDetails, Unavailable
from edgefm.runtimes.session import BaseSession, check_available, check_input
from edgefm.targets import cortex_m
from edgefm.targets.cortex_m import boards, run
from edgefm.targets.cortex_m.boards import EMULATOR
from edgefm.targets.cortex_m.build import Firmware
from edgefm.targets.cortex_m.graph import FirmwareGraph, FirmwareTensor
from edgefm.targets.cortex_m.graph import read as read_graph
from edgefm.targets.cortex_m.run import FirmwareError
from edgefm.targets.cortex_m.samples import arrays

name = cortex_m.RUNTIME
INSTALL = "apt-get install qemu-system-arm gcc-arm-none-eabi"
# The compiler and the emulator would inherit the worker's limit; the model's memory is the board's.
LIMITS_MEMORY = False
_POLL_SECONDS = 0.2
_START_SECONDS = 20.0


def version() -> str:
    """Return the emulator's version."""
    return f"qemu {boards.version(boards.find(EMULATOR))}"


def availability() -> Availability:
    """Return whether this is a worker of the target cortex-m with all that it needs."""
    address = os.environ.get(cortex_m.VARIABLE)
    if address is None:
        return Unavailable("it runs on the target 'cortex-m' only")
    try:
        return cortex_m.target(address).availability()
    except EdgefmError as error:
        return Unavailable(error.message)


def load(path: Path, *, threads: int = 1) -> CortexMSession:
    """Return a session of a .tflite file; see `edgefm.runtimes.base.Runtime.load`."""
    if threads != 1:
        raise RecipeError(f"threads {threads} is not allowed: a Cortex-M has one core")
    check_available(availability())
    target = cortex_m.target(os.environ[cortex_m.VARIABLE])
    graph = read_graph(path)
    folder = scratch.make("cortex-m")
    try:
        _, firmware = target.firmware_for(graph, folder)
        return CortexMSession(graph, firmware, board=target.board, folder=folder)
    except BaseException:
        scratch.remove(folder)
        raise


class CortexMSession(BaseSession):
    """A firmware that waits in the emulator for its next input."""

    def __init__(self, graph: FirmwareGraph, firmware: Firmware, *, board: boards.CortexMBoard, folder: Path) -> None:
        super().__init__(_details(graph.inputs[0]), [_details(tensor) for tensor in graph.outputs], self._invoke)
        self._graph, self._folder = graph, folder
        self._given = bytes(graph.inputs[0].size_bytes)
        self._answers: tuple[NDArray[Any], ...] = ()
        for pipe in (run.IN, run.OUT):
            os.mkfifo(folder / pipe)
        # Both ways on one side: neither waits for the emulator, and its end is not the end of the pipe.
        self._to = os.open(folder / run.IN, os.O_RDWR | os.O_NONBLOCK)
        self._from = os.open(folder / run.OUT, os.O_RDWR | os.O_NONBLOCK)
        if firmware.path.parent != folder:
            shutil.copyfile(firmware.path, folder / run.FIRMWARE)
        with (folder / run.LOG).open("wb") as log:
            self._process = subprocess.Popen(
                run.command(board, counted=False),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent(),
            )
        try:
            self._check_sizes()
        except BaseException:
            self.close()
            raise

    def set_input(self, array: NDArray[Any]) -> None:
        """Copy an array of the input's dtype and shape."""
        check_input(self.input, array)
        self._given = np.ascontiguousarray(array).tobytes()

    def get_outputs(self) -> tuple[NDArray[Any], ...]:
        """Return copies of all outputs of the last invoke."""
        return tuple(answer.copy() for answer in self._answers)

    def close(self) -> None:
        """End the emulator and remove the files."""
        super().close()
        self._process.kill()
        self._process.wait()
        for pipe in (self._to, self._from):
            os.close(pipe)
        scratch.remove(self._folder)

    def _invoke(self) -> None:
        """Write the input, wait for the outputs; the caller limits the time."""
        left = memoryview(self._given)
        while left:
            if select.select([], [self._to], [], _POLL_SECONDS)[1]:
                left = left[os.write(self._to, left) :]
            else:
                self._check_alive()
        size_bytes = sum(tensor.size_bytes for tensor in self._graph.outputs)
        answer = bytearray()
        while len(answer) < size_bytes:
            if select.select([self._from], [], [], _POLL_SECONDS)[0]:
                answer += os.read(self._from, size_bytes - len(answer))
            else:
                self._check_alive()
        self._answers = arrays(self._graph, bytes(answer), batch=True)

    def _check_sizes(self) -> None:
        """Wait for the firmware's first words: the sizes of what goes in and comes out."""
        until = time.monotonic() + _START_SECONDS
        while not (sizes := run.sizes(self._words())):
            self._check_alive()
            if time.monotonic() > until:
                raise FirmwareError(f"the firmware sent no message to edgefm within {_START_SECONDS:g} s")
            time.sleep(0.01)
        expected = [tensor.size_bytes for tensor in (*self._graph.inputs, *self._graph.outputs)]
        if sizes != expected:
            raise ModelError(f"the firmware's input and outputs have {sizes} bytes, the model's {expected}")

    def _words(self) -> str:
        path = self._folder / run.WORDS
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _check_alive(self) -> None:
        if self._process.poll() is not None:
            reason = run.why(self._words())
            log = (self._folder / run.LOG).read_text(encoding="utf-8", errors="replace").strip()
            raise FirmwareError(f"the firmware ended: {reason or log or f'exit code {self._process.returncode}'}")


def _details(tensor: FirmwareTensor) -> TensorDetails:
    quantised = tensor.dtype in ("int8", "uint8") and len(tensor.scales) == 1
    return TensorDetails(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        scale=tensor.scale if quantised else None,
        zero_point=tensor.zero_point if quantised else None,
    )
