"""Native code on a model's bytes runs in a process apart: what happens to it is an error, and the next call works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edgefm.core.errors import ModelError, NonFiniteError
from edgefm.core.given import limits
from edgefm.runtimes import apart
from edgefm.runtimes.apart.patience import patience
from edgefm_converters.tflite.tflite_outputs import tflite_outputs
from tests.fixtures import tiny_models
from tests.fixtures.processes import is_alive


def own_pid() -> int:
    return os.getpid()


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def end() -> None:
    os._exit(7)


def take(count: int) -> int:
    return len(np.zeros(count, np.uint8))


def wait(seconds: float, *, steps: int) -> int:
    for step in range(steps):
        time.sleep(seconds / steps)
        apart.tell(step)
    return steps


def wait_in_steps(seconds: float, steps: int) -> int:
    return wait(seconds, steps=steps)


def refuse() -> None:
    raise NonFiniteError("no", hint="go", layer="dense", sample=3)


def stumble() -> None:
    raise IndexError("list index out of range")


def be_killed(marks: str, times: int) -> int:
    """Be killed so many times, then return how often this was called."""
    calls = len(list(Path(marks).iterdir()))
    Path(marks, str(calls)).touch()
    if calls < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return calls + 1


def asked_for_pid() -> int:
    return apart.call(own_pid, size_bytes=0, doing="asking")


def test_calls_share_a_process_that_is_not_this_one() -> None:
    assert asked_for_pid() == asked_for_pid() != os.getpid()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (crash, "asking crashed with SIGSEGV"),
        (end, "asking ended with exit code 7"),
        (stumble, "asking failed: list index out of range"),
    ],
)
def test_end_of_the_process_is_an_error_and_the_next_call_works(function: object, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        apart.call(function, size_bytes=0, doing="asking")  # type: ignore[arg-type]
    assert caught.value.hint
    assert asked_for_pid() != os.getpid()


def test_call_whose_process_is_killed_is_made_once_more(tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()
    assert apart.call(be_killed, str(tmp_path / "once"), 1, size_bytes=0, doing="asking") == 2
    (tmp_path / "ever").mkdir()
    with pytest.raises(ModelError, match="asking crashed with SIGKILL"):
        apart.call(be_killed, str(tmp_path / "ever"), 9, size_bytes=0, doing="asking")
    assert len(list((tmp_path / "ever").iterdir())) == 2 and asked_for_pid()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal here")
def test_time_in_which_both_processes_stand_still_is_no_silence() -> None:
    script = (
        "import os\nfrom edgefm.runtimes import apart\nfrom tests.unit.test_apart import own_pid, wait_in_steps\n"
        "print(apart.call(own_pid, size_bytes=0, doing='x'), flush=True)\n"
        "print(apart.call(wait_in_steps, 1.5, 1, size_bytes=0, doing='x', seconds=4.0), flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        both = (parent.pid, int(parent.stdout.readline()))
        time.sleep(0.7)
        for pid in both:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(5.0)
        for pid in both:
            os.kill(pid, signal.SIGCONT)
        assert parent.stdout.readline() == "1\n"


def test_errors_of_edgefm_come_back_whole() -> None:
    with pytest.raises(NonFiniteError) as caught:
        apart.call(refuse, size_bytes=0, doing="asking")
    assert (caught.value.message, caught.value.hint, caught.value.layer, caught.value.sample) == (
        "no",
        "go",
        "dense",
        3,
    )


def test_memory_is_limited_by_the_size_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="takes more than the 768 MB of memory") as caught:
        apart.call(take, 2 << 30, size_bytes=1000, doing="asking")
    assert limits.VARIABLE in str(caught.value.hint)
    monkeypatch.setenv(limits.VARIABLE, "3000")
    assert apart.call(take, 2 << 30, size_bytes=1000, doing="asking") == 2 << 30


def test_silence_is_limited_and_signs_of_life_are_heard() -> None:
    asked_for_pid()  # started
    with pytest.raises(ModelError, match=r"asking gave no answer for 0\.5 s"):
        apart.call(wait_in_steps, 60.0, 1, size_bytes=0, doing="asking", seconds=0.5)
    heard: list[int] = []
    asked_for_pid()
    done = apart.call(wait_in_steps, 2.0, 8, size_bytes=0, doing="asking", seconds=1.0, told=heard.append)
    assert done == 8 and heard == sorted(heard) and len(heard) >= 3


def test_silence_may_last_by_the_size_of_the_file_and_what_it_computes(tmp_path: Path) -> None:
    small, conv = tiny_models.relu(), tiny_models.convolution(500)
    assert patience(len(small), runs=small) == pytest.approx(10, abs=0.01)
    assert patience(100 << 20) == pytest.approx(20)
    computes = 500 * 500 * 9 / 1e8
    assert patience(0, runs=conv) == pytest.approx(10 + computes)
    (tmp_path / "model.tflite").write_bytes(conv)
    assert patience(0, runs=tmp_path / "model.tflite") == pytest.approx(10 + computes)
    assert patience(0, runs=tiny_models.convolution(2000, kernel=64)) == pytest.approx(30)  # 16 billion, and any more
    for damaged in (b"", small[:100], b"x" * 1000):
        assert patience(0, runs=damaged) == 10
    assert patience(0, runs=tmp_path / "none") == 10


def test_session_of_a_file_that_computes_more_may_be_silent_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    ask = apart._Process.ask

    def noted(process: Any, *given: Any, seconds: float, **more: Any) -> Any:
        asked.append(seconds)
        return ask(process, *given, seconds=seconds, **more)

    monkeypatch.setattr(apart._Process, "ask", noted)
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.convolution(4))
    with apart.load(path) as session:
        session.run(np.zeros((1, 4, 4, 1), np.float32))
    assert len(asked) >= 4 and set(asked) == {patience(path.stat().st_size, runs=path)}


def test_model_whose_invoke_never_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for_pid()
    monkeypatch.setattr(apart.call, "__kwdefaults__", {**(apart.call.__kwdefaults__ or {}), "seconds": 1.0})
    with pytest.raises(ModelError, match="running the model in LiteRT gave no answer"):
        tflite_outputs(tiny_models.endless_loop(), np.ones((1,), np.float32))


def test_session_answers_as_one_in_this_process_and_ends_with_its_process(tmp_path: Path) -> None:
    from edgefm.runtimes import litert

    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_models.two_heads())
    sample = np.array([[-1.0, 2.0, -3.0, 4.0]], np.float32)
    with apart.load(path) as session, litert.load(path) as here:
        assert (session.input, session.outputs) == (here.input, here.outputs)
        np.testing.assert_array_equal(session.run(sample), here.run(sample))
        for answer, wanted in zip(session.get_outputs(), here.get_outputs(), strict=True):
            np.testing.assert_array_equal(answer, wanted)
        with pytest.raises(ModelError, match="crashed"):
            apart.call(crash, size_bytes=0, doing="asking")
        with pytest.raises(ModelError, match="the process that held the model has ended"):
            session.run(sample)


def test_forked_process_starts_its_own(tmp_path: Path) -> None:
    mine = asked_for_pid()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if asked_for_pid() != mine else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert asked_for_pid() == mine


def test_it_ends_with_its_parent_however_that_ends() -> None:
    script = (
        "import os, sys\nfrom edgefm.runtimes import apart\nfrom tests.unit.test_apart import own_pid\n"
        "print(apart.call(own_pid, size_bytes=0, doing='x'), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    for _ in range(100):
        if not psutil.pid_exists(pid) or not is_alive(psutil.Process(pid)):
            return
        time.sleep(0.05)
    raise AssertionError("it still runs")


def test_module_in_the_working_folder_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported')\n")
    script = (
        "import os\nfrom edgefm.runtimes import apart\nfrom tests.unit.test_apart import own_pid\n"
        f"os.chdir({str(tmp_path)!r})\nprint(apart.call(own_pid, size_bytes=0, doing='x'))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
