"""`edgefm explain`: what a classifier confuses, how far its confidence holds, where it looks, doubtful labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.own_data import data_options
from edgefm.core.progress import Bars

_PATH = click.Path(path_type=Path)


@click.command(
    epilog=exit_codes(
        "the explanation was written; parts that do not apply say why",
        failed="it could not run: no run, no data, no classifier, too few images for the folds",
    )
)
@click.argument("source", required=False, type=_PATH, metavar="[RUN | MODEL]")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    help="TFLite file whose calibration is shown; several.  [default: int8_w8a8]",
)
@click.option("--folds", type=int, default=None, help="Train so many folds anew; judge labels out of fold.")
@click.option("--samples", type=int, default=10_000, show_default=True, help="Validation samples to look at.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of samples, folds and bootstrap.")
@data_options
@click.option("--run", "run_folder", type=_PATH, default=None, help="MODEL: run folder.  [default: runs/<model>]")
@click.option("--out", type=_PATH, default=None, metavar="FOLDER", help="Write here.  [default: RUN/explain]")
@click.option("--data-dir", type=_PATH, default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as JSON.")
def command(
    source: Path | None,
    variants: tuple[str, ...],
    folds: int | None,
    samples: int,
    seed: int,
    run_folder: Path | None,
    out: Path | None,
    data_dir: Path | None,
    as_json: bool,
    **data: Any,
) -> int:
    """Explain the classifier of a run, or a MODEL of your own with --data, on validation samples.

    Written are index.html, explanation.json and pictures: confused classes, the surest mistakes, the calibration of
    the model and of TFLite files, Grad-CAM, features by PCA and t-SNE, and doubtful labels. The test split is not
    touched. --folds trains the run's recipe on stratified folds; stopped, the same command goes on.
    """
    from edgefm.cli.given_run import given_run

    bars = Bars()
    try:
        run = given_run(source, run_folder=run_folder, data=data, bars=bars)
        result = run.explain(
            variants or None, folds=folds, samples=samples, seed=seed, out=out, data_dir=data_dir, progress=bars
        )
    finally:
        bars.close()
    if as_json:
        render.as_json(result.to_json())
        return 0
    for line in result.lines:
        render.echo(line)
    for entry in result.document["calibration"]["left_out"]:
        render.echo(f"left out: calibration of {entry['name']}: {entry['reason']}")
    for name, reason in result.left_out.items():
        if name != "folds":
            render.echo(f"left out: {name}: {reason}")
    render.echo(f"written: {(out or run.path / 'explain') / 'index.html'}")
    return 0
