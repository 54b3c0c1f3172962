"""The Cortex-M cores that QEMU emulates with room for a model, and the programs that are needed for them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgefm.core import subprocesses
from edgefm.core.errors import RecipeError
from edgefm.targets.base import TargetError

EMULATOR, COMPILER = "qemu-system-arm", "arm-none-eabi-gcc"
_PACKAGES = {EMULATOR: "qemu-system-arm", COMPILER: "gcc-arm-none-eabi"}
_VARIABLES = {EMULATOR: "EDGEFM_QEMU_SYSTEM_ARM", COMPILER: "EDGEFM_ARM_GCC"}
_ANSWER_SECONDS = 20.0
FIRMWARE = Path(__file__).parent / "firmware"


@dataclass(frozen=True, kw_only=True)
class CortexMBoard:
    """One of QEMU's boards.

    Attributes:
      core: e.g. 'm4'.
      cpu: the compiler's name of the core.
      machine: QEMU's name of the board.
      tick_ns: of its processor clock; under `-icount shift=0` also the instructions that a tick stands for.
    """

    core: str
    cpu: str
    machine: str
    tick_ns: float

    @property
    def script(self) -> Path:
        """The linker script."""
        return FIRMWARE / f"{self.core}.ld"


BOARDS: Mapping[str, CortexMBoard] = {
    board.core: board
    for board in (
        CortexMBoard(core="m4", cpu="cortex-m4", machine="mps2-an386", tick_ns=40.0),
        CortexMBoard(core="m7", cpu="cortex-m7", machine="mps2-an500", tick_ns=40.0),
        CortexMBoard(core="m55", cpu="cortex-m55", machine="mps3-an547", tick_ns=31.25),
    )
}


def find(program: str) -> Path:
    """Return the emulator's or the compiler's path.

    Raises:
      TargetError: it is not installed; the hint says how to install it.
      RecipeError: the environment variable for it names no program.
    """
    variable = _VARIABLES[program]
    named = os.environ.get(variable)
    if named:
        path = Path(named).expanduser()
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise RecipeError(
                f"{variable} is '{named}', which is not an executable", hint=f"Give the path of {program}."
            )
        return path.absolute()
    located = shutil.which(program)
    if located is None:
        raise TargetError(
            f"{program} is not installed",
            hint=f"Install it with: apt-get install {_PACKAGES[program]}, or name it in {variable}.",
        )
    return Path(located)


def version(program: Path) -> str:
    """Return the version that a program tells, e.g. '7.2.22'.

    Raises:
      TargetError: it does not answer.
    """
    try:
        result = subprocesses.run([str(program), "--version"], seconds=_ANSWER_SECONDS)
    except subprocesses.CommandError as error:
        raise TargetError(f"{program} does not answer: {error.message}") from error
    number = re.search(r"\d+\.\d+(\.\d+)?", result.output.partition("\n")[0])
    if result.code != 0 or number is None:
        raise TargetError(f"{program} does not report its version")
    return number.group()
