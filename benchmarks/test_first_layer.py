"""What rewriting for XNNPACK buys: p50 of int8_w8a8_xnnpack, and of each rewrite alone, over int8_w8a8.

Trains the Enhanced CNN (Conv -> BN -> ReLU) for one epoch, quantises it, checks that the files answer alike bit for bit
(10,000 test images with XNNPACK, 1,000 with LiteRT's own kernels), measures them and float32 in interleaved rounds, and
records the ratios. The weights do not change the time. Run: pytest benchmarks/test_first_layer.py -s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recorded import write_result
from edgefm.benchmarking import harness
from edgefm.benchmarking.measured import ModelFile
from edgefm.core import artefacts
from edgefm.data.reference.fashion_mnist import load_fashion_mnist
from edgefm.jobs.run import Run
from edgefm.recipes import BenchmarkProtocol, preset
from edgefm.statistics.round_comparison import time_ratio
from edgefm.tflite import flatbuffer
from edgefm_converters.rewriting.editing import Editing
from edgefm_converters.rewriting.few_channels import gather_patches
from edgefm_converters.rewriting.unread_positions import leave_out_unread_positions
from edgefm_converters.tflite.tflite_outputs import tflite_outputs

# 45 of 163 us on a Zen 4 core: a target only where the processor multiplies int8 faster than float32. Below 0.95 of
# int8 the rewrite is worth its bytes.
OF_FLOAT32_LIMIT, OF_INT8_LIMIT = 0.28, 0.95
FLOAT32, INT8, REWRITTEN = "float32", "int8_w8a8", "int8_w8a8_xnnpack"
ALONE: dict[str, Callable[[Editing], Any]] = {
    "few_channels alone": gather_patches,
    "unread_positions alone": leave_out_unread_positions,
}


def test_rewritten_int8_is_faster_with_equal_answers(tmp_path: Path) -> None:
    recipe = dataclasses.replace(preset("quick"), model_options={"batch_norm": "before_relu"}, epochs=1)
    run = Run(tmp_path / "run")
    run.train(recipe)
    folder = run.quantize([FLOAT32, INT8, REWRITTEN]).folder
    paths = {name: folder / name / "model.tflite" for name in (FLOAT32, INT8, REWRITTEN)}
    for name, rewrite in ALONE.items():
        editing = Editing(flatbuffer.editable(paths[INT8].read_bytes()))
        rewrite(editing)
        paths[name] = tmp_path / f"{name.split()[0]}.tflite"
        artefacts.write_bytes(paths[name], flatbuffer.write(editing.model))
    dataset = load_fashion_mnist()
    _check_equal(paths, dataset.test.images.astype(np.float32))
    models = [ModelFile(name=name, path=path) for name, path in paths.items()]
    record = harness.measure(models, dataset=dataset, protocol=BenchmarkProtocol(), reference=INT8).record
    rows = {row["name"]: row for row in record["models"]}
    ratios: dict[str, dict[str, Any]] = {INT8: {}, FLOAT32: {}}
    for reference, found in ratios.items():
        for name in (INT8, REWRITTEN, *ALONE):
            ratio = time_ratio(rows[name], rows[reference])
            assert ratio is not None, f"{name} and {reference} share no round"
            found[name] = ratio.to_json()
    write_result(
        "first_layer",
        what="p50 of int8_w8a8_xnnpack over int8_w8a8 and over float32, Enhanced CNN with Conv -> BN -> ReLU",
        command="pytest benchmarks/test_first_layer.py",
        figures={
            "environment": record["environment"],
            "session": record["session"],
            "protocol": record["protocol"],
            "test_images": record["dataset"]["images"],
            "models": [
                {name: row[name] for name in ("name", "sha256", "size_bytes", "latency_ns", "disturbed", "accuracy")}
                for row in record["models"]
            ],
            "of_int8": ratios[INT8],
            "of_float32": ratios[FLOAT32],
        },
    )
    for reference, found in ratios.items():
        print(f"\nof {reference}: " + ", ".join(f"{name} {one['value']:.3f}" for name, one in found.items()))
    assert ratios[INT8][REWRITTEN]["value"] <= OF_INT8_LIMIT
    if any("vnni" in feature for feature in record["environment"]["cpu_features"]):
        assert ratios[FLOAT32][REWRITTEN]["value"] <= OF_FLOAT32_LIMIT


def _check_equal(paths: dict[str, Path], images: Any) -> None:
    images = images.reshape(len(images), 28, 28, 1)
    for builtin in (False, True):
        some = images[:1000] if builtin else images  # LiteRT's own kernels are slow
        expected = tflite_outputs(paths[INT8].read_bytes(), some, builtin_kernels=builtin)[0]
        for name in (REWRITTEN, *ALONE):
            given = tflite_outputs(paths[name].read_bytes(), some, builtin_kernels=builtin)[0]
            np.testing.assert_array_equal(given, expected)
