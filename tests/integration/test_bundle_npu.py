"""`edgefm export c --npu`: the file that vela compiles for an Ethos-U, with vela's own estimate."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import pytest

import edgefm
from edgefm.core.errors import ArgumentError, RecipeError
from edgefm.targets.base import TargetError
from edgefm.targets.vela import program
from tests.integration.test_bundles import SHIPPED

pytestmark = pytest.mark.skipif(program.program() is None, reason="needs vela: the extra [npu]")


def test_file_and_estimate_are_those_of_vela(tmp_path: Path) -> None:
    edgefm.export(SHIPPED, "c", out=tmp_path / "b", samples=2, npu="ethos-u55-128", progress=False)
    made = tmp_path / "b" / "npu"
    vela = program.program()
    assert vela is not None
    command = [str(vela), "--accelerator-config", "ethos-u55-128", "--output-dir", str(tmp_path / "vela")]
    subprocess.run([*command, str(tmp_path / "b" / "model.tflite")], check=True, capture_output=True, timeout=200)
    assert (made / "model_vela.tflite").read_bytes() == (tmp_path / "vela" / "model_vela.tflite").read_bytes()
    (summary,) = (tmp_path / "vela").glob("*summary*.csv")
    with summary.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    estimate = json.loads((made / "estimate.json").read_text(encoding="utf-8"))
    figures = {figure["name"]: figure for figure in estimate["figures"]}
    assert estimate["accelerator"] == "ethos-u55-128" and estimate["mode"] == "estimated"
    assert figures["npu_cycles"]["value"] == pytest.approx(float(row["cycles_total"]))
    assert figures["model_bytes"]["value"] == (made / "model_vela.tflite").stat().st_size
    assert edgefm.verify(tmp_path / "b", run=False, progress=False).held
    content = bytearray((made / "model_vela.tflite").read_bytes())
    content[100] ^= 1
    (made / "model_vela.tflite").write_bytes(content)
    assert not edgefm.verify(tmp_path / "b", run=False, progress=False).held


def test_other_accelerators_and_other_kinds(tmp_path: Path) -> None:
    edgefm.export(SHIPPED, "c", out=tmp_path / "c", samples=2, npu="ethos-u65-256", progress=False)
    assert (tmp_path / "c" / "npu" / "model_vela.tflite").is_file()
    edgefm.export(SHIPPED, "python", out=tmp_path / "p", samples=2, npu="ethos-u55-128", progress=False)
    assert not (tmp_path / "p" / "npu").exists()


def test_wrong_accelerator_is_named_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="ethos-u55-127") as error:
        edgefm.export(SHIPPED, "c", out=tmp_path / "b", npu="ethos-u55-127", progress=False)
    assert "ethos-u55-128" in f"{error.value.message} {error.value.hint}"
    with pytest.raises(ArgumentError, match="npu is 55"):
        edgefm.export(SHIPPED, "c", out=tmp_path / "b", npu=55, progress=False)  # type: ignore[arg-type]
    monkeypatch.setattr(program, "program", lambda: None)
    with pytest.raises(TargetError, match="vela") as missing:
        edgefm.export(SHIPPED, "c", out=tmp_path / "b", npu="ethos-u55-128", progress=False)
    assert "edgefm[npu]" in str(missing.value.hint) and not (tmp_path / "b").exists()
