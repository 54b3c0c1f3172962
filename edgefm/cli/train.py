"""`edgefm train`: train a model of the zoo, or your own."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.training_options import loop_changes, loop_options
from edgefm.core.text import command as command_line
from edgefm.recipes import BACKENDS, PRECISIONS, Distillation, Training, load_training

if TYPE_CHECKING:
    from edgefm.data.source import DataSource
    from edgefm.jobs.train import TrainingResult

_WIDE = 0.1  # of an interval of the accuracy


@click.command(
    epilog=exit_codes(
        "the model was trained; an overfitted model counts as trained",
        failed="it could not be trained, or the loss became NaN or infinite",
    )
)
@click.option(
    "--model",
    default=None,
    metavar="NAME|module:build|FILE.keras",
    help="Architecture, see edgefm zoo; a function that builds a model; a model that goes on learning.  "
    "[default: enhanced_cnn]",
)
@click.option(
    "--model-option", "model_options", multiple=True, metavar="NAME=VALUE", help="Option of the architecture."
)
@click.option(
    "--image-size",
    type=int,
    default=None,
    help="Side of the pictures in pixels.  [default: the model's, or the data's]",
)
@click.option(
    "--channels", type=int, default=None, help="1 (grey) or 3 (colour).  [default: the model's, or the data's]"
)
@click.option(
    "--pretrained",
    metavar="FILE",
    default=None,
    help="Weights to begin with, all but the head: .weights.h5, .h5 or .keras.",
)
@click.option("--frozen-epochs", type=int, default=None, help="Epochs at first in which only what is new is trained.")
@click.option("--preset", "preset_name", default=None, help="quick, standard, paper or best.  [default: standard]")
@click.option("--recipe", "recipe_name", metavar="NAME|FILE", default=None, help="Instead of a preset: a recipe file.")
@click.option("--epochs", type=int, default=None, help="Passes over the training split.")
@click.option("--batch-size", type=int, default=None, help="Images per step.")
@click.option("--learning-rate", type=float, default=None, help="Peak learning rate.")
@click.option("--with-validation", is_flag=True, help="Learn the validation images too: for a final training.")
@click.option("--seed", type=int, default=None, help="Seed of weights, order, augmentation, dropout.  [default: 0]")
@loop_options
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="RUN_OR_FILE",
    help="Teacher to distil from; several are averaged.",
)
@click.option("--distillation-weight", type=float, default=None, help="Weight of the teachers, 0 to 1.  [default: 0.7]")
@click.option("--temperature", type=float, default=None, help="Softens the teachers' outputs.  [default: 2]")
@click.option("--backend", default=None, help=f"{', '.join(BACKENDS)} or auto.  [default: the first installed]")
@click.option("--precision", default=None, help=f"{', '.join(PRECISIONS)} or auto.  [default: float32]")
@click.option(
    "--data",
    "where",
    metavar="DATA",
    help="A .npz, a folder of class folders, TFRecord files, or module:function.  [default: Fashion-MNIST]",
)
@click.option("--spec", type=click.Path(path_type=Path), default=None, help="JSON that describes the TFRecord files.")
@click.option("--labels", type=click.Path(path_type=Path), default=None, help="Text file of class names, one per line.")
@click.option(
    "--value-range", metavar="LO,HI", default=None, help="What a model of your own takes for pixels 0 to 255."
)
@click.option("--trust", is_flag=True, help="Run code that the model or data hold (Lambda layers, pickled arrays).")
@click.option("--not-flippable", is_flag=True, help="The data are text, digits or signs: never mirror them.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--run", type=click.Path(path_type=Path), default=None, help="Run folder.  [default: a new one]")
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Write event files there.",
)
@click.option("--resume", is_flag=True, help="Continue a stopped training.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str | None,
    model_options: tuple[str, ...],
    image_size: int | None,
    channels: int | None,
    pretrained: str | None,
    frozen_epochs: int | None,
    preset_name: str | None,
    recipe_name: str | None,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    with_validation: bool,
    seed: int | None,
    teachers: tuple[str, ...],
    distillation_weight: float | None,
    temperature: float | None,
    backend: str | None,
    precision: str | None,
    where: str | None,
    spec: Path | None,
    labels: Path | None,
    value_range: str | None,
    trust: bool,
    not_flippable: bool,
    data_dir: Path | None,
    run: Path | None,
    tensorboard: Path | None,
    resume: bool,
    as_json: bool,
    **loop: Any,
) -> None:
    """Train a model of the zoo, or your own, and save it in a run folder, which remembers its data.

    With few pictures of your own, epochs and batch size suit them unless you say them.

    \b
    Presets:
      quick     a few epochs, to try every step
      standard  93 % validation accuracy in the fewest minutes
      paper     100 epochs at batch size 512, as in the source document
      best      the recipe of a model's best accuracy, for models that have one
    """
    from edgefm.cli.own_data import given_data, value_range_of
    from edgefm.jobs.run import Run
    from edgefm.jobs.train import training_recipe

    data = given_data({"where": where, "spec": spec, "task": None, "quality": None, "labels": labels, "trust": trust})
    if not_flippable:
        if data is None:
            raise click.UsageError("--not-flippable says something of --data, which is not given")
        data = dataclasses.replace(data, flippable=False)
    changes: dict[str, Any] = {
        name: value
        for name, value in (
            ("model", model),
            ("model_options", _pairs(model_options) or None),
            ("image_size", image_size),
            ("channels", channels),
            ("pretrained", pretrained),
            ("frozen_epochs", frozen_epochs),
            ("value_range", value_range_of(value_range)),
            ("epochs", epochs),
            ("batch_size", batch_size),
            ("learning_rate", learning_rate),
            ("with_validation", with_validation or None),
            ("seed", seed),
            ("distillation", _distillation(teachers, distillation_weight, temperature)),
        )
        if value is not None
    }
    changes |= loop_changes(loop)
    if preset_name is not None and recipe_name is not None:
        raise click.UsageError("--preset and --recipe are given: one of them says how to train")
    given = preset_name if recipe_name is None else load_training(recipe_name)
    recipe = training_recipe(given, **changes)
    # A new run is named after what is trained; the latest one is meant with --resume.
    folder = Run.latest() if resume and run is None else None
    directory = folder or (Run.new(_name(recipe, data)) if run is None else Run(run))
    trained = directory.train(
        given,
        changes=changes,
        data=data,
        backend=backend,
        precision=precision,
        resume=resume,
        tensorboard=tensorboard,
        trust=trust,
        data_dir=data_dir,
        progress=True,
    )
    if as_json:
        # Not the last step where this training was there already.
        (step,) = (step for step in directory.steps if trained.file and step.name == trained.file.parent.name)
        render.as_json({"run": str(directory.path), **step.to_json()})
        return
    what = "trained" if trained.recipe.with_validation else f"validation accuracy {_accuracy(trained)}"
    render.echo(f"{what}: {trained.verdict['name']}")
    render.echo(f"  {trained.verdict['reason']}")
    for line in _doubts(trained):
        render.echo(f"  {line}")
    render.echo(f"model and curves: {trained.file and trained.file.parent}")
    if trained.best_epoch is not None:
        render.echo(f"  the weights are those of epoch {trained.best_epoch} of {len(trained.history)}")
    render.echo(f"next: {command_line('edgefm', 'quantize', directory.path)}")


def _name(recipe: Training, data: DataSource | None) -> str:
    """Return the last part of the name of a new run."""
    if data is None:
        return f"{recipe.model_name}-{recipe.epochs}e-seed{recipe.seed}"
    words = re.sub(r"[^\w-]+", "-", Path(data.where).stem).strip("-")
    return f"{recipe.model_name}-{words or 'data'}-seed{recipe.seed}"


def _accuracy(trained: TrainingResult) -> str:
    """Return the validation accuracy with its n and its interval."""
    accuracy = f"{100 * trained.validation_accuracy:.2f} %"
    interval = trained.validation_interval
    if interval is None:
        return accuracy
    samples = trained.validation_samples
    return f"{accuracy} (n = {samples:,}, 95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f} %)"


def _doubts(trained: TrainingResult) -> list[str]:
    """Return what cannot be decided on so few validation samples."""
    interval = trained.validation_interval
    if trained.recipe.with_validation or interval is None or interval.high - interval.low <= _WIDE:
        return []
    points = 100 * (interval.high - interval.low)
    return [
        f"{trained.validation_samples:,} validation samples are too few to tell models apart: the accuracy is known to "
        f"{points:.0f} points only"
    ]


def _distillation(teachers: tuple[str, ...], weight: float | None, temperature: float | None) -> Distillation | None:
    given = {name: value for name, value in (("weight", weight), ("temperature", temperature)) if value is not None}
    if not teachers:
        if given:
            raise click.UsageError("--distillation-weight and --temperature need a --teacher")
        return None
    return Distillation(teachers=teachers, **given)


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals:
            raise click.UsageError(f"--model-option {item}: NAME=VALUE is expected")
        pairs[name] = value
    return pairs
