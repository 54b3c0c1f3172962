"""`edgefm recipes`: the recipes that come with edgefm, and checks of a user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes

if TYPE_CHECKING:
    from edgefm.recipes import Training

_exit_codes = exit_codes("the recipe is valid", failed="it is not; the message says which key or value is wrong")


@click.group(epilog=_exit_codes)
def command() -> None:
    """List, show and check recipes: how `edgefm train` trains, and which TFLite files `edgefm quantize` writes."""


@command.command("list", epilog=exit_codes("always", failed="bad options"))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def list_(as_json: bool) -> None:
    """List the shipped recipes."""
    from edgefm.recipes.files import load, load_training, shipped
    from edgefm.recipes.presets import training_names

    found = {name: load(name) for name in shipped()}
    trainings = {name: load_training(name) for name in training_names()}
    if as_json:
        rows: dict[str, Any] = {
            name: {"kind": one.kind, "description": one.description, "variants": list(one.names)}
            for name, one in found.items()
        }
        for name, training in trainings.items():
            rows[name] = {"kind": training.kind, "description": _described(training), "model": training.model}
        render.as_json(rows)
        return
    render.table(
        [(name, one.description, ", ".join(one.names)) for name, one in found.items()],
        headers=("recipe", "what for", "variants"),
        widths=(None, 34, 50),
    )
    render.echo()
    render.echo(
        "use a recipe with: edgefm quantize --recipe NAME; start your own with: edgefm recipes show NAME > mine.json"
    )
    render.echo()
    render.table(
        [(name, training.model, _described(training)) for name, training in trainings.items()],
        headers=("training recipe", "model", "how"),
        widths=(None, None, 60),
    )
    render.echo()
    render.echo("use one with: edgefm train --preset best --model MODEL, or edgefm train --recipe NAME|FILE")


@command.command(epilog=_exit_codes)
@click.argument("recipe", metavar="NAME|FILE")
def show(recipe: str) -> None:
    """Print a recipe as JSON, with every default: a start for a file of your own."""
    from edgefm.recipes import Recipe, Training
    from edgefm.recipes.files import load_any

    found = load_any(recipe)
    # Not a training's own: it leaves out what older versions had not.
    render.as_json(Recipe.to_json(found) if isinstance(found, Training) else found.to_json())


@command.command(epilog=_exit_codes)
@click.argument("recipe", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def validate(recipe: str, as_json: bool) -> None:
    """Check a recipe: names, types, limits and the order of its passes."""
    from edgefm.recipes import Training
    from edgefm.recipes.files import load_any

    found = load_any(recipe)
    if isinstance(found, Training):
        if as_json:
            render.as_json({"valid": True, "model": found.model})
        else:
            render.echo(f"{recipe} trains {found.model}: {_described(found)}")
        return
    if as_json:
        render.as_json({"valid": True, "variants": list(found.names)})
        return
    render.echo(f"{recipe} holds: {', '.join(found.names)}")
    rows = [
        (
            variant.name,
            " > ".join(done.kind for done in variant.passes) or "-",
            variant.quantization.scheme if variant.quantization else "-",
            sum(done.fine_tuning.epochs for done in variant.passes),
            "-" if variant.accuracy_drop_at_most is None else f"{variant.accuracy_drop_at_most:g}",
        )
        for variant in found.variants
    ]
    render.table(
        rows, headers=("variant", "passes", "quantisation", "epochs", "may lose"), right=("epochs", "may lose")
    )


def _described(training: Training) -> str:
    """Return how a model is trained, in a line."""
    from edgefm.recipes.class_weights import written

    shares = {name: getattr(training, name) for name in ("erasing", "mixup", "cutmix", "label_smoothing")}
    parts = [
        f"{training.epochs} epochs, batch {training.batch_size}",
        f"{training.optimizer} {training.learning_rate:g} {training.schedule}, decay {training.weight_decay:g}",
        *(f"{name} {share:g}" for name, share in shares.items() if share),
        *([f"class weights {written(training.class_weights)}"] if training.class_weights != "none" else []),
        *(f"{name}={value}" for name, value in training.model_options.items()),
    ]
    return ", ".join(parts)
