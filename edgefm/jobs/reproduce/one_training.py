"""One training of a reproduction: trained, quantised and tried on the test images in a run folder of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefm.core import manifest
from edgefm.core.errors import RunError, TrainingDivergedError
from edgefm.core.progress import Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.jobs.benchmark import BenchmarkRecord
from edgefm.jobs.quantize import QuantizationResult
from edgefm.jobs.reproduce.plan import PlannedTraining
from edgefm.jobs.run import Run
from edgefm.recipes import BenchmarkProtocol, Training

VARIANTS = ("float32", "int8_w8a8")
# Of the runs' own benchmarks only the answers are used; times come from one benchmark of all files.
ANSWERS = BenchmarkProtocol(
    rounds=1,
    rounds_at_most=1,
    repeats_at_most=0,
    round_seconds=0.0,
    round_invokes=1,
    round_invokes_at_most=1,
    warmup_invokes=0,
)
_PERCENT = 100


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What all trainings of a reproduction have in common.

    Attributes:
      data: as `edgefm.Run.train` takes it; None is Fashion-MNIST.
      data_dir: folder of the Fashion-MNIST files.
      backend: of Keras; None takes the first one installed.
      precision: Keras dtype policy.
    """

    data: Any = None
    data_dir: Path | None = None
    backend: str | None = None
    precision: str = "float32"


def folder_of(out: Path, row: PlannedTraining, seed: int) -> Path:
    """Return the run folder of one training."""
    return out / row.key / f"seed-{seed}"


def seeded(row: PlannedTraining, seed: int) -> Training:
    """Return the recipe of one training."""
    return replace(row.recipe, seed=seed)


def begun_seeds(out: Path, row: PlannedTraining) -> tuple[int, ...]:
    """Return the seeds that there is a folder of."""
    folders = (out / row.key).glob("seed-*") if (out / row.key).is_dir() else ()
    names = (folder.name.removeprefix("seed-") for folder in folders)
    return tuple(sorted(int(name) for name in names if name.isdecimal()))


def finished_seeds(out: Path, row: PlannedTraining) -> tuple[int, ...]:
    """Return the seeds whose files are written, and tried on the test images unless the row is searched."""
    return tuple(seed for seed in begun_seeds(out, row) if is_finished(out, row, seed))


def is_finished(out: Path, row: PlannedTraining, seed: int, *, test: bool | None = None) -> bool:
    """Return whether one training of this recipe is there, with its files and, where wanted, its test figures.

    Args:
      out: folder of the reproduction.
      row: what is trained.
      seed: of the training.
      test: test figures are wanted; None leaves that to the row.
    """
    path = folder_of(out, row, seed)
    if not (path / manifest.FILE_NAME).is_file():
        return False
    run = RunDirectory.open(path)
    trained = run.last("train")
    if trained is None or dict(trained.recipe) != seeded(row, seed).to_json() or _first(run, "quantize") is None:
        return False
    wanted = not row.searched if test is None else test
    return not wanted or _first(run, "benchmark") is not None


def train_seed(
    out: Path, row: PlannedTraining, seed: int, learning: Learning, *, test: bool, progress: Progress
) -> str | None:
    """Train, quantise and try one training, going on where an earlier attempt was stopped.

    Args:
      out: folder of the reproduction.
      row: what is trained.
      seed: of the training.
      learning: what it has in common with the others.
      test: try the files on the test images, which is done once.
      progress: receives progress.
    Returns:
      None; the message where the loss became infinite, so that there is no model.
    """
    run = Run(folder_of(out, row, seed))
    try:
        run.train(
            seeded(row, seed),
            data=None if _is_stopped(run) else learning.data,
            backend=learning.backend,
            precision=learning.precision,
            resume=_is_stopped(run),
            data_dir=learning.data_dir,
            progress=progress,
        )
    except TrainingDivergedError as error:
        return error.message
    run.quantize(list(VARIANTS), data_dir=learning.data_dir, progress=progress)
    if test and _first(RunDirectory.open(run.path), "benchmark") is None:
        run.benchmark(protocol=ANSWERS, data_dir=learning.data_dir, progress=progress)
    return None


def figures_of(out: Path, row: PlannedTraining, seed: int) -> dict[str, Any]:
    """Return what one finished training gave: accuracies in percent, losses, epochs, seconds."""
    run = Run(folder_of(out, row, seed))
    training = run.training
    last = training.history[-1]
    quality = _test_accuracies(RunDirectory.open(run.path))
    return {
        "seed": seed,
        "train": {"accuracy": _PERCENT * last["accuracy"], "loss": last["loss"]},
        "validation": {"accuracy": _PERCENT * last["val_accuracy"], "loss": last["val_loss"]},
        "test": {name: quality.get(name) for name in VARIANTS},
        "epochs": len(training.history),
        "seconds": sum(float(epoch["seconds"]) for epoch in training.history),
        "fit": training.verdict["name"],
        "device": str(training.device.get("name") or training.device.get("kind")),
    }


def files_of(out: Path, row: PlannedTraining, seed: int) -> dict[str, Any]:
    """Return size and multiply-accumulates of each file of a finished training, and what was left out and why."""
    from edgefm.jobs.inspect import inspect

    directory = RunDirectory.open(folder_of(out, row, seed))
    made = _first(directory, "quantize")
    assert made is not None, "it is finished"
    files = QuantizationResult.open(directory.folder(made))
    described: dict[str, Any] = {}
    for file in files.files:
        inspection = inspect(file)
        described[file.name] = {
            "path": file.path.relative_to(out).as_posix(),
            "size_bytes": file.size_bytes,
            "macs": getattr(inspection, "macs", None),
        }
    return {"files": described, "left_out": {name: inside(reason, out) for name, reason in files.skipped.items()}}


def since_training(directory: RunDirectory) -> tuple[Step, ...]:
    """Return the steps behind the newest training of a run: they are of its model."""
    steps = directory.steps()
    places = [place for place, step in enumerate(steps) if step.kind == "train"]
    return steps[places[-1] + 1 :] if places else ()


def _first(directory: RunDirectory, kind: str) -> Step | None:
    """Return the first step of a kind behind the newest training; those behind it are of further variants."""
    return next((step for step in since_training(directory) if step.kind == kind), None)


def inside(reason: str, out: Path) -> str:
    """Return a reason with paths of the folder as paths in it: the record is read on other machines."""
    for folder in (out.resolve(), out):
        reason = reason.replace(f"{folder}{os.sep}", "")
    return reason


def _test_accuracies(directory: RunDirectory) -> dict[str, float]:
    step = _first(directory, "benchmark")
    if step is None:
        return {}
    rows = BenchmarkRecord.open(directory.folder(step)).record["models"]
    return {row["name"]: _PERCENT * row["quality"]["value"] for row in rows if row["quality"]}


def _is_stopped(run: Run) -> bool:
    """Return whether a run holds a training that was stopped after an epoch or more."""
    from edgefm.training import checkpoint

    if not (run.path / manifest.FILE_NAME).is_file():
        return False
    try:
        partial = RunDirectory.open(run.path).partial("train")
    except RunError:
        return False
    return (partial / checkpoint.FILE_NAME).exists()
