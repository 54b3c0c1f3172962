"""`edgefm predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes

if TYPE_CHECKING:
    from edgefm.data.picture_file import Invert


@click.command(
    epilog=exit_codes(
        "every picture was classified", failed="a picture or the model cannot be read; nothing is classified then"
    )
)
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PICTURE...")
@click.option("--model", type=click.Path(path_type=Path), help="A .tflite file with a contract.json, or their folder.")
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    help="Use the file of this run that its verdict recommends.  [default: the latest run]",
)
@click.option("--top", type=int, default=None, help="Classes shown per picture.  [default: 3, or all if fewer]")
@click.option(
    "--invert",
    type=click.Choice(["auto", "yes", "no"]),
    default="auto",
    show_default=True,
    help="Invert brightness; auto: on a light background, for a model trained on dark ones.",
)
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(
    pictures: tuple[Path, ...], model: Path | None, run: Path | None, top: int | None, invert: Invert, json_: bool
) -> None:
    """Classify pictures: the most probable classes of each, with their probabilities."""
    from edgefm.jobs.predict import default_model, predict

    if model is not None and run is not None:
        raise click.UsageError("give --model or --run, not both")
    predictions = predict(pictures, model=model or default_model(run), top=top, invert=invert)
    if json_:
        render.as_json(predictions.to_json())
        return
    render.echo(f"model: {predictions.model}")
    rows = [
        [
            str(item.picture),
            *(f"{score.label} {100 * score.probability:.1f} %" for score in item.top),
            "inverted: light background" if item.inverted and invert == "auto" else "",
        ]
        for item in predictions
    ]
    places = range(1, 1 + max(len(item.top) for item in predictions))
    render.table(rows, headers=["picture", *(f"{place}." for place in places), ""])
