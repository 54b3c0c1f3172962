"""`edgefm predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.picture_options import picture_options
from edgefm.core import scratch
from edgefm.core.errors import DataError
from edgefm.core.progress import Bars

if TYPE_CHECKING:
    from edgefm.core.picture_steps import ChannelOrder, Filter, Fit
    from edgefm.data.picture_file import Invert
    from edgefm.jobs.predict import Prediction

_STANDARD_INPUT, _READ = "-", "picture-on-standard-input"
_LARGEST = 200_000_000


@click.command(
    epilog=exit_codes(
        "every picture was classified", failed="a picture or the model cannot be read; nothing is classified then"
    )
)
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PICTURE|DIR|-...")
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
    help="Invert brightness; auto: as the contract says, on a light background for a model trained on dark ones.",
)
@picture_options
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(
    pictures: tuple[Path, ...],
    model: Path | None,
    run: Path | None,
    top: int | None,
    invert: Invert,
    fit: Fit | None,
    filter: Filter | None,
    channel_order: ChannelOrder | None,
    background: int | None,
    json_: bool,
) -> None:
    """Classify pictures: the most probable classes of each, with their probabilities.

    A folder stands for the pictures in it, - for one on standard input.
    """
    from edgefm.jobs.predict import SHIPPED_MODEL, default_model, predict

    if model is not None and run is not None:
        raise click.UsageError("give --model or --run, not both")
    with _standard_input(pictures) as files:
        predictions = predict(
            files,
            model=model or default_model(run),
            top=top,
            invert=invert,
            fit=fit,
            filter=filter,
            channel_order=channel_order,
            background=background,
            progress=Bars(),
        )
    shipped = predictions.model == SHIPPED_MODEL
    if json_:
        value = predictions.to_json()
        for item in value["predictions"]:
            item["picture"] = _name(Path(item["picture"]))
        render.as_json(value)
        return
    came = f"{predictions.model}, which comes with edgefm: pictures of Fashion-MNIST" if shipped else predictions.model
    render.echo(f"model: {came}")
    rows = [
        [
            _name(item.picture),
            *(f"{score.label} {100 * score.probability:.1f} %" for score in item.top),
            "; ".join(_remarks(item, invert)),
        ]
        for item in predictions
    ]
    places = range(1, 1 + max(len(item.top) for item in predictions))
    render.table(rows, headers=["picture", *(f"{place}." for place in places), ""])


def _remarks(item: Prediction, invert: Invert) -> Iterator[str]:
    if item.inverted and invert == "auto":
        yield "inverted: light background"
    if item.unlike:
        yield f"unlike the data: {', '.join(item.unlike)}"


@contextmanager
def _standard_input(pictures: Sequence[Path]) -> Iterator[list[Path]]:
    """Give the pictures with a file in the place of -, which holds what stands on standard input."""
    if Path(_STANDARD_INPUT) not in pictures:
        yield list(pictures)
        return
    content = sys.stdin.buffer.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise DataError(
            f"the picture on standard input has more than {_LARGEST:,} bytes",
            hint="Give it as a file, or a smaller one.",
        )
    with scratch.folder("predict") as folder:
        file = folder / _READ
        file.write_bytes(content)
        yield [file if path == Path(_STANDARD_INPUT) else path for path in pictures]


def _name(picture: Path) -> str:
    return _STANDARD_INPUT if picture.name == _READ else str(picture)
