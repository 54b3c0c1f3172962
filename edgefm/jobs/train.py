"""`edgefm.train`: train a model in memory, of the zoo or your own; `edgefm.Run.train` does it in a run folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import html, scratch
from edgefm.core.arguments import PathLike, as_path, check_number, check_type
from edgefm.core.errors import ArgumentError, unknown_name
from edgefm.core.progress import Progress, shown
from edgefm.jobs.arguments import data_source, folder_path, pair_of_numbers, require_data
from edgefm.jobs.to_learn import FREE, to_learn
from edgefm.recipes import Training, load_training, preset
from edgefm.statistics.estimates import Estimate, proportion

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model and how it got there.

    Attributes:
      recipe: how it was trained.
      history: one entry an epoch: epoch, loss, accuracy, val_loss, val_accuracy (0 to 1), learning_rate, seconds,
        images_per_second, batch_size.
      verdict: how it fits: name ('underfitted', 'good fit', 'overfitted'; 'not decided' where there are too few
        validation images, 'not judged' where they were learnt too), reason, train_accuracy, validation_accuracy.
      device: what it was trained on.
      file: the model file in a run; None for a model in memory.
      validation_samples: how many samples the validation accuracy is of; None of a run that does not say so.
      best_epoch: the epoch whose weights the model has, of a recipe with patience; None stands for the last.
      peak_memory: most bytes held at once: `process_bytes` since the process began, and `device_bytes` on a GPU.
    """

    recipe: Training = field(hash=False)
    history: tuple[Mapping[str, Any], ...] = field(hash=False)
    verdict: Mapping[str, Any] = field(hash=False)
    device: Mapping[str, Any] = field(hash=False)
    file: Path | None = None
    validation_samples: int | None = None
    best_epoch: int | None = None
    peak_memory: Mapping[str, int] = field(default_factory=dict, hash=False)
    _load: Callable[[], Any] = field(repr=False, compare=False)

    @property
    def model(self) -> Any:
        """The trained keras.Model: uint8 pixels [n, height, width, channels] in, probabilities [n, classes] out."""
        return self._load()

    @property
    def validation_accuracy(self) -> float:
        """Accuracy on the validation split after the epoch whose weights the model has, 0 to 1.

        With `with_validation` it is that of learnt images.
        """
        return float(self.history[(self.best_epoch or len(self.history)) - 1]["val_accuracy"])

    @property
    def validation_interval(self) -> Estimate | None:
        """The validation accuracy with its 95 % interval (Wilson); None of learnt samples, or of an unknown number."""
        if not self.validation_samples or self.recipe.with_validation:
            return None
        return proportion(round(self.validation_accuracy * self.validation_samples), self.validation_samples)

    def to_json(self) -> dict[str, Any]:
        """Return all but the model as a JSON object."""
        return {
            "recipe": self.recipe.to_json(),
            "epochs": [dict(epoch) for epoch in self.history],
            "verdict": dict(self.verdict),
            "device": dict(self.device),
            "file": None if self.file is None else str(self.file),
            "validation_samples": self.validation_samples,
            "best_epoch": self.best_epoch,
            "peak_memory": dict(self.peak_memory),
        }

    def save(self, path: PathLike) -> Path:
        """Write the model as a `.keras` file and return its path.

        Raises:
          ArgumentError: the path has another suffix.
        """
        target = as_path(path, "path")
        if target.suffix != ".keras":
            raise ArgumentError(f"path is {target}; a file that ends in .keras is expected")
        target.parent.mkdir(parents=True, exist_ok=True)
        self.model.save(target)
        return target

    def _repr_html_(self) -> str:
        split = "learnt validation" if self.recipe.with_validation else "validation"
        caption = (
            f"{self.recipe.model_name}: {split} accuracy {100 * self.validation_accuracy:.2f} % after "
            f"{len(self.history)} epochs, {self.verdict['name']}: {self.verdict['reason']}"
        )
        return html.paragraph(caption) + _curves(self.to_json())


