"""The choice of backend and precision by speed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgefm.core.errors import RuntimeUnavailableError
from edgefm.core.progress import SILENT
from edgefm.training.fastest import _cache_file, fastest_setting, installed
from edgefm.training.speed_probe import has_bfloat16
from tests.fixtures.notes import Notes


def test_what_is_given_is_taken() -> None:
    assert fastest_setting("jax", "mixed_bfloat16", progress=SILENT) == ("jax", "mixed_bfloat16")
    assert fastest_setting(None, "float32", progress=SILENT) == (None, "float32")


_CHOOSE = """
import json, sys
from edgefm.core.artefacts import write_json
from edgefm.training.fastest import _cache_file, fastest_setting
from tests.fixtures.notes import Notes
both = ("float32", "mixed_bfloat16")
write_json(_cache_file(both), {"tensorflow": {"float32": 900.0, "mixed_bfloat16": None},
           "jax": {"float32": 300.0, "mixed_bfloat16": 950.5}, "torch": {}})
write_json(_cache_file(("float32",)), {name: {"float32": speed} for name, speed in json.loads(sys.argv[1]).items()})
notes = Notes()
chosen = [fastest_setting("auto", "auto", progress=notes), fastest_setting("auto", "float32", progress=notes),
          fastest_setting("tensorflow", "auto", progress=notes)]
assert not {"tensorflow", "keras", "jax", "torch"} & set(sys.modules)
print(json.dumps([chosen, notes.notes]))
"""


def test_fastest_of_what_was_measured_is_taken_and_said(tmp_path: Path) -> None:
    speeds = {name: 100.0 + index for index, name in enumerate(installed())}
    variables = {**os.environ, "EDGEFM_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _CHOOSE, json.dumps(speeds)], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    chosen, notes = json.loads(done.stdout)
    assert chosen == [
        ["jax", "mixed_bfloat16"],
        [max(speeds, key=speeds.__getitem__), "float32"],
        ["tensorflow", "float32"],
    ]
    assert notes[0] == (
        "images/s by a short trial: tensorflow float32 900, jax float32 300, jax mixed_bfloat16 950; "
        "jax mixed_bfloat16 is taken"
    )


def test_a_backend_that_cannot_be_tried_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    notes = Notes()
    with pytest.raises(RuntimeUnavailableError, match="no speed could be measured on caffe in float32, mixed_bfloat16"):
        fastest_setting("caffe", "auto", progress=notes)
    assert any("caffe is left out, it could not be tried" in note for note in notes.notes)


def test_damaged_file_of_speeds_and_failures_are_no_speeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    path = _cache_file(("float32", "mixed_bfloat16"))
    path.parent.mkdir(parents=True)
    for damaged in ("[", "[]", '{"caffe": 3}'):
        path.write_text(damaged)
        with pytest.raises(RuntimeUnavailableError):
            fastest_setting("caffe", "auto", progress=SILENT)
        assert path.read_text() == damaged, "a failure is not kept"


@pytest.mark.slow
def test_trial_measures_float32_everywhere_and_bfloat16_where_the_hardware_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    backend: Any
    backend, precision = fastest_setting(installed()[0], "auto", progress=SILENT)
    assert backend == installed()[0]
    measured = json.loads(_cache_file(("float32", "mixed_bfloat16")).read_text())[backend]
    assert measured["float32"] > 1
    assert (measured["mixed_bfloat16"] is not None) == has_bfloat16()
    assert measured[precision] == max(speed for speed in measured.values() if speed is not None)
