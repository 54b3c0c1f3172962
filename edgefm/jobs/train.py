"""`edgefm.train`: train a model of the zoo in memory; `edgefm.Run.train` does it in a run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefm.core import html, scratch
from edgefm.core.arguments import PathLike, as_path, check_number, check_type
from edgefm.core.errors import ArgumentError
from edgefm.core.progress import Progress, shown
from edgefm.jobs.arguments import dataset_and_quality, require_data
from edgefm.recipes import Training, load_training, preset

if TYPE_CHECKING:
    from edgefm.data.dataset import Dataset
    from edgefm.data.source import DataSource


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model and how it got there.

    Attributes:
      recipe: how it was trained.
      history: one entry an epoch: epoch, loss, accuracy, val_loss, val_accuracy (0 to 1), learning_rate, seconds,
        images_per_second.
      verdict: how it fits: name ('underfitted', 'good fit', 'overfitted'; 'not judged' where the validation images
        were learnt too), reason, train_accuracy, validation_accuracy.
      device: what it was trained on.
      file: the model file in a run; None for a model in memory.
    """

    recipe: Training = field(hash=False)
    history: tuple[Mapping[str, Any], ...] = field(hash=False)
    verdict: Mapping[str, Any] = field(hash=False)
    device: Mapping[str, Any] = field(hash=False)
    file: Path | None = None
    _load: Callable[[], Any] = field(repr=False, compare=False)

    @property
    def model(self) -> Any:
        """The trained keras.Model: uint8 pixels [n, height, width, channels] in, probabilities [n, classes] out."""
        return self._load()

    @property
    def validation_accuracy(self) -> float:
        """Accuracy on the validation split after the last epoch, 0 to 1; of learnt images with `with_validation`."""
        return float(self.history[-1]["val_accuracy"])

    def to_json(self) -> dict[str, Any]:
        """Return all but the model as a JSON object."""
        return {
            "recipe": self.recipe.to_json(),
            "epochs": [dict(epoch) for epoch in self.history],
            "verdict": dict(self.verdict),
            "device": dict(self.device),
            "file": None if self.file is None else str(self.file),
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
    recipe: Training | PathLike | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    backend: str | None = None,
    precision: str = "float32",
    progress: Progress | bool | None = None,
) -> TrainingResult:
    """Train a model of the zoo and return it.

    Nothing is written; `edgefm.Run(folder).train(...)` keeps the training in a folder, from which it can be resumed.

    Args:
      model: name of an architecture, see `edgefm zoo`; by default the recipe's, 'enhanced_cnn' without one.
      data: what it learns; uint8 pictures of the architecture's size. See `edgefm.data`.
      recipe: how; 'quick', 'standard' (the default), 'paper', 'best' (the model's own), a file, or a `Training`.
      epochs: passes over the training split, instead of the recipe's.
      batch_size: images a step, instead of the recipe's.
      learning_rate: peak rate, instead of the recipe's.
      seed: of initial weights, order, augmentation and dropout, instead of the recipe's.
      backend: 'tensorflow', 'jax' or 'torch'; by default KERAS_BACKEND, else the first one installed.
      precision: 'float32', 'mixed_bfloat16' or 'mixed_float16'.
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
    changes = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    chosen = training_recipe(recipe, model=model, **changes)
    with shown(progress) as receiver:
        from edgefm import zoo
        from edgefm.data.checks import check_fit, check_has_classes
        from edgefm.keras_graph.backend import use_backend, without_tensorflow

        architecture = zoo.architecture(chosen.model)
        zoo.check_options(chosen.model, chosen.model_options)
        dataset, _ = dataset_and_quality(data, input_shape=architecture.input_shape, progress=receiver)
        assert dataset is not None, "data were given"
        check_has_classes(dataset)
        check_fit(dataset, input_shape=architecture.input_shape, value_range=(0.0, 255.0), classes=architecture.classes)
        device = use_backend(backend, precision)
        receiver.note(f"training {chosen.model} on {device}")
        from edgefm.training.all_images import judged, learnt_by
        from edgefm.training.fit import fit
        from edgefm.training.step import teacher_of

        with without_tensorflow(device), scratch.folder("train") as folder:
            teacher = teacher_of(dataset, chosen)
            learnt = learnt_by(chosen, dataset)
            trained = fit(learnt, chosen, device=device, folder=folder, teacher=teacher, progress=receiver)
    return TrainingResult(
        recipe=chosen,
        history=trained.epochs,
        verdict=judged(chosen, trained.verdict).to_json(),
        device=device.to_json(),
        _load=lambda: trained.model,
    )


def training_recipe(recipe: Training | PathLike | None, **changes: Any) -> Training:
    """Return a training recipe given as one, as the name of a preset or not at all, with what is not None changed.

    A name that ends in .json, or has a folder, is a recipe file. Options of the model are added to the recipe's; those
    of another model than the recipe's are dropped.
    """
    model = changes.get("model")
    if not isinstance(model, str | None):
        raise ArgumentError(f"model is {model!r}; the name of an architecture is expected", hint="edgefm zoo")
    chosen = _named(recipe, model)
    options = changes.pop("model_options", None)
    kept = {} if model not in (None, chosen.model) else chosen.model_options
    changes["model_options"] = {**kept, **(options or {})}
    return replace(chosen, **{name: value for name, value in changes.items() if value is not None})


def _named(recipe: Training | PathLike | None, model: str | None) -> Training:
    if isinstance(recipe, Training):
        return recipe
    if recipe is None or (isinstance(recipe, str) and Path(recipe).name == Path(recipe).stem == recipe):
        return preset(recipe or "standard", model)
    check_type(
        recipe, "recipe", (str, Path), "a Training, a file, or the name of a preset: quick, standard, paper, best"
    )
    return load_training(recipe)


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
