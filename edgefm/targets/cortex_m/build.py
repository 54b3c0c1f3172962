"""Compiling a model's C source with edgefm's kernels into a firmware; and what an ELF file is."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from edgefm.core import subprocesses
from edgefm.core.errors import ModelError
from edgefm.targets.base import TargetError
from edgefm.targets.cortex_m.boards import COMPILER, FIRMWARE, CortexMBoard, find

FLAGS = ("-O2", "-std=gnu11", "-ffreestanding", "-ffunction-sections", "-fno-common")
SOURCES = ("edgefm_start.c", "edgefm_firmware.c", "edgefm_kernels.c")
_SECONDS = 120.0
_ARM, _LOAD, _WRITABLE = 40, 1, 2


def flags_of(board: CortexMBoard) -> tuple[str, ...]:
    """Return the compiler's flags that decide the code."""
    return (f"-mcpu={board.cpu}", "-mthumb", "-mfloat-abi=hard", *FLAGS)


def build(folder: Path, *, board: CortexMBoard) -> Path:
    """Return the firmware made of a folder's model.c and constants.bin.

    Raises:
      ModelError: it does not fit the board's memory.
      TargetError: the compiler is not there, or fails.
    """
    firmware = folder / "firmware.elf"
    command = [
        str(find(COMPILER)),
        *flags_of(board),
        "-nostdlib",
        "-Wl,--gc-sections",
        "-Wl,--no-warn-rwx-segments",
        f"-I{FIRMWARE}",
        f"-L{FIRMWARE}",
        "-T",
        str(board.script),
        "-o",
        firmware.name,
        "model.c",
        *(str(FIRMWARE / name) for name in SOURCES),
        "-lgcc",
    ]
    try:
        # The constants are taken from the working folder.
        result = subprocesses.run(command, seconds=_SECONDS, cwd=folder, merged=True)
    except subprocesses.TimeLimitError as error:
        raise TargetError(f"{COMPILER} did not end within {_SECONDS:g} s") from error
    except subprocesses.CommandError as error:
        raise TargetError(error.message, hint=error.hint) from error
    if result.code != 0:
        full = [line for line in result.output.splitlines() if "overflowed by" in line or "left for the stack" in line]
        if full:
            room = full[0].rpartition(": ")[2].strip()
            raise ModelError(f"the model does not fit the memory of {board.machine}: {room}")
        raise TargetError(f"{COMPILER} failed: {_first_error(result.output)}")
    return firmware


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line] or text.splitlines() or ["no error message"]
    return lines[0].strip()


@dataclass(frozen=True, kw_only=True)
class Firmware:
    """A firmware file.

    Attributes:
      path: of the ELF file.
      flash_bytes: code and constants, as they would lie in flash.
      ram_bytes: variables, the arena among them; the stack is not counted.
    """

    path: Path
    flash_bytes: int
    ram_bytes: int


def read(path: Path) -> Firmware:
    """Return what an ELF file for 32-bit Arm holds.

    Raises:
      TargetError: it is missing, no ELF file, damaged, or for another processor.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TargetError(f"the firmware {path} cannot be read: {error.strerror or error}") from error
    if content[:4] != b"\x7fELF":
        raise TargetError(f"{path} is not an ELF file", hint="Give the linker's .elf file, not a .bin or .hex.")
    if content[4:6] != b"\x01\x01":
        raise TargetError(f"{path} is not a 32-bit little-endian ELF file", hint="Build the firmware for Cortex-M.")
    try:
        kind, machine = struct.unpack_from("<HH", content, 16)
        (table,) = struct.unpack_from("<I", content, 28)
        size, count = struct.unpack_from("<HH", content, 42)
        segments = [struct.unpack_from("<8I", content, table + size * place) for place in range(count)]
    except struct.error as error:
        raise TargetError(f"the firmware {path} is cut off or damaged") from error
    if machine != _ARM:
        raise TargetError(f"{path} is built for another processor (ELF machine {machine}; Arm is {_ARM})")
    loaded = [segment for segment in segments if segment[0] == _LOAD]
    if kind != 2 or not loaded:  # ET_EXEC
        raise TargetError(f"{path} is not a linked program", hint="Link it with one of edgefm's linker scripts.")
    if any(offset + stored > len(content) for _, offset, _, _, stored, _, _, _ in loaded):
        raise TargetError(f"the firmware {path} is cut off or damaged")
    return Firmware(
        path=Path(path),
        flash_bytes=sum(segment[4] for segment in loaded),
        ram_bytes=sum(segment[5] for segment in loaded if segment[6] & _WRITABLE),
    )
