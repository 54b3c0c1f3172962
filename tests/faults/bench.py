"""What every part of the fault programs stands on: tries under limits, judged by how they end."""

from __future__ import annotations

import os
import random
import re
import resource
import shlex
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
# How a try may end: the first two are right, the others failures. 'broken' is any other promise, told by its detail.
KINDS = ("clean", "accepted", "traceback", "hang", "crash", "memory", "broken")
RIGHT = KINDS[:2]
MOST_BYTES = 2 << 30
_STOP_BYTES = 3 << 30  # a try that takes so much is killed: others use this machine
_CRASHED_CODE = 70  # of the handler of last resort
# -P: as the installed program, which has its own folder in the path instead of the working one.
EDGEFM = (sys.executable, "-P", "-c", "import sys; from edgefm.cli.start import main; sys.argv[0] = 'edgefm'; main()")
_SECONDS = 20.0
_PATIENCE = 3  # a try that seems to hang is repeated with so many times the time before that is believed


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a try ended.

    Attributes:
      kind: one of KINDS.
      detail: what failed, in a few words; equal ones are counted together.
      code: exit status; -n where signal n ended it.
      seconds: it took.
      bytes: most resident memory of it and of the processes that it waited for.
      text: standard output and standard error.
      file: the input, which is kept where it failed.
      how: the command, and what was done to its input.
    """

    kind: str
    detail: str = ""
    code: int = 0
    seconds: float = 0.0
    bytes: int = 0
    text: str = ""
    file: Path | None = None
    how: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One sort of tries.

    Attributes:
      name: unique among all kinds.
      count: tries of the long form.
      weight: share of its kind's time in the short form, relative to the other parts.
      slow: its beginning or a single try may take half a minute; the short form begins it after the others.
      tries: yields them without end, or to the end of its list.
    """

    name: str
    count: int
    weight: float = 1.0
    slow: bool = False
    tries: Callable[[Bench], Iterator[Outcome]] = field(repr=False)


class ControlFailedError(Exception):
    """Undamaged input was not accepted."""


class TimeOverError(Exception):
    """The time of a part was over in the middle of a try, which is not counted."""


class Bench:
    """The workplace of a part: a folder, chance, a finished run, and ways to try things."""

    def __init__(self, *, folder: Path, seed: int, name: str, run: Path, until: float | None = None) -> None:
        self.folder = folder / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.random = random.Random(f"{seed}-{name}")
        self.run = run
        self.until = until
        self.models = run / "01-quantize"
        self._log = folder / f"{name}.log"

    def command(self, *argv: object, file: Path | None = None, how: str = "", **limits: Any) -> Outcome:
        """Try `edgefm argv` in a child forked from this process, whose libraries are loaded already."""
        words = [str(word) for word in argv]

        def action() -> int:
            from edgefm.cli.main import cli, run

            return run(lambda: cli.main(args=words, standalone_mode=False))

        return self.forked(action, file=file, how=_told(words, how), **limits)

    def edgefm(
        self,
        *argv: object,
        file: Path | None = None,
        how: str = "",
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
        **limits: Any,
    ) -> Outcome:
        """Try the real command `edgefm argv`."""
        words = [str(word) for word in argv]

        def action() -> int:
            start_edgefm(words, cwd=cwd or self.folder, variables=variables)

        return self.forked(action, file=file, how=_told(words, how), **limits)

    def forked(
        self,
        action: Callable[[], int],
        *,
        file: Path | None = None,
        how: str = "",
        seconds: float = _SECONDS,
        verdicts: bool = False,
    ) -> Outcome:
        """Call an action, which returns an exit status, in a forked child and judge how it ends.

        Args:
          action: what is tried; it may also replace its process.
          file: its input.
          how: to repeat it.
          seconds: it may take; where it takes longer it is tried once more, with three times as much.
          verdicts: exit status 2 without an error message is an answer of its own: 'could not be decided'.
        """
        outcome = self._once(action, seconds, verdicts)
        if outcome.kind == "hang":
            outcome = self._once(action, _PATIENCE * seconds, verdicts)
        return replace(outcome, file=file, how=how)

    def control(self, outcome: Outcome) -> None:
        """Stop the part where undamaged input was not accepted."""
        if outcome.kind != "accepted":
            raise ControlFailedError(f"{outcome.how}: {outcome.kind} {outcome.code} {outcome.text[-600:]}")

    def copy_of_run(self, name: str) -> Path:
        """Return a new copy of the finished run."""
        there = self.folder / name
        shutil.rmtree(there, ignore_errors=True)
        return Path(shutil.copytree(self.run, there))

    def _once(self, action: Callable[[], int], seconds: float, verdicts: bool) -> Outcome:
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _be_child(action, self._log)
        hung = big = False
        while True:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                break
            hung, big = time.monotonic() - started > seconds, _resident(pid) > _STOP_BYTES
            over = self.until is not None and time.monotonic() > self.until
            if hung or big or over:
                _kill_group(pid)
                _, status, usage = os.wait4(pid, 0)
                if over and not hung and not big:
                    raise TimeOverError
                break
            time.sleep(0.002)
        took = time.monotonic() - started
        _kill_group(pid)  # what it may have left behind
        text = self._log.read_bytes().decode("utf-8", "replace") if self._log.exists() else ""
        code = os.waitstatus_to_exitcode(status)
        kind, detail = judged(code, text, verdicts=verdicts)
        most = usage.ru_maxrss * 1024
        if hung:
            kind, detail = "hang", f"> {seconds:g} s"
        elif big or most > MOST_BYTES:
            kind, detail = "memory", f"> {MOST_BYTES >> 30} GiB"
        return Outcome(kind=kind, detail=detail, code=code, seconds=took, bytes=most, text=text)


