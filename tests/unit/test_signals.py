"""How the command line ends on signals, with an action of the test's own in the place of a command."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

# A minute in short parts: a signal that comes just before a system call is seen only when that has returned.
_STAND = "[time.sleep(0.1) for _ in range(600)]"
_PROGRAM = """
    import os, signal, sys, tempfile, time
    from pathlib import Path
    from edgefm.cli import main
    from edgefm.core import signals
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what runs in the background

    def action():
        with tempfile.TemporaryDirectory(prefix="edgefm-test-"):
            try:
                print("begun", flush=True)
                {stand}
            finally:
                {cleaning}
                Path("cleaned").touch()

    signals.listen()
    sys.exit(main.run(action))
"""


def _started(
    folder: Path, cleaning: str = "pass", *, program: str = _PROGRAM, words: tuple[str, ...] = (), **more: object
) -> subprocess.Popen[bytes]:
    (folder / "tmp").mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program).format(cleaning=cleaning, stand=_STAND), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folder / "tmp")},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},  # type: ignore[call-overload]
    )


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "error: stopped by the user\n"),
        (signal.SIGTERM, 143, "error: stopped by SIGTERM\n"),
        (signal.SIGHUP, 129, ""),  # nobody is there to read it
    ],
    ids=["ctrl-c", "SIGTERM", "SIGHUP"],
)
def test_command_cleans_up_and_says_which_signal_stopped_it(
    number: signal.Signals, code: int, said: str, tmp_path: Path
) -> None:
    process = _started(tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.decode()) == (code, said)
    assert (tmp_path / "cleaned").exists() and not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "SIGTERM"])
@pytest.mark.parametrize("error", ["ImportError('initialization failed')", "EdgefmError('keras is not installed')"])
def test_signal_that_a_library_turns_into_an_error_of_its_own_is_still_a_stop(
    error: str, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = _started(tmp_path, cleaning=f"from edgefm.core.errors import EdgefmError; raise {error} from None")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code and errors.decode().startswith("error: stopped by ")


_SWALLOWED = """
    import signal, sys, time
    from edgefm.cli import main
    from edgefm.core import signals
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def action():
        try:
            print("begun", flush=True)
            {stand}
        except BaseException:
            pass  # as a library does that takes it for something missing
        try:
            {stand}
        finally:
            time.sleep(2.5)  # cleaning up is not cut off
            print("cleaned", flush=True)

    signals.listen()
    sys.exit(main.run(action))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "SIGTERM"])
def test_stop_that_was_swallowed_comes_again_and_lets_cleaning_up_end(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = _started(tmp_path, program=_SWALLOWED)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == code and output == b"cleaned\n" and errors.startswith(b"error: stopped by ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "SIGTERM"])
def test_stop_that_comes_while_garbage_is_collected_is_no_traceback(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    program = _PROGRAM.replace("{stand}", "gc.callbacks.append(_slowly); gc.collect(); {stand}").replace(
        "    def action():",
        """    import gc

    def _slowly(phase, info):
        gc.callbacks.remove(_slowly)
        print("collecting", flush=True)
        {stand}

    class Fails:
        def __del__(self):
            raise ValueError("of a finaliser")

    def action():
        Fails()""",
    )
    process = _started(tmp_path, program=program)
    assert process.stdout is not None
    while process.stdout.readline() != b"collecting\n":
        assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    text = errors.decode()
    assert process.returncode == code and "Stopped" not in text and "KeyboardInterrupt" not in text, text
    assert text.count("error: stopped by") == 1 and "of a finaliser" in text, "all else is said as ever"
    assert (tmp_path / "cleaned").exists()


def test_ctrl_c_while_edgefm_is_imported_is_no_traceback(tmp_path: Path) -> None:
    """A module of edgefm's own stands still while it is imported, until the signal comes."""
    program = """
        import signal, sys, importlib.abc, time
        signal.signal(signal.SIGINT, signal.default_int_handler)

        class Slow(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == "edgefm.cli.exit_codes":
                    print("begun", flush=True)
                    {stand}

        sys.meta_path.insert(0, Slow())
        from edgefm.cli.start import main
        main()
    """
    process = _started(tmp_path, program=program, words=("zoo",))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, b"error: stopped by the user\n")


def test_second_sigterm_at_once_does_not_cut_off_the_cleaning_up(tmp_path: Path) -> None:
    process = _started(tmp_path, cleaning="time.sleep(0.5)")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)  # as timeout(1) does
    process.communicate(timeout=20)
    assert process.returncode == 143 and (tmp_path / "cleaned").exists()


def test_signal_that_was_to_be_ignored_is_ignored(tmp_path: Path) -> None:
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}  # as nohup does
    process = _started(tmp_path, **ignored)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143


def test_command_cleans_up_when_its_terminal_closes(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    cleaning = "print('a line that nobody reads', file=sys.stderr, flush=True)"
    process = _started(tmp_path, cleaning, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    said = b""
    while not said.endswith(b"\n"):  # its end may be a write of its own, which must not find the terminal closed
        said += os.read(ours, 100)
    assert said.strip() == b"begun"
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 129
    assert (tmp_path / "cleaned").exists() and not list((tmp_path / "tmp").iterdir())
