"""The networks of `edgefm.zoo.best` through `edgefm quantize`: sizes, multiply-accumulates, and what folds."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgefm
from edgefm import zoo
from edgefm.tflite.inspection import inspect
from tests.fixtures.classifiers import settle

OPERATORS_OF_BATCH_NORM = ("MUL", "ADD", "SUB", "DIV")


def written(folder: Path, name: str, options: dict[str, str]) -> tuple[Any, dict[str, Path]]:
    """Return a model whose batch normalisations are not the identity, and its float32 and int8 files."""
    model = settle(zoo.build(name, options))
    images = np.random.default_rng(1).integers(0, 256, (64, 28, 28, 1), np.uint8)
    np.savez(folder / "calibration.npz", images=images)
    model.save(folder / "model.keras")
    files = edgefm.quantize(
        folder / "model.keras",
        ["float32", "int8_w8a8"],
        calibration_data=folder / "calibration.npz",
        progress=False,
    )
    assert not files.skipped
    files.save(folder / "files")
    return model, {file.name: file.path for file in edgefm.QuantizationResult.open(folder / "files").files}


@pytest.mark.parametrize(
    ("name", "options", "additions", "parameters", "macs", "size"),
    [
        pytest.param("small_residual", {}, 2, 50_000, 4_400_000, 64_000, id="64-KB"),
        pytest.param("separable_tiny", {}, 0, 8_100, 520_000, 30_000, id="tiny"),
        pytest.param("separable_tiny", {"size": "10k"}, 0, 10_000, 1_300_000, 32_000, id="tiny-10k"),
        pytest.param("strided_cnn", {}, 0, 67_000, 3_200_000, 80_000, id="strided"),
        pytest.param("resnet14", {}, 6, 500_000, 54_000_000, 520_000, id="500k"),
    ],
)
def test_files_keep_the_limits_of_their_class_and_no_batch_normalisation_stays(
    tmp_path: Path, name: str, options: dict[str, str], additions: int, parameters: int, macs: int, size: int
) -> None:
    model, files = written(tmp_path, name, options)
    assert model.count_params() <= parameters
    for variant, path in files.items():
        inspection = inspect(path)
        operators = Counter(operator.name for operator in inspection.operators)
        assert {op: operators[op] for op in OPERATORS_OF_BATCH_NORM if operators[op]} == (
            {"ADD": additions} if additions else {}
        ), variant
        assert inspection.macs <= macs
    assert files["int8_w8a8"].stat().st_size <= size


def test_strided_cnn_has_a_quarter_of_the_enhanced_cnns_positions_in_its_first_layer() -> None:
    strided, enhanced = zoo.build("strided_cnn"), zoo.build("enhanced_cnn")
    positions = [math.prod(model.layers[2].output.shape[1:3]) for model in (strided, enhanced)]
    assert positions == [14 * 14, 28 * 28]
