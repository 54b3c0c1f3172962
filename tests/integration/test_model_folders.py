"""Commands and functions that take a .tflite file take a folder with a model.tflite, too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm.cli.main import cli, run
from edgefm.core.errors import ModelError
from tests.fixtures.protocols import ONCE

SHIPPED = Path(__file__).parents[2] / "android_demo_assets" / "int8"


def _command(*arguments: str | Path) -> int:
    return run(lambda: cli.main(list(map(str, arguments)), standalone_mode=False))


@pytest.fixture
def variants(tmp_path: Path) -> Path:
    """A folder like that of a quantize step, with two variants."""
    for name in ("int8_w8a8", "other"):
        shutil.copytree(SHIPPED, tmp_path / "variants" / name)
    return tmp_path / "variants"


def _json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_inspect_takes_a_folder(variants: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _command("inspect", variants / "other", "--json") == 0
    assert _json(capsys)["path"] == str(variants / "other" / "model.tflite")


def test_folder_without_a_model_names_those_below_it(variants: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _command("inspect", variants) == 2
    said = capsys.readouterr().err
    assert "a folder without model.tflite" in said and str(variants / "int8_w8a8") in said
    with pytest.raises(ModelError, match=r"without model\.tflite"):
        edgefm.profile(variants)


def test_predict_takes_a_folder(variants: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "black.png")
    assert _command("predict", tmp_path / "black.png", "--model", variants / "other", "--json") == 0
    assert _json(capsys)["model"] == str(variants / "other" / "model.tflite")


def test_benchmark_takes_folders(variants: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = (variants / "int8_w8a8", variants / "other")
    assert _command("benchmark", *folders, "--latency-only", "--rounds-at-most", "1", "--json") == 0
    assert len(_json(capsys)["models"]) == 2
    assert list(edgefm.benchmark(folders[0], protocol=ONCE)) == ["int8_w8a8"]
    assert list(edgefm.benchmark({"mine": folders[1]}, protocol=ONCE)) == ["mine"]


def test_compare_measures_two_folders(variants: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = (variants / "int8_w8a8", variants / "other")
    code = _command("compare", *folders, "--latency-only", "--no-latency", "--rounds-at-most", "1", "--json")
    found = _json(capsys)
    assert code in (0, 2)
    assert (found["first"], found["second"]) == tuple(map(str, folders))
    sizes = next(one for one in found["pairs"][0]["aspects"] if one["name"] == "size_bytes")
    assert sizes["first"] == sizes["second"] == (SHIPPED / "model.tflite").stat().st_size


def test_compare_takes_a_folder_with_a_record_as_a_record(variants: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = variants / "other"
    edgefm.benchmark(folder, protocol=ONCE, out=folder)
    assert _command("compare", folder, variants / "int8_w8a8") == 2
    assert "give two model files, or two runs or records" in capsys.readouterr().err


def test_profile_takes_a_folder(variants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgefm.profiling.limits import Limits

    known = Limits(peaks={}, bandwidth=(), call_ns=500.0, operator_ns=40.0)
    monkeypatch.setattr("edgefm.profiling.profile.measure_limits", lambda **_: (known, "1"))
    found = edgefm.profile(variants / "other", rounds=1, method="operators")
    assert found.model["size_bytes"] == (SHIPPED / "model.tflite").stat().st_size


def test_agree_takes_a_folder(variants: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = ("--runtime", "litert:builtin", "--runtime", "litert:reference")
    assert _command("agree", variants / "other", *cells, "--random", "-n", "5", "--json") in (0, 1)
    assert _json(capsys)["model"]["name"] == "model"
