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
from edgefm.recipes import Training
from edgefm.training.fastest import _cache_file, _tried, fastest_setting, installed
from edgefm.training.speed_probe import has_bfloat16
from tests.fixtures.notes import Notes


def test_what_is_given_is_taken() -> None:
    assert fastest_setting("jax", "mixed_bfloat16", recipe=Training(), progress=SILENT) == ("jax", "mixed_bfloat16")
    assert fastest_setting(None, "float32", recipe=Training(), progress=SILENT) == (None, "float32")


_CHOOSE = """
import json, sys
from edgefm.core.artefacts import write_json
from edgefm.recipes import Training
from edgefm.training.fastest import _cache_file, _tried, fastest_setting
from tests.fixtures.notes import Notes
both, recipe = ("float32", "mixed_bfloat16"), Training()
write_json(_cache_file(_tried(recipe), both), {"tensorflow": {"float32": 900.0, "mixed_bfloat16": None},
           "jax": {"float32": 300.0, "mixed_bfloat16": 950.5}, "torch": {}})
alone = _cache_file(_tried(recipe), ("float32",))
write_json(alone, {name: {"float32": speed} for name, speed in json.loads(sys.argv[1]).items()})
notes = Notes()
asked = [("auto", "auto"), ("auto", "float32"), ("tensorflow", "auto")]
chosen = [fastest_setting(*setting, recipe=recipe, progress=notes) for setting in asked]
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
        "images/s of enhanced_cnn by a short trial: tensorflow float32 900, jax float32 300, jax mixed_bfloat16 950; "
        "jax mixed_bfloat16 is taken"
    )


@pytest.mark.parametrize(
    ("recipe", "model", "shape"),
    [
        (Training(model="separable_tiny"), "separable_tiny", [28, 28, 1]),
        (Training(model="mobilenet_v2", image_size=96), "mobilenet_v2", [96, 96, 3]),
        (Training(model="resnet20", image_size=32, channels=3), "resnet20", [32, 32, 3]),
        (Training(model="mine:build", image_size=64), "enhanced_cnn", [28, 28, 1]),
        (Training(model="mine.keras"), "enhanced_cnn", [28, 28, 1]),
    ],
)
def test_the_model_that_is_trained_is_tried(recipe: Training, model: str, shape: list[int]) -> None:
    tried = _tried(recipe)
    assert (tried["model"], tried["shape"]) == (model, shape)
    assert (_cache_file(tried, ("float32",)) == _cache_file(_tried(Training()), ("float32",))) == (
        model == "enhanced_cnn"
    )


def test_a_backend_that_cannot_be_tried_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    notes = Notes()
    with pytest.raises(RuntimeUnavailableError, match="no speed could be measured on caffe in float32, mixed_bfloat16"):
        fastest_setting("caffe", "auto", recipe=Training(), progress=notes)
    assert any("caffe is left out, it could not be tried" in note for note in notes.notes)


def test_damaged_file_of_speeds_and_failures_are_no_speeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    path = _cache_file(_tried(Training()), ("float32", "mixed_bfloat16"))
    path.parent.mkdir(parents=True)
    for damaged in ("[", "[]", '{"caffe": 3}'):
        path.write_text(damaged)
        with pytest.raises(RuntimeUnavailableError):
            fastest_setting("caffe", "auto", recipe=Training(), progress=SILENT)
        assert path.read_text() == damaged, "a failure is not kept"


@pytest.mark.slow
def test_trial_measures_float32_everywhere_and_bfloat16_where_the_hardware_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFM_CACHE_DIR", str(tmp_path))
    backend: Any
    backend, precision = fastest_setting(installed()[0], "auto", recipe=Training(), progress=SILENT)
    assert backend == installed()[0]
    measured = json.loads(_cache_file(_tried(Training()), ("float32", "mixed_bfloat16")).read_text())[backend]
    assert measured["float32"] > 1
    assert (measured["mixed_bfloat16"] is not None) == has_bfloat16()
    assert measured[precision] == max(speed for speed in measured.values() if speed is not None)
