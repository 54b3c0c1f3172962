"""`edgefm report`: write the report of a run."""

from __future__ import annotations

from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes


@click.command("report", epilog=exit_codes("the report was written"))
@click.argument("run", required=False, type=click.Path(path_type=Path), metavar="[RUN|record.json]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write it here.  [default: RUN/report, or report beside the record]",
)
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Folder of the data files.")
@click.option("--open", "open_", type=click.Choice(["no", "yes"]), default="no", help="Open the page in a browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(run: Path | None, out: Path | None, data_dir: Path | None, open_: str, as_json: bool) -> None:
    """Write the report of RUN (the latest, if none is given): HTML, Markdown, CSV, JSON and PNG.

    A benchmark record alone is taken too, such as one that the app of an Android bundle wrote on a phone.
    """
    import json

    from edgefm.cli.given_run import named_run

    if run is not None and run.is_file():
        from edgefm.core.progress import shown
        from edgefm.report import write_record

        if data_dir is not None:
            raise click.UsageError("--data-dir goes with a RUN; a record alone has no images")
        with shown(True) as receiver:
            page = write_record(run, out=out, progress=receiver)
    else:
        page = named_run(run).report(out=out, data_dir=data_dir, progress=True)
    if as_json:
        render.as_json(json.loads(page.with_name("report.json").read_text(encoding="utf-8")))
    else:
        render.echo(f"The report is at {page}")
    if open_ == "yes":
        click.launch(page.resolve().as_uri())