def train(
    model: str | None = None,
    *,
    data: Dataset | DataSource | PathLike | None = None,
    recipe: Training | PathLike | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    pretrained: PathLike | None = None,
    frozen_epochs: int | None = None,
    value_range: Sequence[float] | None = None,
    trust: bool = False,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    backend: str | None = None,
    precision: str = "float32",
    callbacks: Sequence[Any] = (),
    tensorboard: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> TrainingResult:
    """Train a model, of the zoo or your own, on your data and return it.

    Nothing is written; `edgefm.Run(folder).train(...)` keeps the training in a folder, from which it can be resumed.

    Args:
      model: name of an architecture, see `edgefm zoo`; 'module:function' of your own that builds a keras.Model; or the
        path of a `.keras` file, which goes on learning. By default the recipe's, 'enhanced_cnn' without one.
      data: what it learns; uint8 pictures with classes. See `edgefm.data`.
      recipe: how; 'quick', 'standard' (the default), 'paper', 'best' (the model's own), a file, or a `Training`. Of a
        preset, and in what a `Training` was made without, epochs and batch size suit small data, and pictures that are
        marked as not flippable are not mirrored; a file is trained as written.
      image_size: side of the pictures in pixels, to which they are resized; by default the model's own, else that of
        the data.
      channels: of the pictures, 1 (grey) or 3 (colour); by default the model's own, else those of the data.
      pretrained: weights that it begins with, all but the head: a `.weights.h5`, `.h5` or `.keras` file.
      frozen_epochs: first epochs in which only what is new is trained, not what the pretrained weights hold.
      value_range: what a model of your own takes for pixels 0 and 255; by default what it is found to take.
      trust: run code that the file of a model holds (Lambda layers).
      epochs: passes over the training split, instead of the recipe's.
      batch_size: images a step, instead of the recipe's.
      learning_rate: peak rate, instead of the recipe's.
      seed: of initial weights, order, augmentation and dropout, instead of the recipe's.
      backend: 'tensorflow', 'jax' or 'torch'; by default KERAS_BACKEND, else the first one installed. 'auto' takes
        the fastest here, by a short trial.
      precision: 'float32', 'mixed_bfloat16', 'mixed_float16', or 'auto'.
      callbacks: of Keras; told when the training, each epoch and each validation begin and end, not of batches: many
        run in one call.
      tensorboard: folder that event files for TensorBoard are written into.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type, or callbacks that cannot be served.
      RecipeError: an unknown architecture, preset or backend, a value out of range, or a size that the model does not
        take.
      DataError: the data cannot be read, are too few, or do not fit the model.
      ModelError: a model or weights that cannot be read, or do not fit.
      TrainingDivergedError: the loss is not finite.
    """
    require_data(data)
    check_type(trust, "trust", bool, "True or False")
    changes = said(
        model=model,
        image_size=image_size,
        channels=channels,
        pretrained=pretrained,
        frozen_epochs=frozen_epochs,
        value_range=value_range,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    events = None if tensorboard is None else folder_path(tensorboard, "tensorboard")
    chosen = training_recipe(recipe, **changes)
    from edgefm.keras_graph.backend import dtype_policy_kept, use_backend, without_tensorflow

    with dtype_policy_kept(), shown(progress) as receiver:
        from edgefm.data.dataset import Dataset
        from edgefm.jobs.to_learn.held_out import remarks, seen_by_recipe
        from edgefm.keras_graph.idle_gpu import note_idle_gpu
        from edgefm.training.fastest import fastest_setting

        backend, precision = fastest_setting(backend, precision, recipe=chosen, progress=receiver)
        ready = to_learn(
            chosen,
            dataset=data if isinstance(data, Dataset) else None,
            source=None if isinstance(data, Dataset) else data_source(data, dataset=True),
            free=free_of(recipe, changes),
            backend=backend,
            precision=precision,
            trust=trust,
            progress=receiver,
        )
        device = use_backend(backend, precision)
        receiver.note(f"training {ready.recipe.model_name} on {device}")
        note_idle_gpu(device, progress=receiver)
        for remark in remarks(seen_by_recipe(ready.recipe, ready.dataset)):
            receiver.note(remark)
        from edgefm.training.all_images import judged, learnt_by
        from edgefm.training.fit import fit
        from edgefm.training.step import teacher_of

        with without_tensorflow(device), scratch.folder("train") as folder:
            network, frozen = (None, ()) if ready.model is None else ready.model()
            trained = fit(
                learnt_by(ready.recipe, ready.dataset),
                ready.recipe,
                device=device,
                folder=folder,
                teacher=teacher_of(ready.dataset, ready.recipe),
                model=network,
                frozen=frozen,
                callbacks=callbacks,
                tensorboard=events,
                progress=receiver,
            )
    return TrainingResult(
        recipe=ready.recipe,
        history=trained.epochs,
        verdict=judged(ready.recipe, trained.verdict).to_json(),
        device=device.to_json(),
        validation_samples=len(ready.dataset.validation),
        best_epoch=trained.best_epoch,
        peak_memory=trained.peak_memory,
        _load=lambda: trained.model,
    )


def said(
    *,
    model: str | None,
    image_size: int | None,
    channels: int | None,
    pretrained: PathLike | None,
    frozen_epochs: int | None,
    value_range: Sequence[float] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Return what is not None of the arguments that stand for parameters of a recipe.

    Raises:
      ArgumentError: an argument of another type.
    """
    whole = {
        "image_size": image_size,
        "channels": channels,
        "frozen_epochs": frozen_epochs,
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
    }
    for name, value in whole.items():
        check_number(value, name, int)
    check_number(learning_rate, "learning_rate")
    weights = None if pretrained is None else str(as_path(pretrained, "pretrained"))
    name_of_model = os.fspath(model) if isinstance(model, os.PathLike) else model
    limits = pair_of_numbers(value_range, "value_range")
    given = {
        **whole,
        "value_range": limits,
        "learning_rate": learning_rate,
        "pretrained": weights,
        "model": name_of_model,
    }
    return {name: value for name, value in given.items() if value is not None}


def free_of(recipe: Training | PathLike | None, changes: Mapping[str, Any]) -> frozenset[str]:
    """Return the parameters of a recipe that may be adapted to the data: what its user did not say.

    Of a `Training` these are the ones that were left out when it was made, see `Training.given`; of a file none. Of
    'paper', which repeats a training as documented, none but the mirroring of pictures that must not be; of 'best',
    which is long anyhow, the batch size too.
    """
    if isinstance(recipe, Training):
        return frozenset(FREE - recipe.given - changes.keys())
    if recipe is not None and not _is_preset(recipe):
        return frozenset()
    of_preset = {"standard": FREE, "quick": FREE - {"epochs"}, "best": {"batch_size", "flip"}, "paper": {"flip"}}
    return frozenset(of_preset.get(str(recipe or "standard"), set()) - changes.keys())


def training_recipe(recipe: Training | PathLike | None, **changes: Any) -> Training:
    """Return a training recipe given as one, as the name of a preset or not at all, with what is not None changed.

    A name that ends in .json, or has a folder, is a recipe file. Options of the model are added to the recipe's; those
    of another model than the recipe's are dropped.
    """
    known = [entry.name for entry in fields(Training)]
    for name in changes:
        if name not in known:
            raise unknown_name("parameter of a training", name, known)
    model = changes.get("model")
    if not isinstance(model, str | None):
        raise ArgumentError(
            f"model is {model!r}; the name of an architecture, 'module:function' or a path is expected",
            hint="edgefm zoo",
        )
    chosen = _named(recipe, model)
    options = changes.pop("model_options", None)
    kept = {} if model not in (None, chosen.model) else chosen.model_options
    changes["model_options"] = {**kept, **(options or {})}
    return replace(chosen, **{name: value for name, value in changes.items() if value is not None})


def _named(recipe: Training | PathLike | None, model: str | None) -> Training:
    if isinstance(recipe, Training):
        return recipe
    if recipe is None or _is_preset(recipe):
        return preset(str(recipe or "standard"), model)
    what = "a Training, a file, or the name of a preset: quick, standard, paper, best"
    check_type(recipe, "recipe", (str, Path), what)
    return load_training(recipe)


def _is_preset(recipe: PathLike) -> bool:
    """Return whether a preset is named; not a file, whose name has a suffix or a folder."""
    return isinstance(recipe, str) and Path(recipe).name == Path(recipe).stem == recipe


def _curves(history: Mapping[str, Any]) -> str:
    """Return the curves of a training as an image; a table of the epochs where matplotlib is not installed."""
    try:
        from edgefm.report.drawing.curves import draw_curves
    except ImportError:
        names = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
        return html.table([[f"{epoch[name]:.4g}" for name in names] for epoch in history["epochs"]], names)
    with scratch.folder("curves") as folder:
        path = folder / "curves.png"
        draw_curves(history, path)
        return html.picture(path.read_bytes(), alt="training and validation curves")
