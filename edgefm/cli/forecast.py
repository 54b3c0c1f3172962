"""`edgefm forecast`: what each variant of a model will cost and buy, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefm.cli import render
from edgefm.cli.exit_codes import exit_codes
from edgefm.cli.own_data import data_options
from edgefm.core.progress import Bars

if TYPE_CHECKING:
    from edgefm.jobs.forecast import ForecastResult

_PATH = click.Path(path_type=Path)


@click.command(
    epilog=exit_codes(
        "the forecast was made; variants that the model cannot give say why",
        failed="it could not run: no model, no data, a cost model of another target or runtime",
    )
)
@click.argument("source", required=False, type=_PATH, metavar="[RUN | MODEL]")
@click.option(
    "--variant", "variants", multiple=True, metavar="NAME", help="Variant, as for edgefm quantize; repeatable."
)
@click.option("--target", default="host", show_default=True, help="Where files will run; another needs --cost-model.")
@click.option("--runtime", default="litert", show_default=True, help="That will run them; see: edgefm doctor.")
@click.option("--cost-model", type=_PATH, default=None, metavar="FILE", help="By edgefm cost-model.  [default: kept]")
@data_options
@click.option("--calibration-data", type=_PATH, default=None, help="MODEL without --data: .npz with an array 'images'.")
@click.option("--run", "run_folder", type=_PATH, default=None, help="MODEL: run folder.  [default: runs/<model>]")
@click.option("--data-dir", type=_PATH, default=None, help="Folder of the Fashion-MNIST files.")
@click.option("--json", "as_json", is_flag=True, help="Print the forecast as JSON.")
def command(
    source: Path | None,
    variants: tuple[str, ...],
    target: str,
    runtime: str,
    cost_model: Path | None,
    calibration_data: Path | None,
    run_folder: Path | None,
    data_dir: Path | None,
    as_json: bool,
    **data: Any,
) -> int:
    """Tell what each variant of a run's model, or of a MODEL of your own, will cost and buy; nothing is trained.

    Each variant is made without its training, which changes neither file size nor multiply-accumulates. The time comes
    from a cost model of this machine, which is built at the first forecast (two minutes) and kept, or of a board, by
    edgefm cost-model; the loss of quality from the untrained file and from recorded runs, with an interval. It is
    written to RUN/forecast.json, and the report holds it against what was measured later.
    """
    from edgefm.cli.given_run import given_run
    from edgefm.core.text import command as command_line
    from edgefm.jobs.forecast import FILE_NAME, given_cost_model
    from edgefm.jobs.quantize import quantization_recipe

    quantization_recipe(variants or None)  # what is wrong with it is said before a model is loaded
    known = given_cost_model(cost_model, target=target, runtime=runtime)
    bars = Bars()
    try:
        run = given_run(source, run_folder=run_folder, data=data, calibration_data=calibration_data, bars=bars)
        result = run.forecast(
            variants or None, target=target, runtime=runtime, cost_model=known, data_dir=data_dir, progress=bars
        )
    finally:
        bars.close()
    if as_json:
        render.as_json({"run": str(run.path), **result.to_json()})
        return 0
    _show(result)
    render.echo(f"written: {run.path / FILE_NAME}")
    render.echo(f"next: {command_line('edgefm', 'quantize', run.path)}")
    return 0


def _show(result: ForecastResult) -> None:
    from edgefm.jobs.forecast.result import HEADERS, cells, remarks

    about = result.cost_model
    render.table([*map(cells, result.variants)], headers=HEADERS, right=HEADERS[1:])
    render.echo("size, MACs and arena: of the untrained file; training changes no structure; download: gzip -9")
    if any(row.arena_bytes is not None for row in result.variants):
        render.echo("arena: of TensorFlow Lite Micro on this machine, not of a microcontroller")
    render.echo(
        f"p50: {about['runtime']} {about['version']} on one thread of {about['cpu']}, by a cost model whose error on "
        f"{about['networks']} networks was {100 * about['median']:.1f} % (median; nine in ten within "
        f"{100 * about['p90']:.1f} %)"
    )
    if result.quality is not None:
        unit = "percentage points" if result.quality["unit"] == "%" else "its own unit"
        render.echo(
            f"loss: of {result.quality['name']} in {unit}, n = {result.quality['samples']:,} validation samples"
        )
    for remark in remarks(result):
        render.echo(remark)
