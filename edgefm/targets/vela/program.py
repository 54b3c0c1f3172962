"""Running vela, Arm's compiler for Ethos-U, on a model, and reading what it leaves behind."""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgefm.core import scratch, subprocesses
from edgefm.core.errors import ModelError, RecipeError, unknown_name
from edgefm.targets.base import TargetError

VARIABLE = "EDGEFM_VELA"
INSTALL = "Install it with: pip install 'edgefm[npu]'"
SECONDS = 300.0
_QUICK_SECONDS = 30.0
# "Warning (supported operators) operator: CUSTOM, ofm: 'y'", and the reason in the next line.
_REFUSAL = re.compile(r"operator: (?P<operator>\S+), ofm: '(?P<output>.*)'\s*\nReason: (?P<reason>.+)")


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What vela made of a model.

    Attributes:
      summary: the one row of its summary file; memory in KiB, times in seconds, as vela writes them.
      model: the compiled .tflite file; it lasts as long as the `compiled` block.
      layers: rows of its table of performance by layer; empty where nothing runs on the accelerator.
      refusals: why an operator stays on the CPU, by the name of its output tensor.
    """

    summary: Mapping[str, str]
    model: Path
    layers: tuple[Mapping[str, str], ...]
    refusals: Mapping[str, str]


def program() -> Path | None:
    """Return vela's program: EDGEFM_VELA, the one beside this Python, or the one on PATH; None where there is none.

    Raises:
      RecipeError: EDGEFM_VELA names no program.
    """
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named).expanduser()
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise RecipeError(f"{VARIABLE} is '{named}', which is not an executable", hint="Give the path of vela.")
        return path.absolute()
    beside = shutil.which("vela", path=str(Path(sys.executable).parent))
    vela = beside or shutil.which("vela")
    return None if vela is None else Path(vela)


def version() -> str:
    """Return vela's version.

    Raises:
      TargetError: it is not there, or does not answer.
    """
    return _answer("--version").strip()


def configurations(config: str) -> tuple[list[str], list[str]]:
    """Return the system configs and the memory modes of a configuration file, by name.

    Args:
      config: path of a file of vela's form, or one that vela brings, e.g. 'Arm/vela.ini'.
    """
    listed = re.findall(r"^\s*(System_Config|Memory_Mode)\.(\S+)", _answer("--list-configs", config), re.MULTILINE)
    systems = [name for kind, name in listed if kind == "System_Config"]
    modes = [name for kind, name in listed if kind == "Memory_Mode"]
    if not systems or not modes:
        raise RecipeError(
            f"'{config}' holds no System_Config or no Memory_Mode", hint="Vela's own file is 'Arm/vela.ini'."
        )
    return systems, modes


def check_configuration(*, config: str, system_config: str, memory_mode: str) -> None:
    """Raise a RecipeError that names the nearest known one where a name is not in the configuration file."""
    systems, modes = configurations(config)
    if system_config not in systems:
        raise unknown_name("system config", system_config, systems)
    if memory_mode not in modes:
        raise unknown_name("memory mode", memory_mode, modes)


@contextmanager
def compiled(
    model: Path,
    *,
    accelerator: str,
    config: str | None = None,
    system_config: str | None = None,
    memory_mode: str | None = None,
    seconds: float = SECONDS,
) -> Iterator[Compiled]:
    """Give what vela made of a model; its files are gone after the block.

    Args:
      model: .tflite file.
      accelerator: e.g. 'ethos-u55-128'.
      config: configuration file; None takes vela's own defaults for the accelerator, together with the next two.
      system_config: name in `config`.
      memory_mode: name in `config`.
      seconds: how long vela may take.
    Raises:
      ModelError: vela cannot compile the model, crashed on it or did not end in time.
      TargetError: vela is not there.
    """
    with scratch.folder("vela") as folder:
        # A name of our own: vela's files are called after it.
        source = folder / "model.tflite"
        shutil.copyfile(model, source)
        options = ["--accelerator-config", accelerator, "--output-dir", str(folder / "out"), "--verbose-performance"]
        if config is not None:
            assert system_config is not None and memory_mode is not None
            options += ["--config", config, "--system-config", system_config, "--memory-mode", memory_mode]
        text = _compile([*options, str(source)], model=model, seconds=seconds)
        summaries = sorted((folder / "out").glob("model_summary_*.csv"))
        result = folder / "out" / "model_vela.tflite"
        if len(summaries) != 1 or not result.is_file():
            raise ModelError(f"vela wrote no estimate for {model}{_last_words(text)}")
        rows = _rows(summaries[0])
        if len(rows) != 1:
            raise ModelError(f"vela's summary of {model} has {len(rows)} rows; 1 is expected")
        yield Compiled(
            summary=rows[0],
            model=result,
            layers=tuple(_rows(folder / "out" / "model_per-layer.csv")),
            refusals={refusal["output"]: refusal["reason"].strip() for refusal in _REFUSAL.finditer(text)},
        )


def _compile(arguments: list[str], *, model: Path, seconds: float) -> str:
    """Run vela on a model and return what it said; a ModelError where that failed."""
    try:
        result = _run(arguments, seconds=seconds)
    except subprocesses.TimeLimitError as error:
        raise ModelError(f"vela gave no estimate for {model} within {seconds:g} s and was killed") from error
    except subprocesses.OutputLimitError as error:
        raise ModelError(f"vela gave no estimate for {model}: {error.message}") from error
    if result.code < 0:
        name = subprocesses.signal_name(-result.code)
        raise ModelError(f"vela crashed with {name} on {model}{_last_words(result.output)}")
    if result.code > 0:
        raise ModelError(f"vela cannot compile {model}{_last_words(result.output)}")
    return result.output


def _output(arguments: list[str], *, seconds: float = _QUICK_SECONDS) -> str:
    """Run vela without a model and return what it said; a TargetError where that failed."""
    try:
        result = _run(arguments, seconds=seconds)
    except subprocesses.TimeLimitError as error:
        raise TargetError(f"vela did not answer within {seconds:g} s") from error
    except subprocesses.OutputLimitError as error:
        raise TargetError(error.message, hint=INSTALL) from error
    if result.code != 0:
        raise TargetError(f"vela does not work{_last_words(result.output)}", hint=INSTALL)
    return result.output


def _answer(*arguments: str) -> str:
    """Return what vela says to arguments; it takes a second to start, and is asked once while nothing changes."""
    files = (program(), *map(Path, arguments))
    return _asked(arguments, tuple((path, path.stat().st_mtime_ns) for path in files if path and path.is_file()))


@cache
def _asked(arguments: tuple[str, ...], files: tuple[tuple[Path, int], ...]) -> str:
    return _output(list(arguments))


def _run(arguments: list[str], *, seconds: float) -> subprocesses.CommandResult:
    path = program()
    if path is None:
        raise TargetError("vela is not installed", hint=INSTALL)
    try:
        return subprocesses.run([str(path), *arguments], seconds=seconds, merged=True)
    except subprocesses.NotStartedError as error:
        raise TargetError(error.message, hint=INSTALL) from error


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (csv.Error, ValueError) as error:  # bytes that are no text
        raise ModelError(f"vela's table {path.name} cannot be read: {error}") from error


def _last_words(text: str) -> str:
    """Return ': ' and the last line that is no default's warning; empty where there is none."""
    lines = [line.strip() for line in text.splitlines()]
    words = [line for line in lines if line and not line.startswith("Warning: No ")]
    return f": {words[-1]}" if words else ""
