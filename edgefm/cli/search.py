"""`edgefm search`: find the files that keep a project's budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.given_run import given_run
from edgefm.cli.own_data import data_options
from edgefm.core.progress import Bars
from edgefm.core.text import command as command_line
from edgefm.jobs.search import FOLDER, TRIALS, SearchResult, search

_PATH = click.Path(path_type=Path)


@click.command(
    epilog=exit_codes(
        "every budget is met by a file that was measured",
        "a budget is not met: the nearest file is named; or its target was away",
        "it could not run: bad input, or no budget can be met by what may be tried",
    )
)
@click.argument("source", required=False, type=_PATH, metavar="[RUN | MODEL]")
@click.option("--budget", type=_PATH, default=Path("budget.toml"), show_default=True, help="TOML file with the limits.")
@click.option("--trials", type=int, default=TRIALS, show_default=True, help="Most trials.")
@click.option("--time-limit", metavar="TIME", default=None, help="For trials and finalists, e.g. 1h, 90m.")
@click.option("--out", type=_PATH, default=None, help="Folder of the search.  [default: RUN/search]")
@click.option("--resume", is_flag=True, help="Go on with the search in that folder.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of what is tried and of fine-tuning.")
@click.option(
    "--seeds", type=int, default=3, show_default=True, help="Seeds to train each finalist with; 0: no finalists."
)
@click.option(
    "--epochs",
    type=int,
    default=8,
    show_default=True,
    help="Epochs of removing channels in a whole trial; of a new network twice as many.",
)
@click.option(
    "--sampler", type=click.Choice(("tpe", "random")), default="tpe", show_default=True, help="How trials are chosen."
)
@click.option("--workers", type=int, default=None, help="Trials at the same time.  [default: one a core]")
@click.option(
    "--executor", type=click.Choice(("local", "ray")), default="local", show_default=True, help="Who does them."
)
@click.option("--address", default=None, help="ray: HOST:PORT, auto, or local to start one here.  [default: auto]")
@click.option("--store", default=None, help="ray: folder or URL that all nodes reach.  [default: store in --out]")
@click.option("--storage", default=None, help="Keep the trials in postgresql://, mysql:// or grpc://.")
@data_options
@click.option("--run", "run_folder", type=_PATH, default=None, help="MODEL: run folder.  [default: runs/<model>]")
@click.option("--data-dir", type=_PATH, default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: Path | None,
    budget: Path,
    trials: int,
    time_limit: str | None,
    out: Path | None,
    resume: bool,
    seed: int,
    seeds: int,
    epochs: int,
    sampler: str,
    workers: int | None,
    executor: str,
    address: str | None,
    store: str | None,
    storage: str | None,
    run_folder: Path | None,
    data_dir: Path | None,
    as_json: bool,
    **data: Any,
) -> int:
    """Find files of a run's model (by default the latest run's), or of a MODEL of your own, that keep budgets.

    It tries many recipes: channels removed, weights pruned and clustered, int8 with or without training. Weak ones are
    stopped early. The best one of each budget is trained to the end and measured. It can be stopped at any time.
    """
    from edgefm.searching.budget import read

    read(budget)  # what is wrong with it is said before a model is loaded
    bars = Bars(overviews=not as_json)
    run = None
    try:
        run = given_run(source, run_folder=run_folder, data=data, bars=bars)
        result = search(
            run,
            budget,
            trials=trials,
            time_limit=time_limit,
            out=out,
            resume=resume,
            seed=seed,
            seeds=seeds,
            epochs=epochs,
            sampler=sampler,
            workers=workers,
            executor=executor,
            address=address,
            store=store,
            storage=storage,
            data_dir=data_dir,
            progress=bars,
        )
    except (KeyboardInterrupt, OSError):
        bars.close()
        if run is not None and ((out or run.path / FOLDER) / "search.json").exists():
            render.complain(f"what is done is kept; go on with: {_again(run.path, budget, out)} and the same options")
        raise
    finally:
        bars.close()
    if as_json:
        render.as_json({"folder": str(result.folder), **result.to_json()})
    else:
        _show(result)
        if result.waiting:
            render.echo(f"measure what waits with: {_again(run.path, budget, out)} and the same options")
    return 0 if result.held else 1


def _again(run: Path, budget: Path, out: Path | None) -> str:
    return command_line("edgefm", "search", run, "--budget", budget, *(("--out", out) if out else ()), "--resume")


def _show(result: SearchResult) -> None:
    """Print the files, what became of each budget, and where the page is."""
    from edgefm.searching.result import titles_in, unit_in
    from edgefm.searching.words import row

    document = result.document
    unit, titles = unit_in(document), titles_in(document)
    entries = [(name, figures) for name, figures in document["references"].items()]
    entries += [(one["budget"], one["figures"]) for one in document["finalists"]]
    render.table(
        [[name, *row(figures, titles, unit)] for name, figures in entries],
        headers=["file", *titles.values()],
        right=[*titles.values()],
    )
    render.echo()
    for entry, line in zip(document["budgets"], result.lines, strict=True):
        render.echo(line, fg="green" if entry["met"] else "red")
    trials = document["trials"]
    render.echo(
        f"{trials['ended']} trials, {len(document['front'])} on the front; loss on {document['test_samples']:,} test "
        f"samples; {result.folder / 'result.md'}"
    )
