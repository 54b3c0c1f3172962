"""`edgefm recipes`: the recipes that come with edgefm, and checks of a user's own."""

from __future__ import annotations

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes

_exit_codes = exit_codes("the recipe is valid", failed="it is not; the message says which key or value is wrong")


@click.group(epilog=_exit_codes)
def command() -> None:
    """List, show and check recipes: which TFLite files `edgefm quantize` writes, and how."""


@command.command("list", epilog=exit_codes("always", failed="bad options"))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def list_(as_json: bool) -> None:
    """List the shipped recipes."""
    from edgefm.recipes.files import load, shipped

    found = {name: load(name) for name in shipped()}
    if as_json:
        rows = {name: {"description": one.description, "variants": list(one.names)} for name, one in found.items()}
        render.as_json(rows)
        return
    render.table(
        [(name, one.description, ", ".join(one.names)) for name, one in found.items()],
        headers=("recipe", "what for", "variants"),
        widths=(None, 34, 50),
    )
    render.echo(
        "\nuse a recipe with: edgefm quantize --recipe NAME; start your own with: edgefm recipes show NAME > mine.json"
    )


@command.command(epilog=_exit_codes)
@click.argument("recipe", metavar="NAME|FILE")
def show(recipe: str) -> None:
    """Print a recipe as JSON, with every default: a start for a file of your own."""
    from edgefm.recipes.files import load

    render.as_json(load(recipe).to_json())


@command.command(epilog=_exit_codes)
@click.argument("recipe", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def validate(recipe: str, as_json: bool) -> None:
    """Check a recipe: names, types, limits and the order of its passes."""
    from edgefm.recipes.files import load

    found = load(recipe)
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
