"""`make best` on a few pictures, killed and gone on with; and with stand-ins of its commands, some of which fail."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import h5py
import numpy as np
import pytest

from benchmarks import best, best_failures
from benchmarks.best_rows import named
from edgefm.core.runs import RunDirectory
from edgefm.core.subprocesses import import_path
from edgefm.recipes import Training
from edgefm.tflite.inspection import inspect

ROOT = Path(__file__).parent.parent.parent
SECONDS = 600
# A file of the int8 variant, whichever: stand-ins of `quantize` give it to every row.
QUANTISED = ROOT / "edgefm" / "shipped_model" / "model.tflite"
ACCURACIES = {"document": 0.91, "small": 0.92, "tiny": 0.93, "half_million": 0.94, "fastest": 0.95}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return 10 classes that a network learns in seconds: the class is where the bright stripe stands."""
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for name, count in (("train", 300), ("validation", 100), ("test", 100)):
        labels = np.arange(count) % 10
        images = generator.integers(0, 40, (count, 28, 28, 1), np.uint8)
        for place, label in enumerate(labels):
            images[place, 2 * label : 2 * label + 3] = 255
        arrays |= {f"x_{name}": images, f"y_{name}": labels}
    path = tmp_path / "stripes.npz"
    np.savez(path, **arrays)
    return path


def series(folder: Path, data: Path, *more: str) -> list[str]:
    where = ["--runs", str(folder / "runs"), "--record", str(folder / "best.json"), "--data", str(data)]
    rows = ["--rows", "document,tiny", "--seeds", "1", "--epochs", "2", "--no-latency"]
    fixed = [*rows, "--backend", "tensorflow", "--precision", "float32"]  # what the trial takes is tested elsewhere
    return [sys.executable, "-m", "benchmarks.best", *fixed, *where, *more]


def started(command: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": import_path()}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=environment
    )


@pytest.mark.slow
def test_killed_series_goes_on_and_trains_nothing_twice(tmp_path: Path, pictures: Path) -> None:
    record = tmp_path / "best.json"
    first = started(series(tmp_path, pictures))
    runs = tmp_path / "runs"
    ends = time.monotonic() + SECONDS
    # Killed within the second training, when the first is recorded.
    while first.poll() is None and time.monotonic() < ends and not list(runs.glob("tiny-2e-seed0-on-stripes-*/*")):
        time.sleep(0.1)
    assert first.poll() is None, first.communicate()[0]
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = json.loads(record.read_text(encoding="utf-8"))
    assert set(before["rows"]) == {"document"}

    again = started(series(tmp_path, pictures))
    said, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, said
    assert "document-2e" not in said and "tiny-2e-seed0-on-stripes-" in said
    after = json.loads(record.read_text(encoding="utf-8"))
    assert after["rows"]["document"] == before["rows"]["document"]
    (tiny,) = after["rows"]["tiny"]["entries"]
    (row,) = named("tiny")
    assert Training.from_json(tiny["recipe"]) == row.training(seed=0, epochs=2)
    assert tiny["shortened"] and tiny["validation_accuracy"] is None and tiny["test"]["images"] == 100
    assert 0 <= tiny["test"]["accuracy"] <= 1 and tiny["parameters"] == 9_874
    inspection = inspect(Path(tiny["file"]))
    assert (tiny["size_bytes"], tiny["macs"]) == (inspection.size_bytes, inspection.macs)

    whole = started(series(tmp_path, pictures))
    said, _ = whole.communicate(timeout=SECONDS)
    assert whole.returncode == 0 and "training" not in said, said
    assert json.loads(record.read_text(encoding="utf-8")) == after, "nothing was left to do, nothing is written"


