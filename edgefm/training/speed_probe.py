"""A program: how fast this machine trains on one backend of Keras, in each of some precisions.

`python -m edgefm.training.speed_probe TRIED BACKEND PRECISION…` writes a JSON object to standard output: images a
second by precision, of an architecture of the zoo on random pixels, by the loop that trains. TRIED is a JSON object:
model, options, shape [h, w, c]. bfloat16 is left out where the hardware has no instructions for it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgefm.core import environment
from edgefm.data.dataset import Dataset, Split
from edgefm.keras_graph.backend import use_backend
from edgefm.recipes import Training

# Images a step: so many of 28 x 28, fewer of larger ones.
_BATCH = 128
_FEWEST = 4
_STEPS = 64
_SECONDS = 1.0
# Instructions for bfloat16, of x86 and of ARM, in the Linux kernel's spelling.
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")


def images_per_second(tried: Mapping[str, Any], backend: str, precision: str) -> float | None:
    """Return the speed of training after compilation; None where the hardware does not have the precision."""
    device = use_backend(backend, precision)
    if precision != "float32" and device.kind == "cpu" and not has_bfloat16():
        return None
    from edgefm import zoo
    from edgefm.core.progress import SILENT
    from edgefm.training.device.session import Session
    from edgefm.training.fused_batch_norm import fused_batch_norm

    model = zoo.build(tried["model"], tried["options"], input_shape=tuple(tried["shape"]))
    batch = max(_FEWEST, min(_BATCH, _BATCH * 28 * 28 // (tried["shape"][0] * tried["shape"][1])))
    with fused_batch_norm(model):
        session = Session(
            _random_pictures(batch * _STEPS, tried["shape"], classes=model.outputs[0].shape[-1]),
            Training(batch_size=batch, shift_pixels=2),
            model=model,
            frozen=(),
            teacher=None,
            batch_size=batch,
            xla=backend == "tensorflow" and device.kind != "cpu",
            progress=SILENT,
        )
        session.begin(done=0)
        session.draw(0)
        session.run(first=0, count=2)
        started = time.perf_counter()
        session.run(first=0, count=2)
        count = max(2, min(_STEPS, int(2 * _SECONDS / (time.perf_counter() - started))))
        started, done = time.perf_counter(), 0
        while done == 0 or time.perf_counter() - started < _SECONDS:
            session.run(first=0, count=count)  # in one call, as a training makes many steps
            done += count
        return done * batch / (time.perf_counter() - started)


def has_bfloat16(features: list[str] | None = None) -> bool:
    """Return whether a CPU, by default this one, has instructions for bfloat16.

    >>> has_bfloat16(["avx2", "avx512_bf16"]), has_bfloat16(["avx2"])
    (True, False)
    """
    known = environment.cpu_features() if features is None else features
    return any(name in known for name in _BFLOAT16)


def _random_pictures(count: int, shape: Sequence[int], *, classes: int) -> Dataset:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    split = Split(name="train", images=pixels, labels=random.integers(0, classes, count))
    few = Split(name="validation", images=pixels[:10], labels=split.labels[:10])
    return Dataset(
        name="random",
        labels=tuple(str(number) for number in range(classes)),
        train=split,
        validation=few,
        test=few,
        sha256="",
        task="classification",
    )


if __name__ == "__main__":
    chosen = json.loads(sys.argv[1])
    found = {name: images_per_second(chosen, sys.argv[2], name) for name in sys.argv[3:]}
    sys.stdout.write(json.dumps(found) + "\n")