def judged(code: int, text: str, *, verdicts: bool = False) -> tuple[str, str]:
    """Return the kind of an end and its detail, from the exit status and what was written.

    >>> judged(2, "error: no run at x")
    ('clean', '')
    >>> judged(70, "error: a fault of edgefm")[0], judged(-11, "")
    ('traceback', ('crash', 'SIGSEGV'))
    """
    if code < 0:
        return "crash", signal.Signals(-code).name
    if code == _CRASHED_CODE or "Traceback (most recent call last)" in text:
        return "traceback", _place(text)
    if "Usage: " in text or "No such option" in text:
        return "broken", f"the program asked wrongly: {text.strip()[-100:]}"
    if code in (0, 1):
        return "accepted", ""
    if code != 2:
        return "broken", f"exit {code}"
    messages = len(re.findall(r"(?:^|[\r\n])(?:\x1b\[[\d;]*m)*error: ", text))
    if messages == 1:
        return "clean", ""
    if messages == 0 and verdicts and text.strip():
        return "accepted", ""
    return "broken", f"exit 2 with {messages} error messages"


def start_edgefm(words: list[str], *, cwd: Path, variables: Mapping[str, str] | None = None) -> Any:
    """Replace this process by the command line of this checkout."""
    os.chdir(cwd)
    os.execve(sys.executable, [*EDGEFM, *words], {**environment(), **(variables or {})})


def environment() -> dict[str, str]:
    """Return the variables for EDGEFM: this checkout is what it imports."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "converters")])}


def _be_child(action: Callable[[], int], log: Path) -> None:
    code = _CRASHED_CODE
    try:
        os.setsid()
        out = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        for source, descriptor in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (out, 2)):
            os.dup2(source, descriptor)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = int(action() or 0)
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code & 0xFF)


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
            return
        except (ProcessLookupError, PermissionError):
            continue


def _resident(pid: int) -> int:
    """Return the resident bytes of a process; 0 where it is gone or this system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _place(text: str) -> str:
    """Return the last line of a traceback and the last place in edgefm that it names."""
    lines = text.strip().splitlines() or [""]
    files = [line.strip().replace(f"{ROOT}/", "") for line in lines if line.strip().startswith("File ")]
    ours = [line for line in files if "edgefm" in line and "site-packages" not in line and "tests/faults" not in line]
    return f"{lines[-1][:110]} @ {([*files, *ours] or [''])[-1][:120]}"


def _told(words: list[str], how: str) -> str:
    return f"edgefm {shlex.join(words)}" + (f"  # {how}" if how else "")
