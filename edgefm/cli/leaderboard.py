"""`edgefm leaderboard`: a page of models, runtimes and targets."""

from __future__ import annotations

from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes


@click.command(epilog=exit_codes("the page was written"))
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RECORDS…")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("leaderboard"),
    show_default=True,
    help="Folder for the page.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the entries as JSON.")
def command(records: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Write a page of all models in RECORDS on their runtimes and targets: HTML, Markdown, JSON, PNG.

    RECORDS are files that `edgefm benchmark --out` wrote, or folders that hold them. Of several records of the same
    model, target and runtime the newest is used.
    """
    from edgefm.core.errors import missing_extra

    try:
        from edgefm.report.leaderboard import PAGE, write_leaderboard
    except ImportError as error:
        raise missing_extra(error.name or "matplotlib", "report") from error
    board = write_leaderboard(records, out)
    if as_json:
        render.as_json(board.to_json())
        return
    for model in board.models:
        render.echo(f"{model.name}: {len(model.entries)} results, {len(model.timed)} with latency")
    render.echo(f"page: {out / PAGE}")
