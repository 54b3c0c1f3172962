"""`edgefm train --not-flippable` with data of every kind: the run keeps the mark, and nothing is mirrored later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgefm.cli.main import cli
from edgefm.core.runs import RunDirectory
from edgefm.data.source import data_source_of, dataset_of
from edgefm.jobs.run import Run
from tests.integration.test_tfrecord_data import PNG, labelled, spec, write

FUNCTION = """
import numpy as np


def load():
    labels = np.arange(40) % 2
    pixels = np.random.default_rng(0).integers(0, 200, (40, 12, 12, 3)) + 40 * labels.reshape(-1, 1, 1, 1)
    return {"x": pixels.astype(np.uint8), "y": labels}
"""


def _given(kind: str, folder: Path) -> list[str]:
    """Write data of a kind and return the options that name them."""
    labels = np.arange(40) % 2
    pixels = np.random.default_rng(0).integers(0, 200, (40, 12, 12, 3)) + 40 * labels.reshape(-1, 1, 1, 1)
    if kind == "function":
        (folder / "flip_data.py").write_text(FUNCTION)
        return ["--data", "flip_data:load"]
    if kind == "npz":
        np.savez(folder / "d.npz", x=pixels.astype(np.uint8), y=labels)
        return ["--data", "d.npz"]
    if kind == "tfrecord":
        where = write(folder / "all.tfrecord", labelled(40, size=(12, 12)))
        return ["--data", where, "--spec", str(spec(folder, PNG)), "--image-size", "12"]
    for place, (picture, label) in enumerate(zip(pixels.astype(np.uint8), labels, strict=True)):
        (folder / "p" / f"c{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / "p" / f"c{label}" / f"{place}.png")
    return ["--data", "p"]


@pytest.mark.parametrize("kind", ["folder", "npz", "function", "tfrecord"])
def test_mark_is_kept_in_the_run_for_later_passes(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "flip_data", raising=False)
    data = _given(kind, tmp_path)
    options = ["--model", "ds_cnn", "--epochs", "1", "--backend", "tensorflow", "--run", "run"]

    def train(*more: str) -> Any:
        return CliRunner().invoke(cli, ["train", *data, *options, *more])

    refused = train("--not-flippable", "--flip")
    assert refused.exit_code != 0 and "marked as not flippable" in str(refused.exception)
    assert not (tmp_path / "run").exists()
    done = train("--not-flippable")
    assert done.exit_code == 0, done.output
    assert not Run("run").training.recipe.flip
    run = RunDirectory.open(Path("run"))
    source = data_source_of(run)
    assert source is not None and source.flippable is False
    assert json.loads(json.dumps(source.to_json()))["flippable"] is False
    assert dataset_of(run).flippable is False  # what qat, prune, cluster and slim are given


def test_mark_without_data_is_refused() -> None:
    done = CliRunner().invoke(cli, ["train", "--not-flippable"])
    assert done.exit_code == 2 and "--not-flippable says something of --data" in done.output
