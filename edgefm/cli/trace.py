"""`edgefm trace`: which step an app does otherwise, by what it answered to a picture."""

from __future__ import annotations

from pathlib import Path

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.core.progress import Bars

_PATH = click.Path(path_type=Path)


@click.command(epilog=exit_codes("nothing differs", "something differs, or nothing explains it"))
@click.argument("model", type=_PATH, metavar="BUNDLE|MODEL.tflite")
@click.argument("picture", type=_PATH)
@click.option(
    "--expect", type=_PATH, required=True, metavar="FILE", help="What the device gave: JSON, .npy, .npz, .bin."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(model: Path, picture: Path, expect: Path, as_json: bool) -> int:
    """Find out why a device answers otherwise than this machine: which step it does in another way.

    FILE holds the values that the device's outputs had for PICTURE, or probabilities by label, and the input's values
    where you could read them out too. Each step is done in each way that apps do it; the way that gives these numbers
    is the cause.
    """
    from edgefm.jobs.trace import trace

    result = trace(model, picture, expect=expect, progress=Bars())
    if as_json:
        render.as_json(result.to_json())
    else:
        rows = [
            [
                "explains it" if cause.explains else "",
                ", ".join(cause.steps) or "-",
                cause.title,
                f"{cause.largest:.4g}",
            ]
            for cause in result.causes or result.nearest
        ]
        render.table(rows, headers=["", "step", "what was tried", "difference left"], right=["difference left"])
        render.echo(f"{result.tried:,} ways were tried")
        render.echo(result.verdict)
    return 0 if result.causes and not result.causes[0].steps else 1
