from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgefm.core.subprocesses import NotStartedError, OutputLimitError, TimeLimitError, run, signal_name


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_run_returns_status_and_both_streams() -> None:
    result = run(_python("import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)"), seconds=30)
    assert (result.code, result.output, result.errors, result.last_error) == (3, "a\n", "b\n", "b")


def test_run_merges_the_streams_where_asked() -> None:
    result = run(_python("import sys; print('b', file=sys.stderr)"), seconds=30, merged=True)
    assert (result.output, result.errors, result.last_error) == ("b\n", "", "exit code 0")


@pytest.mark.parametrize("given", [b"x" * 200_000, None])
def test_run_gives_bytes_or_nothing_as_standard_input(given: bytes | None) -> None:
    result = run(_python("import sys; print(len(sys.stdin.buffer.read()))"), seconds=30, stdin=given)
    assert int(result.output) == len(given or b"")


def test_run_passes_on_the_output_to_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        result = run(_python("print('a')"), seconds=30, out=out)
    assert result.raw == b"" and (tmp_path / "out").read_text() == "a\n"


def test_run_names_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotStartedError, match=r"vanished cannot be run: No such file") as caught:
        run([str(tmp_path / "vanished")], seconds=30)
    assert caught.value.hint


def test_run_kills_what_takes_too_long() -> None:
    started = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"did not end within 0\.3 s"):
        run(_python("import time; time.sleep(60)"), seconds=0.3)
    assert time.monotonic() - started < 10


def test_run_does_not_wait_for_a_child_that_keeps_the_pipe() -> None:
    started = time.monotonic()
    child = f"import subprocess, sys; subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(8)'])"
    with pytest.raises(TimeLimitError):
        run(_python(child), seconds=1)
    assert time.monotonic() - started < 6


def test_run_kills_what_writes_without_end() -> None:
    with pytest.raises(OutputLimitError, match="wrote more than 1,000 bytes"):
        run(_python("while True: print('x' * 100)"), seconds=30, most_bytes=1000)


def _with_child(note: Path, then: str) -> list[str]:
    """Return a command that starts a child of its own, which holds no pipe, and writes down its number."""
    return _python(
        "import pathlib, subprocess, sys, time\n"
        f"quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        f"child = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(60)'], **quiet)\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n{then}"
    )


def _lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _ends(pid: int) -> bool:
    until = time.monotonic() + 10
    while _lives(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not _lives(pid)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@on_linux
@pytest.mark.parametrize(
    ("then", "most_bytes", "error"),
    [("time.sleep(60)", 1000, TimeLimitError), ("while True: print('x' * 100)", 1000, OutputLimitError)],
    ids=["time", "output"],
)
def test_run_kills_the_children_of_what_it_kills(
    tmp_path: Path, then: str, most_bytes: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(_with_child(tmp_path / "pid", then), seconds=3, most_bytes=most_bytes)
    assert _ends(int((tmp_path / "pid").read_text()))


@on_linux
def test_run_kills_the_command_and_its_children_when_the_user_stops_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    command = _with_child(note, "time.sleep(60)")
    # A job in the background ignores Ctrl-C, and its children do, too.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    script = f"{heard}; from edgefm.core.subprocesses import run; run({command!r}, seconds=50)"
    caller = subprocess.Popen(_python(script), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < deadline, "the command did not start"
        time.sleep(0.02)
    started = time.monotonic()
    caller.send_signal(signal.SIGINT)  # as Ctrl-C in a terminal does
    _, errors = caller.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors and time.monotonic() - started < 20
    assert _ends(int(note.read_text()))


@on_linux
def test_run_leaves_alone_what_a_command_that_ended_has_started(tmp_path: Path) -> None:
    assert run(_with_child(tmp_path / "pid", ""), seconds=30).code == 0
    pid = int((tmp_path / "pid").read_text())
    time.sleep(0.2)
    assert _lives(pid)
    os.kill(pid, signal.SIGKILL)


def test_signal_name_of_an_unknown_number() -> None:
    assert (signal_name(9), signal_name(999)) == ("SIGKILL", "signal 999")