class Commands:
    """Stand-ins of the commands of a series: each writes what the series reads of it, at once.

    Attributes:
      fail: what happens instead, by the kind of command and a part of its run's name: a returncode, and what the
        command says last, or an exception while it is started.
      tiny_begun: set when tiny's training begins; until then small's test images are not answered.
      done: kinds and names of the runs, in the order in which they succeeded; a finished training is not done again.
      said: what the series says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fail: Mapping[tuple[str, str], tuple[int, str] | BaseException] = {}
        self.tiny_begun = threading.Event()
        self.done: list[tuple[str, str]] = []
        self.said = ""

    def series(self, *words: str) -> int:
        """Make the rows of ACCURACIES, one seed each; return the exit code."""
        self.done.clear()
        where = ["--runs", str(self.folder / "runs"), "--record", str(self.folder / "best.json")]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = best.main(["--rows", ",".join(ACCURACIES), "--seeds", "1", *where, *words])
        self.said = said.getvalue()
        return code

    def record(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "best.json").read_text(encoding="utf-8"))
        return value

    def recorded(self) -> dict[str, float]:
        """Return the accuracies that the record holds."""
        entries = {name: row["entries"] for name, row in self.record()["rows"].items() if "entries" in row}
        return {
            name: one["test"]["accuracy"] if "test" in one else one["validation_accuracy"]
            for name, (one,) in entries.items()
        }

    def left_out(self) -> str:
        """Return the closing list."""
        return self.said.partition("left out: ")[2]

    def run(self, command: list[str], *, stderr: TextIO, **_: Any) -> subprocess.CompletedProcess[str]:
        """Do what `subprocess.run` does."""
        kind, *words = command[2:] if command[1] == "-m" else command[3:]
        kind = kind.removeprefix("benchmarks.best_")
        path = Path(words[words.index("--run") + 1] if kind == "train" else words[0])
        name = path.relative_to(self.folder / "runs").parts[0] if kind != "latency" else ""
        if (kind, name.partition("-")[0]) == ("train", "tiny"):
            self.tiny_begun.set()
        if (kind, name.partition("-")[0]) == ("answers", "small"):
            assert self.tiny_begun.wait(10)
        for (failing, part), outcome in self.fail.items():
            if failing == kind and part in name:
                if isinstance(outcome, BaseException):
                    raise outcome
                stderr.write(outcome[1])
                stderr.flush()
                return subprocess.CompletedProcess(command, outcome[0], stdout="")
        if kind != "train" or not (path / "00-train").exists():
            self.done.append((kind, name))
            stdout = getattr(self, f"_{kind}")(path, name, words) or ""
        else:
            stdout = ""
        return subprocess.CompletedProcess(command, 0, stdout=stdout)

    def _train(self, path: Path, name: str, words: list[str]) -> None:
        recipe = json.loads(Path(words[words.index("--recipe") + 1]).read_text(encoding="utf-8"))
        run = RunDirectory.create_at(path)
        with run.lock():
            folder = run.begin("train")
            weights = io.BytesIO()
            with h5py.File(weights, "w") as file:
                file["layers/dense/vars/0"] = np.zeros((3, 4))
            with zipfile.ZipFile(folder / "model.keras", "w") as archive:
                archive.writestr("model.weights.h5", weights.getvalue())
            history = {"device": {"backend": "jax 1"}, "epochs": [{"images_per_second": 1.0}]}
            (folder / "history.json").write_text(json.dumps(history), encoding="utf-8")
            # The second candidate of half_million is the better one.
            accuracy = 0.9 if "preactivation" in name else 0.8 if "postactivation" in name else ACCURACIES["document"]
            summary = {"validation_accuracy": accuracy}
            run.finish(folder, key=name, seconds=1.0, recipe=recipe, inputs={}, summary=summary)

    def _quantize(self, path: Path, name: str, words: list[str]) -> None:
        run = RunDirectory.open(path)
        with run.lock():
            folder = run.begin("quantize")
            (folder / "int8_w8a8").mkdir()
            shutil.copy(QUANTISED, folder / "int8_w8a8" / "model.tflite")
            run.finish(folder, key=f"{name} in int8", seconds=1.0, recipe={}, inputs={}, summary={})

    def _answers(self, path: Path, name: str, words: list[str]) -> str:
        assert words[words.index("--split") + 1] == "test"
        return json.dumps({"accuracy": ACCURACIES[name.partition("-")[0]], "images": 10})

    def _latency(self, path: Path, name: str, words: list[str]) -> None:
        models = {word.partition("=")[0]: {"p50_ns": 1} for word in words[: words.index("--out")]}
        told = {"created": "2026-12-01T00:00:00+00:00", "environment": {"cpu": "A"}, "models": models}
        Path(words[words.index("--out") + 1]).write_text(json.dumps(told), encoding="utf-8")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands(tmp_path)
    monkeypatch.setattr(best_failures, "subprocess", SimpleNamespace(run=found.run, PIPE=subprocess.PIPE))
    monkeypatch.setattr(best, "_CORES_FOR_BOTH", 1)  # test images are answered beside the next training
    return found


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [
        ("train", (2, "error: the loss of epoch 3 is nan\n  Lower the learning rate.\n"), "the loss of epoch 3 is nan"),
        ("train", (-9, ""), "ended with -9"),
        ("train", OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory"),
        ("quantize", (2, "error: no scale fits\n"), "no scale fits"),
        ("answers", (1, "Traceback\nValueError: no such file\n"), "ValueError: no such file"),
    ],
    ids=["training", "killed", "not started", "quantising", "answering"],
)
def test_row_that_fails_is_named_and_the_others_go_on(
    kind: str, outcome: tuple[int, str] | BaseException, reason: str, commands: Commands
) -> None:
    commands.fail = {(kind, "small"): outcome}
    assert commands.series() == 1
    others = {name: accuracy for name, accuracy in ACCURACIES.items() if name != "small"}
    assert commands.recorded() == others
    assert set(commands.record()["latency"]["models"]) == set(others) - {"document"}
    assert "small, seed 0, which failed: " in commands.left_out() and reason in commands.left_out()
    assert "go on with the same command" in commands.left_out()
    next_one = "tiny-150e-seed0: training" if kind == "train" else "left out: "
    assert next_one in commands.said and reason in commands.said.partition(next_one)[0], "at once"

    commands.fail = {}
    assert commands.series() == 0
    assert commands.recorded() == ACCURACIES
    made = [done for done in commands.done if done != ("latency", "")]
    assert {name.partition("-")[0] for _, name in made} == {"small"}, "nothing else is made again"
    assert [kind for kind, _ in made] == ["train", "quantize", "answers"][-len(made) :] and made
    assert commands.series() == 0 and commands.done == []


def test_candidate_that_fails_loses(commands: Commands) -> None:
    assert commands.series("--rows", "half_million") == 0
    assert commands.record()["rows"]["half_million"]["choice"]["chosen"] == {"order": "preactivation"}, "the better"

    (commands.folder / "best.json").unlink()
    shutil.rmtree(commands.folder / "runs")
    commands.fail = {("train", "preactivation"): (-9, "out of memory\n")}
    assert commands.series() == 0
    assert commands.recorded() == ACCURACIES
    choice = commands.record()["rows"]["half_million"]["choice"]
    assert choice["chosen"] == {"order": "postactivation"}
    assert [one["validation_accuracy"] for one in choice["tried"]] == [0.8, None]
    assert "half_million, candidate preactivation, which failed: " in commands.said and "out of memory" in commands.said
    assert not commands.left_out()

    commands.fail = {}
    assert commands.series() == 0 and commands.done == [], "it has lost, and is not tried again"


def test_row_fails_where_all_its_candidates_do(commands: Commands) -> None:
    commands.fail = {("train", "half_million"): (2, "error: the loss is nan\n")}
    assert commands.series() == 1
    assert commands.recorded() == {name: value for name, value in ACCURACIES.items() if name != "half_million"}
    for candidate in ("postactivation", "preactivation"):
        assert f"half_million, candidate {candidate}, which failed: " in commands.left_out()

    commands.fail = {}
    assert commands.series() == 0
    assert commands.recorded() == ACCURACIES
    assert {name.partition("-")[0] for kind, name in commands.done if kind != "latency"} == {"half_million"}


def test_choice_of_a_trial_is_not_taken_where_the_whole_one_fails(commands: Commands) -> None:
    assert commands.series("--rows", "half_million", "--epochs", "4") == 0
    commands.fail = {("train", "half_million-20e"): (2, "error: the loss is nan\n")}
    assert commands.series("--rows", "half_million") == 1
    assert not [done for done in commands.done if done[0] == "train"]


@pytest.mark.parametrize(
    ("kind", "outcome", "code"),
    [
        ("train", KeyboardInterrupt(), 130),
        ("train", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2),
        ("train", (2, f"error: {os.strerror(errno.ENOSPC)}\n  The disk is full: free some space.\n"), 2),
        ("quantize", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2),
    ],
    ids=["Ctrl-C", "full disk", "full disk in the command", "full disk behind the training"],
)
def test_stop_or_full_disk_ends_the_series_and_keeps_what_was_answered(
    kind: str, outcome: tuple[int, str] | BaseException, code: int, commands: Commands
) -> None:
    commands.fail = {(kind, "tiny"): outcome}
    assert commands.series() == code
    assert {"document": 0.91, "small": 0.92}.items() <= commands.recorded().items()
    assert "tiny" not in commands.recorded()
    assert kind != "train" or "fastest" not in commands.recorded()
    assert "left out" not in commands.said and "goes on" in commands.said

    commands.fail = {}
    assert commands.series() == 0
    assert commands.recorded() == ACCURACIES
    assert not {("answers", "document"), ("answers", "small")} & {
        (kind, name.partition("-")[0]) for kind, name in commands.done
    }


def test_reason_is_what_this_call_said(commands: Commands) -> None:
    commands.fail = {("train", "tiny"): (2, "error: the loss is nan\n")}
    assert commands.series("--rows", "tiny") == 1
    commands.fail = {("train", "tiny"): (-9, "")}
    assert commands.series("--rows", "tiny") == 1
    assert "ended with -9" in commands.left_out() and "nan" not in commands.said


def test_latency_that_fails_is_named(commands: Commands) -> None:
    commands.fail = {("latency", ""): (1, "Traceback\nRuntimeError: no interpreter\n")}
    assert commands.series() == 1
    assert commands.recorded() == ACCURACIES
    assert "latency, which failed: " in commands.left_out() and "no interpreter" in commands.left_out()
    commands.fail = {}
    assert commands.series() == 0 and commands.done == [("latency", "")]


def test_row_without_a_right_answer_is_a_row(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACCURACIES, "tiny", 0.0)
    assert commands.series("--rows", "tiny") == 0
    assert "tiny, seed 0: 0.00 %" in commands.said and commands.recorded() == {"tiny": 0.0}
