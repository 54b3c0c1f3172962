"""`edgefm verify`: whether a bundle is whole, and its model answers as its golden vectors say."""

from __future__ import annotations

from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.core.progress import Bars


@click.command(epilog=exit_codes("the bundle is whole and answers as it should", "it is not", "no bundle"))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--no-run", is_flag=True, help="Look at the files alone: the model is not run.")
@click.option("--key", type=click.Path(path_type=Path), help="Public key (PEM) that it must be signed by.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(bundle: Path, no_run: bool, key: Path | None, as_json: bool) -> int:
    """Check a bundle that edgefm export wrote.

    Each file is held against the manifest, the contract against the model, and the answers of LiteRT's kernels on this
    machine against the golden vectors, to within the tolerance of their kernel family. Nothing of the bundle's code is
    run.
    """
    from edgefm.jobs.export.verify import verify

    result = verify(bundle, run=not no_run, key=key, progress=Bars())
    if as_json:
        render.as_json(result.to_json())
    else:
        render.echo(f"{result.folder}: bundle for {result.kind}, written by {result.written_by}")
        for problem in result.problems:
            render.echo(f"FAILED  {problem}")
        for family in result.families:
            render.echo(f"{'held  ' if family.held else 'FAILED'}  {family.text}")
        if result.signature == "held":
            render.echo(f"held    signed by {key}")
        elif result.signature == "not checked":
            render.echo("signed; the signature was not checked: give the signer's public key with --key")
        if result.held:
            render.echo("every file is as it was written")
    return 0 if result.held else 1
