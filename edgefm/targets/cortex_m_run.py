"""Running a firmware in QEMU: inputs go in as a file, outputs come back as one, instructions are counted."""

from __future__ import annotations

import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgefm.targets.base import TargetError
from edgefm.targets.cortex_m_boards import EMULATOR, Board, find
from edgefm.targets.cortex_m_build import Firmware

SECONDS = 120.0
# A firmware that writes without end is stopped.
_MOST_WRITTEN_BYTES = 1 << 30
_LINE = re.compile(r"^edgefm:(model|operator|sample|done|error) ?(.*)$", re.MULTILINE)
_WORDS, _IN, _OUT = "words.txt", "edgefm.in", "edgefm.out"


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


def run(firmware: Firmware, inputs: bytes, *, board: Board, input_bytes: int, seconds: float = SECONDS) -> Counted:
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
    with tempfile.TemporaryDirectory(prefix="edgefm-cortex-m-") as name:
        folder = Path(name)
        (folder / _IN).write_bytes(inputs)
        shutil.copyfile(firmware.path, folder / "firmware.elf")  # a name without a comma, which QEMU would split at
        ended, log = _emulate(folder, board=board, seconds=seconds)
        text = (folder / _WORDS).read_text(encoding="utf-8", errors="replace") if (folder / _WORDS).exists() else ""
        told = [(kind, rest) for kind, rest in _LINE.findall(text)]
        outputs = (folder / _OUT).read_bytes() if (folder / _OUT).exists() else b""
    return _read(
        told,
        outputs,
        ended=ended,
        log=log,
        input_bytes=input_bytes,
        samples=len(inputs) // input_bytes,
        tick=board.tick_ns,
    )


def _emulate(folder: Path, *, board: Board, seconds: float) -> tuple[str | None, str]:
    """Run the emulator; return how it ended, None where that was in order, and its own words."""
    command = [
        str(find(EMULATOR)),
        *("-machine", board.machine),
        # One instruction takes one nanosecond of the emulated time; the host's time plays no part.
        *("-icount", "shift=0"),
        *("-display", "none", "-monitor", "none", "-serial", "none"),
        *("-chardev", f"file,id=words,path={_WORDS}"),
        *("-semihosting-config", "enable=on,target=native,chardev=words"),
        *("-kernel", "firmware.elf"),
    ]
    with (folder / "qemu.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            if sys.platform == "linux":
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_MOST_WRITTEN_BYTES, _MOST_WRITTEN_BYTES))
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"it did not end within {seconds:g} s, and was stopped", ""
        finally:
            process.kill()
            process.wait()
    words = (folder / "qemu.log").read_text(encoding="utf-8", errors="replace").strip()
    if code == 0:
        return None, words
    if code == -signal.SIGXFSZ:
        return f"it wrote more than {_MOST_WRITTEN_BYTES >> 20} MiB, and was stopped", words
    return f"the emulator ended with {signal.Signals(-code).name if code < 0 else f'code {code}'}", words


def _read(
    told: list[tuple[str, str]],
    outputs: bytes,
    *,
    ended: str | None,
    log: str,
    input_bytes: int,
    samples: int,
    tick: float,
) -> Counted:
    """Return what the lines and the outputs say, or raise a FirmwareError that says what is wrong."""
    errors = [rest for kind, rest in told if kind == "error"]
    if errors:
        raise FirmwareError(f"the firmware stopped: {errors[0].strip()}")
    if ended is not None:
        last = log.splitlines()[0] if log else ""
        raise FirmwareError(f"the firmware failed: {ended}{f' ({last})' if last else ''}")
    if not told:
        raise FirmwareError(
            "the firmware ended without a word to edgefm",
            hint="Link it with edgefm_firmware.c and call edgefm_main(); see docs/targets-npu-mcu.md.",
        )
    try:
        sizes = next(_numbers(rest) for kind, rest in told if kind == "model")
        counts = dict(_numbers(rest) for kind, rest in told if kind == "sample")
        operators = dict(_numbers(rest) for kind, rest in told if kind == "operator")
        done = next(_numbers(rest) for kind, rest in told if kind == "done")
    except (StopIteration, ValueError) as error:
        raise FirmwareError("the firmware's words to edgefm are incomplete or not understood") from error
    if sizes[0] != input_bytes:
        raise FirmwareError(f"the firmware takes inputs of {sizes[0]} bytes, the model's have {input_bytes}")
    if done != [samples] or sorted(counts) != list(range(samples)) or len(outputs) != samples * sum(sizes[1:]):
        raise FirmwareError(f"the firmware answered {len(counts)} of {samples} inputs with {len(outputs)} bytes")
    return Counted(
        instructions=tuple(round(counts[sample] * tick) for sample in range(samples)),
        by_operator={place: round(count * tick) for place, count in sorted(operators.items())},
        outputs=outputs,
        output_bytes=tuple(sizes[1:]),
    )


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]
