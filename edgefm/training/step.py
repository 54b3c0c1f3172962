"""Training as a step of a run: cached by content, locked, resumable."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgefm.core import artefacts, environment, runs
from edgefm.core.errors import EdgefmError, RecipeError, RunError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.data.dataset import Dataset
from edgefm.data.source import DataSource
from edgefm.keras_graph.backend import BackendDevice, use_backend, without_tensorflow
from edgefm.keras_graph.idle_gpu import note_idle_gpu
from edgefm.recipes import SELF, Training
from edgefm.training import checkpoint, split_record
from edgefm.training.all_images import judged, learnt_by
from edgefm.training.distillation import Teacher, load_teacher, teacher_file
from edgefm.training.evaluation import confusion_csv, worst_mistake
from edgefm.training.fastest import fastest_setting
from edgefm.training.files import CONFUSION_FILE, CSV_FILE, HISTORY_FILE, MODEL_FILE
from edgefm.training.own_objects import trust_trained
from edgefm.training.stopped import RECIPE_FILE, stopped_training
from edgefm_converters.readers import trial

if TYPE_CHECKING:
    from edgefm.training.fit import Trained

CURVES_FILE = "curves.png"
# Draws a history (the content of history.json) as a PNG file.
Draw = Callable[[Mapping[str, Any], Path], object]
_TEACHER_CHECK = 500


def train_run(
    run: RunDirectory,
    dataset: Dataset,
    *,
    recipe: Training,
    draw: Draw,
    backend: str | None = None,
    precision: str = "float32",
    resume: bool = False,
    source: DataSource | None = None,
    model: Callable[[], tuple[Any, Collection[str]]] | None = None,
    model_inputs: Mapping[str, str] | None = None,
    callbacks: Sequence[Any] = (),
    tensorboard: Path | None = None,
    progress: Progress = SILENT,
) -> Step:
    """Return the finished training step of a run, trained now unless the same training is already there.

    Args:
      run: where `NN-train/` is written: model.keras, history.json and history.csv, confusion.csv, curves.png,
        splits.npz.
      dataset: training and validation splits are used, the test split is not touched.
      recipe: what to train and how.
      draw: draws the curves of the training.
      backend: see `use_backend`; or 'auto', see `fastest_setting`.
      precision: likewise.
      resume: go on from the last epoch of a stopped attempt.
      source: where the data come from, for later steps of the run; None stands for Fashion-MNIST.
      model: builds the model that is trained, on the backend that Keras runs on, and returns it with the names of the
        layers that are frozen at first; None builds the recipe's architecture of the zoo as its source has it.
      model_inputs: sha256 of what the model is made of, by name.
      callbacks: of Keras, see `fit`. Trainings are told apart by the names of their classes; what they do with which
        settings is not known.
      tensorboard: folder for event files that TensorBoard reads; None writes none.
      progress: told the device first, then each step.
    Raises:
      RunError: the run is in use, or holds a stopped attempt that `resume` does not ask for.
      TrainingDivergedError: the loss is not finite.
      ModelError, RecipeError: a teacher that cannot be loaded, or does not fit the data.
      RecipeError: `resume`, and the data, a teacher, the user's own model or the pretrained weights have changed since.
    """
    teachers = _teachers(recipe)
    if source is not None and source.said_in is None:
        source.trust_code()  # later commands find it in the run, where it would not be the user who names it
    with run.lock():
        partial = run.partial("train")
        backend, precision = fastest_setting(backend, precision, recipe=recipe, progress=progress)
        device = use_backend(backend, precision)
        progress.note(f"training {recipe.model_name} on {device}")
        if not resume:  # on the backend that it began on
            note_idle_gpu(device, progress=progress)
        versions = {
            "edgefm": environment.versions()["edgefm"],
            "keras": device.keras,
            "backend": device.backend,
            "precision": precision,
        }
        stopped = stopped_training(run) if resume and (partial / RECIPE_FILE).exists() else None
        names = _names(callbacks, begun_with=() if stopped is None else stopped.callbacks, progress=progress)
        inputs = {"dataset": dataset.sha256, **teachers, **(model_inputs or {})}
        inputs |= {"callbacks": ", ".join(names)} if names else {}
        if stopped is not None:
            stopped.check_inputs(inputs)
        key = runs.step_key("train", recipe=recipe.to_json(), inputs=inputs, versions=versions)
        finished = run.find(key)
        if finished is not None:
            told = f", with callbacks of the same classes ({inputs['callbacks']}); they are not called" if names else ""
            progress.note(f"{run.folder(finished)} already holds this training{told}: nothing to do")
            return finished
        if partial.exists() and not resume and _epochs_done(partial):
            raise RunError(
                f"run {run.path} holds a stopped training",
                hint="Resume it, or train into a new run.",
            )
        return _train(
            run,
            dataset,
            recipe=recipe,
            device=device,
            key=key,
            inputs=inputs,
            draw=draw,
            source=source,
            model=model,
            callbacks=callbacks,
            names=names,
            tensorboard=tensorboard,
            progress=progress,
        )


def _train(
    run: RunDirectory,
    dataset: Dataset,
    *,
    recipe: Training,
    device: BackendDevice,
    key: str,
    inputs: dict[str, str],
    draw: Draw,
    source: DataSource | None,
    model: Callable[[], tuple[Any, Collection[str]]] | None,
    callbacks: Sequence[Any],
    names: Sequence[str],
    tensorboard: Path | None,
    progress: Progress,
) -> Step:
    from edgefm.training.fit import fit

    started = time.perf_counter()
    folder = run.begin("train", keep=True)
    given = {} if source is None else {"data": source.to_json()}
    told = {"backend": device.backend.split()[0], "precision": device.precision, **given}
    told |= {"callbacks": list(names)} if names else {}
    artefacts.write_json(folder / RECIPE_FILE, {"recipe": recipe.to_json(), **told, "inputs": inputs})
    with without_tensorflow(device):
        teacher = teacher_of(dataset, recipe)
        network, frozen = (None, ()) if model is None else model()
        try:
            trained = fit(
                learnt_by(recipe, dataset),
                recipe,
                device=device,
                folder=folder,
                teacher=teacher,
                model=network,
                frozen=frozen,
                callbacks=callbacks,
                tensorboard=tensorboard,
                progress=progress,
            )
        except KeyboardInterrupt:
            progress.note(f"stopped; resume the run {run.path} to go on after its last finished epoch")
            raise
        except EdgefmError:
            raise
        except Exception as error:
            if callbacks and _epochs_done(folder):
                where = f"resume the run {run.path} to go on after its last finished epoch"
                progress.note(f"stopped by {type(error).__name__}; {where}")
            raise
        # Keras wants the suffix; the name with a dot is no finished model yet.
        unfinished = folder / f".{MODEL_FILE}"
        trained.model.save(unfinished)
        unfinished.replace(folder / MODEL_FILE)
        trial.remember(folder / MODEL_FILE)
        if model is not None:
            trust_trained(folder / MODEL_FILE, recipe.model)
    verdict = judged(recipe, trained.verdict)
    history = {**history_of(trained, device, dataset.labels), "verdict": verdict.to_json()}
    artefacts.write_json(folder / HISTORY_FILE, history)
    artefacts.write_text(folder / CSV_FILE, history_csv(trained.epochs))
    artefacts.write_text(folder / CONFUSION_FILE, confusion_csv(trained.confusion, dataset.labels))
    draw(history, folder / CURVES_FILE)
    split_record.write(folder, dataset)
    kept = trained.kept
    return run.finish(
        folder,
        key=key,
        # The time of every epoch counts, those before a resume too.
        seconds=max(time.perf_counter() - started, sum(epoch["seconds"] for epoch in trained.epochs)),
        recipe=recipe.to_json(),
        inputs=inputs,
        summary={
            "device": str(device),
            "validation_accuracy": kept["val_accuracy"],
            "validation_loss": kept["val_loss"],
            "verdict": verdict.name,
            "reason": verdict.reason,
            "validation_samples": len(dataset.validation),
            "dataset": {
                "name": dataset.name,
                "classes": len(dataset.labels),
                **{split.name: len(split) for split in dataset.splits},
            },
            **({"validation_seen": True} if recipe.with_validation else {}),
            **({**given, "input_shape": list(dataset.train.images.shape[1:])} if given else {}),
        },
        scratch=(checkpoint.FILE_NAME, checkpoint.BEST_NAME, "last-good.keras"),
    )


def history_of(trained: Trained, device: BackendDevice, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the content of history.json; `names` of the classes."""
    mistake = worst_mistake(trained.confusion, names)
    return {
        "schema_version": 1,
        "epochs": list(trained.epochs),
        "verdict": trained.verdict.to_json(),
        "device": device.to_json(),
        "resumed_from": trained.resumed_from,
        "peak_memory": trained.peak_memory,
        **({} if trained.best_epoch is None else {"best_epoch": trained.best_epoch}),
        **({} if mistake is None else {"most_frequent_mistake": str(mistake)}),
    }


