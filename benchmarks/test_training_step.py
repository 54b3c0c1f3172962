"""What the fused batch normalisation buys: a training step of the Enhanced CNN with it and without, in turns.

TensorFlow, float32, batch 64, on the processor. Run: pytest benchmarks/test_training_step.py -s.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from benchmarks.recorded import write_result
from edgefm.keras_graph.backend import use_backend

BATCH = 64
STEPS = 20
TURNS = 15


def test_fused_batch_norm_makes_a_step_faster() -> None:
    device = use_backend("tensorflow")
    from edgefm import zoo
    from edgefm.training.fused_batch_norm import fused_batch_norm

    models = {name: zoo.build("enhanced_cnn") for name in ("plain", "fused")}
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (BATCH, 28, 28, 1), dtype=np.uint8)
    targets = np.eye(10, dtype=np.float32)[generator.integers(0, 10, BATCH)]
    for model in models.values():
        model.compile("adamw", "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    with fused_batch_norm(models["fused"]):
        for turn in range(TURNS + 1):
            for name, model in models.items():
                found = _step_seconds(model, images, targets)
                if turn:  # the first turn compiles
                    seconds[name].append(found)
    ratios = [plain / fused for plain, fused in zip(seconds["plain"], seconds["fused"], strict=True)]
    speed_up = statistics.median(ratios)
    print(f"\n{speed_up:.2f} times faster, {BATCH / statistics.median(seconds['fused']):,.0f} images/s")
    write_result(
        "training_step",
        what="time of a training step of the Enhanced CNN, Keras' batch normalisation over the fused one",
        command="pytest benchmarks/test_training_step.py",
        figures={
            "device": device.to_json(),
            "batch": BATCH,
            "steps_a_turn": STEPS,
            "seconds_a_step": seconds,
            "speed_up": {"p50": speed_up, "turns": ratios},
        },
    )
    assert speed_up > 1


def _step_seconds(model: Any, images: Any, targets: Any) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        model.train_on_batch(images, targets)
    return (time.perf_counter() - started) / STEPS
