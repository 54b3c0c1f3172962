"""`edgefm trust`: let the code that a run holds run."""

from __future__ import annotations

from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes


@click.command(epilog=exit_codes("the run was read"))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run: Path, as_json: bool) -> None:
    """Let the code that RUN holds run for you: Lambda layers, functions that it names, pickled arrays.

    What a run says of itself allows nothing: whoever is given it decides anew, once. Functions are looked for in the
    working folder, with the modules that lie there and that they may import, then on Python's path. Read them first:
    nothing here says that they are harmless.
    """
    from edgefm.core.trust import list_path
    from edgefm.jobs.run import Run

    trusted = Run(run).trust()
    if as_json:
        render.as_json({"run": str(run), "trusted": list(trusted), "list": str(list_path())})
        return
    if not trusted:
        render.echo(f"{run} holds no code: nothing to trust")
        return
    render.echo(f"code in {run} may run from now on, for you and on this machine:")
    for what in trusted:
        render.echo(f"  {what}")
    render.echo(f"listed in {list_path()}; remove a line there to take it back")
