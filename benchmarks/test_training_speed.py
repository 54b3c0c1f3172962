"""Images a second of `edgefm train` beside a plain Keras `fit`: the same model, batch and pictures, in turns.

Each runs in a process of its own, as a user would run it, and both wait while the other trains. The Enhanced CNN on the
first backend that is installed, in float32 and, where the hardware has it, bfloat16. A smaller trial:
TRAINING_SPEED_IMAGES=1024 TRAINING_SPEED_ROUNDS=2. Run: pytest benchmarks/test_training_speed.py --benchmark-enable -s.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.recorded import write_result
from benchmarks.training_figures import RATIO
from edgefm.core.subprocesses import import_path
from edgefm.training.fastest import installed
from edgefm.training.speed_probe import has_bfloat16

BATCH = 256
IMAGES = int(os.environ.get("TRAINING_SPEED_IMAGES", "12800"))
ROUNDS = int(os.environ.get("TRAINING_SPEED_ROUNDS", "7"))


class Trainer:
    """A process that trains a round when it is told to."""

    def __init__(self, loop: str, backend: str, precision: str) -> None:
        variables = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": import_path(), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [
            sys.executable,
            "-m",
            "benchmarks.training_rounds",
            loop,
            backend,
            precision,
            str(BATCH),
            str(IMAGES),
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables, text=True
        )

    def turn(self) -> dict[str, Any]:
        """Return the figures of one round."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def test_training_speed_against_keras_fit(benchmark: Any) -> None:
    backend = os.environ.get("KERAS_BACKEND") or installed()[0]
    precisions = ["float32", *(["mixed_bfloat16"] if has_bfloat16() else [])]
    names = [("keras", "float32"), *(("edgefm", precision) for precision in precisions)]
    trainers = {name: Trainer(name[0], backend, name[1]) for name in names}
    rounds: dict[tuple[str, str], list[dict[str, Any]]] = {name: [] for name in names}

    def others() -> None:
        for name in names[:-1]:
            rounds[name].append(trainers[name].turn())

    try:
        benchmark.pedantic(
            lambda: rounds[names[-1]].append(trainers[names[-1]].turn()), setup=others, rounds=ROUNDS, iterations=1
        )
    finally:
        for trainer in trainers.values():
            trainer.end()
    speeds = {name: [turn["images_per_second"] for turn in turns] for name, turns in rounds.items()}
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    best = max((name for name in names if name[0] == "edgefm"), key=medians.__getitem__)
    ratio = medians[best] / medians["keras", "float32"]
    for name, value in medians.items():
        print(f"\n{' '.join(name)}: {value:,.0f} images/s", end="")
    print(f"\n{ratio:.2f} times a plain Keras fit")
    write_result(
        "training_speed",
        what="images a second of training the Enhanced CNN, edgefm beside a plain Keras fit",
        command="pytest benchmarks/test_training_speed.py --benchmark-enable",
        figures={
            "device": rounds[best][0]["device"],
            "backend": backend,
            "batch": BATCH,
            "images_a_round": IMAGES,
            "images_per_second": {" ".join(name): values for name, values in speeds.items()},
            "peak_gflops": {" ".join(name): max(turn["gflops"] for turn in turns) for name, turns in rounds.items()},
            "best": " ".join(best),
            "ratio": {"p50": ratio},
        },
    )
    assert ratio >= RATIO
