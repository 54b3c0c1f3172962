"""Running a firmware in QEMU: inputs go in as a file, outputs come back as one, instructions are counted."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgefm.core import scratch
from edgefm.core.subprocesses import signal_name
from edgefm.targets.base import TargetError
from edgefm.targets.cortex_m.boards import EMULATOR, CortexMBoard, find
from edgefm.targets.cortex_m.build import Firmware

SECONDS = 120.0
# A firmware that writes without end is stopped.
_MOST_WRITTEN_BYTES = 1 << 30
_LINE = re.compile(r"^edgefm:(model|operator|sample|done|error) ?(.*)$", re.MULTILINE)
# Names in the emulator's working directory; the firmware opens the first two.
IN, OUT, WORDS, FIRMWARE, LOG = "edgefm.in", "edgefm.out", "words.txt", "firmware.elf", "qemu.log"


class FirmwareError(TargetError):
    """A firmware hung, met a fault, or does not keep to what edgefm asks of it."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What a run of a firmware gave.

    Attributes:
      instructions: of each inference, in order; exact to one tick of the board's clock on either side.
      by_operator: instructions of each operator alone, by its place; empty where the firmware has none.
      outputs: the bytes of all outputs, sample after sample.
      output_bytes: size of each output of one sample.
    """

    instructions: tuple[int, ...]
    by_operator: Mapping[int, int]
    outputs: bytes
    output_bytes: tuple[int, ...]


def run(
    firmware: Firmware, inputs: bytes, *, board: CortexMBoard, input_bytes: int, seconds: float = SECONDS
) -> Counted:
    """Return what a firmware makes of inputs.

    Args:
      firmware: for the board.
      inputs: samples one after the other.
      board: to emulate.
      input_bytes: size of one sample: the firmware must take inputs of this size.
      seconds: the emulator may take; then it is killed.
    Raises:
      FirmwareError: the firmware hung, met a fault, said nothing, or takes inputs of another size.
      TargetError: the emulator is not there.
    """
    with scratch.folder("cortex-m") as folder:
        (folder / IN).write_bytes(inputs)
        shutil.copyfile(firmware.path, folder / FIRMWARE)  # a name without a comma, which QEMU would split at
        ended, log = _emulate(folder, board=board, seconds=seconds)
        text = (folder / WORDS).read_text(encoding="utf-8", errors="replace") if (folder / WORDS).exists() else ""
        words = [(kind, rest) for kind, rest in _LINE.findall(text)]
        outputs = (folder / OUT).read_bytes() if (folder / OUT).exists() else b""
    return _read(
        words,
        outputs,
        stopped=why(text),
        ended=ended,
        log=log,
        input_bytes=input_bytes,
        samples=len(inputs) // input_bytes,
        tick=board.tick_ns,
    )


def command(board: CortexMBoard, *, counted: bool) -> list[str]:
    """Return the command that runs the firmware in the working directory.

    Args:
      board: to emulate.
      counted: one instruction takes one nanosecond of the emulated time; the host's time plays no part.
    Raises:
      TargetError: the emulator is not there.
    """
    return [
        str(find(EMULATOR)),
        *("-machine", board.machine),
        *(("-icount", "shift=0") if counted else ()),
        *("-display", "none", "-monitor", "none", "-serial", "none"),
        *("-chardev", f"file,id=words,path={WORDS}"),
        *("-semihosting-config", "enable=on,target=native,chardev=words"),
        *("-kernel", FIRMWARE),
    ]


def sizes(words: str) -> list[int]:
    """Return the bytes of the input and of each output that a firmware has told so far; empty where it has not."""
    models = [rest for kind, rest in _LINE.findall(words) if kind == "model"]
    try:
        return _numbers(models[0]) if models and "\n" in words.partition("edgefm:model")[2] else []
    except ValueError as error:
        raise FirmwareError("the firmware's messages to edgefm cannot be parsed") from error


def why(words: str) -> str | None:
    """Return the reason that a firmware gave for its end; None where it gave none."""
    return next((rest.strip() for kind, rest in _LINE.findall(words) if kind == "error"), None)


def _emulate(folder: Path, *, board: CortexMBoard, seconds: float) -> tuple[str | None, str]:
    """Run the emulator; return how it ended, None where that was in order, and its own words."""
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            command(board, counted=True), cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            if sys.platform == "linux":
                import resource  # not there on Windows

                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_MOST_WRITTEN_BYTES, _MOST_WRITTEN_BYTES))
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"it did not end within {seconds:g} s and was stopped", ""
        finally:
            process.kill()
            process.wait()
    words = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip()
    if code == 0:
        return None, words
    if code == -signal.SIGXFSZ:
        return f"it wrote more than {_MOST_WRITTEN_BYTES >> 20} MiB and was stopped", words
    return f"the emulator ended with {signal_name(-code) if code < 0 else f'code {code}'}", words


def _read(
    words: list[tuple[str, str]],
    outputs: bytes,
    *,
    stopped: str | None,
    ended: str | None,
    log: str,
    input_bytes: int,
    samples: int,
    tick: float,
) -> Counted:
    """Return what the lines and the outputs say, or raise a FirmwareError that says what is wrong."""
    if stopped is not None:
        raise FirmwareError(f"the firmware stopped: {stopped}")
    if ended is not None:
        last = log.splitlines()[0] if log else ""
        raise FirmwareError(f"the firmware failed: {ended}{f' ({last})' if last else ''}")
    if not words:
        raise FirmwareError(
            "the firmware ended without a message to edgefm",
            hint="Link it with edgefm_firmware.c and call edgefm_main(); see docs/targets-npu-mcu.md.",
        )
    try:
        ends = next(_numbers(rest) for kind, rest in words if kind == "model")
        counts = _pairs(rest for kind, rest in words if kind == "sample")
        operators = _pairs(rest for kind, rest in words if kind == "operator")
        input_size, *output_sizes = ends
        answered = next(_numbers(rest) for kind, rest in words if kind == "done")
    except (StopIteration, ValueError) as error:
        raise FirmwareError("the firmware's messages to edgefm are incomplete or cannot be parsed") from error
    if input_size != input_bytes:
        raise FirmwareError(f"the firmware takes inputs of {input_size} bytes, the model's have {input_bytes}")
    if answered != [samples] or sorted(counts) != list(range(samples)) or len(outputs) != samples * sum(output_sizes):
        raise FirmwareError(f"the firmware answered {len(counts)} of {samples} inputs with {len(outputs)} bytes")
    return Counted(
        instructions=tuple(round(counts[sample] * tick) for sample in range(samples)),
        by_operator={place: round(count * tick) for place, count in sorted(operators.items())},
        outputs=outputs,
        output_bytes=tuple(output_sizes),
    )


def _pairs(texts: Iterable[str]) -> dict[int, int]:
    """Return the second number of each text by the first; ValueError where there are not two."""
    pairs = {}
    for text in texts:
        first, second = _numbers(text)
        pairs[first] = second
    return pairs


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]
