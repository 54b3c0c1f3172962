"""A run that was written before the rooms of edgefm had their present names still opens, reports and goes on."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import edgefm
from edgefm.benchmarking import record
from edgefm.core.runs import RunDirectory
from edgefm.keras_graph.folding import ChannelShift
from edgefm.quantization.chain import kept_pass
from edgefm.recipes import BenchmarkProtocol

FORMER = Path(__file__).parents[1] / "fixtures" / "former_run.zip"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with zipfile.ZipFile(FORMER) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_former_run_opens_and_its_files_are_unchanged(folder: Path) -> None:
    run = edgefm.Run(folder / "run")
    assert [step.kind for step in run.steps] == ["import", "quantize", "benchmark"]
    directory = RunDirectory.open(run.path)
    assert all(directory.find(step.key) == step for step in run.steps)
    assert list(run.files) == ["float32", "int8_w8a8", "pruned50_qat_int8"]
    stored = json.loads((run.files.folder / "quantize.json").read_text(encoding="utf-8"))
    assert run.files.to_json() == stored
    assert set(run.record) == set(run.files)
    verdict = edgefm.compare(run.record, "int8_w8a8", "float32").verdict
    assert "size" in verdict


def test_former_record_is_one_of_the_present_schema(folder: Path) -> None:
    path = folder / "run" / "02-benchmark" / "record.json"
    assert record.read(path) == json.loads(path.read_text(encoding="utf-8"))


def test_former_passes_are_loaded_layers_of_former_modules_included(folder: Path) -> None:
    images = np.load(folder / "data.npz")["images"][:8].astype(np.float32)
    kinds = set()
    for pass_folder in sorted((folder / "run" / "passes").iterdir()):
        key = json.loads((pass_folder / "pass.json").read_text(encoding="utf-8"))["key"]
        link = kept_pass(pass_folder, key)
        assert link is not None and link.cached
        model = link.load()
        assert np.isfinite(np.asarray(model(images))).all()
        kinds |= {type(layer) for layer in model.layers}
    assert ChannelShift in kinds


def test_former_run_is_reported_measured_and_quantised_again(folder: Path) -> None:
    run = edgefm.Run(folder / "run")
    page = run.report(progress=False)
    assert "pruned50_qat_int8" in page.read_text(encoding="utf-8")
    protocol = BenchmarkProtocol(rounds=1, rounds_at_most=1, round_seconds=0, round_invokes=1)
    assert run.benchmark(protocol=protocol, progress=False).failed == {}
    again = run.quantize(["float32", "int8_w8a8"], calibration_images=32, progress=False)
    # Equal layers and weights: the float32 file is the former one but for what the contract says of versions.
    former = (folder / "run" / "01-quantize" / "float32" / "model.tflite").read_bytes()
    assert again["float32"].content == former
