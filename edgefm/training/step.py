"""Training as a step of a run: cached by content, locked, resumable."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgefm.core import artefacts, environment, runs
from edgefm.core.documents import read_json
from edgefm.core.errors import RecipeError, RunError
from edgefm.core.progress import SILENT, Progress
from edgefm.core.runs import RunDirectory, Step
from edgefm.data.dataset import Dataset
from edgefm.data.source import DataSource
from edgefm.keras_graph.backend import BackendDevice, use_backend, without_tensorflow
from edgefm.keras_graph.idle_gpu import note_idle_gpu
from edgefm.recipes import SELF, Training
from edgefm.training import checkpoint
from edgefm.training.all_images import judged, learnt_by
from edgefm.training.distillation import Teacher, load_teacher, teacher_file
from edgefm.training.evaluation import confusion_csv, worst_mistake
from edgefm.training.fastest import AUTO, fastest_setting
from edgefm.training.files import CONFUSION_FILE, CSV_FILE, HISTORY_FILE, MODEL_FILE
from edgefm.training.own_objects import trust_trained
from edgefm_converters.readers import trial

if TYPE_CHECKING:
    from edgefm.training.fit import Trained

CURVES_FILE = "curves.png"
# Draws a history (the content of history.json) as a PNG file.
Draw = Callable[[Mapping[str, Any], Path], object]
_RECIPE_FILE = "recipe.json"
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
    tensorboard: Path | None = None,
    progress: Progress = SILENT,
) -> Step:
    """Return the finished training step of a run, trained now unless the same training is already there.

    Args:
      run: where `NN-train/` is written: model.keras, history.json and history.csv, confusion.csv, curves.png.
      dataset: training and validation splits are used, the test split is not touched.
      recipe: what to train and how.
      draw: draws the curves of the training.
      backend: see `use_backend`; or 'auto', see `fastest_setting`.
      precision: likewise.
      resume: go on from the last epoch of a stopped attempt.
      source: where the data come from, for later steps of the run; None stands for Fashion-MNIST.
      model: builds the model that is trained, on the backend that Keras runs on, and returns it with the names of the
        layers that are frozen at first; None builds the recipe's architecture of the zoo as its source has it.
      model_inputs: sha256 of each file that the model is made of, by name.
      tensorboard: folder for event files that TensorBoard reads; None writes none.
      progress: told the device first, then each step.
    Raises:
      RunError: the run is in use, or holds a stopped attempt that `resume` does not ask for.
      TrainingDivergedError: the loss is not finite.
      ModelError, RecipeError: a teacher that cannot be loaded, or does not fit the data.
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
        inputs = {"dataset": dataset.sha256, **teachers, **(model_inputs or {})}
        key = runs.step_key("train", recipe=recipe.to_json(), inputs=inputs, versions=versions)
        finished = run.find(key)
        if finished is not None:
            progress.note(f"{run.folder(finished)} already holds this training: nothing to do")
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
            tensorboard=tensorboard,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A training that was stopped: what it was, and what it ran on.

    Attributes:
      recipe: of the training.
      backend: name of the Keras backend.
      precision: Keras dtype policy.
      source: where its data come from.
      said_in: file that this was read from.
    """

    recipe: Training
    backend: str
    precision: str
    source: DataSource = field(default_factory=DataSource)
    said_in: Path | None = field(default=None, compare=False)

    def check(
        self,
        *,
        recipe: Training | None,
        backend: str | None,
        precision: str | None,
        source: DataSource | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        """Raise a RecipeError where something is given that differs from the stopped training; None fits all.

        Of the recipe only the named parameters count, where `only` is given; files are the same from any folder.
        """
        settings: dict[str, Any] = {"backend": backend, "precision": precision}
        mine: dict[str, Any] = {"backend": self.backend, "precision": self.precision}
        if source is not None:
            settings |= {"data": source.where}
            mine |= {"data": self.source.where}
        if recipe is not None:
            params, others = _params(recipe), _params(self.recipe)
            settings |= {name: value for name, value in params.items() if only is None or name in only}
            mine |= {name: others[name] for name in params}
        for name, value in settings.items():
            if value not in (None, AUTO) and value != mine[name]:
                raise RecipeError(
                    f"the stopped training has {name} {mine[name]}; {value} was given to go on with",
                    hint="Leave it out to resume, or train into a new run.",
                )


def stopped_training(run: RunDirectory) -> Stopped:
    """Return the training that was stopped in a run.

    Raises:
      RunError: nothing was stopped there.
    """
    path = run.partial("train") / _RECIPE_FILE
    if not path.exists():
        raise RunError(f"run {run.path} holds no stopped training", hint="Start one with: edgefm train")
    hint = f"Remove {path.parent} and train again."
    value = read_json(path, what="stopped training", error=RunError, hint=hint, schema="stopped-training-1")
    return Stopped(
        recipe=Training.from_json(value["recipe"]),
        backend=value["backend"],
        precision=value["precision"],
        source=DataSource.from_json(value.get("data") or DataSource().to_json(), said_in=path),
        said_in=path,
    )


def _params(recipe: Training) -> dict[str, Any]:
    """Return all parameters of a recipe, its files by their whole paths."""
    params = {entry.name: getattr(recipe, entry.name) for entry in fields(recipe)}
    for name in ("model", "pretrained"):
        if params[name] is not None and Path(params[name]).exists():
            params[name] = str(Path(params[name]).resolve())
    return params


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
    tensorboard: Path | None,
    progress: Progress,
) -> Step:
    from edgefm.training.fit import fit

    started = time.perf_counter()
    folder = run.begin("train", keep=True)
    given = {} if source is None else {"data": source.to_json()}
    artefacts.write_json(
        folder / _RECIPE_FILE,
        {"recipe": recipe.to_json(), "backend": device.backend.split()[0], "precision": device.precision, **given},
    )
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
                tensorboard=tensorboard,
                progress=progress,
            )
        except KeyboardInterrupt:
            progress.note(f"stopped; resume the run {run.path} to go on after its last finished epoch")
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


def _epochs_done(partial: Path) -> bool:
    return (partial / checkpoint.FILE_NAME).exists()
