"""Bars in a real terminal (a pseudo-terminal): nothing is silent for long, whatever else is silenced."""

from __future__ import annotations

import itertools
import os
import re
import struct
import sys
import time
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="pseudo-terminals are of Unix")

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import os, sys, time
from edgefm.core.progress import Bars, stated
from edgefm.core.silence import silenced
bars = Bars()
with stated(bars, "loading x.keras"):
    with silenced():
        os.write(2, b"noise of a library")
        time.sleep(3.2)
bars.step("answers", 0, 2, {"cell": "first"})
bars.note("a note")
bars.step("answers", 2, 2)
bars.close()
"""


def _in_terminal(program: str, *, columns: int) -> list[tuple[float, str]]:
    """Return what a program writes to a terminal of so many columns, each piece with its time in s."""
    import fcntl
    import termios

    child, terminal = pty.fork()
    if child == 0:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "converters")])
        time.sleep(0.2)  # the size is set first
        os.execv(sys.executable, [sys.executable, "-c", program])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    pieces = []
    while True:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # the program has ended
            break
        if not piece:
            break
        pieces.append((time.monotonic(), piece.decode("utf-8", "replace")))
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, pieces
    return pieces


@pytest.mark.parametrize("columns", [100, 0], ids=["sized", "without a size"])
def test_terminal_hears_of_work_every_two_seconds_though_output_is_silenced(columns: int) -> None:
    pieces = _in_terminal(PROGRAM, columns=columns)
    text = "".join(piece for _, piece in pieces)
    drawn = [when for when, piece in pieces if "loading x.keras" in piece]
    assert drawn[-1] - drawn[0] > 3
    assert max(later - earlier for earlier, later in itertools.pairwise(drawn)) < 2
    assert "noise of a library" not in text
    assert "a note\r\n" in text
    assert "cell first" in text
    assert "2/2" in text


OVERVIEW = """
import time
from edgefm.core.progress import Bars, overview
bars = Bars()
overview(bars, ["before there is a bar"])
bars.step("search", 0, 4)
overview(bars, ["3 trials ended " + "x" * 200, "phone: \\u6f22\\u5b57\\x1b[2J"])
time.sleep(0.2)
bars.step("epochs of a trial", 1, 2)
bars.note("a note")
overview(bars, ["4 trials ended"])
bars.step("epochs of a trial", 2, 2)
bars.close()
print("end")
"""


def test_lines_stay_below_the_bars_and_are_gone_at_the_end() -> None:
    screen = _Screen(60)
    for _, piece in _in_terminal(OVERVIEW, columns=60):
        screen.write(piece)
    seen = ["\n".join(line.rstrip() for line in lines) for lines in screen.seen]
    assert any("search " in text and "\nbefore there is a bar" in text for text in seen)
    # Cut at the terminal's edge, with its control characters visible, and again below the next bar.
    assert any("epochs of a trial" in text and "\n3 trials ended xxxxx" in text for text in seen)
    assert any("\nphone: \u6f22\u5b57\\x1b[2J" in text for text in seen)
    assert any("a note\nepochs of a trial" in text and "4 trials ended" in text for text in seen)
    left = [line.rstrip() for line in screen.lines if line.strip()]
    assert [line.partition("  ")[0] for line in left[:1]] == ["search"]
    assert left[-1] == "end" and not any("trials ended" in line or "phone" in line for line in left)


class _Screen:
    """What a terminal shows that knows carriage return, line feed and cursor up; a letter wider than one counts two."""

    def __init__(self, columns: int) -> None:
        self.lines, self.seen = [""], [[""]]
        self._columns, self._row, self._column = columns, 0, 0

    def write(self, text: str) -> None:
        for part in re.findall(r"\x1b\[A|.", text, re.DOTALL):
            if part == "\x1b[A":
                self.seen.append(list(self.lines))
                self._row = max(0, self._row - 1)
            elif part == "\r":
                self._column = 0
            elif part == "\n":
                self._row += 1
                self.lines += [""] * (self._row + 1 - len(self.lines))
                self.seen.append(list(self.lines))
            else:
                assert self._column < self._columns, "a line runs over the edge"
                line = self.lines[self._row].ljust(self._column)
                self.lines[self._row] = line[: self._column] + part + line[self._column + 1 :]
                self._column += 1


def test_plain_lines_are_written_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    from edgefm.core.progress import Bars, stated

    bars = Bars()
    with stated(bars, "loading x.keras"):
        time.sleep(1.3)
    shown = capfd.readouterr().err
    assert shown.count("loading x.keras") == 2  # its beginning and its end


def test_overview_is_plain_lines_once_a_minute_where_there_is_no_terminal_or_none(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from edgefm.core.progress import SILENT, Bars, overview

    bars = Bars()
    overview(bars, ["3 trials ended", "phone: met"])
    overview(bars, ["4 trials ended"])
    overview(Bars(overviews=False), ["nothing"])
    overview(SILENT, ["nothing"])
    assert capfd.readouterr().err == "3 trials ended\nphone: met\n"
