"""`edgefm train`: train a model of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.recipes import BACKENDS, PRECISIONS, Distillation, load_training


@click.command(
    epilog=exit_codes(
        "the model was trained; an overfitted model counts as trained",
        failed="it could not be trained, or the loss became NaN or infinite",
    )
)
@click.option("--model", default=None, help="Architecture, see: edgefm zoo.  [default: enhanced_cnn]")
@click.option(
    "--model-option", "model_options", multiple=True, metavar="NAME=VALUE", help="Option of the architecture."
)
@click.option("--preset", "preset_name", default=None, help="quick, standard, paper or best.  [default: standard]")
@click.option("--recipe", "recipe_name", metavar="NAME|FILE", default=None, help="Instead of a preset: a recipe file.")
@click.option("--epochs", type=int, default=None, help="Passes over the training split.")
@click.option("--batch-size", type=int, default=None, help="Images per step.")
@click.option("--learning-rate", type=float, default=None, help="Peak learning rate.")
@click.option("--with-validation", is_flag=True, help="Learn the validation images too: for a final training.")
@click.option("--seed", type=int, default=None, help="Seed of weights, order, augmentation, dropout.  [default: 0]")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="RUN_OR_FILE",
    help="Teacher to distil from; several are averaged.",
)
@click.option("--distillation-weight", type=float, default=None, help="Weight of the teachers, 0 to 1.  [default: 0.7]")
@click.option("--temperature", type=float, default=None, help="Softens the teachers' outputs.  [default: 2]")
@click.option("--backend", default=None, help=f"{', '.join(BACKENDS)}.  [default: the first one installed]")
@click.option("--precision", default=None, help=f"{', '.join(PRECISIONS)}.  [default: float32]")
@click.option(
    "--data",
    "where",
    metavar="DATA",
    help="A .npz, a folder of class folders, TFRecord files, or module:function.  [default: Fashion-MNIST]",
)
@click.option("--spec", type=click.Path(path_type=Path), default=None, help="JSON that describes the TFRecord files.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--run", type=click.Path(path_type=Path), default=None, help="Run folder.  [default: a new one]")
@click.option("--resume", is_flag=True, help="Continue a stopped training.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str | None,
    model_options: tuple[str, ...],
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
    data_dir: Path | None,
    run: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a model of the zoo and save it in a run folder, which remembers its data.

    \b
    Presets:
      quick     a few epochs, to try every step
      standard  93 % validation accuracy in the fewest minutes
      paper     100 epochs at batch size 512, as in the source document
      best      the recipe of a model's best accuracy, for models that have one
    """
    from edgefm.cli.own_data import given_data
    from edgefm.jobs.run import Run
    from edgefm.jobs.train import training_recipe

    data = given_data({"where": where, "spec": spec, "task": None, "quality": None, "labels": None})
    changes: dict[str, Any] = {
        name: value
        for name, value in (
            ("model", model),
            ("model_options", _pairs(model_options) or None),
            ("epochs", epochs),
            ("batch_size", batch_size),
            ("learning_rate", learning_rate),
            ("with_validation", with_validation or None),
            ("seed", seed),
            ("distillation", _distillation(teachers, distillation_weight, temperature)),
        )
        if value is not None
    }
    if preset_name is not None and recipe_name is not None:
        raise click.UsageError("--preset and --recipe are given: one of them says how to train")
    named = preset_name is not None or recipe_name is not None or bool(changes)
    given = preset_name if recipe_name is None else load_training(recipe_name)
    recipe = training_recipe(given, **changes)
    # A new run is named after what is trained; the latest one is meant with --resume.
    if run is None:
        directory = Run.latest() if resume else Run.new(f"{recipe.model}-{recipe.epochs}e-seed{recipe.seed}")
    else:
        directory = Run(run)
    trained = directory.train(
        recipe if named or not resume else None,
        data=data,
        backend=backend,
        precision=precision,
        resume=resume,
        data_dir=data_dir,
        progress=True,
    )
    if as_json:
        # Not the last step where this training was there already.
        (step,) = (step for step in directory.steps if trained.file and step.name == trained.file.parent.name)
        render.as_json({"run": str(directory.path), **step.to_json()})
        return
    accuracy = f"validation accuracy {100 * trained.validation_accuracy:.2f} %"
    render.echo(f"{'trained' if trained.recipe.with_validation else accuracy}: {trained.verdict['name']}")
    render.echo(f"  {trained.verdict['reason']}")
    render.echo(f"model and curves: {trained.file and trained.file.parent}")
    render.echo("next: edgefm quantize")


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
