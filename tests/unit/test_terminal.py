"""What reaches a terminal: of a strange file's names only what can be seen, of edgefm's own colours all."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest

from edgefm.cli import render
from edgefm.cli.main import cli, run
from edgefm.core import progress
from edgefm.core.text import visible
from tests.fixtures import benchmark_records as made
from tests.fixtures import tiny_models
from tests.fixtures.terminal import EDGEFM, in_a_terminal, of_a_terminal

ROOT = Path(__file__).parents[2]
# A window's title, a cleared screen, a link, a question to the terminal; the same with C1; backwards; other lines.
HARM = (
    "a\x1b]0;t\x07\x1b[2J\x1b]8;;http://x\x1b\\\x1b[6n\x9b2J\x9d0;t\x9c\u202ecba\u2066\r\x08\x7f\x85\u2028b\t"
    "error: c\nerror: d"
)
LINE = HARM.replace("\n", "")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def call(*args: object) -> int:
    return run(lambda: cli.main([str(arg) for arg in args], standalone_mode=False))


def check(text: str, *, coloured: bool = False) -> None:
    """Hold that a text shows the name, and that no character of it acts."""
    bare = COLOUR.sub("", text) if coloured else text
    acting = {ascii(letter) for letter in bare if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert acting <= {ascii("\n")}, acting
    assert visible("\x1b]0;t") in bare and visible("\u202ecba") in bare
    assert not any(line.startswith("error: d") for line in bare.splitlines())


@pytest.fixture
def record(tmp_path: Path) -> Path:
    rows = [made.row("float32"), made.row(HARM, accuracy=0.8), made.failed(f"{HARM}2", f"it said {HARM}")]
    value = made.benchmark_record(rows, environment={"cpu": HARM}, dataset={"labels": [HARM, "b", "c"]})
    value["models"][1]["runtime"]["version"] = HARM
    return made.write(tmp_path / "run", value)


@pytest.fixture
def budget(tmp_path: Path) -> Path:
    path = tmp_path / "budget.toml"
    path.write_text('[models."*"]\nsize_bytes = 1\np50_us = 1\n')
    return path


def test_gate_shows_names_and_keeps_its_colours(
    record: Path, budget: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call("gate", record, "--budget", budget) in (1, 2)
    check(capsys.readouterr().out)
    shown = in_a_terminal("gate", str(record), "--budget", str(budget))
    check(shown, coloured=True)
    assert "\x1b[31m" in shown, "what is broken is red"


def test_compare_shows_names(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("compare", record, record) in (0, 1, 2)
    check(capsys.readouterr().out)


def test_leaderboard_shows_names(record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("leaderboard", record, "--out", tmp_path / "out") == 0
    check(capsys.readouterr().out)


def test_inspect_shows_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = tiny_models.Graph(
        tensors=[tiny_models.Tensor(name=HARM, shape=(1, 4)), tiny_models.Tensor(name="y", shape=(1, 4))],
        operators=[tiny_models.Operator(name=HARM, inputs=(0,), outputs=(1,), custom=True)],
        inputs=[0],
        outputs=[1],
    )
    path = tmp_path / f"{LINE.replace('/', '')}.tflite"
    path.write_bytes(tiny_models.build(graph, metadata={HARM: b"x"}))
    assert call("inspect", path) == 0
    shown = capsys.readouterr().out
    check(shown)
    assert r"error: c\nerror: d" in shown
    assert shown.count(visible("\x1b]0;t")) == 3, "the file, an operator, the metadata"
    assert call("inspect", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tensors"][0]["name"] == HARM, "JSON is exact"


def test_table_of_a_benchmark_shows_names(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edgefm.cli.benchmark_tables import show

    show(json.loads(record.read_text()))
    check(capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", LINE],
        ["inspect", f"{LINE}.tflite"],
        ["inspect", f"--{LINE}"],
        ["inspect", "x", f"{LINE}"],
        ["benchmark", "x.tflite", "--rounds", LINE],
        ["zoo", LINE],
        [LINE],
        ["train", "--model", LINE],
        ["train", "--preset", LINE],
        ["quantize", LINE, "--variant", LINE],
        ["agree", f"{LINE}.tflite"],
        ["recipes", "show", LINE],
        ["export", "android", LINE, "--out", "x"],
        ["gate", LINE, "--budget", LINE],
    ],
    ids=lambda arguments: " ".join(arguments).replace(LINE, "HARM"),
)
def test_errors_show_names(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    check(shown)


def test_name_that_is_no_utf8_is_shown(tmp_path: Path) -> None:
    """As an argument and as a file that is found, in a locale whose output takes no such byte."""
    name = b"\xff\x9b2J.tflite"
    (tmp_path / os.fsdecode(name)).write_bytes(tiny_models.relu())
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([*EDGEFM, "inspect", name], cwd=tmp_path, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"\udcff\udc9b2J.tflite" in done.stdout


def test_bars_notes_and_warnings_show_names(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, warnings\n"
        "from edgefm.cli import main\n"
        "from edgefm.core.progress import Bars\n"
        f"harm = {HARM!r}\n"
        "def action(*_, **__):\n"
        "    bars = Bars()\n"
        "    bars.step(harm, 0, 2, {'now': harm})\n"
        "    bars.note(harm)\n"
        "    bars.step(harm, 2, 2)\n"
        "    bars.note(harm)\n"
        "    warnings.warn(harm)\n"
        "main.cli.main = action\n"
        "main.main()\n"
    )
    shown = of_a_terminal([sys.executable, str(program)])
    for part in (rb"\r\x1b[A", rb"\x1b[A", b"\r"):  # what tqdm moves with
        shown = shown.replace(part.decode("unicode_escape"), "\n")
    check(shown)
    assert shown.count(visible("\x1b]0;t")) >= 5
    plain = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True).stderr
    check(plain.replace("\r", "\n"))


def test_cells_of_a_table_keep_to_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    render.table([["x\ny", 1], [None, 2.5], [Path("a\x1bb"), "c"]], headers=["name\n2", "n"], right=["n"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert r"name\n2" in lines[0] and r"x\ny" in lines[2] and r"a\x1bb" in lines[4]


def test_coloured_cell_is_coloured_and_its_text_visible() -> None:
    assert render.Coloured("a\x1b[2J", "red") == click.style(r"a\x1b[2J", fg="red")


def test_bars_of_the_library_show_names_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    bars = progress.Bars()
    bars.step(HARM, 0, 1)
    bars.note(HARM)
    bars.close()
    check(stream.getvalue().replace("\r", "\n"))


@pytest.mark.parametrize("words", ["zoo list", "zoo show lenet5", "zoo show s4_batch", "recipes list"])
def test_lists_end_in_lines_not_in_escaped_line_ends(words: str) -> None:
    shown = COLOUR.sub("", in_a_terminal(*words.split()))
    assert "\\n" not in shown
    assert "\n\n" in shown, "a free line stands between the table and what to do next"
