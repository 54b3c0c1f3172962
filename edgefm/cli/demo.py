"""`edgefm demo`: show a model in the browser of this machine."""

from __future__ import annotations

import sys
import threading
import webbrowser
from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.core import text
from edgefm.core.progress import Bars


@click.command(epilog=exit_codes("the page was written"))
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[BUNDLE|RUN|MODEL.tflite]")
@click.option("--variant", default=None, help="Which variant of the run.  [default: the verdict's for phones]")
@click.option("--data", "where", metavar="DATA", help="Samples to show.  [default: the run's or bundle's own]")
@click.option("--serve", is_flag=True, help="Serve it to this machine, with threads, until Ctrl-C.")
@click.option("--no-open", is_flag=True, help="Do not open the page; print where it lies.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    source: Path | None, variant: str | None, where: str | None, serve: bool, no_open: bool, as_json: bool
) -> None:
    """Write a page that runs the model, and open it in the browser.

    It is the page of edgefm export web: samples, pictures, drawing and camera, with a self-test. It shows the latest
    run by default. The page lies in edgefm's cache and needs nothing else. With --serve it comes from a server on this
    machine, whose headers give it threads.
    """
    from edgefm.cli.given_run import named_run
    from edgefm.jobs.export.demo import demo_page, served_demo

    given = named_run(None).path if source is None else source
    page = demo_page(given, variant=variant, data=where, served=serve, progress=Bars()).absolute()
    _name_others(given)
    if not serve:
        _show(page.as_uri(), str(page), page=page, no_open=no_open, as_json=as_json)
        return
    with served_demo(page) as address:
        _show(address, address, page=page, no_open=no_open, as_json=as_json)
        sys.stdout.flush()
        render.complain("served to this machine alone; Ctrl-C ends it")
        threading.Event().wait()


def _name_others(given: Path) -> None:
    """Say which of a bundle's models, each of which has a folder, the page leaves out, and how they are shown."""
    from edgefm.jobs.export.models import is_bundle
    from edgefm_converters.bundles.manifest import model_folders, read_manifest

    folders = model_folders(read_manifest(given)) if is_bundle(given) else [""]
    if "" in folders:
        return  # a page of its own holds all that lie beside it
    shown, *others = folders
    if others:
        render.complain(f"the page shows {shown}, the first of {len(folders)} models in {given}; the others:")
    for name in others:
        render.complain(f"  {text.command('edgefm', 'demo', given / name / 'model.tflite')}")


def _show(address: str, shown: str, *, page: Path, no_open: bool, as_json: bool) -> None:
    """Open an address in the browser and say where it is."""
    opened = not no_open and webbrowser.open(address)
    if as_json:
        render.as_json({"page": str(page), "address": address, "opened": opened})
        return
    render.echo(shown)
    if not no_open and not opened:
        render.complain("no browser was found: open the page yourself")
