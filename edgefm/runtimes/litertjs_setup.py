"""`python -m edgefm.runtimes.litertjs setup`: fetch the npm packages of LiteRT.js."""

from __future__ import annotations

import click

from edgefm.errors import EdgefmError
from edgefm.runtimes import litertjs_package


@click.group(help="LiteRT.js, the runtime of the target 'browser'.")
def main() -> None:
    """Hold the commands."""


@main.command(help=f"Fetch @litertjs/core {litertjs_package.VERSION} with npm into edgefm's cache.")
def setup() -> None:
    """Fetch the packages and say what else is missing."""
    try:
        found = litertjs_package.setup()
    except EdgefmError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"@litertjs/core {found.version}: {found.core}")
    for lack in litertjs_package.missing():
        click.echo(f"still missing: {lack}")
