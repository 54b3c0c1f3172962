"""`python -m edgefm.runtimes.litertjs setup`: fetch the npm packages of LiteRT.js."""

from __future__ import annotations

import click

from edgefm.core.errors import EdgefmError
from edgefm.core.text import visible, visible_lines
from edgefm.runtimes.litertjs import package


@click.group(help="LiteRT.js, the runtime of the target 'browser'.")
def main() -> None:
    """Hold the commands."""


@main.command(help=f"Fetch @litertjs/core {package.VERSION} with npm into edgefm's cache.")
def setup() -> None:
    """Fetch the packages and say what else is missing."""
    try:
        packages = package.setup()
    except EdgefmError as error:
        raise click.ClickException(visible_lines(error)) from None
    click.echo(visible(f"@litertjs/core {packages.version}: {packages.core}"))
    for lack in package.missing():
        click.echo(visible(f"still missing: {lack}"))
