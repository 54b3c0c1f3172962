"""Bars in a real terminal (a pseudo-terminal): nothing is silent for long, whatever else is silenced."""

from __future__ import annotations

import itertools
import os
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


def test_plain_lines_are_written_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    from edgefm.core.progress import Bars, stated

    bars = Bars()
    with stated(bars, "loading x.keras"):
        time.sleep(1.3)
    shown = capfd.readouterr().err
    assert shown.count("loading x.keras") == 2  # its beginning and its end
