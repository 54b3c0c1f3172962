"""What exact folding buys: int8_w8a8 of the Conv(relu)-BN reading of the Enhanced CNN, folded and unfolded.

Trains that reading with the quick preset, quantises it both ways, measures both and float32 in one benchmark with
interleaved rounds, and records the result. Run: pytest benchmarks/test_fold.py -s.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from benchmarks.recorded import write_result
from edgefm.benchmarking import harness
from edgefm.benchmarking.measured import ModelFile
from edgefm.data.reference.fashion_mnist import load_fashion_mnist
from edgefm.jobs.run import Run
from edgefm.recipes import BenchmarkProtocol, preset

LATENCY_RATIO_LIMIT = 0.80
ACCURACY_LOSS_LIMIT = 0.003
FOLDED, UNFOLDED, REFERENCE = "int8_w8a8 folded", "int8_w8a8 unfolded", "float32"


def test_folded_int8_is_faster_and_as_accurate(tmp_path: Path) -> None:
    recipe = dataclasses.replace(preset("quick"), model_options={"batch_norm": "after_relu"})
    run = Run(tmp_path / "run")
    run.train(recipe)
    training = run.steps[-1]
    folders = {fold: run.quantize(["float32", "int8_w8a8"], fold=fold).folder for fold in (True, False)}
    models = [
        ModelFile(name=REFERENCE, path=folders[False] / "float32" / "model.tflite"),
        ModelFile(name=UNFOLDED, path=folders[False] / "int8_w8a8" / "model.tflite"),
        ModelFile(name=FOLDED, path=folders[True] / "int8_w8a8" / "model.tflite"),
    ]
    protocol = BenchmarkProtocol()
    record = harness.measure(models, dataset=load_fashion_mnist(), protocol=protocol, reference=UNFOLDED).record
    rows = {row["name"]: row for row in record["models"]}
    ratio = rows[FOLDED]["against_reference"]["latency_ratio"]
    lost = rows[REFERENCE]["accuracy"]["value"] - rows[FOLDED]["accuracy"]["value"]
    report = json.loads((folders[True] / "quantize.json").read_text(encoding="utf-8"))
    write_result(
        "fold",
        what="p50 of int8_w8a8, folded over unfolded, Enhanced CNN with Conv(relu) -> BN, one benchmark",
        command="pytest benchmarks/test_fold.py",
        figures={
            "environment": record["environment"],
            "session": record["session"],
            "protocol": record["protocol"],
            "test_images": record["dataset"]["images"],
            "training": {"recipe": dict(training.recipe), "summary": dict(training.summary)},
            "folding": report["folding"],
            "models": [_figures(row) for row in record["models"]],
            "latency_ratio": ratio,
            "accuracy_lost_to_float32": lost,
        },
    )
    p50 = {name: row["latency_ns"]["p50"]["value"] / 1000 for name, row in rows.items()}
    print(
        f"\np50 in us: {p50}; folded / unfolded {ratio['value']:.3f}; accuracy lost to float32 {100 * lost:.2f} points"
    )
    assert ratio["value"] <= LATENCY_RATIO_LIMIT
    assert lost <= ACCURACY_LOSS_LIMIT


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the record without raw samples, classes and lists of pictures."""
    return {
        "name": row["name"],
        "sha256": row["sha256"],
        "size_bytes": row["size_bytes"],
        "runtime": row["runtime"],
        "latency_ns": row["latency_ns"],
        "samples": sum(len(turn["invoke_ns"]) for turn in row["rounds"]),
        "rounds": len(row["rounds"]),
        "disturbed": row["disturbed"],
        "accuracy": row["accuracy"],
    }
