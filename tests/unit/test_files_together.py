"""Commands that write several files write all of them or none: what an earlier call wrote stays whole."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from edgefm.benchmarking import step
from edgefm.cli import calibration, data, sensitivity
from edgefm.core.errors import EdgefmError
from edgefm.jobs.agree import AgreementResult
from edgefm.jobs.profile import write_profile
from tests.unit.test_profiling_profile import made_up

Patch = pytest.MonkeyPatch
# Writes the files of turn 1, 2, … into a folder.
Writer = Callable[[Path, int, Patch], None]


def _agree(folder: Path, turn: int, patch: Patch) -> None:
    files = {"agreement.png": b"png %d" % turn, "agreement.svg": b"svg %d" % turn}
    patch.setattr("edgefm.report.tools.agreement.agreement_pictures", lambda value: files)
    AgreementResult(document={"turn": turn}).save(folder)


def _profile(folder: Path, turn: int, patch: Patch) -> None:
    files = {"profile.png": b"png %d" % turn, "profile.svg": b"svg %d" % turn}
    patch.setattr("edgefm.report.tools.profile.profile_pictures", lambda result: files)
    write_profile(made_up(turn), folder)


def _benchmark(folder: Path, turn: int, patch: Patch) -> None:
    measurement: Any = SimpleNamespace(record={"turn": turn}, predictions={"a": np.array([turn])})
    step._write(folder, measurement)


def _result(turn: int) -> SimpleNamespace:
    return SimpleNamespace(to_json=lambda: {"turn": turn}, held=True)


def _of_run(folder: Path, turn: int, patch: Patch, command: click.Command, picture: str) -> None:
    model = SimpleNamespace(name="model")
    patch.setattr("edgefm.cli.examined_run.examined", lambda *given, **named: (SimpleNamespace(path=folder), model))
    patch.setattr(picture, lambda value: b"png %d" % turn)
    _call(command, folder)


def _call(command: click.Command, folder: Path) -> None:
    outcome = CliRunner().invoke(command, ["--out", str(folder), "--json"], standalone_mode=False)
    if outcome.exception is not None:
        raise outcome.exception


def _calibration(folder: Path, turn: int, patch: Patch) -> None:
    patch.setattr(calibration, "_check", lambda *given: _result(turn))
    _of_run(folder, turn, patch, calibration.command, "edgefm.report.tools.calibration.calibration_png")


def _sensitivity(folder: Path, turn: int, patch: Patch) -> None:
    recipes = {"recipe": {"turn": turn}, "quantizer_recipe": {"turn": turn}} if turn < 3 else {}
    patch.setattr(sensitivity, "_examine", lambda *given: (_result(turn), None, recipes))
    _of_run(folder, turn, patch, sensitivity.command, "edgefm.report.tools.sensitivity.sensitivity_png")


def _data(folder: Path, turn: int, patch: Patch) -> None:
    patch.setattr(data, "_load", lambda given: (None, None))
    patch.setattr(data, "_checks", lambda dataset: [])
    patch.setattr(data, "_described", lambda source, dataset: {})
    for name in ("class_balance", "samples"):
        patch.setattr(f"edgefm.data.pictures.{name}", lambda dataset: b"png %d" % turn)
    _call(data.info, folder)


WRITERS = {
    "agree": _agree,
    "profile": _profile,
    "benchmark": _benchmark,
    "calibration": _calibration,
    "sensitivity": _sensitivity,
    "data info": _data,
}


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("others", [False, True], ids=["own folder", "with files of others"])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_on_a_full_disk_the_files_of_an_earlier_call_stay(
    write: Writer, others: bool, tmp_path: Path, monkeypatch: Patch
) -> None:
    folder = tmp_path / "out"
    if others:
        folder.mkdir()
        (folder / "mine.txt").write_bytes(b"mine")
    write(folder, 1, monkeypatch)
    before = _content(tmp_path)
    assert len(before) >= 2 + others
    flush = os.fsync
    written = 0

    def full(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written == 2:
            raise OSError(errno.ENOSPC, "full")
        flush(descriptor)

    with monkeypatch.context() as patch, pytest.raises((OSError, EdgefmError)):
        patch.setattr(os, "fsync", full)
        write(folder, 2, monkeypatch)
    assert _content(tmp_path) == before
    write(folder, 2, monkeypatch)
    after = _content(tmp_path)
    assert sorted(after) == sorted(before)
    assert [name for name in after if after[name] == before[name]] == ["out/mine.txt"] * others


def test_recipes_of_an_earlier_sensitivity_go_with_it(tmp_path: Path, monkeypatch: Patch) -> None:
    _sensitivity(tmp_path / "out", 2, monkeypatch)
    assert len(_content(tmp_path)) == 4
    _sensitivity(tmp_path / "out", 3, monkeypatch)
    assert sorted(_content(tmp_path)) == ["out/sensitivity.json", "out/sensitivity.png"]


def test_the_next_command_is_quoted(tmp_path: Path, monkeypatch: Patch) -> None:
    chosen = SimpleNamespace(**vars(_result(1)), steps=(), drop_at_most=1.0, keep_float=("a",))
    monkeypatch.setattr(
        sensitivity, "_examine", lambda *given: (SimpleNamespace(**vars(_result(1)), unit="%"), chosen, {})
    )
    monkeypatch.setattr(sensitivity, "_show", lambda result: None)
    run = (SimpleNamespace(path=tmp_path / "my run"), SimpleNamespace(name="model"))
    monkeypatch.setattr("edgefm.cli.examined_run.examined", lambda *given, **named: run)
    monkeypatch.setattr("edgefm.report.tools.sensitivity.sensitivity_png", lambda value: b"")
    outcome = CliRunner().invoke(sensitivity.command, [], standalone_mode=False)
    line = next(line for line in outcome.output.splitlines() if line.startswith("next: "))
    folder = tmp_path / "my run"
    words = ["edgefm", "quantize", str(folder), "--recipe", str(folder / "sensitivity" / "recipe.json")]
    assert shlex.split(line.removeprefix("next: ")) == words
