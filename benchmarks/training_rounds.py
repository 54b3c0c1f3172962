"""A program that trains a round each time it is told to: one line in, one JSON object out.

`python -m benchmarks.training_rounds edgefm|keras BACKEND PRECISION BATCH IMAGES`. 'edgefm' runs the loop of `edgefm
train`, 'keras' the plain `Model.fit` of the same model on the same pictures, as a user of Keras writes it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgefm.data.dataset import Dataset, Split
from edgefm.recipes import Training

MATRIX = 1024


def main(loop: str, backend: str, precision: str, batch: int, images: int) -> None:
    """Answer each line on standard input with a round."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, 28, 28, 1), dtype=np.uint8)
    labels = random.integers(0, 10, images)
    turn, device = (_edgefm if loop == "edgefm" else _keras)(backend, precision, batch, pixels, labels)
    turn()  # compiles
    for _ in sys.stdin:
        started = time.perf_counter()
        turn()
        speed = images / (time.perf_counter() - started)
        answer = {"images_per_second": speed, "gflops": _gflops(), "device": device}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _edgefm(backend: str, precision: str, batch: int, pixels: Any, labels: Any) -> tuple[Callable[[], object], Any]:
    from edgefm.keras_graph.backend import use_backend

    device = use_backend(backend, precision)
    from edgefm import zoo
    from edgefm.core.progress import SILENT
    from edgefm.training.device.session import Session
    from edgefm.training.fit import make_deterministic
    from edgefm.training.fused_batch_norm import fused_batch_norm

    split = Split(name="train", images=pixels, labels=labels)
    few = Split(name="validation", images=pixels[:10], labels=labels[:10])
    data = Dataset(name="random", labels=tuple("0123456789"), train=split, validation=few, test=few, sha256="")
    make_deterministic()
    model = zoo.build("enhanced_cnn")
    fused = fused_batch_norm(model)
    fused.__enter__()  # for as long as a turn can be asked for: it ends when it is collected
    session = Session(
        data, Training(batch_size=batch, shift_pixels=2), model=model, frozen=(), teacher=None, batch_size=batch,
        xla=backend == "tensorflow" and device.kind != "cpu", progress=SILENT,
    )  # fmt: skip
    session.begin(done=0)
    epoch = 0

    def turn() -> None:
        nonlocal epoch
        assert fused is not None
        session.draw(epoch)
        session.run(first=0, count=session.steps)
        epoch += 1

    return turn, device.to_json()


def _keras(backend: str, precision: str, batch: int, pixels: Any, labels: Any) -> tuple[Callable[[], object], Any]:
    import keras

    from edgefm import zoo

    assert keras.config.backend() == backend, "set KERAS_BACKEND"
    keras.config.set_dtype_policy(precision)
    model = zoo.build("enhanced_cnn")
    model.compile("adamw", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(pixels, labels, batch_size=batch, verbose=0), {"keras": keras.__version__}


def _gflops() -> float:
    """Return what the device reaches in a product of two matrices in the compute precision, in GFLOP/s, best of 5."""
    from keras import ops

    dtype = sys.argv[3].removeprefix("mixed_")
    left = ops.cast(ops.ones((MATRIX, MATRIX)), dtype)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        float(ops.cast(ops.matmul(left, left)[0, 0], "float32"))  # numpy has no bfloat16
        seconds.append(time.perf_counter() - started)
    return float(2 * MATRIX**3 / min(seconds) / 1e9)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
