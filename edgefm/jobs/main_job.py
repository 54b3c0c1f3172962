"""The main job: train, quantise, benchmark, report; each one function that returns what it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefm.core.errors import RecipeError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import DEFAULT_ROOT, RunDirectory, Step
from edgefm.data.source import DataSource
from edgefm.recipes import BenchmarkProtocol, Quantization, Training


def train(
    recipe: Training | None = None,
    *,
    run: Path | None = None,
    backend: str | None = None,
    precision: str | None = None,
    resume: bool = False,
    data_dir: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[RunDirectory, Step]:
    """Train a zoo model on Fashion-MNIST and return its run and the training step.

    Args:
      recipe: what to train and how; by default the recipe `Training()`, or that of the stopped training.
      run: run folder, made when it is not there; by default a new one below `runs/`, with `resume` the latest.
      backend: 'tensorflow', 'jax' or 'torch'; by default KERAS_BACKEND, else the first one installed.
      precision: 'float32' (the default), 'mixed_bfloat16' or 'mixed_float16'.
      resume: go on with the stopped training of the run.
      data_dir: folder of the Fashion-MNIST files.
      progress: receives progress.
    Raises:
      EdgefmError: bad input; see the functions called.
    """
    from edgefm import zoo
    from edgefm.data.reference.fashion_mnist import load_fashion_mnist
    from edgefm.keras_graph.backend import find_backend
    from edgefm.report.drawing.curves import draw_curves
    from edgefm.training.step import stopped_training, train_run

    if resume:
        directory = RunDirectory.open(run) if run else RunDirectory.latest()
        stopped = stopped_training(directory)
        stopped.check(recipe=recipe, backend=backend, precision=precision)
        recipe, backend, precision = stopped.recipe, stopped.backend, stopped.precision
    recipe, precision = recipe or Training(), precision or "float32"
    zoo.check_options(recipe.model, recipe.model_options)
    find_backend(backend, precision)
    dataset = load_fashion_mnist(data_dir, progress=progress)
    if not resume:
        directory = _run_for(run, recipe)
    step = train_run(
        directory,
        dataset,
        recipe=recipe,
        draw=draw_curves,
        backend=backend,
        precision=precision,
        resume=resume,
        progress=progress,
    )
    return directory, step


def bring_model(
    model: Path,
    *,
    run: Path | None = None,
    data: DataSource | None = None,
    labels: tuple[str, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    calibration_data: Path | None = None,
    trust: bool = False,
    progress: Progress = SILENT,
) -> RunDirectory:
    """Copy a user's own model into a run (by default `runs/<model>`) and return it; see `edgefm.quantization.bring`."""
    from edgefm.quantization import bring

    return bring.bring_model(
        run or DEFAULT_ROOT / model.stem,
        model,
        data=data,
        labels=labels,
        value_range=value_range,
        calibration_data=calibration_data,
        trust=trust,
        progress=progress,
    )


def quantize(
    source: RunDirectory,
    *,
    recipe: Quantization | None = None,
    skip: bool = False,
    data_dir: Path | None = None,
    progress: Progress = SILENT,
) -> Step:
    """Write the TFLite files of a run's model and return the step that holds them.

    Args:
      source: has a finished training, or a model that `bring_model` brought.
      recipe: which variants, and how; by default the default set.
      skip: leave out variants that the model or its data cannot give, instead of raising an error.
      data_dir: folder of the Fashion-MNIST files.
      progress: receives progress.
    """
    from edgefm.quantization.step import quantize_run

    return quantize_run(source, recipe=recipe or Quantization(), skip=skip, data_dir=data_dir, progress=progress)


def benchmark(
    source: RunDirectory,
    *,
    protocol: BenchmarkProtocol | None = None,
    data_dir: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[Step, Mapping[str, Any]]:
    """Measure the TFLite files of a run and return the step and its record."""
    from edgefm.benchmarking.step import benchmark_run

    return benchmark_run(source, protocol=protocol or BenchmarkProtocol(), data_dir=data_dir, progress=progress)


def write_report(
    source: RunDirectory, *, out: Path | None = None, data_dir: Path | None = None, progress: Progress = SILENT
) -> Path:
    """Write the report of a run and return the path of its HTML page."""
    from edgefm.report import write

    return write(source, out=out, data_dir=data_dir, progress=progress)


def _run_for(path: Path | None, recipe: Training) -> RunDirectory:
    if path is None:
        return RunDirectory.create(f"{recipe.model}-{recipe.epochs}e-seed{recipe.seed}")
    if path.is_file():
        raise RecipeError(f"--run {path} is a file, not a folder")
    if (path / "manifest.json").exists():
        return RunDirectory.open(path)
    return RunDirectory.create_at(path)


__all__: Sequence[str] = ["benchmark", "bring_model", "quantize", "train", "write_report"]