def history_csv(epochs: Sequence[Mapping[str, Any]]) -> str:
    """Return a history as CSV, a row an epoch; what an epoch does not state is empty."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(epochs)
    return text.getvalue()


def _teachers(recipe: Training) -> dict[str, str]:
    """Return the sha256 of each teacher's file, as inputs of the step; importing nothing heavy."""
    if recipe.distillation is None:
        return {}
    if SELF in recipe.distillation.teachers:
        raise RecipeError(
            f"the teacher '{SELF}' is a model before its first compression pass; a training has none",
            hint="Name a run or a .keras file.",
        )
    files = [teacher_file(name) for name in recipe.distillation.teachers]
    return {f"teacher {index}": artefacts.sha256_file(path) for index, path in enumerate(files)}


def teacher_of(dataset: Dataset, recipe: Training) -> Teacher | None:
    """Return the teachers of a recipe, checked on validation images; None without any."""
    if recipe.distillation is None:
        return None
    images = dataset.validation.images[:_TEACHER_CHECK]
    return load_teacher(
        recipe.distillation.teachers,
        classes=len(dataset.labels),
        input_shape=images.shape[1:],
        sample=(images.astype(np.float32), dataset.validation.labels[:_TEACHER_CHECK].astype(np.int64)),
    )


def _names(callbacks: Sequence[Any], *, begun_with: tuple[str, ...], progress: Progress) -> tuple[str, ...]:
    """Return the class names of callbacks; where none are given to go on with, of those that it was begun with."""
    names = tuple(type(callback).__name__ for callback in callbacks)
    if begun_with and begun_with != names:
        told = f"{', '.join(names)} are told of the rest" if names else "none are told of the rest"
        progress.note(f"the training was begun with the callbacks {', '.join(begun_with)}; {told}")
    return names or begun_with


def _epochs_done(partial: Path) -> bool:
    return (partial / checkpoint.FILE_NAME).exists()
