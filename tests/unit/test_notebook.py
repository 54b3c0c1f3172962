"""Results in a notebook: HTML without a display, with every text escaped."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import edgefm
from edgefm.core import html
from edgefm.core.errors import ArgumentError
from edgefm.core.progress import SILENT, Bars, in_notebook, shown

ROOT = Path(__file__).parents[2]
CURVES = """
import edgefm
epochs = tuple(
    {"epoch": n, "loss": 1 / n, "accuracy": 0.5, "val_loss": 1 / n, "val_accuracy": 0.5, "learning_rate": 1e-3,
     "seconds": 1.0, "images_per_second": 10.0}
    for n in (1, 2)
)
verdict = {"name": "good fit", "reason": "<b>both</b>", "train_accuracy": 0.5, "validation_accuracy": 0.5}
result = edgefm.TrainingResult(
    recipe=edgefm.Training(epochs=2), history=epochs, verdict=verdict, device={}, _load=lambda: None
)
print(result._repr_html_())
"""


def test_curves_are_drawn_where_there_is_no_display() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"MPLBACKEND": "TkAgg", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "converters")])}
    command = [sys.executable, "-c", CURVES]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert 'src="data:image/png;base64,' in finished.stdout
    assert "<b>" not in finished.stdout


def test_run_shows_what_was_done_and_a_name_cannot_leave_its_cell(tmp_path: Path) -> None:
    run = edgefm.Run(tmp_path / "<script>")
    assert "no steps yet" in run._repr_html_()
    assert "<script>" not in run._repr_html_()
    page = html.page('<p title="x">report</p>', title="t")
    assert page.count("<p") == 0 and "&lt;p title=&quot;x&quot;&gt;" in page


def test_progress_draws_in_a_terminal_and_a_notebook_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    with shown(None) as receiver:
        assert receiver is SILENT
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook()
    with shown(None) as receiver:
        assert isinstance(receiver, Bars)
    with shown(False) as receiver:
        assert receiver is SILENT
    with pytest.raises(ArgumentError, match="progress is 3"), shown(3):  # type: ignore[arg-type]
        pass


def test_error_does_not_stand_on_the_line_of_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArgumentError), shown(Bars()) as receiver:
        receiver.step("pictures", 0, 3)
        raise ArgumentError("no picture")
    assert capsys.readouterr().err.endswith("\n")
