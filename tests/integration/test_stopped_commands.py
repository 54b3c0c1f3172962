"""Real commands on a small run that are stopped, run at once, meet a read-only run or a clock that jumps."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from edgefm.cli.main import cli
from edgefm.cli.main import run as run_command
from tests.faults import kills, small_run
from tests.faults.bench import environment
from tests.faults.kills import cut_run
from tests.fixtures.processes import is_alive


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished small run: trained, four files, measured."""
    return small_run.make(tmp_path_factory.mktemp("small"), ended=_ended)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _ended(folder: Path, *argv: object) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end here: a process of its own, which loads TensorFlow anew, would prove no more."""
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run_command(lambda: cli.main([str(arg) for arg in argv], standalone_mode=False))
    return subprocess.CompletedProcess(argv, code, said.getvalue())


def _stopped(process: subprocess.Popen[str], when: Callable[[], object]) -> str:
    """Send SIGTERM as soon as something holds; return what the command said, when it and its children are gone."""
    deadline = time.monotonic() + 120
    while not when():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    text, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not [child for child in alive if is_alive(child)]
    return text


def test_stopped_training_cleans_up_and_resumes_to_the_unbroken_one(
    small: Path, temporary: Path, tmp_path: Path
) -> None:
    data, run = small.parent / "data.npz", tmp_path / "run"
    process = small_run.start(tmp_path, *small_run.TRAIN, "--data", data, "--run", run)
    text = _stopped(process, (run / "00-train.partial/checkpoint.npz").exists)
    assert not kills.left_in(temporary)
    if process.returncode == 143:  # else it was done in that moment
        assert text.count("error: stopped by SIGTERM") == 1 and "resume the run" in text and "Traceback" not in text
        done = _ended(tmp_path, "train", "--resume", "--run", run)
        assert done.returncode == 0, done.stdout
    assert kills._weights(run) == kills._weights(small)
    assert not kills.left_in(temporary) and not list(run.rglob("*.partial"))


def _begun(run: Path) -> bool:
    return (run / "01-quantize.partial").exists()


def _worker(run: Path) -> bool:
    return any("edgefm.worker" in " ".join(one.cmdline()) for one in _ours(run))


def _ours(run: Path) -> Iterator[psutil.Process]:
    for one in psutil.process_iter():
        try:
            if run.parent == Path(one.cwd()):
                yield one
        except psutil.Error:
            continue


@pytest.mark.parametrize(
    ("argv", "steps", "when"),
    [
        (["quantize", "--recipe", "qat_int8.json"], 1, _begun),
        (["quantize", "--recipe", "slim50_qat_int8.json"], 1, _begun),
        (["benchmark", "--rounds", "3", "--rounds-at-most", "3"], 2, _worker),
    ],
    ids=["qat", "slim", "benchmark"],
)
def test_command_on_a_run_that_sigterm_stops_cleans_up_and_goes_on_when_called_again(
    argv: list[str], steps: int, when: Callable[[Path], bool], small: Path, temporary: Path, tmp_path: Path
) -> None:
    run = cut_run(small, tmp_path / "run", steps=steps)
    for name in ("qat_int8", "slim50_qat_int8"):
        (tmp_path / f"{name}.json").write_text(json.dumps(kills._of_few_epochs(name)))
    process = small_run.start(tmp_path, argv[0], run, *argv[1:])
    text = _stopped(process, lambda: when(run))
    assert process.returncode == 143 and "Traceback" not in text, text
    assert text.count("error: stopped by SIGTERM") == 1
    assert not kills.left_in(temporary) and not kills.half_written(run)
    done = _ended(tmp_path, argv[0], run, *argv[1:])
    assert done.returncode in (0, 1), done.stdout
    assert not list(run.rglob("*.partial"))


def test_second_command_on_a_run_is_refused_and_takes_nothing_away(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "new"
    model = small / "00-train/model.keras"
    argv = ("quantize", model, "--data", small.parent / "data.npz", "--run", run, "--variant", "float16")
    both = [small_run.start(tmp_path, *argv) for _ in range(2)]
    ends = sorted((process.wait(120), process.communicate()[0]) for process in both)
    assert [code for code, _ in ends] in ([0, 2], [0, 0]), ends
    if ends[1][0] == 2:
        assert "in use by another edgefm process" in ends[1][1]
    assert (run / "01-quantize/float16/model.tflite").is_file()


def test_commands_that_only_read_a_run_write_nothing_there(small: Path, tmp_path: Path) -> None:
    picture, out = small_run.write_picture(tmp_path / "p.png"), tmp_path / "out"
    (tmp_path / "budget.toml").write_text('[models."*"]\nsize_bytes = 9000000\n')
    before = _seen(small)
    for argv in (
        ["report", small, "--out", out / "report"],
        ["export", "android", small, "--out", out / "bundle"],
        ["predict", picture, "--run", small],
        ["compare", small, small, "--no-latency"],
        ["gate", small, "--budget", tmp_path / "budget.toml"],
        ["inspect", small / "00-train/model.keras"],
        ["inspect", small / "01-quantize/int8_w8a8"],
        ["leaderboard", small / "02-benchmark/record.json", "--out", out / "board"],
        ["calibration", small, "--out", out / "calibration"],
        ["sensitivity", small, "--images", "20", "--out", out / "sensitivity"],
    ):
        done = _ended(tmp_path, *argv)
        assert done.returncode in (0, 1), f"{argv}: {done.stdout}"
        assert _seen(small) == before, f"{argv[0]} writes in the run: it would fail on a read-only disk"


def _seen(folder: Path) -> dict[str, int]:
    """Return the times of change of all that is in a folder: of a folder in it, too, where something came or went."""
    return {str(path): path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


_JUMPING = """
import itertools, sys, time
real, jumps = time.time, itertools.cycle((0.0, 86_400.0, -86_400.0, 3.0e8, -3.0e8))
time.time = lambda: real() + next(jumps)
from edgefm.cli.main import main
main()
"""


@pytest.mark.parametrize("command", ["train", "benchmark"])
def test_clock_that_jumps_changes_nothing(command: str, small: Path, tmp_path: Path) -> None:
    model = small / "01-quantize/int8_w8a8/model.tflite"
    argv = {
        "train": [*small_run.TRAIN, "--data", small.parent / "data.npz", "--run", tmp_path / "run"],
        "benchmark": ["benchmark", model, "--latency-only", "--rounds", "2", "--rounds-at-most", "2", "--json"],
    }[command]
    done = subprocess.run(
        [sys.executable, "-P", "-c", _JUMPING, *map(str, argv)],
        cwd=tmp_path,
        env={**environment(), "EDGEFM_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if command == "train":
        step = json.loads((tmp_path / "run/manifest.json").read_text())["steps"][0]
        history = json.loads((tmp_path / "run/00-train/history.json").read_text())
        assert 0 < step["seconds"] < 120
        assert all(0 < epoch["seconds"] < 120 for epoch in history["epochs"])
