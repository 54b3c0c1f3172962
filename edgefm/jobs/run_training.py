"""A training in a run: the data it is on, begun or gone on with, and read back."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import artefacts
from edgefm.core.arguments import PathLike
from edgefm.core.documents import read_versioned
from edgefm.core.errors import RunError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.jobs.arguments import data_source
from edgefm.jobs.to_learn import to_learn
from edgefm.jobs.train import TrainingResult, free_of, training_recipe
from edgefm.recipes import Training
from edgefm.recipes.class_weights import by_name

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource


def train_in(
    create: Callable[[], RunDirectory],
    *,
    stopped_in: RunDirectory | None,
    recipe: Training | PathLike | None,
    changes: Mapping[str, Any],
    data: Any,
    backend: str | None,
    precision: str | None,
    data_dir: Path | None,
    callbacks: Sequence[Any] = (),
    tensorboard: Path | None = None,
    trust: bool = False,
    progress: Progress,
) -> Step:
    """Return the finished training step of a run; see `edgefm.Run.train` for the other arguments.

    Args:
      create: returns the run, made now if it is not there; called when nothing is wrong with the arguments.
      stopped_in: the run whose stopped training is gone on with; None begins one.
      recipe: see there.
      changes: parameters other than the recipe's.
      data: see there.
      backend: see there.
      precision: see there.
      data_dir: see there.
      callbacks: see there.
      tensorboard: see there.
      trust: see there.
      progress: receives progress.
    """
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import FASHION_MNIST, DataSource
    from edgefm.keras_graph.backend import use_backend
    from edgefm.report.drawing.curves import draw_curves
    from edgefm.training.augmentation_check import check_augmentation
    from edgefm.training.fastest import fastest_setting
    from edgefm.training.step import train_run
    from edgefm.training.stopped import stopped_training

    chosen, free = training_recipe(recipe, **changes), free_of(recipe, changes)
    dataset = data if isinstance(data, Dataset) else None
    source = None if dataset is not None else data_source(data, dataset=True)
    if dataset is not None and _is_fashion_mnist(dataset, data_dir):
        dataset, source = None, DataSource()
    named_in = stopped = weights = None
    if stopped_in is not None:
        stopped = stopped_training(stopped_in)
        given = source if dataset is None else _kept(dataset, stopped_in.path)
        # What was adapted to the data is no other than it was, unless it was said.
        said = (set() if recipe is None else set(chosen.to_json()["params"]) - free) | changes.keys()
        if "class_weights" in said and not isinstance(chosen.class_weights, str):
            weights = chosen.class_weights  # compared when the classes are known
            said -= {"class_weights"}
        stopped.check(recipe=chosen, only=said, backend=backend, precision=precision, source=given)
        chosen, backend, precision = stopped.recipe, stopped.backend, stopped.precision
        dataset, source, free, named_in = None, stopped.source, frozenset(), stopped.said_in
    backend, precision = fastest_setting(backend, precision or "float32", recipe=chosen, progress=progress)
    ready = to_learn(
        chosen,
        dataset=dataset,
        source=None if dataset is not None else source or DataSource(),
        free=free,
        backend=backend,
        precision=precision,
        data_dir=data_dir,
        named_in=named_in,
        trust=trust,
        progress=progress,
    )
    learnt, source = ready.dataset, ready.source
    if stopped is not None and weights is not None:
        asked = replace(stopped.recipe, class_weights=by_name(weights, learnt.labels))
        stopped.check(recipe=asked, only={"class_weights"}, backend=None, precision=None)
    images = learnt.train.images
    check_augmentation(ready.recipe, shape=images.shape[1:], dtype=str(images.dtype))
    if callbacks != ():
        use_backend(backend, precision)
        from edgefm.training.callbacks import check_callbacks

        callbacks = check_callbacks(callbacks, ready.recipe, SILENT)  # before a run is made
    run = create()
    if source is None:
        source = _keep(learnt, run.path)
        shape = tuple(learnt.train.images.shape[1:])
        learnt = source.load(shape, progress=progress)  # in the order in which later steps of the run find it
    return train_run(
        run,
        learnt,
        recipe=ready.recipe,
        draw=draw_curves,
        backend=backend,
        precision=precision,
        resume=stopped_in is not None,
        source=None if source == DataSource(where=FASHION_MNIST) else source,
        model=ready.model,
        model_inputs=ready.inputs,
        callbacks=callbacks,
        tensorboard=tensorboard,
        progress=progress,
    )


def training_of(run: RunDirectory, step: Step) -> TrainingResult:
    """Return the training of a finished step; its model is loaded when it is asked for, and then kept."""
    from edgefm.training.files import HISTORY_FILE, MODEL_FILE

    folder = run.folder(step)
    history = read_versioned(
        folder / HISTORY_FILE,
        what="history of a training",
        newest=1,
        schema="history-1",
        error=RunError,
        hint="Restore it, or train into a new run.",
    )
    return TrainingResult(
        recipe=Training.from_json(step.recipe),
        history=tuple(history["epochs"]),
        verdict=history["verdict"],
        device=history["device"],
        best_epoch=history.get("best_epoch"),
        peak_memory=history.get("peak_memory", {}),
        file=folder / MODEL_FILE,
        validation_samples=step.summary.get("validation_samples"),
        _load=functools.cache(lambda: _load_keras(run, step, folder / MODEL_FILE)),
    )


def _is_fashion_mnist(dataset: Dataset, data_dir: Path | None) -> bool:
    """Return whether a data set is Fashion-MNIST as later steps of a run load it, so that no copy is needed."""
    from edgefm.core.errors import DataError
    from edgefm.data.source import FASHION_MNIST, DataSource

    if dataset.name != FASHION_MNIST:
        return False
    try:
        return DataSource().load(None, data_dir=data_dir).sha256 == dataset.sha256
    except DataError:
        return False


def _kept(dataset: Dataset, folder: Path) -> DataSource:
    """Return where a run keeps its copy of a data set in memory."""
    from edgefm.data.source import DataSource

    path = folder.resolve() / f"data-{dataset.sha256[:12]}.npz"
    return DataSource(where=str(path), task=dataset.task, labels=dataset.labels or None, flippable=dataset.flippable)


def _keep(dataset: Dataset, folder: Path) -> DataSource:
    """Write a data set into a run's folder, unless it is there, and return where it lies."""
    import numpy as np

    source = _kept(dataset, folder)
    path = Path(source.where)
    if not path.is_file():
        arrays: dict[str, Any] = {f"x_{split.name}": split.images for split in dataset.splits}
        if dataset.task != "reconstruction":
            arrays |= {f"y_{split.name}": split.labels for split in dataset.splits}
        content = io.BytesIO()
        np.savez(content, **arrays)
        artefacts.write_bytes(path, content.getvalue())
    return source


def _load_keras(run: RunDirectory, step: Step, path: Path) -> Any:
    from edgefm.training import own_objects

    trusted = own_objects.prepare(run, step, path)  # the run may be somebody else's
    import keras

    return keras.saving.load_model(path, safe_mode=not trusted)
