"""The latency of a model's int8 file as a share of another's, measured side by side."""

from __future__ import annotations

from typing import Any

from edgefm.benchmarking.harness import measure
from edgefm.benchmarking.measured import ModelFile
from edgefm.compression.fine_tuning.task import Task
from edgefm.core import scratch
from edgefm.core.errors import ModelError
from edgefm.core.progress import SILENT, Progress
from edgefm.keras_graph.folding import fold
from edgefm.recipes import BenchmarkProtocol
from edgefm_converters.tflite.keras_to_tflite import float32_tflite
from edgefm_converters.tflite.quantizing import calibrate, quantize_tflite

# Latency depends on the graph, hardly on the ranges: few images will do.
_CALIBRATION_IMAGES = 16
_PROTOCOL = BenchmarkProtocol(rounds=7, rounds_at_most=7, round_seconds=0.04, round_invokes=20, warmup_invokes=10)


def int8_latency_share(slimmed: Any, whole: Any, task: Task, *, progress: Progress = SILENT) -> float:
    """Return p50 of the int8 file of `slimmed` over that of `whole`; both are folded, converted and calibrated here.

    Both files are measured in interleaved rounds, one thread, batch 1; the share is the median over the rounds of the
    ratio of their medians, so that what slows down a whole round leaves it alone.

    Args:
      slimmed: Keras 3 model.
      whole: Keras 3 model.
      task: its training samples calibrate both.
      progress: receives progress.
    Raises:
      ModelError: a file cannot be made or measured.
    """
    with scratch.folder("latency") as folder:
        files = []
        for name, model in (("slimmed", slimmed), ("whole", whole)):
            path = folder / f"{name}.tflite"
            path.write_bytes(int8_file(model, task))
            files.append(ModelFile(name=name, path=path))
        record = measure(files, dataset=None, protocol=_PROTOCOL, reference="whole", progress=progress).record
    for row in record["models"]:
        if row["status"] == "failed":
            raise ModelError(f"the latency of the {row['name']} model cannot be measured: {row['reason']}")
    slim = next(row for row in record["models"] if row["name"] == "slimmed")
    return float(slim["against_reference"]["latency_test"]["round_ratio"]["value"])


def int8_file(model: Any, task: Task) -> bytes:
    """Return the int8_w8a8 .tflite file of a Keras 3 model, folded, calibrated on a few training samples."""
    folded, _ = fold(model)
    float32 = float32_tflite(folded)
    inputs = task.inputs(task.dataset.train.images[:_CALIBRATION_IMAGES])
    pixels = task.dataset.train.images.dtype == "uint8"
    ranges = calibrate(float32, inputs, value_range=task.encoding.value_range if pixels else None)
    return quantize_tflite(float32, "int8_w8a8", calibration=ranges)
