"""`edgefm.train`: train a model of the zoo in memory; `edgefm.Run.train` does it in a run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import html, scratch
from edgefm.core.arguments import PathLike, as_path, check_number, check_type
from edgefm.core.errors import ArgumentError
from edgefm.core.progress import Progress, shown
from edgefm.jobs.arguments import dataset_and_quality, optional_path, require_data
from edgefm.recipes import Training, preset

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
      verdict: how it fits: name ('underfitted', 'good fit', 'overfitted'), reason, train_accuracy,
        validation_accuracy.
      device: what it was trained on.
      file: the model file in a run; None for a model in memory.
      best_epoch: the epoch whose weights the model has, of a recipe with patience; None stands for the last.
      peak_memory: most bytes held at once: `process_bytes` since the process began, and `device_bytes` on a GPU.
    """

    recipe: Training = field(hash=False)
    history: tuple[Mapping[str, Any], ...] = field(hash=False)
    verdict: Mapping[str, Any] = field(hash=False)
    device: Mapping[str, Any] = field(hash=False)
    file: Path | None = None
    best_epoch: int | None = None
    peak_memory: Mapping[str, int] = field(default_factory=dict, hash=False)
    _load: Callable[[], Any] = field(repr=False, compare=False)

    @property
    def model(self) -> Any:
        """The trained keras.Model: uint8 pixels [n, height, width, channels] in, probabilities [n, classes] out."""
        return self._load()

    @property
    def validation_accuracy(self) -> float:
        """Accuracy on the validation split after the epoch whose weights the model has, 0 to 1."""
        return float(self.history[(self.best_epoch or len(self.history)) - 1]["val_accuracy"])

    def to_json(self) -> dict[str, Any]:
        """Return all but the model as a JSON object."""
        return {
            "recipe": self.recipe.to_json(),
            "epochs": [dict(epoch) for epoch in self.history],
            "verdict": dict(self.verdict),
            "device": dict(self.device),
            "file": None if self.file is None else str(self.file),
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
        caption = (
            f"{self.recipe.model}: validation accuracy {100 * self.validation_accuracy:.2f} % after "
            f"{len(self.history)} epochs, {self.verdict['name']}: {self.verdict['reason']}"
        )
        return html.paragraph(caption) + _curves(self.to_json())


def train(
    model: str | None = None,
    *,
    data: Dataset | DataSource | PathLike | None = None,
    recipe: Training | str | None = None,
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
    """Train a model of the zoo and return it.

    Nothing is written; `edgefm.Run(folder).train(...)` keeps the training in a folder, from which it can be resumed.

    Args:
      model: name of an architecture, see `edgefm zoo`; by default the recipe's, 'enhanced_cnn' without one.
      data: what it learns; uint8 pictures of the architecture's size. See `edgefm.data`.
      recipe: how; 'quick', 'standard' (the default), 'paper', or a `Training`.
      epochs: passes over the training split, instead of the recipe's.
      batch_size: images a step, instead of the recipe's.
      learning_rate: peak rate, instead of the recipe's.
      seed: of initial weights, order, augmentation and dropout, instead of the recipe's.
      backend: 'tensorflow', 'jax' or 'torch'; by default KERAS_BACKEND, else the first one installed. 'auto' takes
        the fastest here, by a short trial.
      precision: 'float32', 'mixed_bfloat16', 'mixed_float16', or 'auto'.
      callbacks: of Keras; told when the training and each epoch begin and end, not of batches: many run in one call.
      tensorboard: folder that event files for TensorBoard are written into.
      progress: True, False, None (bars in a terminal and a notebook) or a receiver.
    Raises:
      ArgumentError: an argument of another type.
      RecipeError: an unknown architecture, preset or backend, or a value out of range.
      DataError: the data cannot be read or do not fit the architecture.
      TrainingDivergedError: the loss is not finite.
    """
    require_data(data)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("seed", seed)):
        check_number(value, name, int)
    check_number(learning_rate, "learning_rate")
    events = optional_path(tensorboard, "tensorboard")
    changes = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    chosen = training_recipe(recipe, model=model, **changes)
    with shown(progress) as receiver:
        from edgefm import zoo
        from edgefm.data.checks import check_fit, check_has_classes
        from edgefm.keras_graph.backend import use_backend, without_tensorflow
        from edgefm.training.fastest import fastest_setting

        architecture = zoo.architecture(chosen.model)
        zoo.check_options(chosen.model, chosen.model_options)
        dataset, _ = dataset_and_quality(data, input_shape=architecture.input_shape, progress=receiver)
        assert dataset is not None, "data were given"
        check_has_classes(dataset)
        check_fit(dataset, input_shape=architecture.input_shape, value_range=(0.0, 255.0), classes=architecture.classes)
        device = use_backend(*fastest_setting(backend, precision, progress=receiver))
        receiver.note(f"training {chosen.model} on {device}")
        from edgefm.training.fit import fit
        from edgefm.training.step import teacher_of

        with without_tensorflow(device), scratch.folder("train") as folder:
            teacher = teacher_of(dataset, chosen)
            trained = fit(
                dataset,
                chosen,
                device=device,
                folder=folder,
                teacher=teacher,
                callbacks=callbacks,
                tensorboard=events,
                progress=receiver,
            )
    return TrainingResult(
        recipe=chosen,
        history=trained.epochs,
        verdict=trained.verdict.to_json(),
        device=device.to_json(),
        best_epoch=trained.best_epoch,
        peak_memory=trained.peak_memory,
        _load=lambda: trained.model,
    )


def training_recipe(recipe: Training | str | None, **changes: Any) -> Training:
    """Return a training recipe given as one, as the name of a preset or not at all, with what is not None changed."""
    if recipe is None or isinstance(recipe, str):
        recipe = preset(recipe or "standard")
    check_type(recipe, "recipe", Training, "a Training, or the name of a preset: quick, standard, paper")
    if isinstance(changes.get("model"), str | None):
        return replace(recipe, **{name: value for name, value in changes.items() if value is not None})
    raise ArgumentError(f"model is {changes['model']!r}; the name of an architecture is expected", hint="edgefm zoo")


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
