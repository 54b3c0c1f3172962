"""A finished small run of its own, in less than a minute: pictures of four kinds, a small network, four files."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.bench import EDGEFM, environment

LABELS = ("Shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Blouse", "Sneaker", "Bag", "Boot")
VARIANTS = ("float32", "float16", "drq_w8", "int8_w8a8")
Ended = Callable[..., subprocess.CompletedProcess[str]]
TRAIN = ("train", "--model", "basic_cnn", "--epochs", "3", "--batch-size", "100", "--backend", "tensorflow")


def write_data(path: Path, *, count: int = 1200) -> Path:
    """Write pictures uint8 [n, 28, 28, 1]: noise, and a bright square whose place says the class; the last has none."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % len(LABELS)
    pictures = generator.integers(0, 90, (count, 28, 28, 1), np.uint8)
    for place, label in enumerate(labels):
        row, column = divmod(int(label), 3)
        pictures[place, 9 * row : 9 * row + 9, 9 * column : 9 * column + 9] += 120
    np.savez(path, x=pictures, y=labels, label_names=np.array(LABELS))
    return path


def write_picture(path: Path) -> Path:
    """Write one picture of the size that the run's models take."""
    from PIL import Image

    Image.fromarray(np.full((28, 28), 90, np.uint8)).save(path)
    return path


def make(folder: Path, *, ended: Ended | None = None) -> Path:
    """Make the run below a folder and return it; each command is ended as by `edgefm`, or as `ended` does."""
    data, run = write_data(folder / "data.npz"), folder / "run"
    for argv in (
        [*TRAIN, "--data", data, "--run", run],
        ["quantize", run, *(word for name in VARIANTS for word in ("--variant", name))],
        ["benchmark", run, "--rounds", "1", "--rounds-at-most", "2", "--budget-seconds", "10"],
    ):
        done = (ended or edgefm)(folder, *argv)
        if done.returncode:
            raise SystemExit(f"the small run could not be made: {' '.join(map(str, argv))}\n{done.stdout}")
    return run


def edgefm(folder: Path, *argv: Any, until: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, in a folder; its errors are among its output.

    Raises:
      TimeoutExpired: by `time.monotonic()` it is `until`.
    """
    timeout = None if until is None else max(0.1, until - time.monotonic())
    return subprocess.run([*EDGEFM, *map(str, argv)], **_how(folder), check=False, timeout=timeout)


def start(folder: Path, *argv: Any, **changes: Any) -> subprocess.Popen[str]:
    """Start the command line as the first of a group of processes; `changes` are those of `Popen`."""
    how = {**_how(folder), "start_new_session": True, **changes}
    return subprocess.Popen([*EDGEFM, *map(str, argv)], **how)


def _how(folder: Path) -> dict[str, Any]:
    return {
        "cwd": folder,
        "env": environment(),
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
        "errors": "replace",
    }
