"""`edgefm demo`: show a model in the browser of this machine."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.core.progress import Bars


@click.command(epilog=exit_codes("the page was written"))
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[BUNDLE|RUN|MODEL.tflite]")
@click.option("--variant", default=None, help="Which variant of the run.  [default: the verdict's for phones]")
@click.option("--data", "where", metavar="DATA", help="Samples to show.  [default: the run's or bundle's own]")
@click.option("--no-open", is_flag=True, help="Do not open the page; print where it lies.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(source: Path | None, variant: str | None, where: str | None, no_open: bool, as_json: bool) -> None:
    """Write a page that runs the model, and open it in the browser.

    It is the page of edgefm export web: samples, pictures, drawing and camera, with a self-test. It shows the latest
    run by default. The page lies in edgefm's cache and needs nothing else.
    """
    from edgefm.cli.given_run import named_run
    from edgefm.jobs.export.demo import demo_page

    page = demo_page(
        named_run(None).path if source is None else source, variant=variant, data=where, progress=Bars()
    ).absolute()
    opened = not no_open and webbrowser.open(page.as_uri())
    if as_json:
        render.as_json({"page": str(page), "opened": opened})
        return
    render.echo(page)
    if not no_open and not opened:
        render.complain("no browser was found: open the page yourself")
