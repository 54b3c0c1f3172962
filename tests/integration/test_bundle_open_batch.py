"""Bundles of a model that leaves its batch open: it is fixed at 1, and the model card says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgefm
from tests.fixtures import tiny_models


@pytest.mark.parametrize("kind", ["android", "c", "python"])
def test_open_batch_is_fixed_and_said(kind: str, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(tiny_models.dynamic(batch=True))
    edgefm.export(tmp_path / "m.tflite", kind, out=tmp_path / "bundle", samples=3, progress=False)
    assert "The file leaves its batch open" in (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert edgefm.verify(tmp_path / "bundle", progress=False).held
    for place in range(3):  # a RELU
        raw = [(tmp_path / "bundle" / "golden" / f"{place:02d}.{what}.bin").read_bytes() for what in ("in", "float")]
        given, answer = (np.frombuffer(content, np.float32) for content in raw)
        assert given.shape == (4,) and np.array_equal(answer, np.maximum(given, 0))
    if kind == "python":
        done = subprocess.run(
            [sys.executable, "edge_model.py", "--self-test"], cwd=tmp_path / "bundle", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_fixed_batch_is_not_spoken_of(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(tiny_models.dense(np.eye(3, 16, dtype=np.float32)))
    edgefm.export(tmp_path / "m.tflite", "c", out=tmp_path / "bundle", samples=2, mean=0, std=1, progress=False)
    assert "batch" not in (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
