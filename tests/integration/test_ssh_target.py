"""The ssh target against a real sshd on the loopback address (`tests.fixtures.ssh_server`)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefm import runtimes, targets
from edgefm.benchmarking import harness
from edgefm.benchmarking.measured import ModelFile
from edgefm.core.errors import ModelError, RecipeError
from edgefm.recipes import BenchmarkProtocol
from edgefm.runtimes.base import Available, Unavailable
from edgefm.targets.base import TargetError
from edgefm.targets.raw_outputs import raw_outputs
from edgefm.targets.ssh import SshPlace, board_state
from edgefm.targets.worker_process import WorkerError, WorkerProcess
from tests.fixtures import ssh_server, tiny_models
from tests.fixtures.first_line import first_line
from tests.fixtures.ssh_server import Server

pytestmark = pytest.mark.skipif(ssh_server.program() is None, reason="sshd is not installed")

_AWKWARD = 'it\'s a "model" $HOME `id` ;& \u00e9.tflite'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"PATH": os.environ["PATH"], "EDGEFM_TEST": "a b"}
    with ssh_server.serving(tmp_path_factory.mktemp("sshd"), environment=environment) as serving:
        yield serving


@pytest.fixture(scope="module", autouse=True)
def settings(server: Server) -> Iterator[None]:
    """Let ssh use the server's keys, and the worker this Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEFM_SSH_OPTIONS", server.options)
        patch.setenv("EDGEFM_SSH_PYTHON", sys.executable)
        yield


@pytest.fixture(scope="module")
def place(server: Server, settings: None) -> Iterator[SshPlace]:
    """One connection for all tests that leave it whole."""
    with targets.target(server.address).open("litert") as opened:
        assert isinstance(opened, SshPlace)
        yield opened


def _python(folder: Path, prelude: str, name: str = "python3") -> str:
    """Write a Python that does something first; return its path."""
    path = folder / name
    path.write_text(
        f"#!{sys.executable}\nimport sys, runpy\n{prelude}\nsys.argv = sys.argv[1:]\n"
        "if sys.argv[0] == '-':\n    exec(sys.stdin.read())\n"
        "else:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    path.chmod(0o755)
    return str(path)


def _write(folder: Path, content: bytes, name: str = "model.tflite") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _load(worker: WorkerProcess, model: Path) -> dict[str, Any]:
    return worker.load(model, runtime="litert", threads=1, memory_bytes=1 << 30, seconds=60)


def _processes(word: str) -> list[int]:
    """Return the processes whose command line holds a word, but for ssh's own."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 1) for line in listed.splitlines()]
    return [
        int(pid) for pid, arguments in lines if word in arguments and not arguments.startswith(("ssh", "/usr/bin/ssh"))
    ]


def _cpu_seconds(process: int) -> float:
    """Return the processor time that a process used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _soon(holds: Callable[[], bool], *, seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_model_is_loaded_timed_and_answers_there(server: Server, place: SshPlace, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((10, 16)).astype(np.float32)
    pictures = np.random.default_rng(1).random((5, 4, 4, 1)).astype(np.float32)
    model = _write(tmp_path, tiny_models.dense(weights))
    given = tmp_path / "inputs.npy"
    np.save(given, pictures)
    with WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
        told = _load(worker, model)
        assert (told["runtime"], told["input"]["shape"]) == ("litert", [1, 4, 4, 1])
        assert told["process_ns"] > 0 and told["import_ns"] > 0 and told["peak_bytes"] > told["bare_bytes"] > 0
        timed = worker.request(
            "samples",
            doing="being timed",
            seconds=60,
            warmup_calls=3,
            least_calls=20,
            least_ns=0,
            most_calls=20,
            most_ns=10**9,
        )
        assert len(timed["invoke_ns"]) == 20 and min(timed["invoke_ns"]) > 0
        environment = worker.request("environment", doing="telling", seconds=60)["environment"]
        assert environment["python"] == ".".join(map(str, sys.version_info[:3]))
        out = place.scratch("outputs.npz")
        worker.request("outputs", doing="answering", seconds=60, inputs=place.put(given), start=0, stop=5, out=out)
        place.get(out, tmp_path / "outputs.npz")
    with np.load(tmp_path / "outputs.npz") as held:
        np.testing.assert_allclose(held["0"], pictures.reshape(5, -1) @ weights.T, rtol=1e-4, atol=1e-5)
    assert place.folder.startswith(str(server.home / ".cache" / "edgefm" / "session-"))


def test_raw_outputs_come_from_there(server: Server, tmp_path: Path) -> None:
    model = _write(tmp_path, tiny_models.two_heads((1, 4)))
    inputs = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    relu, absolute = raw_outputs(model, inputs, runtime="litert", target=targets.target(server.address))
    np.testing.assert_array_equal(relu, np.maximum(inputs, 0))
    np.testing.assert_array_equal(absolute, np.abs(inputs))


def test_board_keeps_the_worker_and_nothing_else(server: Server, tmp_path: Path) -> None:
    cache = server.home / ".cache" / "edgefm"
    board = targets.target(server.address)
    before = set(cache.glob("session-*"))
    with board.open("litert") as place:
        place.put(_write(tmp_path, b"content"))
    [worker] = cache.glob("worker-*")
    written = worker.stat().st_mtime_ns
    with board.open("litert"):
        assert len(set(cache.glob("session-*")) - before) == 1
    assert set(cache.iterdir()) == {*before, worker} and worker.stat().st_mtime_ns == written


def test_file_of_any_name_and_content_arrives_whole(place: SshPlace, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000  # 5 MB, with every byte
    there = place.put(_write(tmp_path, content, _AWKWARD))
    assert there.endswith(f"/{_AWKWARD}") and Path(there).read_bytes() == content
    place.get(there, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    empty = place.put(_write(tmp_path, b"", "empty"))
    assert Path(empty).read_bytes() == b""


def test_same_content_is_sent_once(place: SshPlace, tmp_path: Path) -> None:
    first = place.put(_write(tmp_path, b"same", "a"))
    Path(first).write_bytes(b"marked")
    assert place.put(_write(tmp_path, b"same", "b")) == first
    assert Path(first).read_bytes() == b"marked"
    assert place.put(_write(tmp_path, b"other", "a")) != first


def test_missing_file_is_an_error_on_either_side(place: SshPlace, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*nowhere"):
        place.put(tmp_path / "nowhere")
    with pytest.raises(TargetError, match=r"fetching .*nowhere failed: .*No such file"):
        place.get(place.scratch("nowhere"), tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("*.part"))


def test_full_disk_there_is_an_error(place: SshPlace, tmp_path: Path) -> None:
    content = b"x" * 100_000
    folder = Path(place.folder) / hashlib.sha256(content).hexdigest()[:16]
    folder.mkdir()
    (folder / "model.tflite.part").symlink_to("/dev/full")
    with pytest.raises(TargetError, match=r"sending model\.tflite failed: .*No space left on device"):
        place.put(_write(tmp_path, content))
    assert not list(folder.iterdir())
    assert Path(place.put(_write(tmp_path, content))).read_bytes() == content  # once there is room again


def test_state_tells_the_load(place: SshPlace) -> None:
    assert place.state()["load_average"] >= 0


def test_state_is_read_from_what_the_board_shows() -> None:
    cpu = "/sys/devices/system/cpu/cpu0/cpufreq"
    told = (
        f"/proc/loadavg 0.31 0.20 0.10 1/99 7\n{cpu}/scaling_cur_freq 1800000\n{cpu}/scaling_governor ondemand\n"
        "/sys/class/thermal/thermal_zone0/temp 48312\n/sys/class/thermal/thermal_zone1/temp 51000\n"
        "/sys/class/thermal/thermal_zone2/temp \n/sys/class/power_supply/BAT0/capacity 87\n"
    )
    assert board_state.read(told) == {
        "load_average": 0.31,
        "frequency_khz": 1_800_000,
        "governor": "ondemand",
        "temperature_c": 51.0,
        "battery_percent": 87,
    }
    assert board_state.read("") == {}


def test_worker_that_crashes_there_tells_the_signal(place: SshPlace, tmp_path: Path) -> None:
    with WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
        worker.ready()
        [note] = Path(place.folder).glob("*.pid")
        os.kill(int(note.read_text()), signal.SIGSEGV)
        with pytest.raises(WorkerError, match="crashed with SIGSEGV"):
            worker.request("peak", doing="being asked", seconds=60)
    assert place.state()  # the board is still there


def test_worker_that_writes_no_text_is_told_at_once(
    place: SshPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_python", _python(tmp_path, "import os; os.write(1, b'\\xff\\n')"))
    with (
        WorkerProcess(place=place, folder=tmp_path, name="worker") as worker,
        pytest.raises(WorkerError, match="unexpected output while starting"),
    ):
        worker.ready()


def test_worker_that_hangs_is_ended_there(place: SshPlace, tmp_path: Path) -> None:
    model = _write(tmp_path, tiny_models.endless_loop())
    with WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
        worker.ready()
        [note] = Path(place.folder).glob("*.pid")
        process = int(note.read_text())
        with pytest.raises(WorkerError, match="no answer for 1 s"):
            worker.load(model, runtime="litert", threads=1, memory_bytes=1 << 30, seconds=1)
        assert _soon(lambda: not Path(f"/proc/{process}").exists())
    assert place.state()


def test_connection_that_dies_in_a_request_is_told(server: Server, tmp_path: Path) -> None:
    model = _write(tmp_path, tiny_models.relu((1, 4)))
    before = server.connections()
    with targets.target(server.address).open("litert") as place:
        assert isinstance(place, SshPlace)
        [connection] = set(server.connections()) - set(before)
        folder = place.folder
        with WorkerProcess(place=place, folder=tmp_path, name="worker") as worker:
            _load(worker, model)
            assert _processes(folder)
            killer = threading.Timer(0.3, server.cut, [connection])
            killer.start()
            with pytest.raises(WorkerError, match="exit code 255"):
                worker.request(
                    "samples",
                    doing="being timed",
                    seconds=60,
                    warmup_calls=0,
                    least_calls=1,
                    least_ns=60 * 10**9,
                    most_calls=10**9,
                    most_ns=60 * 10**9,
                )
            killer.join()
            for doing in (place.state, lambda: place.put(model)):
                with pytest.raises(TargetError, match="the connection was lost"):
                    doing()
            with pytest.raises(TargetError, match="the connection was lost"), (tmp_path / "log").open("wb") as log:
                place.start(log=log)
        # The board clears up by itself: no worker is left, no folder.
        assert _soon(lambda: not Path(folder).exists() and not _processes(folder))


def test_benchmark_keeps_what_was_measured_before_the_connection_was_cut(server: Server, tmp_path: Path) -> None:
    before = set(server.connections())

    class Cuts:
        def step(self, label: str, done: int, total: int, figures: Mapping[str, str] | None = None) -> None:
            if label == "latency" and done == 2:
                [connection] = set(server.connections()) - before
                server.cut(connection)

        def note(self, message: str) -> None:
            return

    model = ModelFile(name="m", path=_write(tmp_path, tiny_models.relu((1, 4))))
    protocol = BenchmarkProtocol(
        target=server.address,
        runtime="litert:builtin",
        model_seconds=60.0,
        rounds=4,
        rounds_at_most=4,
        round_seconds=0.002,
        round_invokes=5,
        repeats_at_most=0,
    )
    (row,) = harness.measure([model], dataset=None, protocol=protocol, progress=Cuts()).record["models"]
    assert row["status"] == "failed" and "the connection was lost" in row["reason"]
    assert [turn["index"] for turn in row["rounds"]] == [0, 1]
    assert all(len(turn["invoke_ns"]) >= 5 for turn in row["rounds"]) and row["latency_ns"]["p50"]["value"] > 0


def test_transfer_that_is_cut_off_is_told(server: Server, tmp_path: Path) -> None:
    before = server.connections()
    with targets.target(server.address).open("litert") as place:
        [connection] = set(server.connections()) - set(before)
        endless = Path(place.scratch("endless"))
        os.mkfifo(endless)
        writer = os.open(endless, os.O_RDWR)
        os.write(writer, b"the first part")
        killer = threading.Timer(0.3, server.cut, [connection])
        killer.start()
        with pytest.raises(TargetError, match="the connection was lost while fetching"):
            place.get(str(endless), tmp_path / "out")
        killer.join()
        os.close(writer)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("*.part"))


def test_nothing_is_left_there_when_this_process_is_killed(server: Server, tmp_path: Path) -> None:
    model = _write(tmp_path, tiny_models.endless_loop())
    script = (
        "import sys, json\nfrom pathlib import Path\nfrom edgefm import targets\n"
        "from edgefm.targets.worker_process import WorkerProcess\n"
        "place = targets.target(sys.argv[1]).open('litert')\n"
        "worker = WorkerProcess(place=place, folder=Path(sys.argv[3]), name='w')\n"
        "worker.ready()\nprint(json.dumps(place.folder), flush=True)\n"
        "worker.load(Path(sys.argv[2]), runtime='litert', threads=1, memory_bytes=1 << 30, seconds=600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, server.address, str(model), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # what it leaves on this machine
    )
    workers: list[int] = []
    try:
        folder = json.loads(first_line(parent))
        worker = int(next(Path(folder).glob("*.pid")).read_text())
        workers.append(worker)
        before = _cpu_seconds(worker)
        # The model hangs in native code, so that the end of its input alone would not end the worker.
        assert _soon(lambda: _cpu_seconds(worker) > before + 2, seconds=90)
        parent.kill()
        parent.wait()
        assert _soon(lambda: not Path(folder).exists() and not _processes(folder))
    finally:
        parent.kill()
        parent.communicate()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def test_python_is_asked_for_numpy_and_runtime(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = targets.target(server.address)
    before = set((server.home / ".cache" / "edgefm").glob("session-*"))
    cases = {
        "sys.version_info = (3, 8, 19, 'final', 0)": "is Python .*; 3.10 or newer is needed",
        "sys.modules['numpy'] = None": "cannot import numpy",
        "sys.modules['ai_edge_litert'] = None": "the runtime cannot be used on the board: ai-edge-litert",
        "print('something else'); sys.exit()": r"instead of a result",
        "sys.exit('broken installation')": "cannot be run on the board.*broken installation",
    }
    for prelude, words in cases.items():
        monkeypatch.setenv("EDGEFM_SSH_PYTHON", _python(tmp_path, prelude))
        with pytest.raises(TargetError, match=words) as caught:
            board.open("litert")
        assert server.address in caught.value.message
    assert _soon(lambda: set((server.home / ".cache" / "edgefm").glob("session-*")) == before)


def test_board_without_python_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_SSH_PYTHON", "/nowhere/python3")
    with pytest.raises(
        TargetError, match=r"'/nowhere/python3' cannot be run on the board; Python 3\.10 or newer"
    ) as caught:
        targets.target(server.address).open("litert")
    assert "EDGEFM_SSH_PYTHON" in str(caught.value.hint)


def test_python_may_be_given_by_its_place_in_the_home_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _python(server.home, "", "my python")
    monkeypatch.setenv("EDGEFM_SSH_PYTHON", "~/my python")
    with (
        targets.target(server.address).open("litert") as place,
        WorkerProcess(place=place, folder=tmp_path, name="worker") as worker,
    ):
        assert _load(worker, _write(tmp_path, tiny_models.relu()))["ok"]
    _python(server.home, "sys.modules['numpy'] = None", "my python")
    with pytest.raises(TargetError, match="cannot import numpy") as caught:
        targets.target(server.address).open("litert")
    assert str(caught.value.hint).endswith(": ~/'my python' -m pip install numpy")
    (server.home / "my python").unlink()


def test_board_that_refuses_the_key_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_SSH_OPTIONS", server.with_key("other_key"))
    board = targets.target(server.address)
    with pytest.raises(TargetError, match="Permission denied") as caught:
        board.open("litert")
    assert "ssh-copy-id" in str(caught.value.hint)
    usable = board.availability()
    assert isinstance(usable, Unavailable) and "Permission denied" in usable.reason


def test_board_with_another_key_of_its_own_is_an_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("")
    monkeypatch.setenv("EDGEFM_SSH_OPTIONS", f"-o UserKnownHostsFile={known} {server.options}")
    with pytest.raises(TargetError, match="Host key verification failed") as caught:
        targets.target(server.address).open("litert")
    assert "verify the board's host key" in str(caught.value.hint)


def test_machine_without_server_is_an_error() -> None:
    with pytest.raises(TargetError, match="Connection refused"):
        targets.target("ssh://127.0.0.1:1").open("litert")


def test_name_that_is_not_known_is_an_error() -> None:
    # No label has more than 63 characters: no name server is asked, which might take its time.
    board = targets.target(f"ssh://nobody@{'board' * 13}.invalid")
    with pytest.raises(TargetError, match=r"resolve hostname|Name or service|Temporary failure"):
        board.open("litert")
    assert isinstance(board.availability(), Unavailable)


def test_fixed_options_hold_whatever_the_user_s_say(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = "-t -S /nowhere/socket -o BatchMode=no -o RequestTTY=force -o ControlMaster=auto -o RemoteCommand=false"
    monkeypatch.setenv("EDGEFM_SSH_OPTIONS", f"{theirs} {server.options}")
    board = targets.target(server.address)
    assert board.availability() == Available()
    with board.open("litert") as place:
        assert place.state()["load_average"] >= 0


def test_machine_without_ssh_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TargetError, match="program 'ssh' is not installed"):
        targets.target(server.address).open("litert")


def test_login_shell_that_talks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = 'ForceCommand echo "Welcome to the board!"; eval "$SSH_ORIGINAL_COMMAND"\n'
    with ssh_server.serving(tmp_path, environment={}, lines=lines) as talking:
        monkeypatch.setenv("EDGEFM_SSH_OPTIONS", talking.options)
        with pytest.raises(TargetError, match="prints 'Welcome to the board!' before") as caught:
            targets.target(talking.address).open("litert")
    assert "start-up files" in str(caught.value.hint)


@pytest.mark.parametrize("address", ["ssh:", "ssh:board", "ssh://", "ssh://user@", "ssh://a:b@c", "ssh://board:x"])
def test_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(RecipeError, match="is not understood"):
        targets.target(address)


@pytest.mark.parametrize(
    "address", ["ssh://-oProxyCommand=id", "ssh://-l@board", "ssh://board/path", "ssh://board?x=1"]
)
def test_address_that_would_be_an_option_or_a_path_is_refused(address: str) -> None:
    with pytest.raises(RecipeError, match="is not understood"):
        targets.target(address)


def test_options_that_cannot_be_split_are_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFM_SSH_OPTIONS", "-i 'open")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RecipeError, match="EDGEFM_SSH_OPTIONS cannot be parsed"):
        targets.target(server.address).open("litert")
    assert list(tmp_path.iterdir()) == []


def test_target_says_what_it_is(server: Server) -> None:
    board = targets.target(server.address)
    assert (board.name, board.mode, board.latency) == (server.address, "measured", True)
    assert board.runtimes[0] == "litert" and not runtimes.OF_TARGETS & set(board.runtimes)
    assert board.availability() == Available() and board.figures(Path("model")) == ()
